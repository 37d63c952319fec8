/* SPDX-License-Identifier: MIT */

/*
 * The ceiling that echod is measured against: one process, one thread, one epoll loop; no log, no
 * limits, no lines: what it has read it writes. It listens on descriptor 3 (sd_listen_fds(3)).
 */

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER 3
#define EVENTS 256
#define BUFFER 65536

struct client {
        int fd;
        char *owed; /* what could not be written yet; NULL: nothing */
        size_t start, end;
};

static int epoll;

static void watch(struct client *client, int operation, uint32_t events) {
        struct epoll_event event = {.events = events, .data.ptr = client};

        (void)epoll_ctl(epoll, operation, client->fd, &event);
}

static void meet(void) {
        struct client *client = calloc(1, sizeof(*client));

        if (client == NULL)
                return;
        client->fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK);
        if (client->fd >= 0)
                watch(client, EPOLL_CTL_ADD, EPOLLIN);
        else
                free(client);
}

static void leave(struct client *client) {
        (void)close(client->fd);
        free(client->owed);
        free(client);
}

static size_t write_out(const struct client *client, const char *data, size_t n) {
        ssize_t sent = send(client->fd, data, n, MSG_NOSIGNAL);

        return sent > 0 ? (size_t)sent : 0;
}

/* The buffer that was read into goes with what is owed, and the next client gets a new one. */
static void echo(struct client *client) {
        static char *data;
        ssize_t n;
        size_t sent;

        if (data == NULL)
                data = malloc(BUFFER);
        n = data != NULL ? recv(client->fd, data, BUFFER, 0) : -1;
        if (n <= 0) {
                leave(client);
                return;
        }
        sent = write_out(client, data, (size_t)n);
        if (sent == (size_t)n)
                return;
        client->owed = data;
        client->start = sent;
        client->end = (size_t)n;
        data = NULL;
        watch(client, EPOLL_CTL_MOD, EPOLLOUT);
}

static void go_on(struct client *client, uint32_t events) {
        if (events & (EPOLLERR | EPOLLHUP)) {
                leave(client);
                return;
        }
        client->start +=
                write_out(client, client->owed + client->start, client->end - client->start);
        if (client->start < client->end)
                return;
        free(client->owed);
        client->owed = NULL;
        watch(client, EPOLL_CTL_MOD, EPOLLIN);
}

int main(void) {
        struct epoll_event events[EVENTS];
        struct client listener = {.fd = LISTENER};

        epoll = epoll_create1(EPOLL_CLOEXEC);
        watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
        for (;;) {
                int n = epoll_wait(epoll, events, EVENTS, -1);

                for (int i = 0; i < n; i++) {
                        struct client *client = events[i].data.ptr;

                        if (client == &listener)
                                meet();
                        else if (client->owed == NULL)
                                echo(client);
                        else
                                go_on(client, events[i].events);
                }
        }
}
