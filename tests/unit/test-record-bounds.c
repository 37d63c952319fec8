/* SPDX-License-Identifier: MIT */

/* How many records there may be; see test-record.c for what is in them. */

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "journald.h"
#include "pair.h"
#include "record.h"
#include "support.h"
#include "worker.h"

#define SECOND UINT64_C(1000000) /* us */
#define MINUTE (60 * SECOND)
#define EPOCH UINT64_C(0x5f3a)

/* The test's own clock: a machine that has been up for an hour. */
static uint64_t now = 60 * MINUTE;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
        (void)clock;
        time->tv_sec = (time_t)(now / SECOND);
        time->tv_nsec = (long)(now % SECOND) * 1000;
        return 0;
}

static const struct session client = {
        .peer = {.family = AF_INET, .port = 51234, .address = {192, 0, 2, 7}},
        .id = 1204,
        .since = 1000,
        .ended = 2501000,
        .lines = 3,
        .received = 40,
        .sent = 39,
        .reason = SESSION_EOF,
};

/* Fixtures: nothing is left of what was counted in the minute before. */
static int text_minute(void **state) {
        int r = stderr_capture(state);

        now += 10 * MINUTE;
        (void)record_tick();
        (void)stderr_text();
        return r;
}

static int native_minute(void **state) {
        int r = journald_start(state);

        now += 10 * MINUTE;
        (void)record_tick();
        while (journald_receive())
                ;
        return r;
}

static size_t lines_of(const char *text) {
        size_t n = 0;

        for (; *text != '\0'; text++)
                n += *text == '\n';
        return n;
}

static void flood(size_t clients) {
        for (size_t i = 0; i < clients; i++) {
                record_connected(&client, EPOCH);
                record_left(&client, EPOCH);
        }
}

static void below_the_bound_no_client_record_is_missing(void **state) {
        (void)state;
        flood(2500);
        assert_int_equal(lines_of(stderr_text()), 5000);
        now += MINUTE;
        assert_int_equal(record_tick(), 0); /* and nothing was held back */
        assert_string_equal(stderr_text(), "");
}

static void flood_of_clients_is_counted(void **state) {
        (void)state;
        flood(2600);
        assert_int_equal(lines_of(stderr_text()), 5000);
        now += MINUTE - 1;
        flood(1);
        assert_int_equal(record_tick(), 1); /* it wants to be called again */
        assert_string_equal(stderr_text(), "");
        now += 1;
        assert_int_equal(record_tick(), 0);
        assert_string_equal(stderr_text(),
                            "echod: 202 client records held back: more than 5000 a minute\n");
        flood(2501); /* a new minute, a new bound */
        assert_int_equal(lines_of(stderr_text()), 5000);
}

static void held_back_records_are_told_before_the_next(void **state) {
        (void)state;
        flood(2501);
        (void)stderr_text();
        now += MINUTE;
        record_connected(&client, EPOCH); /* before any tick */
        assert_string_equal(stderr_text(),
                            "echod: 2 client records held back: more than 5000 a minute\n"
                            "echod: Client 192.0.2.7:51234 connected\n");
}

static void held_back_records_are_told_at_the_end(void **state) {
        (void)state;
        flood(2502);
        (void)stderr_text();
        record_finish(); /* within the minute */
        record_finish();
        assert_string_equal(stderr_text(),
                            "echod: 4 client records held back: more than 5000 a minute\n");
}

static void what_waits_is_written_at_the_end(void **state) {
        size_t heard = 0;

        (void)state;
        flood(500); /* more than journald's queue holds, less than its backlog */
        while (journald_receive())
                heard++;
        assert_in_range(heard, 1, 999);
        record_finish();
        assert_true(journald_receive());
}

static void count_of_held_back_records_is_a_field(void **state) {
        (void)state;
        for (int i = 0; i < 2600; i++) {
                flood(1);
                while (journald_receive())
                        ;
        }
        now += MINUTE;
        assert_int_equal(record_tick(), 0);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "93dd0ecb6d4d4bd497a5933053aa09ed");
        assert_string_equal(journald_field("RECORDS"), "200");
        assert_string_equal(journald_field("PRIORITY"), "4");
}

static void flood_of_clients_hides_nothing_else(void **state) {
        (void)state;
        flood(3000);
        (void)stderr_text();
        record_worker_lost(4711, "killed by SIGKILL", 0);
        record_draining(7);
        assert_int_equal(lines_of(stderr_text()), 2);
}

static void clients_turned_away_are_client_records(void **state) {
        (void)state;
        flood(2499);
        for (int i = 0; i < 3; i++)
                record_turned_away(&client.peer, 7);
        assert_int_equal(lines_of(stderr_text()), 5000);
        now += MINUTE;
        (void)record_tick();
        assert_string_equal(stderr_text(),
                            "echod: 1 client records held back: more than 5000 a minute\n");
}

/* A worker is a copy of the acceptor, with all that this has counted. */
static int be_a_worker(void *pair) {
        static const struct service service = {.unit = "echo", .program = "echod"};
        static const struct options options = {.workers = 1};

        worker_main(&service, &options, *(int *)pair, -1, EPOCH);
}

static void worker_tells_nothing_of_the_acceptors(void **state) {
        int acceptor, worker;

        (void)state;
        flood(2600);
        (void)stderr_text();
        assert_int_equal(pair_open(&acceptor, &worker), 0);
        assert_int_equal(pair_send(acceptor, PAIR_RETIRE, NULL, 0, -1), 0);
        (void)fflush(stdout); /* it is copied, too */
        assert_int_equal(in_child(be_a_worker, &worker), 0);
        assert_string_equal(stderr_text(), "");
        (void)close(acceptor);
        (void)close(worker);
}

static void full_house_is_told_once_a_minute(void **state) {
        (void)state;
        record_full(100);
        record_full(100);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "09595461b48147e99bd2cabee242b1ab");
        assert_string_equal(journald_field("CLIENTS"), "100");
        now += MINUTE - 1;
        record_full(100);
        assert_false(journald_receive());
        now += 1;
        record_full(100);
        assert_true(journald_receive());
        assert_false(journald_receive());
}

static void fault_is_told_once_a_second(void **state) {
        (void)state;
        record_fault("Cannot accept", -EMFILE);
        record_fault("Cannot accept", -EMFILE);
        now += SECOND - 1;
        record_fault("Cannot fork", -ENOMEM);
        assert_string_equal(stderr_text(), "echod: Cannot accept: Too many open files\n");
        now += 1;
        record_fault("Cannot fork", -ENOMEM);
        assert_string_equal(stderr_text(), "echod: Cannot fork: Cannot allocate memory\n");
}

#define TEXT(f) cmocka_unit_test_setup_teardown(f, text_minute, stderr_release)
#define NATIVE(f) cmocka_unit_test_setup_teardown(f, native_minute, journald_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEXT(below_the_bound_no_client_record_is_missing),
                TEXT(flood_of_clients_is_counted),
                TEXT(held_back_records_are_told_before_the_next),
                TEXT(held_back_records_are_told_at_the_end),
                NATIVE(what_waits_is_written_at_the_end),
                NATIVE(count_of_held_back_records_is_a_field),
                TEXT(flood_of_clients_hides_nothing_else),
                TEXT(clients_turned_away_are_client_records),
                TEXT(worker_tells_nothing_of_the_acceptors),
                NATIVE(full_house_is_told_once_a_minute),
                TEXT(fault_is_told_once_a_second),
        };

        return cmocka_run_group_tests_name("record-bounds", tests, end_when_stuck, NULL);
}
