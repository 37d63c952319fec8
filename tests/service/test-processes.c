/* SPDX-License-Identifier: MIT */

/* What the processes are seen from outside: what they hold, what they take, what they are called.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "systemd.h"

#define BIT(signal) (UINT64_C(1) << (signal) >> 1)

static bool contains(const ino_t *inodes, size_t n, ino_t inode) {
        for (size_t i = 0; i < n; i++)
                if (inodes[i] == inode)
                        return true;
        return false;
}

static void worker_holds_its_pair_and_its_clients_only(void **state) {
        static ino_t own[64], seen[1024];
        size_t n_pids, n_seen;
        pid_t pids[PROCESSES_MAX];
        struct stat listener;
        int clients[12];

        (void)state;
        LEAVE_OUT_UNDER_VALGRIND();
        systemd_play();
        echod_start("--workers=8", NULL);
        clients_served(clients, COUNT(clients));
        assert_int_equal(fstat(listening(), &listener), 0);
        n_pids = workers(pids);
        assert_int_equal(n_pids, 8);
        process_rest(echod_pid());
        n_seen = process_sockets(echod_pid(), seen, COUNT(seen));
        assert_true(contains(seen, n_seen, listener.st_ino));
        for (size_t i = 0; i < n_pids; i++) {
                size_t n = process_sockets(pids[i], own, COUNT(own));

                assert_in_range(n, 2, 3); /* the pair, and one or two clients */
                for (size_t k = 0; k < n; k++) {
                        assert_false(contains(seen, n_seen, own[k])); /* nobody else's */
                        seen[n_seen++] = own[k];
                }
                /* Beside these: standard streams, epoll, signalfd. */
                assert_int_equal(process_descriptors(pids[i]), 3 + 2 + n);
                assert_false(process_has(pids[i], "memfd:"));
        }
        assert_true(process_has(echod_pid(), "memfd:ledger"));
}

static void acceptor_keeps_no_client(void **state) {
        size_t before;
        int clients[10];

        (void)state;
        echod_start("--workers=1", NULL);
        clients_served(clients, 1);
        process_rest(echod_pid());
        before = process_descriptors(echod_pid());
        clients_served(clients + 1, COUNT(clients) - 1);
        process_rest(echod_pid());
        assert_int_equal(process_descriptors(echod_pid()), before);
}

static void worker_blocks_and_ignores_what_it_should(void **state) {
        (void)state;
        echod_start("--workers=1", NULL);
        int client = client_new();

        echo(client, "hello\n");
        pid_t worker = worker_of(client);
        assert_int_equal(process_mask(worker, "SigBlk"), BIT(SIGTERM)); /* read by signalfd */
        assert_int_equal(process_mask(worker, "SigIgn"), BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGPIPE));
}

static void every_process_is_called_echod(void **state) {
        char path[64], name[32] = "";
        pid_t pids[PROCESSES_MAX + 1];
        size_t n;

        (void)state;
        LEAVE_OUT_UNDER_VALGRIND();
        echod_start("--workers=2", NULL);
        eventually(worker_count() == 2);
        n = workers(pids);
        pids[n++] = echod_pid();
        for (size_t i = 0; i < n; i++) {
                (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pids[i]);
                FILE *file = fopen(path, "re");
                assert_non_null(file);
                assert_non_null(fgets(name, sizeof(name), file));
                (void)fclose(file);
                assert_string_equal(name, "echod\n");
        }
}

struct effort {
        uint64_t ticks, wakes;
};

static struct effort effort_of_all(void) {
        struct effort effort = {0};
        pid_t pids[PROCESSES_MAX + 1];
        size_t n = workers(pids);

        pids[n++] = echod_pid();
        for (size_t i = 0; i < n; i++) {
                effort.ticks += process_ticks(pids[i]);
                effort.wakes += process_number(pids[i], "voluntary_ctxt_switches");
        }
        return effort;
}

/* Two seconds in which nobody says anything. Whoever polls takes all of them, or wakes again and
 * again; what is allowed is for timers, and for ticks that fall on one that has just been woken. */
