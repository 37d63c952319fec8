/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "journald.h"
#include "record.h"
#include "support.h"

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

static void assert_session_fields(const char *id) {
        assert_string_equal(journald_field("MESSAGE_ID"), id);
        assert_string_equal(journald_field("PEER"), "192.0.2.7:51234");
        assert_string_equal(journald_field("SESSION"), "5f3a-1204");
        assert_string_equal(journald_field("PRIORITY"), "6");
}

static void client_that_came_is_on_record(void **state) {
        (void)state;
        record_connected(&client, EPOCH);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "Client 192.0.2.7:51234 connected");
        assert_session_fields("db5ecb4a3dc444069d1dc7f197a9c9f9");
}

static void client_that_left_is_on_record(void **state) {
        (void)state;
        record_left(&client, EPOCH);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "Client 192.0.2.7:51234 left: eof, 3 lines");
        assert_session_fields("8445c97c11644d289510d8512981846a");
        assert_string_equal(journald_field("REASON"), "eof");
        assert_string_equal(journald_field("LINES"), "3");
        assert_string_equal(journald_field("BYTES_RECEIVED"), "40");
        assert_string_equal(journald_field("BYTES_SENT"), "39");
        assert_string_equal(journald_field("DURATION_USEC"), "2500000");
}

/* Its counters went with the worker. */
static void lost_client_has_no_counters(void **state) {
        struct session lost = client;

        (void)state;
        lost.reason = SESSION_LOST;
        record_left(&lost, EPOCH);
        assert_true(journald_receive());
        assert_session_fields("8445c97c11644d289510d8512981846a");
        assert_string_equal(journald_field("REASON"), "lost");
        assert_string_equal(journald_field("DURATION_USEC"), "2500000");
        assert_int_equal(journald_count("LINES"), 0);
        assert_int_equal(journald_count("BYTES_RECEIVED"), 0);
        assert_int_equal(journald_count("BYTES_SENT"), 0);
}

static void every_reason_has_its_name(void **state) {
        static const struct {
                uint32_t reason;
                const char *name;
        } cases[] = {
                {SESSION_EOF, "eof"},         {SESSION_RESET, "reset"}, {SESSION_DRAIN, "drain"},
                {SESSION_TIMEOUT, "timeout"}, {SESSION_ERROR, "error"}, {SESSION_LOST, "lost"},
                {SESSION_REASONS, "error"},   {UINT32_MAX, "error"}, /* a message may hold anything
                                                                      */
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                struct session left = client;

                left.reason = cases[i].reason;
                record_left(&left, EPOCH);
                assert_true(journald_receive());
                assert_string_equal(journald_field("REASON"), cases[i].name);
        }
}

static void the_rest_is_on_record(void **state) {
        (void)state;
        record_listening("port 4040");
        record_adopted(3, 50);
        record_draining(7);
        record_worker_lost(4711, "killed by SIGKILL", 2);
        record_refused("Bad option", "write another");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "Accepting connections on port 4040");
        assert_string_equal(journald_field("MESSAGE_ID"), "0ea11234fcd447418f275cc567604684");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "6ec90e482cb24e9c97d9fccd9687aba0");
        assert_string_equal(journald_field("WORKERS"), "3");
        assert_string_equal(journald_field("CLIENTS"), "50");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "91262a39010845419a7dfdfe1d1a6b7e");
        assert_string_equal(journald_field("CLIENTS"), "7");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "452f6f97c05c42fc9a3ff4cb3cf4a146");
        assert_string_equal(journald_field("WORKER_PID"), "4711");
        assert_string_equal(journald_field("CAUSE"), "killed by SIGKILL");
        assert_string_equal(journald_field("CLIENTS"), "2");
        assert_string_equal(journald_field("PRIORITY"), "3");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "Bad option: write another");
        assert_string_equal(journald_field("MESSAGE_ID"), "a811e0fd13674813aac67e08b0cbc7e5");
        assert_string_equal(journald_field("PRIORITY"), "3");
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

static void fault_names_the_error(void **state) {
        (void)state;
        record_fault("Cannot accept", -EMFILE);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "Cannot accept: Too many open files");
        assert_string_equal(journald_field("MESSAGE_ID"), "5ed04abd0df94274ae0422d20886afcd");
        assert_string_equal(journald_field("ERRNO"), "24");
        assert_string_equal(journald_field("PRIORITY"), "4");
}

#define TEXT(f) cmocka_unit_test_setup_teardown(f, text_minute, stderr_release)
#define NATIVE(f) cmocka_unit_test_setup_teardown(f, native_minute, journald_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                NATIVE(client_that_came_is_on_record),
                NATIVE(client_that_left_is_on_record),
                NATIVE(lost_client_has_no_counters),
                NATIVE(every_reason_has_its_name),
                NATIVE(the_rest_is_on_record),
                TEXT(below_the_bound_no_client_record_is_missing),
                TEXT(flood_of_clients_is_counted),
                TEXT(held_back_records_are_told_before_the_next),
                TEXT(held_back_records_are_told_at_the_end),
                NATIVE(count_of_held_back_records_is_a_field),
                TEXT(flood_of_clients_hides_nothing_else),
                TEXT(fault_is_told_once_a_second),
                NATIVE(fault_names_the_error),
        };

        return cmocka_run_group_tests_name("record", tests, end_when_stuck, NULL);
}
