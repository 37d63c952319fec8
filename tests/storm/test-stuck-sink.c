/* SPDX-License-Identifier: MIT */

/* What a sink and a Buffer that hang keep from everybody else comes out half a minute later. */

#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "storm.h"
#include "systemd.h"

/* Workers do not have the ledger. */
static pid_t the_sink(void) {
        pid_t pids[PROCESSES_MAX];
        size_t n = workers(pids);

        for (size_t i = 0; i < n; i++)
                if (process_has(pids[i], "memfd:ledger"))
                        return pids[i];
        fail_msg("there is no sink");
        return 0;
}

static pid_t buffer_of(int client) {
        pid_t children[PROCESSES_MAX];

        assert_int_equal(process_children(worker_of(client), children), 1);
        return children[0];
}

static void stuck_sink_and_buffer_are_killed_and_nothing_is_lost(void **state) {
        int client, other;

        (void)state;
        (void)setenv("ECHOD", getenv("RECEIVERD"), 1); /* it writes lines to the log */
        systemd_play();
        echod_start("--sink=stdout", "--workers=2", NULL);
        client = client_new();
        other = client_new();
        say(client, "a line before\n");
        say(other, "another before\n");
        eventually(records(" before\n") == 2);

        uint64_t began = now_msec();
        process_stop(buffer_of(client));
        process_stop(the_sink());
        say(client, "a line meanwhile\n");
        say(other, "another meanwhile\n");
        storm_await_killed(2, began);
        assert_int_equal(records("Buffer "), 1);
        assert_true(records("Sink ") > 0);
        eventually(records("a line meanwhile\n") == 1);
        eventually(records("another meanwhile\n") == 1);
        say(client, "a line after\n");
        eventually(records("a line after\n") == 1);
        expect_status("2 clients, 2 served, 0 lost");
        storm_row("sink and a Buffer stopped", 2, "killed after %lu s at the latest; no line lost",
                  (now_msec() - began) / 1000);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(stuck_sink_and_buffer_are_killed_and_nothing_is_lost),
        };

        return cmocka_run_group_tests_name("stuck-sink", cases, NULL, NULL);
}
