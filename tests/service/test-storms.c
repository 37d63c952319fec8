/* SPDX-License-Identifier: MIT */

/* The acceptor is killed again and again, at any moment, while clients talk, come and go. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "systemd.h"

#define ROUNDS 20
#define TALKERS 24
#define GUESTS 12 /* a round */

/* All that were answered, by the names that records give them. */
static struct {
        char names[TALKERS + ROUNDS * GUESTS][64];
        size_t n, kills;
} storm;

static void start(void) {
        echod_start("--workers=4", NULL);
}

/* Busy, not asleep: a kill has to hit the acceptor in the middle of something. */
static void spin(unsigned most) {
        unsigned long iterations = (unsigned long)rand() % most;

        for (volatile unsigned long i = 0; i < iterations; i++)
                ;
}

static void strike(void) {
        spin(400000);
        echod_kill();
        storm.kills++;
}

static void remember(int client) {
        (void)client_name(client, storm.names[storm.n++]);
}

/* Whether this one, which said hello, is answered. The acceptor takes along at most the one client
 * that it has accepted and not yet handed over. */
static bool is_answered(int client) {
        char answer[6] = "";
        ssize_t n;

        assert_true(attend(client, POLLIN, PATIENCE_MSEC));
        n = recv(client, answer, sizeof(answer), 0);
        assert_true(n == sizeof(answer) || n == 0 || (n < 0 && errno == ECONNRESET));
        if (n == sizeof(answer))
                assert_memory_equal(answer, "hello\n", sizeof(answer));
        return n == sizeof(answer);
}

static void let_in(int *guests) {
        for (size_t i = 0; i < GUESTS; i++) {
                guests[i] = client_new();
                say(guests[i], "hello\n");
        }
}

static void see_off(int *guests) {
        for (size_t i = 0; i < GUESTS; i++) {
                if (is_answered(guests[i])) {
                        remember(guests[i]);
                        shutdown(guests[i], SHUT_WR);
                        expect_end(guests[i]);
                }
                (void)close(guests[i]);
        }
}

static void talk(int *talkers, unsigned round, bool answers) {
        char line[64];

        for (size_t i = 0; i < TALKERS; i++) {
                (void)snprintf(line, sizeof(line), "talker %zu in round %u\n", i, round);
                if (answers)
                        expect(talkers[i], line);
                else
                        say(talkers[i], line);
        }
}

/* A record that was being written when its writer was killed is written again by the next one:
 * better twice than never. */
static void expect_all_recorded(const char *what) {
        char record[128];

        for (size_t i = 0; i < storm.n; i++) {
                (void)snprintf(record, sizeof(record), "Client %s %s", storm.names[i], what);
                if (records(record) < 1)
                        fail_at(__FILE__, __LINE__, "no record '%s'", record);
        }
        (void)snprintf(record, sizeof(record), " %s", what);
        assert_in_range(records(record), storm.n, storm.n + storm.kills);
}

static void storm_begin(int *talkers) {
        memset(&storm, 0, sizeof(storm));
        srand(1);
        systemd_play();
        start();
        clients_served(talkers, TALKERS);
        eventually(systemd_stored("worker-") == 4);
}

static void storm_end(int *talkers) {
        char text[64];

        for (size_t i = 0; i < TALKERS; i++) {
                remember(talkers[i]);
                shutdown(talkers[i], SHUT_WR);
                expect_end(talkers[i]);
        }
        eventually(systemd_stored("worker-") == 0);
        (void)snprintf(text, sizeof(text), "0 clients, %zu served, 0 lost", storm.n);
        expect_status(text);
        expect_all_recorded("connected\n");
        expect_all_recorded("left: eof, ");
        assert_int_equal(records("Worker "), 0);
}

static void talkers_notice_no_storm(void **state) {
        int talkers[TALKERS], guests[GUESTS];

        (void)state;
        storm_begin(talkers);
        for (unsigned round = 0; round < ROUNDS; round++) {
                talk(talkers, round, false);
                let_in(guests);
                strike();
                talk(talkers, round, true);
                start();
                see_off(guests);
        }
        assert_true(storm.n >= ROUNDS * (GUESTS - 1));
        storm_end(talkers);
}

/* An acceptor that is killed in the middle of its start leaves all to the next. */
static void starts_that_fail_lose_nobody(void **state) {
        int talkers[TALKERS], guests[GUESTS];

        (void)state;
        storm_begin(talkers);
        for (unsigned round = 0; round < ROUNDS / 4; round++) {
                talk(talkers, round, false);
                let_in(guests);
                for (int kills = 0; kills < 4; kills++) {
                        strike();
                        echod_launch("--workers=4", NULL);
                        spin(10000000);
                }
                strike();
                talk(talkers, round, true);
                start();
                see_off(guests);
        }
        assert_true(storm.n >= ROUNDS / 4 * (GUESTS - 5));
        storm_end(talkers);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(talkers_notice_no_storm),
                CASE(starts_that_fail_lose_nobody),
        };

        return cmocka_run_group_tests_name("storms", cases, NULL, NULL);
}
