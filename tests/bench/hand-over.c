/* SPDX-License-Identifier: MIT */

/*
 * The least that hands each client to a process of its own, as echod does: an acceptor, WORKERS
 * processes that were forked before, a pair to each. The least loaded gets the next client, and
 * says when it has gone. No log, no limits, no lines, no restart, and nobody may read slowly. This
 * is what a design of this kind can reach on a machine; the rest is what echod does beyond it.
 * Usage: hand-over WORKERS, with a listening socket as descriptor 3 (sd_listen_fds(3)).
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define LISTENER 3
#define EVENTS 256
#define BUFFER 65536
#define WORKERS_MAX 4096

static struct {
        int pair;
        unsigned clients;
} workers[WORKERS_MAX];

static unsigned n_workers;
static int epoll;

union control {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
};

static struct msghdr message_of(struct iovec *part, union control *control) {
        return (struct msghdr){.msg_iov = part,
                               .msg_iovlen = 1,
                               .msg_control = control,
                               .msg_controllen = sizeof(*control)};
}

static void watch(int fd, uint32_t what) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = what};

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                fail("epoll_ctl");
}

/* Returns how many have gone: 1 or 0. */
static unsigned echo(int fd) {
        static char data[BUFFER];
        ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

        if (n > 0)
                (void)send(fd, data, (size_t)n, MSG_NOSIGNAL);
        if (n != 0)
                return 0;
        (void)epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); /* the acceptor may have it open still */
        (void)close(fd);
        return 1;
}

static unsigned take(int pair) {
        char byte;
        struct iovec part = {&byte, sizeof(byte)};
        union control control;
        struct msghdr message = message_of(&part, &control);
        int fd;

        if (recvmsg(pair, &message, MSG_CMSG_CLOEXEC) <= 0)
                exit(EXIT_SUCCESS);
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        watch(fd, (uint32_t)fd);
        return echo(fd);
}

static _Noreturn void work(int pair) {
        struct epoll_event events[EVENTS];

        epoll = epoll_create1(EPOLL_CLOEXEC);
        watch(pair, (uint32_t)pair);
        for (;;) {
                int n = epoll_wait(epoll, events, EVENTS, -1);
                unsigned gone = 0;

                for (int i = 0; i < n; i++)
                        if (events[i].data.u32 == (uint32_t)pair)
                                gone += take(pair);
                        else
                                gone += echo((int)events[i].data.u32);
                if (gone > 0)
                        (void)send(pair, &gone, sizeof(gone), MSG_NOSIGNAL);
        }
}

static void hire(unsigned i) {
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0)
                fail("socketpair");
        switch (fork()) {
        case -1:
                fail("fork");
        case 0:
                (void)dup2(ends[1], LISTENER);
                (void)close_range(LISTENER + 1, ~0U, 0);
                work(LISTENER);
        default:
                (void)close(ends[1]);
                workers[i].pair = ends[0];
        }
}

static void hand_over(void) {
        char byte = 0;
        struct iovec part = {&byte, sizeof(byte)};
        union control control = {.header = {.cmsg_level = SOL_SOCKET,
                                            .cmsg_type = SCM_RIGHTS,
                                            .cmsg_len = CMSG_LEN(sizeof(int))}};
        struct msghdr message = message_of(&part, &control);
        unsigned best = 0;
        int fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
                return;
        for (unsigned i = 1; i < n_workers && workers[best].clients > 0; i++)
                if (workers[i].clients < workers[best].clients)
                        best = i;
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        if (sendmsg(workers[best].pair, &message, MSG_NOSIGNAL) < 0)
                fail("sendmsg");
        workers[best].clients++;
        (void)close(fd);
}

static void hear(unsigned i) {
        unsigned gone;

        if (recv(workers[i].pair, &gone, sizeof(gone), 0) != sizeof(gone))
                fail("a worker");
        workers[i].clients -= gone;
}

int main(int argc, char **argv) {
        struct epoll_event events[EVENTS];

        n_workers = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
        if (n_workers < 1 || n_workers > WORKERS_MAX)
                fail("usage: hand-over WORKERS");
        for (unsigned i = 0; i < n_workers; i++)
                hire(i);
        epoll = epoll_create1(EPOLL_CLOEXEC);
        watch(LISTENER, n_workers);
        for (unsigned i = 0; i < n_workers; i++)
                watch(workers[i].pair, i);
        for (;;) {
                int n = epoll_wait(epoll, events, EVENTS, -1);

                for (int i = 0; i < n; i++)
                        if (events[i].data.u32 == n_workers)
                                hand_over();
                        else
                                hear(events[i].data.u32);
        }
}
