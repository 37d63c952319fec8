/* SPDX-License-Identifier: MIT */

/* Workers are killed at random while their clients talk. */

#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "echod.h"
#include "harness.h"
#include "process.h"
#include "storm.h"
#include "systemd.h"

#define TALKERS 48
#define WORKERS "--workers=12"

static bool is_worker(pid_t pid) {
        pid_t pids[PROCESSES_MAX];
        size_t n = process_children(echod_pid(), pids);

        while (n > 0 && pids[n - 1] != pid)
                n--;
        return n > 0;
}

/* The number of one that is gone may be somebody else's, so the process is held first. */
static bool kill_worker(pid_t pid) {
        int pidfd = pidfd_open(pid, 0);
        bool killed =
                pidfd >= 0 && is_worker(pid) && pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0;

        if (pidfd >= 0)
                (void)close(pidfd);
        return killed;
}

static void strike(void) {
        pid_t pids[PROCESSES_MAX];
        size_t n;

        do
                eventually((n = process_children(echod_pid(), pids)) > 0);
        while (!kill_worker(pids[(size_t)rand() % n]));
}

/* Every client that is cut off was a killed worker's, and each of a killed worker's is counted and
 * told: the three accounts agree, so nobody else was touched. */
static void killed_workers_take_only_their_own_clients(void **state) {
        static const struct load_plan plan = {.talkers = TALKERS};
        const uint64_t kills = storm_times(100, 10000);
        const struct storm_records *records;
        struct load *load;

        (void)state;
        srand(1);
        storm_forget();
        systemd_play();
        echod_start(WORKERS, NULL);
        load = load_start(&plan);
        for (uint64_t i = 0; i < kills; i++) {
                strike();
                storm_pass(storm_while(20000));
                (void)storm_records();
        }
        eventually(storm_status().lost == load->cut); /* before they leave: that ends alike */
        load_end(load);

        storm_expect_well(load);
        uint64_t cut = load->cut;
        assert_true(cut >= kills / 2);
        /* Some may have left from the backlog, and are accepted after all others have gone. */
        eventually(storm_status().clients == 0 && storm_status().lost == cut &&
                   storm_status().served >= load->connected);
        assert_true(storm_status().served <= TALKERS + cut);
        records = storm_records();
        assert_int_equal(records->clients, cut);
        assert_in_range(records->workers, kills / 2, kills);
        assert_false(echod_has_ended());
        storm_row("kill -9 of a worker", kills,
                  "%lu clients cut off, all its own, and %lu told of; 0 refused", cut,
                  records->clients);
        load_free(load);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(killed_workers_take_only_their_own_clients),
        };

        return cmocka_run_group_tests_name("workers", cases, NULL, NULL);
}
