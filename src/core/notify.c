/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct {
        int socket;
        struct sockaddr_un address;
        socklen_t length;
} manager = {.socket = -1};

int notify_open(void) {
        const char *path = getenv("NOTIFY_SOCKET");
        size_t length = path != NULL ? strlen(path) : 0;

        if (length < 2 || length > sizeof(manager.address.sun_path) - 1)
                return 0;
        manager.address.sun_family = AF_UNIX;
        memcpy(manager.address.sun_path, path, length);
        if (path[0] == '@') /* abstract, unix(7) */
                manager.address.sun_path[0] = '\0';
        manager.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
        manager.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return manager.socket >= 0 ? 1 : -errno;
}

static int send_state(const char *state, int fd) {
        struct iovec part = {(void *)state, strlen(state)};
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct msghdr message = {
                .msg_name = &manager.address,
                .msg_namelen = manager.length,
                .msg_iov = &part,
                .msg_iovlen = 1,
        };

        if (manager.socket < 0)
                return 0;
        if (fd >= 0) {
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        }
        return sendmsg(manager.socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int notify_send(const char *state) {
        return send_state(state, -1);
}

int notify_store(const char *name, int fd) {
        char state[64];

        (void)snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s", name);
        return send_state(state, fd);
}
