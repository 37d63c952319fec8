/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "echod.h"
#include "harness.h"
#include "systemd.h"

#define FLOOD_MAX (256 << 20)
#define FLOOD_STILL_MSEC 300 /* taken for never; being wrong only makes a weaker case */

char pattern(uint64_t i) {
        char c = (char)((i * 2654435761U) >> 24);

        return c == '\n' ? 'n' : c;
}

static int connect_to(const struct sockaddr *address, socklen_t length, int buffer) {
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
        int error = 0;

        assert_true(fd >= 0);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (buffer > 0)
                (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
        if (connect(fd, address, length) < 0) {
                if (errno == EINPROGRESS && attend(fd, POLLOUT, PATIENCE_MSEC))
                        error = client_error(fd);
                else
                        error = errno;
        }
        if (error != 0)
                fail_at(__FILE__, __LINE__, "connect: %s", strerror(error));
        return fd;
}

int client_of(int listening_fd) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);

        assert_int_equal(getsockname(listening_fd, (struct sockaddr *)&address, &length), 0);
        if (address.ss_family == AF_INET6)
                ((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
        return connect_to((struct sockaddr *)&address, length, 0);
}

int client_new(void) {
        return client_of(listening());
}

static struct sockaddr_in ipv4_of(int listening_fd) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);

        assert_int_equal(getsockname(listening_fd, (struct sockaddr *)&address, &length), 0);
        return (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = ((struct sockaddr_in *)&address)->sin_port,
                                    .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

int client_of_ipv4(int listening_fd) {
        struct sockaddr_in in = ipv4_of(listening_fd);

        return connect_to((struct sockaddr *)&in, sizeof(in), 0);
}

int client_small(void) {
        struct sockaddr_in in = ipv4_of(listening());

        return connect_to((struct sockaddr *)&in, sizeof(in), 4096);
}

void clients_served(int *clients, size_t n) {
        for (size_t i = 0; i < n; i++)
                clients[i] = client_new();
        for (size_t i = 0; i < n; i++)
                echo(clients[i], "hello\n");
}

void start_stored(int *clients, size_t n) {
        systemd_play();
        echod_start("--workers=4", NULL);
        clients_served(clients, n);
        eventually(systemd_stored("worker-") == (n < 4 ? n : 4));
        eventually(systemd_stored("ledger") == 1);
}

const char *client_name(int fd, char *text) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof(address);
        char host[INET6_ADDRSTRLEN];
        struct sockaddr_in *in = (struct sockaddr_in *)&address;
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;

        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
        if (address.ss_family == AF_INET)
                (void)sprintf(text, "%s:%u", inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)),
                              ntohs(in->sin_port));
        else if (address.ss_family == AF_INET6)
                (void)sprintf(text, "[%s]:%u",
                              inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)),
                              ntohs(in6->sin6_port));
        else
                (void)sprintf(text, "unix:%d", (int)getpid());
        return text;
}

size_t client_records(int fd, const char *what) {
        char name[64], text[128];

        (void)snprintf(text, sizeof(text), "Client %s %s", client_name(fd, name), what);
        return records(text);
}

void expect_records_at(const char *file, int line, int fd, const char *what, size_t n) {
        char name[64];

        if (client_records(fd, what) != n)
                fail_at(file, line, "%zu records '%s %s'", client_records(fd, what),
                        client_name(fd, name), what);
}

void client_reset(int fd) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};

        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
        (void)close(fd);
}

int client_tcp_state(int fd) {
        struct tcp_info info = {0};
        socklen_t length = sizeof(info);

        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
        return info.tcpi_state;
}

int client_error(int fd) {
        int error = 0;
        socklen_t length = sizeof(error);

        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
        return error;
}

size_t client_flood(int fd, const void *line, size_t n) {
        size_t sent = 0;

        while (sent < FLOOD_MAX && attend(fd, POLLOUT, FLOOD_STILL_MSEC)) {
                size_t done = sent % n;
                ssize_t r = send(fd, (const char *)line + done, n - done, MSG_NOSIGNAL);

                if (r < 0 && errno != EAGAIN)
                        fail_at(__FILE__, __LINE__, "send: %s", strerror(errno));
                sent += r > 0 ? (size_t)r : 0;
        }
        return sent;
}

void say_at(const char *file, int line, int fd, const void *data, size_t n) {
        size_t sent = 0;

        while (sent < n) {
                ssize_t r = send(fd, (const char *)data + sent, n - sent, MSG_NOSIGNAL);

                if (r >= 0)
                        sent += (size_t)r;
                else if (errno != EAGAIN)
                        fail_at(file, line, "send: %s", strerror(errno));
                else if (!attend(fd, POLLOUT, PATIENCE_MSEC))
                        fail_at(file, line, "nobody reads: %zu of %zu bytes sent", sent, n);
        }
}

/* Waits for bytes or the end. Returns their number. */
static size_t listen_at(const char *file, int line, int fd, void *data, size_t n) {
        ssize_t r = -1;

        if (!attend(fd, POLLIN, PATIENCE_MSEC))
                fail_at(file, line, "nothing came");
        r = recv(fd, data, n, 0);
        if (r < 0)
                fail_at(file, line, "recv: %s", strerror(errno));
        return (size_t)r;
}

void expect_at(const char *file, int line, int fd, const void *data, size_t n) {
        const char *expected = data;
        char piece[65536];

        for (size_t got = 0, r; got < n; got += r) {
                size_t wanted = n - got < sizeof(piece) ? n - got : sizeof(piece);

                r = listen_at(file, line, fd, piece, wanted);
                if (r == 0)
                        fail_at(file, line, "the end came after %zu of %zu bytes", got, n);
                if (memcmp(piece, expected + got, r) != 0)
                        fail_at(file, line, "wrong bytes between %zu and %zu: '%.*s'", got, got + r,
                                r < 64 ? (int)r : 64, piece);
        }
}

void echo_at(const char *file, int line, int fd, const char *text) {
        say_at(file, line, fd, text, strlen(text));
        expect_at(file, line, fd, text, strlen(text));
}

void expect_end_at(const char *file, int line, int fd) {
        char piece[64];
        size_t n = listen_at(file, line, fd, piece, sizeof(piece));

        if (n > 0)
                fail_at(file, line, "more came instead of the end: '%.*s'", (int)n, piece);
}

void expect_silence_at(const char *file, int line, int fd) {
        char piece[64];
        ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);

        if (n >= 0)
                fail_at(file, line, "instead of silence: '%.*s'", (int)n, piece);
        if (errno != EAGAIN)
                fail_at(file, line, "recv: %s", strerror(errno));
}

void expect_farewell_at(const char *file, int line, int fd) {
        say_at(file, line, fd, "late", 4);
        say_at(file, line, fd, " words\n", 7);
        (void)shutdown(fd, SHUT_WR);
        eventually(client_tcp_state(fd) == TCP_CLOSE);
        if (client_error(fd) != 0)
                fail_at(file, line, "the connection was reset");
        expect_end_at(file, line, fd);
}
