/* SPDX-License-Identifier: MIT */

/* What a crew that has adopted workers knows of how many clients there are, were and came to harm.
 */

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adopted.h"
#include "cleanup.h"
#include "journald.h"
#include "support.h"

#define LOST_UNSEEN "98f86082826844f89cb2e1c0fa9cd108"

static void assert_nothing_on_record(void) {
        assert_false(journald_receive());
}

static void forget_records(void) {
        while (journald_receive())
                ;
}

static void who_is_served_is_not_lost(void **state) {
        (void)state;
        adopt(0);
        adopt(1);
        say_roll(0, 3, 4);
        say_roll(1, 5, 6);
        let_crew_hear();
        crew_reckon(&crew);
        assert_int_equal(ledger.lost, 0);
        assert_nothing_on_record();
}

static void who_left_without_an_acceptor_is_not_lost(void **state) {
        (void)state;
        say(0, PAIR_LEFT, 3, 5);
        adopt(0);
        say_roll(0, 6, 6);
        let_crew_hear();
        forget_records();
        crew_reckon(&crew);
        assert_int_equal(ledger.ended, 5);
        assert_int_equal(ledger.lost, 0);
        assert_nothing_on_record();
}

static void who_went_with_a_worker_unseen_is_lost(void **state) {
        (void)state;
        adopt(0);
        say_roll(0, 3, 3); /* and another worker has died, with 4, 5 and 6 */
        let_crew_hear();
        crew_reckon(&crew);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE_ID"), LOST_UNSEEN);
        assert_string_equal(journald_field("CLIENTS"), "3");
        assert_int_equal(ledger.lost, 3);
        crew_reckon(&crew); /* they are lost once */
        assert_int_equal(ledger.lost, 3);
        assert_nothing_on_record();
}

static void who_may_still_be_told_of_is_not_lost(void **state) {
        (void)state;
        adopt(0);
        adopt(1);
        say_roll(0, 3, 4);
        let_crew_hear();
        crew_reckon(&crew); /* the other one is late */
        assert_int_equal(ledger.lost, 0);
        assert_nothing_on_record();
}

static void who_is_served_by_another_version_is_not_lost(void **state) {
        static const uint16_t message[] = {2, PAIR_ROLL, 0, 96};

        (void)state;
        adopt(0);
        assert_int_equal(send(worker[0], message, sizeof(message), 0), sizeof(message));
        let_crew_hear();
        forget_records();
        crew_reckon(&crew);
        assert_int_equal(ledger.lost, 0);
        assert_nothing_on_record();
}

static void who_goes_with_a_worker_is_counted_once(void **state) {
        (void)state;
        adopt(0);
        adopt(1);
        say_roll(0, 3, 4);
        say_roll(1, 5, 6);
        let_crew_hear();
        fd_close(&worker[0]);
        let_crew_hear();
        forget_records();
        crew_reckon(&crew);
        assert_int_equal(crew.clients, 2);
        assert_int_equal(ledger.ended, 4);
        assert_int_equal(ledger.lost, 2);
        assert_nothing_on_record();
}

static uint32_t count_at_the_source(void) {
        struct session any = numbered(1);

        return sources_count(&crew.sources, &any.peer);
}

static void adopted_clients_count_for_their_source(void **state) {
        struct session another = numbered(7);

        (void)state;
        adopt(0);
        say_roll(0, 3, 6);
        let_crew_hear();
        assert_int_equal(count_at_the_source(), 4);
        assert_int_equal(crew_hand_over(&crew, &another, STDIN_FILENO), -EUSERS);
        assert_int_equal(ledger.served, 6);
        say(0, PAIR_LEFT, 4, 5);
        let_crew_hear();
        assert_int_equal(count_at_the_source(), 2);
        fd_close(&worker[0]);
        let_crew_hear();
        assert_int_equal(count_at_the_source(), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_crew, close_crew)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(who_is_served_is_not_lost),
                CASE(who_left_without_an_acceptor_is_not_lost),
                CASE(who_went_with_a_worker_unseen_is_lost),
                CASE(who_may_still_be_told_of_is_not_lost),
                CASE(who_is_served_by_another_version_is_not_lost),
                CASE(who_goes_with_a_worker_is_counted_once),
                CASE(adopted_clients_count_for_their_source),
        };

        return cmocka_run_group_tests_name("crew-counts", tests, end_when_stuck, NULL);
}
