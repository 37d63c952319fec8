/* SPDX-License-Identifier: MIT */

/* How a listening socket is called in the journal; see test-listener.c for the rest. */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "listener.h"
#include "support.h"

static void assert_called(int fd, const char *expected) {
        char text[128];

        assert_ptr_equal(listener_format(fd, text, sizeof(text)), text);
        assert_string_equal(text, expected);
        (void)close(fd);
}

static void ipv4_socket_is_called_by_its_port(void **state) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char expected[16];

        (void)state;
        assert_int_equal(bind(fd, (void *)&in, sizeof(in)), 0);
        assert_int_equal(getsockname(fd, (void *)&in, &(socklen_t){sizeof(in)}), 0);
        (void)snprintf(expected, sizeof(expected), "port %d", ntohs(in.sin_port));
        assert_called(fd, expected);
}

static void ipv6_socket_is_called_by_its_port(void **state) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        int fd = socket(AF_INET6, SOCK_STREAM, 0);
        char expected[16];

        (void)state;
        if (fd < 0)
                skip(); /* a kernel without IPv6 */
        assert_int_equal(bind(fd, (void *)&in6, sizeof(in6)), 0);
        assert_int_equal(getsockname(fd, (void *)&in6, &(socklen_t){sizeof(in6)}), 0);
        (void)snprintf(expected, sizeof(expected), "port %d", ntohs(in6.sin6_port));
        assert_called(fd, expected);
}

static int unix_socket(const char *name, size_t length) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        memcpy(un.sun_path, name, length);
        assert_int_equal(
                bind(fd, (void *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
                0);
        return fd;
}

static void unix_socket_is_called_by_its_path(void **state) {
        char path[] = "/tmp/test-listener-XXXXXX", socket[64];
        int fd;

        (void)state;
        assert_non_null(mkdtemp(path));
        (void)snprintf(socket, sizeof(socket), "%s/echo", path);
        fd = unix_socket(socket, strlen(socket));
        (void)unlink(socket);
        (void)rmdir(path);
        assert_called(fd, socket);
}

static void abstract_socket_is_called_by_its_name(void **state) {
        char name[32], longest[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

        (void)state;
        (void)snprintf(name, sizeof(name), "@test-listener-%d", (int)getpid());
        name[0] = '\0';
        int fd = unix_socket(name, 1 + strlen(name + 1));
        name[0] = '@';
        assert_called(fd, name);

        /* No room for a NUL after it. */
        memset(longest, 'x', sizeof(longest));
        memcpy(longest, name, strlen(name));
        longest[0] = '\0';
        fd = unix_socket(longest, sizeof(longest));
        longest[0] = '@';
        char expected[sizeof(longest) + 1] = {0};
        memcpy(expected, longest, sizeof(longest));
        assert_called(fd, expected);
}

static void long_name_is_cut(void **state) {
        char name[32], text[12];
        int fd;

        (void)state;
        (void)snprintf(name, sizeof(name), "@test-listener-cut-%d", (int)getpid());
        name[0] = '\0';
        fd = unix_socket(name, 1 + strlen(name + 1));
        assert_string_equal(listener_format(fd, text, sizeof(text)), "@test-liste");
        (void)close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ipv4_socket_is_called_by_its_port),
                cmocka_unit_test(ipv6_socket_is_called_by_its_port),
                cmocka_unit_test(unix_socket_is_called_by_its_path),
                cmocka_unit_test(abstract_socket_is_called_by_its_name),
                cmocka_unit_test(long_name_is_cut),
        };

        return cmocka_run_group_tests_name("listener-format", tests, NULL, NULL);
}
