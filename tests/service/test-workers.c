/* SPDX-License-Identifier: MIT */

/* What becomes of a worker's clients, and of everybody else's, when it dies, hangs or is told to
 * go. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "systemd.h"

static void killed_worker_takes_only_its_own_clients(void **state) {
        char text[64];
        int clients[4];
        pid_t victim;

        (void)state;
        echod_start("--workers=4", NULL);
        clients_served(clients, COUNT(clients));
        victim = worker_of(clients[2]);
        assert_int_equal(kill(victim, SIGKILL), 0);
        expect_end(clients[2]);
        (void)snprintf(text, sizeof(text), "Worker %d lost with 1 clients: killed by SIGKILL\n",
                       (int)victim);
        eventually(records(text) == 1);
        eventually(client_records(clients[2], "left: lost with its worker") == 1);
        echo(clients[0], "not me\n");
        echo(clients[1], "nor me\n");
        echo(clients[3], "nor me\n");
        assert_int_equal(records(" left: "), 1);
        assert_int_equal(records("Worker "), 1);
}

static void killed_worker_is_replaced(void **state) {
        int clients[4], more[2];

        (void)state;
        echod_start("--workers=2", NULL);
        clients_served(clients, COUNT(clients));
        assert_int_equal(kill(worker_of(clients[0]), SIGKILL), 0);
        eventually(records(" left: lost") == 2);
        clients_served(more, COUNT(more));
        assert_int_equal(worker_of(more[0]), worker_of(more[1])); /* an empty one was chosen */
        assert_int_equal(worker_count(), 2);
}

static void each_client_of_a_killed_worker_is_recorded(void **state) {
        int clients[30];

        (void)state;
        echod_start("--workers=1", NULL);
        clients_served(clients, COUNT(clients));
        assert_int_equal(kill(worker_of(clients[0]), SIGUSR1), 0);
        for (size_t i = 0; i < COUNT(clients); i++) {
                expect_end(clients[i]);
                eventually(client_records(clients[i], "left: lost with its worker") == 1);
        }
        assert_int_equal(records("lost with 30 clients: killed by SIGUSR1\n"), 1);
        echo(client_new(), "served by another\n");
}

static void status_counts_the_lost(void **state) {
        int clients[6];

        (void)state;
        systemd_play();
        echod_start("--workers=2", NULL);
        expect_status("0 clients, 0 served, 0 lost");
        clients_served(clients, COUNT(clients));
        expect_status("6 clients, 6 served, 0 lost");
        assert_int_equal(kill(worker_of(clients[0]), SIGKILL), 0);
        expect_status("3 clients, 6 served, 3 lost");
        (void)close(clients[1]);
        expect_status("2 clients, 6 served, 3 lost");
}

static void idle_worker_that_is_killed_is_replaced(void **state) {
        pid_t pids[PROCESSES_MAX];

        (void)state;
        echod_start("--workers=1", NULL);
        eventually(workers(pids) == 1);
        assert_int_equal(kill(pids[0], SIGKILL), 0);
        eventually(records("lost with 0 clients: killed by SIGKILL\n") == 1);
        echo(client_new(), "hello\n");
}

static void dead_workers_are_reaped(void **state) {
        pid_t pids[PROCESSES_MAX], old[PROCESSES_MAX];
        size_t n;

        (void)state;
        echod_start("--workers=8", NULL);
        for (int round = 0; round < 3; round++) {
                eventually((n = workers(old)) == 8);
                for (size_t i = 0; i < n; i++)
                        assert_int_equal(kill(old[i], SIGKILL), 0);
                for (size_t i = 0; i < n; i++)
                        eventually(process_state(old[i]) == 0);
                echo(client_new(), "hello\n");
        }
        eventually(process_children(echod_pid(), pids) == workers(old));
}

/* Until it has taken notice or gone, nobody else can wait for the process, though a pidfd tells. 0:
 * there is no right to do this (kernel.yama.ptrace_scope). */
static pid_t debug(pid_t pid) {
        pid_t debugger = fork();

        if (debugger == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
                        _exit(errno);
                for (;;)
                        (void)pause();
        }
        eventually(process_number(pid, "TracerPid") == (uint64_t)debugger ||
                   process_state(debugger) == 0);
        return process_state(debugger) != 0 ? debugger : 0;
}

