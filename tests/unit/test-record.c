/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/socket.h>

#include "journald.h"
#include "record.h"
#include "support.h"

#define EPOCH UINT64_C(0x5f3a)

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

static void limits_are_on_record(void **state) {
        (void)state;
        record_turned_away(&client.peer, 7);
        record_limit(1000, 500);
        record_stuck("Worker", 4711);
        record_lost_unseen(3);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "3e37e2ffe57f41e9a6ba9c4ba2b6bcce");
        assert_string_equal(journald_field("PEER"), "192.0.2.7:51234");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "48d83eba7e3f4914a60874ac9aa4796b");
        assert_string_equal(journald_field("CLIENTS"), "500");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "51eecf09241741a2be663e1ff03e947b");
        assert_string_equal(journald_field("WORKER_PID"), "4711");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "98f86082826844f89cb2e1c0fa9cd108");
        assert_string_equal(journald_field("CLIENTS"), "3");
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

#define CASE(f) cmocka_unit_test_setup_teardown(f, journald_start, journald_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(client_that_came_is_on_record), CASE(client_that_left_is_on_record),
                CASE(lost_client_has_no_counters),   CASE(every_reason_has_its_name),
                CASE(the_rest_is_on_record),         CASE(limits_are_on_record),
                CASE(fault_names_the_error),
        };

        return cmocka_run_group_tests_name("record", tests, end_when_stuck, NULL);
}