static void expect_idle(void) {
        uint64_t until = now_msec() + 2000;
        struct effort before = effort_of_all(), after;

        while (now_msec() < until)
                (void)attend(-1, 0, 100);
        after = effort_of_all();
        assert_in_range(after.ticks - before.ticks, 0, (uint64_t)sysconf(_SC_CLK_TCK) / 10);
        assert_in_range(after.wakes - before.wakes, 0, 200);
}

/* In every state that a client can be in for long. */
static void idle_clients_take_no_time(void **state) {
        static const char line[4096] = "nobody will read this\n";
        int clients[10], deaf, closed_and_deaf, partial;

        (void)state;
        echod_start("--workers=4", NULL);
        clients_served(clients, COUNT(clients));
        partial = client_new();
        say(partial, "a partial line");
        deaf = client_small();
        (void)client_flood(deaf, line, sizeof(line));
        closed_and_deaf = client_small();
        (void)client_flood(closed_and_deaf, line, sizeof(line));
        shutdown(closed_and_deaf, SHUT_WR);
        expect_idle();
}

/* Fills clients, and one more that does not read what it is owed. */
static void start_to_drain(int *clients, size_t n) {
        static const char line[4096] = "nobody will read this\n";

        echod_start("--workers=2", "--drain-timeout=1h", NULL);
        clients_served(clients, n);
        (void)client_flood(client_small(), line, sizeof(line));
}

static void draining_takes_no_time(void **state) {
        int clients[4];

        (void)state;
        start_to_drain(clients, COUNT(clients));
        echod_signal(SIGTERM);
        for (size_t i = 0; i < COUNT(clients); i++)
                expect_end(clients[i]); /* and then they stay */
        expect_idle();
        assert_false(echod_has_ended());
}

static void draining_without_an_acceptor_takes_no_time(void **state) {
        int clients[4];

        (void)state;
        start_to_drain(clients, COUNT(clients));
        echod_kill();
        for (size_t i = 0; i < COUNT(clients); i++)
                expect_end(clients[i]);
        expect_idle();
        assert_false(all_gone());
}

static void stopped_worker_takes_no_time(void **state) {
        int clients[40];

        (void)state;
        echod_start("--workers=1", NULL);
        clients_served(clients, 1);
        process_stop(worker_of(clients[0]));
        for (size_t i = 1; i < COUNT(clients); i++)
                clients[i] = client_new(); /* more than its pair holds */
        eventually(records(" connected") > 1);
        expect_idle();
        process_continue(worker_of(clients[0]));
        for (size_t i = 1; i < COUNT(clients); i++)
                echo(clients[i], "served after all\n");
}

static void service_goes_on_when_descriptors_are_short(void **state) {
        int clients[20];

        (void)state;
        LEAVE_OUT_UNDER_VALGRIND();
        limit_descriptors(24);
        echod_start(NULL, NULL);
        /* 24, but for 16 that are a process's own, in each of 64 workers */
        assert_int_equal(records("Accepting at most 512 clients, not 16384: "), 1);
        for (size_t i = 0; i < COUNT(clients); i++) {
                clients[i] = client_new();
                echo(clients[i], "hello\n");
        }
        expect_idle();
        for (size_t i = 0; i < COUNT(clients); i++)
                echo(clients[i], "still there\n");
        assert_true(records("Cannot ") > 0);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(worker_holds_its_pair_and_its_clients_only),
                CASE(acceptor_keeps_no_client),
                CASE(worker_blocks_and_ignores_what_it_should),
                CASE(every_process_is_called_echod),
                CASE(idle_clients_take_no_time),
                CASE(draining_takes_no_time),
                CASE(draining_without_an_acceptor_takes_no_time),
                CASE(stopped_worker_takes_no_time),
                CASE(service_goes_on_when_descriptors_are_short),
        };

        return cmocka_run_group_tests_name("processes", cases, NULL, NULL);
}
