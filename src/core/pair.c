/* SPDX-License-Identifier: MIT */
#include "pair.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "cleanup.h"

/* Holds about twenty hand-overs, and some 170 to 1200 reports (measured by test-pair). */
#define HAND_OVERS_BUFFER 8192
#define REPORTS_BUFFER 65536

struct header {
        uint16_t version, type, count, record;
};

union control {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
};

int pair_open(int *acceptor_end, int *worker_end) {
        CLEANUP(fd_close) int a = -1;
        CLEANUP(fd_close) int b = -1;
        int ends[2], hand_overs = HAND_OVERS_BUFFER, reports = REPORTS_BUFFER;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;
        a = ends[0];
        b = ends[1];
        if (setsockopt(a, SOL_SOCKET, SO_SNDBUF, &hand_overs, sizeof(hand_overs)) < 0 ||
            setsockopt(b, SOL_SOCKET, SO_SNDBUF, &reports, sizeof(reports)) < 0)
                return -errno;
        *acceptor_end = TAKE_FD(a);
        *worker_end = TAKE_FD(b);
        return 0;
}

/* Nothing here waits, so an interrupted call is one to be made again later. */
static int failure(void) {
        return errno == EINTR ? -EAGAIN : -errno;
}

int pair_send(int pair, enum pair_type type, const struct session *sessions, size_t count, int fd) {
        struct header header = {PAIR_VERSION, (uint16_t)type, (uint16_t)count, sizeof(*sessions)};
        struct iovec parts[] = {
                {&header, sizeof(header)},
                {(void *)sessions, count * sizeof(*sessions)},
        };
        union control control = {0};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count > 0 ? 2 : 1};
        ssize_t n;

        if (fd >= 0) {
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        }
        n = sendmsg(pair, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        return n < 0 ? failure() : 0;
}

/* Checks what came, n bytes of it, before anybody looks at it. */
static int validate(const struct header *header, size_t n, bool cut, struct pair_message *message) {
        if (n < sizeof(*header))
                return -EBADMSG;
        if (header->version != PAIR_VERSION)
                return -EPROTO;
        if (cut || header->record != sizeof(struct session) || header->count > PAIR_BATCH ||
            n != sizeof(*header) + header->count * sizeof(struct session) ||
            header->type < PAIR_CLIENT || header->type > PAIR_ROLLED)
                return -EBADMSG;
        if (header->type == PAIR_CLIENT && header->count != 1)
                return -EBADMSG;
        message->type = header->type;
        message->count = header->count;
        return 1;
}

/* With control == NULL the kernel drops whatever descriptors a message brings. */
static int receive(int pair, struct pair_message *message, union control *control, int flags) {
        struct header header;
        struct iovec parts[] = {
                {&header, sizeof(header)},
                {message->sessions, sizeof(message->sessions)},
        };
        struct msghdr wire = {
                .msg_iov = parts,
                .msg_iovlen = 2,
                .msg_control = control,
                .msg_controllen = control != NULL ? CMSG_LEN(sizeof(int)) : 0,
        };
        ssize_t n;
        int r;

        message->fd = -1;
        n = recvmsg(pair, &wire, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
        if (n < 0)
                return failure();
        if (n == 0)
                return 0;

        if (control != NULL && CMSG_FIRSTHDR(&wire) != NULL &&
            control->header.cmsg_type == SCM_RIGHTS)
                memcpy(&message->fd, CMSG_DATA(&control->header), sizeof(int));
        r = validate(&header, (size_t)n, (wire.msg_flags & MSG_TRUNC) != 0, message);
        /* Too many descriptors, and one that did not fit below RLIMIT_NOFILE, look the same but for
         * what has come. */
        if (r == 1 && message->fd >= 0 && (wire.msg_flags & MSG_CTRUNC) != 0)
                r = -EBADMSG;
        return r;
}

int pair_receive(int pair, struct pair_message *message) {
        union control control;
        int r = receive(pair, message, &control, 0);

        if (r == 1 && message->fd >= 0 && message->type != PAIR_CLIENT)
                r = -EBADMSG;
        if (r <= 0)
                fd_close(&message->fd);
        return r;
}

int pair_peek(int pair, struct pair_message *message) {
        return receive(pair, message, NULL, MSG_PEEK);
}

int pair_drop(int pair) {
        char first;

        /* Of a SOCK_SEQPACKET message what is not asked for is gone. */
        return recv(pair, &first, sizeof(first), MSG_DONTWAIT) < 0 ? -errno : 0;
}

bool pair_is_hung_up(int pair) {
        struct pollfd end = {.fd = pair};

        return poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0;
}

bool pair_is_heard(int pair) {
        struct pollfd end = {.fd = pair};
        int unread;

        /* The kernel tells of room in the pair before it counts the last byte off (sock_wfree).
         * What was unread when the other end went is no longer counted at all. */
        return ioctl(pair, SIOCOUTQ, &unread) == 0 && unread <= 1 && poll(&end, 1, 0) == 0;
}
