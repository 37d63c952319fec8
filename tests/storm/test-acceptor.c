/* SPDX-License-Identifier: MIT */

/* The acceptor is killed again and again, at any moment, also during its start, while clients talk,
 * come and go. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "storm.h"
#include "systemd.h"

#define TALKERS 24

static struct load *storm_begin(void) {
        static const struct load_plan plan = {.talkers = TALKERS, .visitors = 16};

        srand(1);
        storm_forget();
        systemd_play();
        echod_start("--workers=4", NULL);
        return load_start(&plan);
}

/* Every third is killed before it can have started. */
static void strike(uint64_t kill) {
        storm_pass(storm_while(kill % 3 == 0 ? 3000 : 30000));
        echod_kill();
        (void)storm_records();
        echod_launch("--workers=4", NULL);
}

/* Everybody has been served to the end, but for one client a kill at most: the one that had been
 * accepted and not yet handed over. */
static void storm_end(struct load *load, uint64_t kills) {
        load_end(load);
        storm_expect_well(load);
        assert_int_equal(load->connected, TALKERS);
        assert_true(load->visits >= kills);
        assert_in_range(load->cut, 0, kills);
        eventually(systemd_stored("worker-") == 0);
}

static void nobody_notices_that_the_acceptor_is_killed(void **state) {
        const uint64_t kills = storm_times(60, 1000);
        struct load *load = storm_begin();
        const struct storm_records *records;

        (void)state;
        for (uint64_t i = 0; i < kills; i++)
                strike(i);
        storm_end(load, kills);

        uint64_t served = TALKERS + load->visits;
        eventually(storm_status().clients == 0 && storm_status().served == served);
        assert_int_equal(storm_status().lost, 0);
        /* A record that was being written when its writer was killed is written again. */
        eventually((records = storm_records())->eof >= served);
        assert_in_range(records->eof, served, served + kills);
        assert_in_range(records->connected, served, served + kills);
        assert_int_equal(records->left, records->eof);
        assert_int_equal(records->workers, 0);
        storm_row("kill -9 of the acceptor", kills,
                  "%lu clients served: %lu cut off, 0 refused; records and counts complete", served,
                  load->cut);
        load_free(load);
}

/* They understand neither each other's messages nor each other's ledger. The talkers' workers are
 * the other version's. */
static void nobody_notices_upgrades(void **state) {
        const uint64_t kills = storm_times(30, 300);
        const char *const builds[] = {getenv("ECHOD_OTHER_VERSION"), getenv("ECHOD")};
        struct load *load;

        (void)state;
        (void)setenv("ECHOD", builds[0], 1);
        load = storm_begin();
        for (uint64_t i = 1; i <= kills; i++) {
                (void)setenv("ECHOD", builds[i % 2], 1);
                strike(i);
        }
        (void)setenv("ECHOD", builds[1], 1);
        storm_end(load, kills);
        eventually(storm_status().clients == 0);
        storm_row("kill -9, and another version starts", kills,
                  "%lu clients served: %lu cut off, 0 refused", TALKERS + load->visits, load->cut);
        load_free(load);
}

/* A store of 8 takes the ledger and 7 workers. When those of earlier acceptors fill it, there is
 * one of our own all the same: whom it serves is served, but a kill ends that as a stop would. */
static void whom_the_store_does_not_hold_is_drained_and_nobody_else_notices(void **state) {
        const char *const usual = getenv("ECHOD");
        int clients[4], later[3];

        (void)state;
        (void)setenv("ECHOD", getenv("ECHOD_SMALL_STORE"), 1);
        systemd_play();
        systemd_store_holds(8);
        echod_start("--workers=4", NULL);
        clients_served(clients, COUNT(clients));
        echod_kill();
        echod_start("--workers=4", NULL);
        clients_served(later, COUNT(later));
        assert_int_equal(systemd_stored("worker-"), 7);
        echod_kill();
        for (int round = 0; round < 3; round++) {
                echod_start("--workers=4", NULL);
                int beyond = client_new();
                echo(beyond, "hello\n");
                assert_int_equal(systemd_stored("worker-"), 7);
                say(beyond, "and a tail");
                echod_kill();
                expect(beyond, "and a tail");
                expect_end(beyond);
                expect_farewell(beyond);
                for (size_t i = 0; i < COUNT(clients); i++)
                        echo(clients[i], "nothing noticed\n");
                for (size_t i = 0; i < COUNT(later); i++)
                        echo(later[i], "nothing noticed\n");
        }
        echod_start("--workers=4", NULL);
        (void)close(clients[0]); /* room for one more */
        eventually(systemd_stored("worker-") == 6);
        int last = client_new();
        echo(last, "hello\n");
        assert_int_equal(systemd_stored("worker-"), 7);
        echod_kill();
        echo(last, "nothing noticed\n");
        assert_int_equal(records("Cannot "), 0);
        (void)setenv("ECHOD", usual, 1);
        storm_row("kill -9 while the store is full", 5, "only those beyond it ended, drained");
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(nobody_notices_that_the_acceptor_is_killed),
                CASE(nobody_notices_upgrades),
                CASE(whom_the_store_does_not_hold_is_drained_and_nobody_else_notices),
        };

        return cmocka_run_group_tests_name("acceptor", cases, NULL, NULL);
}
