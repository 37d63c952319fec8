/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <string.h>

#include "sources.h"
#include "support.h"

#define SEED 20260404

static struct peer ipv4(const char *address, uint16_t port) {
        struct peer peer = {.family = AF_INET, .port = port};

        assert_int_equal(inet_pton(AF_INET, address, peer.address), 1);
        return peer;
}

static struct peer ipv6(const char *address, uint16_t port) {
        struct peer peer = {.family = AF_INET6, .port = port};

        assert_int_equal(inet_pton(AF_INET6, address, peer.address), 1);
        return peer;
}

static void clients_of_one_address_are_counted_together(void **state) {
        struct peer first = ipv4("192.0.2.7", 1), second = ipv4("192.0.2.7", 2);
        struct peer other = ipv4("192.0.2.8", 1);
        struct sources sources = {0};

        (void)state;
        assert_int_equal(sources_count(&sources, &first), 0);
        sources_add(&sources, &first);
        sources_add(&sources, &second);
        assert_int_equal(sources_count(&sources, &first), 2);
        assert_int_equal(sources_count(&sources, &other), 0);
        sources_remove(&sources, &first);
        assert_int_equal(sources_count(&sources, &second), 1);
        sources_remove(&sources, &second);
        assert_int_equal(sources_count(&sources, &second), 0);
        sources_remove(&sources, &second); /* one that is not counted */
        assert_int_equal(sources_count(&sources, &second), 0);
        sources_free(&sources);
}

static void ipv6_source_is_a_64(void **state) {
        struct peer first = ipv6("2001:db8:1:2::1", 1), second = ipv6("2001:db8:1:2:ffff::9", 2);
        struct peer neighbour = ipv6("2001:db8:1:3::1", 1);
        struct sources sources = {0};

        (void)state;
        sources_add(&sources, &first);
        sources_add(&sources, &second);
        assert_int_equal(sources_count(&sources, &first), 2);
        assert_int_equal(sources_count(&sources, &neighbour), 0);
        sources_free(&sources);
}

static void ipv4_and_ipv6_are_told_apart(void **state) {
        struct peer v4 = ipv4("32.1.13.184", 1), v6 = ipv6("2001:db8::", 1);
        struct peer zero4 = ipv4("0.0.0.0", 1), zero6 = ipv6("::1", 1);
        struct peer v6_of_one = ipv6("2001:db8:100::", 1);
        struct sources sources = {0};

        (void)state;
        sources_add(&sources, &v4);
        sources_add(&sources, &zero6);
        assert_int_equal(sources_count(&sources, &v6), 0);
        assert_int_equal(sources_count(&sources, &v6_of_one), 0);
        assert_int_equal(sources_count(&sources, &zero4), 0);
        assert_int_equal(sources_count(&sources, &zero6), 1);
        sources_free(&sources);
}

static void unix_clients_are_not_counted(void **state) {
        struct peer peer = {.family = AF_UNIX, .number = 4711}, unknown = {0};
        struct sources sources = {0};

        (void)state;
        sources_add(&sources, &peer);
        sources_add(&sources, &unknown);
        assert_int_equal(sources_count(&sources, &peer), 0);
        assert_int_equal(sources_count(&sources, &unknown), 0);
        sources_free(&sources);
}

/* Different for different i. At random, so that the tree gets all shapes. */
static struct peer numbered(uint32_t i, uint64_t random) {
        struct peer peer = {.family = i % 2 == 0 ? AF_INET : AF_INET6};
        uint64_t any;

        random += i;
        any = random_next(&random);
        memcpy(peer.address, &any, sizeof(any));
        return peer;
}

/* The oracle: a plain table of how many each of 60 has. */
static void random_comings_and_goings_are_counted_right(void **state) {
        uint32_t clients[60];

        (void)state;
        for (uint64_t seed = SEED; seed < SEED + 50; seed++) {
                struct sources sources = {0};
                uint64_t random = seed;

                memset(clients, 0, sizeof(clients));
                for (int step = 0; step < 2000; step++) {
                        uint32_t i = (uint32_t)random_below(&random, COUNT(clients));
                        struct peer peer = numbered(i, seed);

                        if (clients[i] > 0 && random_below(&random, 2) == 0) {
                                sources_remove(&sources, &peer);
                                clients[i]--;
                        } else if (clients[i] < 3) {
                                sources_add(&sources, &peer);
                                clients[i]++;
                        }
                        i = (uint32_t)random_below(&random, COUNT(clients));
                        peer = numbered(i, seed);
                        if (sources_count(&sources, &peer) != clients[i])
                                fail_msg("seed %llu", (unsigned long long)seed);
                }
                sources_free(&sources);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(clients_of_one_address_are_counted_together),
                cmocka_unit_test(ipv6_source_is_a_64),
                cmocka_unit_test(ipv4_and_ipv6_are_told_apart),
                cmocka_unit_test(unix_clients_are_not_counted),
                cmocka_unit_test(random_comings_and_goings_are_counted_right),
        };

        return cmocka_run_group_tests_name("sources", tests, end_when_stuck, NULL);
}
