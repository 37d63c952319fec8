/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "support.h"

static struct sockaddr_storage ipv4(const char *address, in_port_t port) {
        struct sockaddr_storage storage = {0};
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

        assert_int_equal(inet_pton(AF_INET, address, &in.sin_addr), 1);
        memcpy(&storage, &in, sizeof(in));
        return storage;
}

static struct sockaddr_storage ipv6(const char *address, in_port_t port, uint32_t scope) {
        struct sockaddr_storage storage = {0};
        struct sockaddr_in6 in6 = {
                .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope};

        assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
        memcpy(&storage, &in6, sizeof(in6));
        return storage;
}

static void assert_prints(struct sockaddr_storage address, const char *expected) {
        struct peer peer = peer_of(&address, -1);
        char text[PEER_TEXT_MAX];

        assert_ptr_equal(peer_format(&peer, text), text);
        assert_string_equal(text, expected);
}

static void ipv4_client_is_address_and_port(void **state) {
        (void)state;
        assert_prints(ipv4("192.0.2.7", 51234), "192.0.2.7:51234");
        assert_prints(ipv4("255.255.255.255", 65535), "255.255.255.255:65535");
        assert_prints(ipv4("0.0.0.0", 1), "0.0.0.0:1");
}

static void ipv6_client_stands_in_brackets(void **state) {
        (void)state;
        assert_prints(ipv6("2001:db8::1", 51234, 0), "[2001:db8::1]:51234");
        assert_prints(ipv6("::1", 256, 0), "[::1]:256");
        assert_prints(ipv6("::", 0, 0), "[::]:0");
}

static void link_local_client_names_its_link(void **state) {
        (void)state;
        assert_prints(ipv6("fe80::1", 51234, 2), "[fe80::1%2]:51234");
}

static void ipv4_client_of_a_dual_stack_socket_is_ipv4(void **state) {
        struct sockaddr_storage mapped = ipv6("::ffff:192.0.2.7", 51234, 0);
        struct sockaddr_storage plain = ipv4("192.0.2.7", 51234);
        struct peer a = peer_of(&mapped, -1), b = peer_of(&plain, -1);

        (void)state;
        assert_prints(mapped, "192.0.2.7:51234");
        assert_memory_equal(&a, &b, sizeof(a));
        /* An address that only looks like one. */
        assert_prints(ipv6("::fffe:c000:207", 51234, 0), "[::fffe:c000:207]:51234");
}

static void longest_text_fits(void **state) {
        (void)state;
        assert_prints(ipv6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, UINT32_MAX),
                      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

static void unix_client_is_its_process(void **state) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        socklen_t length = sizeof(un);
        struct sockaddr_storage address = {0};
        char text[PEER_TEXT_MAX], expected[32];
        int listener = socket(AF_UNIX, SOCK_STREAM, 0), client;
        struct peer peer;
        pid_t pid;

        (void)state;
        assert_int_equal(bind(listener, (void *)&un, sizeof(sa_family_t)), 0);
        assert_int_equal(getsockname(listener, (void *)&un, &length), 0);
        assert_int_equal(listen(listener, 1), 0);
        pid = fork();
        if (pid == 0)
                _exit(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, length));
        client = accept(listener, (void *)&address, &(socklen_t){sizeof(address)});
        assert_true(client >= 0);
        peer = peer_of(&address, client);
        (void)snprintf(expected, sizeof(expected), "unix:%d", (int)pid);
        assert_string_equal(peer_format(&peer, text), expected);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        (void)close(client);
        (void)close(listener);
}

static void peer_of_no_family_is_unknown(void **state) {
        const struct peer nobody = {0}, garbage = {.family = 0xffff, .port = 1, .number = 2};
        char text[PEER_TEXT_MAX];

        (void)state;
        assert_string_equal(peer_format(&nobody, text), "unknown");
        assert_string_equal(peer_format(&garbage, text), "unknown");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ipv4_client_is_address_and_port),
                cmocka_unit_test(ipv6_client_stands_in_brackets),
                cmocka_unit_test(link_local_client_names_its_link),
                cmocka_unit_test(ipv4_client_of_a_dual_stack_socket_is_ipv4),
                cmocka_unit_test(longest_text_fits),
                cmocka_unit_test(unix_client_is_its_process),
                cmocka_unit_test(peer_of_no_family_is_unknown),
        };

        return cmocka_run_group_tests_name("peer", tests, end_when_stuck, NULL);
}
