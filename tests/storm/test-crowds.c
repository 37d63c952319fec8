/* SPDX-License-Identifier: MIT */

/* Very many connections, resets and lines leave nothing behind. */

#include <string.h>
#include <unistd.h>

#include "client.h"
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

/* The same at two looks: no worker is just coming or going. */
static struct possessions settled_possessions(void) {
        struct possessions earlier, later = possessions();

        eventually((earlier = later, (void)attend(-1, 0, 20), later = possessions(),
                    later.processes == 4 && memcmp(&earlier, &later, sizeof(later)) == 0));
        return later;
}

static void start(void) {
        storm_forget();
        systemd_play();
        echod_start("--workers=4", NULL);
        eventually(worker_count() == 4);
}

/* Returns how many clients there have been, once all who have come have been accepted, and all but
 * one more have gone. */
static uint64_t served_so_far(void) {
        int last = client_new();
        size_t told;

        echo(last, "all before me have been accepted\n");
        systemd_read();
        told = systemd_heard_of("STATUS="); /* what is told from now on counts the last one, too */
        eventually(systemd_heard_of("STATUS=") > told && storm_status().clients == 1);
        assert_int_equal(storm_status().lost, 0);
        (void)close(last);
        eventually(storm_status().clients == 0);
        return storm_status().served - 1;
}

/* Nobody has more when it is nearly over than after a tenth. */
static void expect_flat(struct load *load, uint64_t calls) {
        struct possessions before, after;

        while (load->visits + load->resets < calls / 10 && load_goes_on(load))
                ;
        before = possessions();
        while (load->visits + load->resets < calls - calls / 10 && load_goes_on(load))
                ;
        after = possessions();
        assert_in_range(after.memory, 0, before.memory + 1024);
        assert_in_range(after.processes, 1, 4);
}

/* Callers who come and go, and leave nothing behind. Returns how many the service counts. */
static uint64_t crowd(const struct load_plan *plan) {
        struct possessions before;
        struct load *load;
        uint64_t served;

        start();
        before = settled_possessions();
        load = load_start(plan);
        expect_flat(load, plan->visits);
        load_wait(load);
        storm_expect_well(load);
        assert_int_equal(load->cut, 0);
        assert_int_equal(load->visits + load->resets, plan->visits);
        load_free(load);
        served = served_so_far();
        eventually(possessions().descriptors <= before.descriptors);
        assert_int_equal(storm_records()->workers, 0);
        return served;
}

static void every_one_of_very_many_visitors_is_served(void **state) {
        const struct load_plan plan = {.visitors = 64, .visits = storm_times(20000, 1000000)};

        (void)state;
        assert_int_equal(crowd(&plan), plan.visits);
        storm_row("connections, 64 at a time", plan.visits, "0 lost; memory and descriptors flat");
}

static void very_many_resets_leave_nothing_behind(void **state) {
        const struct load_plan plan = {.resetters = 63, .visits = storm_times(3000, 100000)};
        uint64_t served;

        (void)state;
        served = crowd(&plan);
        /* One that is reset while the backlog is full never comes to the service; one that is
         * answered has come. */
        assert_in_range(served, plan.visits / 3, plan.visits);
        storm_row("connections reset: unsaid, unheard and heard", plan.visits,
                  "%lu reached the service; memory and descriptors flat", served);
}

static void memory_and_descriptors_stay_flat_over_very_many_lines(void **state) {
        static const struct load_plan plan = {.talkers = 16, .round = 60000};
        const uint64_t lines = storm_times(1000000, 100000000);
        struct possessions before, after;
        struct load *load;

        (void)state;
        start();
        load = load_start(&plan);
        while (load->lines < lines / 10 && load_goes_on(load))
                ;
        before = possessions();
        while (load->lines < lines && load_goes_on(load))
                ;
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
