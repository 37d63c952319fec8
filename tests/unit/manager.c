/* SPDX-License-Identifier: MIT */
#include "manager.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support.h"

static int manager = -1;

static void listen_at(const struct sockaddr_un *address, socklen_t length) {
        manager_leave();
        manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(manager >= 0);
        assert_int_equal(bind(manager, (const void *)address, length), 0);
}

int manager_start(void **state) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t length = sizeof(address);

        (void)state;
        listen_at(&address, sizeof(sa_family_t)); /* the kernel finds a name, unix(7) */
        if (getsockname(manager, (void *)&address, &length) < 0)
                return -1;
        address.sun_path[0] = '@';
        return setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

int manager_stop(void **state) {
        (void)state;
        manager_leave();
        return unsetenv("NOTIFY_SOCKET");
}

void manager_listen(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        listen_at(&address, sizeof(address));
        assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
}

void manager_leave(void) {
        if (manager >= 0)
                (void)close(manager);
        manager = -1;
}

const char *manager_hear(int *fd) {
        static char text[4096];
        struct iovec part = {text, sizeof(text) - 1};
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(manager, &message, MSG_CMSG_CLOEXEC);
        int came = -1;

        text[n > 0 ? n : 0] = '\0';
        if (n > 0 && CMSG_FIRSTHDR(&message) != NULL)
                memcpy(&came, CMSG_DATA(&control.header), sizeof(came));
        if (fd != NULL)
                *fd = came;
        else if (came >= 0)
                (void)close(came);
        return text;
}