static void end_that_a_debugger_withholds_is_told_later(void **state) {
        int clients[2];
        pid_t victim, debugger;

        (void)state;
        echod_start("--workers=2", NULL);
        clients_served(clients, COUNT(clients));
        victim = worker_of(clients[0]);
        debugger = debug(victim);
        if (debugger == 0) {
                assert_int_equal(access("/proc/sys/kernel/yama/ptrace_scope", F_OK), 0);
                return;
        }
        assert_int_equal(kill(victim, SIGKILL), 0);
        eventually(process_state(victim) == 'Z');
        echo(client_new(), "served by the other\n");
        assert_int_equal(records("Worker "), 0);
        assert_int_equal(kill(debugger, SIGKILL), 0);
        eventually(records("lost with 1 clients: killed by SIGKILL\n") == 1);
        eventually(process_state(victim) == 0);
        echo(clients[1], "not me\n");
}

static void stopped_worker_holds_up_only_its_own_clients(void **state) {
        int clients[4], more[12];
        pid_t stopped;

        (void)state;
        echod_start("--workers=16", NULL);
        clients_served(clients, COUNT(clients));
        stopped = worker_of(clients[0]);
        process_stop(stopped);
        say(clients[0], "for later\n");
        for (int round = 0; round < 3; round++) {
                for (size_t i = 1; i < COUNT(clients); i++)
                        echo(clients[i], "served meanwhile\n");
                clients_served(more, COUNT(more));
                for (size_t i = 0; i < COUNT(more); i++)
                        (void)close(more[i]);
                eventually(records(" left: eof, 1 lines") == 12 * (size_t)(round + 1));
        }
        expect_silence(clients[0]);
        process_continue(stopped);
        expect(clients[0], "for later\n");
}

static void worker_drains_on_sigterm(void **state) {
        int clients[2];
        pid_t worker;

        (void)state;
        echod_start("--workers=2", NULL);
        clients_served(clients, COUNT(clients));
        worker = worker_of(clients[0]);
        say(clients[0], "a line\nand a tail");
        expect(clients[0], "a line\n");
        assert_int_equal(kill(worker, SIGTERM), 0);
        expect(clients[0], "and a tail");
        expect_end(clients[0]);
        expect_farewell(clients[0]);
        eventually(client_records(clients[0], "left: drain, 2 lines") == 1);
        eventually(process_state(worker) == 0);
        assert_int_equal(records("Worker "), 0);
        echo(clients[1], "not me\n");
        echo(client_new(), "nor me\n");
}

static void draining_worker_gets_no_more_clients(void **state) {
        (void)state;
        echod_start("--workers=1", NULL);
        int leaving = client_new();
        pid_t worker;

        echo(leaving, "hello\n");
        worker = worker_of(leaving);
        assert_int_equal(kill(worker, SIGTERM), 0);
        expect_end(leaving); /* but we stay, so that it has to wait */
        int next = client_new();
        shutdown(leaving, SHUT_WR);
        echo(next, "served by another\n");
        assert_int_not_equal(worker_of(next), worker);
}

static void worker_ignores_sigint_and_sighup(void **state) {
        int clients[2];

        (void)state;
        echod_start("--workers=1", NULL);
        clients_served(clients, COUNT(clients));
        pid_t worker = worker_of(clients[0]);
        assert_int_equal(kill(worker, SIGINT), 0);
        assert_int_equal(kill(worker, SIGHUP), 0);
        echo(clients[0], "still there\n");
        echo(clients[1], "and there\n");
        assert_int_equal(worker_of(clients[0]), worker);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(killed_worker_takes_only_its_own_clients),
                CASE(killed_worker_is_replaced),
                CASE(each_client_of_a_killed_worker_is_recorded),
                CASE(status_counts_the_lost),
                CASE(idle_worker_that_is_killed_is_replaced),
                CASE(dead_workers_are_reaped),
                CASE(end_that_a_debugger_withholds_is_told_later),
                CASE(stopped_worker_holds_up_only_its_own_clients),
                CASE(worker_drains_on_sigterm),
                CASE(draining_worker_gets_no_more_clients),
                CASE(worker_ignores_sigint_and_sighup),
        };

        return cmocka_run_group_tests_name("workers", cases, NULL, NULL);
}
