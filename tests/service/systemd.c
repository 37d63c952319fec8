/* SPDX-License-Identifier: MIT */
#include "systemd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "echod.h"
#include "harness.h"

#define MESSAGES_MAX 4096

static struct {
        bool played, paused;
        int notify;
        struct sockaddr_un address;
        struct stored store[STORE_MAX];
        size_t n_stored, most_stored; /* 0: as many as there is room for */
        char *lines;                  /* of all notifications, each between newlines */
        size_t length, size;
        char status[128];
} manager;

void systemd_play(void) {
        manager.played = true;
        manager.address.sun_family = AF_UNIX;
        path_of("notify", manager.address.sun_path, sizeof(manager.address.sun_path));
        manager.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(manager.notify >= 0);
        assert_int_equal(
                bind(manager.notify, (struct sockaddr *)&manager.address, sizeof(manager.address)),
                0);
        environment("NOTIFY_SOCKET=%s", manager.address.sun_path);
}

bool systemd_is_played(void) {
        return manager.played;
}

void systemd_pause(bool paused) {
        manager.paused = paused;
}

void systemd_keep(int fd, const char *name) {
        struct stored *stored = &manager.store[manager.n_stored++];

        assert_true(fd >= 0);
        assert_true(manager.n_stored <= STORE_MAX);
        stored->fd = fd;
        (void)snprintf(stored->name, sizeof(stored->name), "%s", name);
}

static void drop(size_t i) {
        (void)close(manager.store[i].fd);
        manager.store[i] = manager.store[--manager.n_stored];
}

void systemd_store_holds(size_t most) {
        manager.most_stored = most;
}

void systemd_drop_store(void) {
        systemd_read();
        while (manager.n_stored > 0)
                drop(0);
}

static void drop_named(const char *name) {
        for (size_t i = manager.n_stored; i-- > 0;)
                if (strcmp(manager.store[i].name, name) == 0)
                        drop(i);
}

/* systemd.exec(5), "FileDescriptorStoreMax=": entries whose other end is gone are removed. */
static void drop_hung_up(void) {
        for (size_t i = manager.n_stored; i-- > 0;) {
                struct pollfd polled = {.fd = manager.store[i].fd};

                if (poll(&polled, 1, 0) == 1 && (polled.revents & POLLHUP) != 0)
                        drop(i);
        }
}

/* Copies the rest of the line that begins with key. Returns false if there is none. */
static bool value_of(const char *text, const char *key, char *value, size_t size) {
        const char *found = strstr(text, key);

        if (found == NULL)
                return false;
        found += strlen(key);
        (void)snprintf(value, size, "%.*s", (int)strcspn(found, "\n"), found);
        return true;
}

static void note(const char *text) {
        size_t n = strlen(text);

        if (manager.length + n + 2 > manager.size) {
                manager.size = 2 * (manager.length + n + 2);
                manager.lines = realloc(manager.lines, manager.size);
                assert_non_null(manager.lines);
        }
        (void)sprintf(manager.lines + manager.length, "\n%s", text);
        manager.length += n + 1;
}

static void obey(const char *text, int fd) {
        char name[64] = "stored";

        note(text);
        (void)value_of(text, "\nSTATUS=", manager.status, sizeof(manager.status));
        (void)value_of(text, "\nFDNAME=", name, sizeof(name));
        if (strstr(text, "\nFDSTORE=1\n") != NULL && fd >= 0 &&
            (manager.most_stored == 0 || manager.n_stored < manager.most_stored))
                systemd_keep(fd, name);
        else if (fd >= 0)
                (void)close(fd);
        if (strstr(text, "\nFDSTOREREMOVE=1\n") != NULL)
                drop_named(name);
}

/* Reads one notification, between newlines. Returns false when there is none. */
static bool read_one(void) {
        char text[4096] = "\n";
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec part = {text + 1, sizeof(text) - 3};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(manager.notify, &message, MSG_CMSG_CLOEXEC);
        int fd = -1;

        if (n < 0)
                return false;
        if (CMSG_FIRSTHDR(&message) != NULL)
                memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        text[n + 1] = '\n';
        text[n + 2] = '\0';
        obey(text, fd);
        return true;
}

void systemd_read(void) {
        if (!manager.played)
                return;
        while (!manager.paused && read_one())
                ;
        drop_hung_up();
}

size_t systemd_polled(struct pollfd *polled, size_t max) {
        size_t n = 0;

        if (manager.played && !manager.paused)
                polled[n++] = (struct pollfd){.fd = manager.notify, .events = POLLIN};
        for (size_t i = 0; i < manager.n_stored && n < max; i++)
                polled[n++] = (struct pollfd){.fd = manager.store[i].fd};
        return n;
}

static size_t heard(const char *line, const char *end) {
        char wanted[128];
        const char *found;
        size_t count = 0;

        (void)snprintf(wanted, sizeof(wanted), "\n%s%s", line, end);
        systemd_read(); /* may move the lines */
        for (found = manager.lines; found != NULL && (found = strstr(found, wanted)) != NULL;
             found++)
                count++;
        return count;
}

size_t systemd_heard(const char *line) {
        return heard(line, "\n");
}

size_t systemd_heard_of(const char *beginning) {
        return heard(beginning, "");
}

void systemd_forget_status(void) {
        systemd_read();
        manager.status[0] = '\0';
}

const char *systemd_status(void) {
        systemd_read();
        return manager.status;
}

size_t systemd_stored(const char *prefix) {
        size_t count = 0;

        systemd_read();
        for (size_t i = 0; i < manager.n_stored; i++)
                count += strncmp(manager.store[i].name, prefix, strlen(prefix)) == 0;
        return count;
}

const struct stored *systemd_store(size_t *n) {
        *n = manager.n_stored;
        return manager.store;
}

void systemd_congest(void) {
        size_t sent;

        systemd_pause(true);
        do { /* until there is no room for anybody: one sender's own may be full before */
                int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

                assert_true(fd >= 0);
                for (sent = 0; sent < MESSAGES_MAX; sent++)
                        if (sendto(fd, "NOISE=1", 7, 0, (struct sockaddr *)&manager.address,
                                   sizeof(manager.address)) < 0)
                                break;
                assert_int_equal(errno, EAGAIN);
                (void)close(fd);
        } while (sent > 0);
}

/* Descriptors are closed by the harness. */
void systemd_end(void) {
        free(manager.lines);
        memset(&manager, 0, sizeof(manager));
}
