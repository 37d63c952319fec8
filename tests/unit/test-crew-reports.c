/* SPDX-License-Identifier: MIT */

/* What a crew makes of the reports of workers that it has adopted. */

#include <stdio.h>
#include <sys/socket.h>

#include "adopted.h"
#include "cleanup.h"
#include "journald.h"
#include "support.h"

#define LEFT "8445c97c11644d289510d8512981846a"
#define CONNECTED "db5ecb4a3dc444069d1dc7f197a9c9f9"
#define WORKER_LOST "452f6f97c05c42fc9a3ff4cb3cf4a146"

static void assert_record(const char *id, uint64_t session) {
        char expected[16];

        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), id);
        (void)snprintf(expected, sizeof(expected), "1-%d", (int)session);
        assert_string_equal(journald_field("SESSION"), expected);
}

static void adopted_worker_is_retired(void **state) {
        struct pair_message message;

        (void)state;
        adopt(0);
        assert_int_equal(pair_receive(worker[0], &message), 1);
        assert_int_equal(message.type, PAIR_RETIRE);
        assert_int_equal(crew.calling, 1);
}

static void roll_tells_whom_it_serves(void **state) {
        (void)state;
        adopt(0);
        adopt(1);
        say(0, PAIR_ROLL, 3, 4);
        say_roll(0, 5, 5);
        let_crew_hear();
        assert_int_equal(crew.clients, 3);
        assert_int_equal(crew.calling, 1);
        say_roll(1, 6, 6);
        let_crew_hear();
        assert_int_equal(crew.clients, 4);
        assert_int_equal(crew.calling, 0);
        assert_int_equal(ledger.served, 6);
        assert_false(journald_receive()); /* nobody came, nobody went */
}

/* A predecessor that was killed while it heard the roll has left the rest of the answer. */
static void answer_to_an_earlier_call_does_not_end_the_roll(void **state) {
        const struct session stale = {.id = crew.call - 1};

        (void)state;
        adopt(0);
        assert_int_equal(pair_send(worker[0], PAIR_ROLLED, &stale, 1, -1), 0);
        let_crew_hear();
        assert_int_equal(crew.calling, 1);
        say_roll(0, 3, 4);
        let_crew_hear();
        assert_int_equal(crew.clients, 2);
        assert_int_equal(crew.calling, 0);
}

static void roll_is_believed_once(void **state) {
        (void)state;
        adopt(0);
        say(0, PAIR_ROLL, 5, 5);
        say(0, PAIR_ROLL, 5, 5);
        say_roll(0, 6, 6);
        say(0, PAIR_ROLL, 3, 4); /* after its end */
        let_crew_hear();
        assert_int_equal(crew.clients, 2);
}

static void client_that_leaves_is_recorded_as_it_is_known(void **state) {
        struct session report = numbered(5);

        (void)state;
        adopt(0);
        say_roll(0, 5, 6);
        let_crew_hear();
        report.peer.port = 1; /* not the worker's to say */
        report.lines = 1234;  /* but this is */
        assert_int_equal(pair_send(worker[0], PAIR_LEFT, &report, 1, -1), 0);
        let_crew_hear();
        assert_record(LEFT, 5);
        assert_string_equal(journald_field("PEER"), "192.0.2.7:50005");
        assert_string_equal(journald_field("LINES"), "1234");
        assert_int_equal(crew.clients, 1);
        assert_int_equal(ledger.left, 5);
        say(0, PAIR_LEFT, 5, 5); /* a second time */
        say(0, PAIR_LEFT, 3, 3); /* no client of its */
        let_crew_hear();
        assert_false(journald_receive());
        assert_int_equal(crew.clients, 1);
}

static void client_that_left_without_an_acceptor_is_recorded(void **state) {
        (void)state;
        say(0, PAIR_LEFT, 5, 6);
        adopt(0);
        say_roll(0, 3, 3);
        let_crew_hear();
        assert_record(LEFT, 5);
        assert_record(LEFT, 6);
        assert_false(journald_receive());
        assert_int_equal(crew.clients, 1);
}

static void client_that_was_not_announced_is_recorded(void **state) {
        (void)state;
        ledger.announced = 5; /* its predecessor was killed at that moment */
        adopt(0);
        say_roll(0, 5, 7); /* 7: a moment earlier */
        let_crew_hear();
        assert_record(CONNECTED, 6);
        assert_record(CONNECTED, 7);
        assert_false(journald_receive());
        assert_int_equal(ledger.served, 7);
        assert_int_equal(ledger.announced, 7);
}

static void half_recorded_message_is_recorded_to_its_end(void **state) {
        (void)state;
        say(0, PAIR_LEFT, 1, 3);
        adopt(0);
        let_crew_hear();
        assert_record(LEFT, 3);
        assert_false(journald_receive());
}

