/* SPDX-License-Identifier: MIT */

/* Clients that misbehave cost what echod(8) says, and others, who share their worker, are answered
 * meanwhile. */

#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "rogues.h"
#include "storm.h"
#include "systemd.h"

/* Everybody rests now and then: were the processors always busy, the time would be told that
 * processes wait for them, whoever's they are. */
#define TALKERS 8
#define TALKERS_REST 2000 /* us */
#define CROWD_REST 20000
#define TURN_USEC 10000
#define SIP (2U << 20) /* bytes of a long line in a turn */
#define CLIENT_KIB 72  /* echod(8), LIMITS */
#define WORKER_KIB 512 /* what a worker's memory may grow by, whoever comes */

/* How long is watched, without them and with them. */
static uint64_t spell_usec(void) {
        return storm_times(300000, 5000000);
}

static uint64_t workers_memory(void) {
        pid_t pids[PROCESSES_MAX];
        size_t n = process_children(echod_pid(), pids);
        uint64_t kib = 0;

        for (size_t i = 0; i < n; i++)
                kib += process_number(pids[i], "RssAnon");
        return kib;
}

static struct load *begin(const char *option) {
        static const struct load_plan plan = {
                .talkers = TALKERS, .round = 300, .rest = TALKERS_REST};

        storm_forget();
        systemd_play();
        echod_start("--workers=2", option, NULL);
        return load_start(&plan);
}

/* How slow the slowest hundredth of rounds is in a spell. */
static uint64_t watch(struct load *load, void (*turn)(int), const int *fds, unsigned n) {
        uint64_t enough = load->rounds + 10 * (uint64_t)TALKERS;

        load_time(load);
        for (uint64_t passed = 0; passed < spell_usec(); passed += TURN_USEC) {
                storm_pass(TURN_USEC);
                for (unsigned i = 0; i < n && turn != NULL; i++)
                        turn(fds[i]);
        }
        eventually(load->rounds >= enough);
        return load_percentile(load, 99);
}

static void end(struct load *load, const char *what, uint64_t n, uint64_t quiet, uint64_t meanwhile,
                uint64_t kib) {
        load_end(load);
        storm_expect_well(load);
        assert_int_equal(load->cut, 0);
        eventually(storm_status().clients == 0);
        assert_int_equal(storm_records()->workers, 0);
        assert_int_equal(storm_status().lost, 0);
        storm_row(what, n, "others' p99 %lu us before, %lu us meanwhile; %lu KiB a client", quiet,
                  meanwhile, kib / n);
        load_free(load);
}

static void stand(const struct rogue *rogue) {
        struct load *load = begin(rogue->option);
        uint64_t quiet = watch(load, NULL, NULL, 0), meanwhile, before = workers_memory(), after;
        int fds[ROGUES_MAX];

        for (unsigned i = 0; i < rogue->n; i++) {
                fds[i] = client_new();
                if (rogue->begin != NULL)
                        rogue->begin(&fds[i]);
        }
        meanwhile = watch(load, rogue->turn, fds, rogue->n);
        after = workers_memory();
        after = after > before ? after - before : 0;
        assert_in_range(after, 0, rogue->n * CLIENT_KIB + 2 * WORKER_KIB);
        if (rogue->option != NULL) /* sends them off, and nobody else leaves meanwhile */
                eventually(storm_records()->left == rogue->n);
        for (unsigned i = 0; i < rogue->n; i++)
                if (fds[i] >= 0)
                        (void)close(fds[i]);
        end(load, rogue->what, rogue->n, quiet, meanwhile, after);
}

static void who_reads_nothing_costs_little_and_holds_up_nobody(void **state) {
        (void)state;
        stand(&(struct rogue){"clients that read nothing", NULL, 100, rogue_flood, NULL});
}

static void who_reads_slowly_costs_little_and_holds_up_nobody(void **state) {
        (void)state;
        stand(&(struct rogue){"clients that read a byte each 10 ms", NULL, 100, rogue_flood,
                              rogue_read_a_byte});
}

