/* SPDX-License-Identifier: MIT */

/* Very many connections, resets and lines leave nothing behind. */

#include <stdlib.h>

#include "echod.h"
#include "harness.h"
#include "process.h"
#include "storm.h"
#include "systemd.h"

/* What the acceptor and all its workers have. */
struct possessions {
        uint64_t memory; /* KiB, not counting what they share with their program's file */
        size_t descriptors, processes;
};

static struct possessions possessions(void) {
        pid_t pids[PROCESSES_MAX];
        size_t n = process_children(echod_pid(), pids);
        struct possessions all = {.processes = n};

        pids[n++] = echod_pid();
        for (size_t i = 0; i < n; i++) {
                all.memory += process_number(pids[i], "RssAnon");
                all.descriptors += process_descriptors(pids[i]);
        }
        return all;
}

static void start(void) {
        storm_forget();
        systemd_play();
        echod_start("--workers=4", NULL);
        eventually(worker_count() == 4);
}

/* Callers who come and go, n of them after a tenth as many that were to warm it up. Everybody is
 * counted, and what is left when they have gone is what was there before. */
static void crowd(struct load_plan plan) {
        struct possessions before = {0}, after;
        uint64_t calls = 0;
        struct load *load = NULL;

        start();
        for (int run = 0; run < 2; run++) {
                uint64_t visits = plan.visits;

                plan.visits = run == 0 ? visits / 10 : visits;
                load = load_start(&plan);
                load_wait(load);
                storm_expect_well(load);
                assert_int_equal(load->cut, 0);
                assert_int_equal(load->visits + load->resets, plan.visits);
                calls += plan.visits;
                plan.visits = visits;
                load_free(load);
                eventually(storm_status().clients == 0 && storm_status().served == calls);
                assert_int_equal(storm_status().lost, 0);
                eventually(process_children(echod_pid(), (pid_t[PROCESSES_MAX]){0}) == 4);
                process_rest(echod_pid());
                after = possessions();
                if (run == 0)
                        before = after;
        }
        assert_int_equal(after.descriptors, before.descriptors);
        assert_in_range(after.memory, 0, before.memory + 256);
        assert_int_equal(storm_records()->workers, 0);
}

static void every_one_of_very_many_visitors_is_served(void **state) {
        const struct load_plan plan = {.visitors = 64, .visits = storm_times(20000, 1000000)};

        (void)state;
        crowd(plan);
        storm_row("connections, 64 at a time", plan.visits,
                  "0 lost; memory and descriptors as before");
}

static void very_many_resets_leave_nothing_behind(void **state) {
        const struct load_plan plan = {.resetters = 63, .visits = storm_times(3000, 100000)};

        (void)state;
        crowd(plan);
        storm_row("connections reset: unsaid, unheard and heard", plan.visits,
                  "all counted; memory and descriptors as before");
}

static void memory_and_descriptors_stay_flat_over_very_many_lines(void **state) {
        static const struct load_plan plan = {.talkers = 16, .round = 60000};
        const uint64_t lines = storm_times(1000000, 100000000);
        struct possessions before, after;
        struct load *load;

        (void)state;
        start();
        load = load_start(&plan);
        while (load->lines < lines / 10)
                storm_pass(10000);
        before = possessions();
        while (load->lines < lines)
                storm_pass(10000);
        after = possessions();
        load_end(load);
        storm_expect_well(load);
        assert_int_equal(load->cut, 0);
        assert_int_equal(after.processes, before.processes);
        assert_int_equal(after.descriptors, before.descriptors);
        /* Each client may hold a line when it is looked at. */
        assert_in_range(after.memory, 0, before.memory + 16 * 72);
        storm_row("lines, of 16 clients", load->lines,
                  "0 lost; memory %lu KiB after a tenth, %lu KiB at the end, %zu descriptors",
                  before.memory, after.memory, after.descriptors);
        load_free(load);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(every_one_of_very_many_visitors_is_served),
                CASE(very_many_resets_leave_nothing_behind),
                CASE(memory_and_descriptors_stay_flat_over_very_many_lines),
        };

        return cmocka_run_group_tests_name("crowds", cases, NULL, NULL);
}
