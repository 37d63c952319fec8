/* SPDX-License-Identifier: MIT */

/* A worker that is stopped or loops is killed after about half a minute, with its clients only. */

#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "storm.h"
#include "systemd.h"

/* This build loops when a client has said three lines. */
static void make_loop_the_worker_of(int client) {
        pid_t worker = worker_of(client);
        uint64_t ticks;

        echo(client, "the second, after a hello\n");
        echo(client, "and the third, whose answer is the last\n");
        say(client, "for nobody\n");
        ticks = process_ticks(worker);
        eventually(process_ticks(worker) >= ticks + 20);
}

static void stuck_workers_get_no_clients_and_are_killed(void **state) {
        enum { ADOPTED, STOPPED, LOOPING, WELL, N };
        int clients[N], later[20];
        pid_t pids[N];

        (void)state;
        (void)setenv("ECHOD", getenv("ECHOD_LOOPS"), 1);
        systemd_play();
        echod_start("--workers=8", NULL);
        clients_served(clients, 1);
        echod_kill();
        echod_start("--workers=8", NULL);
        clients_served(clients + STOPPED, N - STOPPED);
        for (int i = 0; i < N; i++)
                pids[i] = worker_of(clients[i]);
        uint64_t began = now_msec();
        process_stop(worker_of(clients[ADOPTED]));
        process_stop(worker_of(clients[STOPPED]));
        make_loop_the_worker_of(clients[LOOPING]);

        storm_await_killed(1, began);
        eventually(records(STORM_KILLED) == 3);
        for (int i = 0; i < WELL; i++) {
                if (i != LOOPING) /* what it has said unheard makes that a reset */
                        expect_end(clients[i]);
                eventually(client_records(clients[i], "left: lost with its worker") == 1);
                eventually(process_state(pids[i]) == 0 || process_state(pids[i]) == 'Z');
        }
        echo(clients[WELL], "still there\n");
        clients_served(later, COUNT(later));
        expect_status("21 clients, 24 served, 3 lost");
        assert_int_equal(records("Cannot "), 0);
        storm_row("workers stopped (one of them adopted) or looping", 3,
                  "killed after %lu s at the latest; nobody else noticed",
                  (now_msec() - began) / 1000);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(stuck_workers_get_no_clients_and_are_killed),
        };

        return cmocka_run_group_tests_name("stuck", cases, NULL, NULL);
}