/* The same, when another worker has something to say, too, and is heard first. */
static void half_recorded_message_is_recorded_once_among_others(void **state) {
        (void)state;
        say(0, PAIR_LEFT, 2, 3);
        say(1, PAIR_LEFT, 5, 5);
        adopt(1);
        let_crew_hear();
        adopt(0);
        let_crew_hear();
        assert_record(LEFT, 5);
        assert_record(LEFT, 3);
        assert_false(journald_receive());
}

static void clients_of_a_dead_worker_are_lost(void **state) {
        (void)state;
        adopt(0);
        say_roll(0, 4, 6);
        let_crew_hear();
        say(0, PAIR_LEFT, 5, 5); /* what it still said counts, though it has read nothing */
        fd_close(&worker[0]);
        let_crew_hear();
        assert_record(LEFT, 5);
        assert_string_equal(journald_field("REASON"), "eof");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), WORKER_LOST);
        assert_string_equal(journald_field("WORKER_PID"), "5000000");
        assert_string_equal(journald_field("CLIENTS"), "2");
        assert_record(LEFT, 4);
        assert_string_equal(journald_field("REASON"), "lost");
        assert_record(LEFT, 6);
        assert_string_equal(journald_field("REASON"), "lost");
        assert_int_equal(crew.clients, 0);
        assert_int_equal(ledger.lost, 2);
}

static void worker_that_leaves_with_its_last_client_is_no_loss(void **state) {
        (void)state;
        adopt(0);
        say_roll(0, 5, 5);
        say(0, PAIR_LEFT, 5, 5);
        (void)shutdown(worker[0], SHUT_RDWR);
        let_crew_hear();
        assert_record(LEFT, 5);
        assert_false(journald_receive());
        assert_int_equal(ledger.lost, 0);
        assert_null(crew.workers[1]); /* 0 is for workers of our own */
}

static void worker_that_dies_with_its_roll_untold_is_not_waited_for(void **state) {
        (void)state;
        adopt(0);
        adopt(1);
        say(0, PAIR_ROLL, 5, 5);
        fd_close(&worker[0]);
        fd_close(&worker[1]);
        let_crew_hear();
        assert_int_equal(crew.calling, 0);
        assert_int_equal(crew.clients, 0);
        assert_int_equal(ledger.lost, 1);
}

static void worker_of_another_version_is_not_waited_for(void **state) {
        static const uint16_t message[] = {2, PAIR_ROLL, 0, 96};

        (void)state;
        adopt(0);
        assert_int_equal(send(worker[0], message, sizeof(message), 0), sizeof(message));
        let_crew_hear();
        assert_int_equal(crew.calling, 0);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), "5ed04abd0df94274ae0422d20886afcd");
        assert_non_null(crew.workers[1]); /* it serves on */
}

/* A worker that takes clients and has nothing to say: many clients fill its pair, again and again.
 */
static void room_in_the_pair_is_no_failure(void **state) {
        int on;

        (void)state;
        adopt(0);
        say_roll(0, 5, 5);
        let_crew_hear();
        for (int i = 0; i < 3 * CREW_FAILURES; i++) {
                crew.workers[1]->blocked = true;
                crew_settle(crew.workers[1]);
                let_crew_hear();
                assert_false(crew.workers[1]->blocked);
        }
        assert_true(sd_event_source_get_enabled(crew.workers[1]->reports, &on) >= 0);
        assert_int_equal(on, SD_EVENT_ON);
        assert_false(journald_receive());
}

static void worker_that_says_something_is_not_stuck(void **state) {
        struct crew_worker *known;

        (void)state;
        adopt(0); /* it is sent something, and does not read it */
        known = crew.workers[1];
        known->unread_since -= USEC_PER_SEC;
        assert_true(crew_is_stuck(known));
        say_roll(0, 5, 5);
        let_crew_hear();
        assert_false(known->stuck);
        assert_false(crew_is_stuck(known));
        known->unread_since -= USEC_PER_SEC;
        assert_true(crew_is_stuck(known)); /* it has still not read it */
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_crew, close_crew)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(adopted_worker_is_retired),
                CASE(roll_tells_whom_it_serves),
                CASE(answer_to_an_earlier_call_does_not_end_the_roll),
                CASE(roll_is_believed_once),
                CASE(client_that_leaves_is_recorded_as_it_is_known),
                CASE(client_that_left_without_an_acceptor_is_recorded),
                CASE(client_that_was_not_announced_is_recorded),
                CASE(half_recorded_message_is_recorded_to_its_end),
                CASE(half_recorded_message_is_recorded_once_among_others),
                CASE(clients_of_a_dead_worker_are_lost),
                CASE(worker_that_leaves_with_its_last_client_is_no_loss),
                CASE(worker_that_dies_with_its_roll_untold_is_not_waited_for),
                CASE(worker_of_another_version_is_not_waited_for),
                CASE(room_in_the_pair_is_no_failure),
                CASE(worker_that_says_something_is_not_stuck),
        };

        return cmocka_run_group_tests_name("crew-reports", tests, end_when_stuck, NULL);
}