static void who_sends_slowly_costs_little_and_holds_up_nobody(void **state) {
        (void)state;
        stand(&(struct rogue){"clients that send a byte each 10 ms", NULL, 100, rogue_hold_a_line,
                              rogue_send_a_byte});
}

static void who_negotiates_is_answered_and_holds_up_nobody(void **state) {
        (void)state;
        stand(&(struct rogue){"clients with telnet's commands and urgent bytes", NULL, 20, NULL,
                              rogue_negotiate});
}

static void who_vanishes_costs_little_and_is_sent_off(void **state) {
        (void)state;
        stand(&(struct rogue){"clients that vanish: half-open connections", "--idle-timeout=2s",
                              100, rogue_vanish, NULL});
}

static void a_line_of_1_gib_costs_little_and_holds_up_nobody(void **state) {
        const uint64_t mib = storm_times(64, 1024);
        struct load *load = begin(NULL);
        uint64_t quiet = watch(load, NULL, NULL, 0), before = workers_memory(), after;

        (void)state;
        int fd = client_new();
        load_time(load);
        rogue_pour(fd, mib << 20, SIP, TURN_USEC / 1000);
        after = workers_memory();
        after = after > before ? after - before : 0;
        assert_in_range(after, 0, CLIENT_KIB + 2 * WORKER_KIB);
        end(load, storm_is_long() ? "line of 1 GiB" : "line of 64 MiB", 1, quiet,
            load_percentile(load, 99), after);
}

/* Of them, so many are clients at the same time. */
static void stand_crowd(const char *what, const char *option, const struct load_plan *plan,
                        unsigned most) {
        struct load *load = begin(option), *crowd;
        uint64_t quiet = watch(load, NULL, NULL, 0), meanwhile, before = workers_memory(), after;

        crowd = load_start(plan);
        eventually(crowd->resets + crowd->visits >= 64);
        meanwhile = watch(load, NULL, NULL, 0);
        after = workers_memory();
        after = after > before ? after - before : 0;
        eventually(storm_status().clients >= TALKERS); /* the status is a second behind */
        assert_in_range(storm_status().clients, TALKERS, TALKERS + most);
        load_end(crowd);
        storm_expect_well(crowd);
        assert_int_equal(crowd->cut, 0);
        assert_in_range(after, 0, 64 * CLIENT_KIB + 2 * WORKER_KIB);
        uint64_t n = crowd->resets + crowd->visits;
        load_free(crowd);
        end(load, what, n, quiet, meanwhile, after);
}

static void who_floods_with_resets_holds_up_nobody(void **state) {
        static const struct load_plan plan = {.resetters = 63, .rest = CROWD_REST};

        (void)state;
        stand_crowd("connections reset meanwhile", NULL, &plan, 65536);
}

static void who_comes_beyond_the_limit_waits_and_holds_up_nobody(void **state) {
        static const struct load_plan plan = {.visitors = 200, .rest = CROWD_REST};

        (void)state;
        stand_crowd("visits of 200 at a time, where 20 have a place", "--max-clients=20", &plan,
                    20 - TALKERS);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(who_reads_nothing_costs_little_and_holds_up_nobody),
                CASE(who_reads_slowly_costs_little_and_holds_up_nobody),
                CASE(who_sends_slowly_costs_little_and_holds_up_nobody),
                CASE(who_negotiates_is_answered_and_holds_up_nobody),
                CASE(who_vanishes_costs_little_and_is_sent_off),
                CASE(a_line_of_1_gib_costs_little_and_holds_up_nobody),
                CASE(who_floods_with_resets_holds_up_nobody),
                CASE(who_comes_beyond_the_limit_waits_and_holds_up_nobody),
        };

        return cmocka_run_group_tests_name("rogues", cases, NULL, NULL);
}
