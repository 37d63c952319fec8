/* SPDX-License-Identifier: MIT */

/* What an acceptor finds in the store, and what becomes of workers whose store is dropped. */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "systemd.h"

/* What `systemctl stop` does. */
static void stop(void) {
        echod_stop();
        systemd_drop_store();
}

static void dropping_the_store_makes_workers_drain(void **state) {
        int clients[20];

        (void)state;
        start_stored(clients, COUNT(clients));
        for (size_t i = 0; i < COUNT(clients); i++) {
                say(clients[i], "a line\nand a tail");
                expect(clients[i], "a line\n");
        }
        stop();
        for (size_t i = 0; i < COUNT(clients); i++) {
                expect(clients[i], "and a tail");
                expect_end(clients[i]);
                expect_farewell(clients[i]);
        }
        eventually(all_gone());
        for (size_t i = 0; i < COUNT(clients); i++)
                expect_records(clients[i], "left: drain, 2 lines", 1);
        assert_int_equal(records(" left: "), 20);
        assert_int_equal(records("Draining 5 clients\n"), 4);
}

static void workers_of_all_acceptors_drain(void **state) {
        int clients[6];

        (void)state;
        start_stored(clients, 2);
        echod_kill();
        echod_start("--workers=4", NULL);
        clients_served(clients + 2, 2);
        eventually(systemd_stored("worker-") == 4);
        echod_kill();
        echod_start("--workers=4", NULL);
        clients_served(clients + 4, 2);
        eventually(systemd_stored("worker-") == 6);
        stop();
        for (size_t i = 0; i < COUNT(clients); i++) {
                expect_end(clients[i]);
                expect_farewell(clients[i]);
        }
        eventually(all_gone());
        assert_int_equal(records(" left: drain, 1 lines"), 6);
        assert_int_equal(records(" left: "), 6);
}

static void worker_that_drains_is_bound_in_time(void **state) {
        (void)state;
        systemd_play();
        echod_start("--drain-timeout=500ms", NULL);
        int client = client_new();

        echo(client, "hello\n");
        eventually(systemd_stored("worker-") == 1);
        stop();
        expect_end(client); /* and then it stays */
        eventually(all_gone());
        expect_records(client, "left: timeout, 1 lines", 1);
}

/* Reports that nobody reads any more are written by the worker itself. */
static void sessions_that_end_during_a_stop_are_recorded(void **state) {
        int clients[12];

        (void)state;
        start_stored(clients, COUNT(clients));
        process_stop(echod_pid());
        for (size_t i = 0; i < 4; i++) {
                shutdown(clients[i], SHUT_WR);
                expect_end(clients[i]);
        }
        echod_signal(SIGTERM);
        process_continue(echod_pid());
        assert_int_equal(echod_wait(), 0);
        for (size_t i = 4; i < 8; i++) {
                shutdown(clients[i], SHUT_WR);
                expect_end(clients[i]);
        }
        systemd_drop_store();
        for (size_t i = 8; i < COUNT(clients); i++) {
                expect_end(clients[i]);
                shutdown(clients[i], SHUT_WR);
        }
        eventually(all_gone());
        for (size_t i = 0; i < COUNT(clients); i++)
                expect_records(clients[i], i < 8 ? "left: eof, 1 lines" : "left: drain, 1 lines",
                               1);
        assert_int_equal(records(" left: "), 12);
}

static void stopped_worker_does_not_keep_others_waiting(void **state) {
        int clients[4];

        (void)state;
        start_stored(clients, COUNT(clients));
        pid_t stopped = worker_of(clients[0]);
        process_stop(stopped);
        say(clients[0], "for later\n");
        echod_kill();
        echod_start("--workers=4", NULL);
        for (size_t i = 1; i < COUNT(clients); i++)
                echo(clients[i], "served meanwhile\n");
        echo(client_new(), "served, too\n");
        expect_status("4 clients, 5 served, 0 lost"); /* one has not been told of */
        process_continue(stopped);
        expect(clients[0], "for later\n");
        expect_status("5 clients, 5 served, 0 lost");
        shutdown(clients[0], SHUT_WR);
        eventually(client_records(clients[0], "left: eof, 2 lines") == 1);
        eventually(process_state(stopped) == 0);
}

static void who_was_lost_unseen_is_told_even_if_a_roll_comes_late(void **state) {
        int clients[2];

        (void)state;
        start_stored(clients, COUNT(clients));
        pid_t dying = worker_of(clients[0]), stopped = worker_of(clients[1]);
        process_stop(stopped);
        echod_kill();
        assert_int_equal(kill(dying, SIGKILL), 0);
        expect_end(clients[0]);
        eventually(systemd_stored("worker-") == 1);
        echod_start("--workers=4", NULL);
        echo(client_new(), "served before the roll is complete\n");
        assert_int_equal(records("lost with workers that died"), 0);
        process_continue(stopped);
        eventually(records("1 clients lost with workers that died while no acceptor ran\n") == 1);
        expect_status("2 clients, 3 served, 1 lost");
}

static void adopted_worker_that_is_killed_is_recorded(void **state) {
        int clients[8];

        (void)state;
        start_stored(clients, COUNT(clients));
        pid_t victim = worker_of(clients[0]);
        echod_kill();
        echod_start("--workers=4", NULL);
        expect_status("8 clients, 8 served, 0 lost");
        assert_int_equal(kill(victim, SIGKILL), 0);
        expect_end(clients[0]);
        eventually(client_records(clients[0], "left: lost with its worker") == 1);
        expect_status("6 clients, 8 served, 2 lost");
        assert_int_equal(records("Worker "), 1);
        assert_int_equal(records(" left: "), 2);
        eventually(systemd_stored("worker-") == 3);
}

/* It leaves as soon as its last client has, and nobody is there to be told. */
static void retired_worker_that_leaves_meanwhile_is_recorded(void **state) {
        int clients[2];

        (void)state;
        start_stored(clients, COUNT(clients));
        echod_kill();
        echod_start("--workers=4", NULL);
        eventually(records("Adopted 2 workers with ") == 1);
        expect_status("2 clients, 2 served, 0 lost");
        echod_kill();
        shutdown(clients[0], SHUT_WR);
        expect_end(clients[0]);
        (void)attend(-1, 0, 100); /* systemd has time to see a hang-up */
        echod_start("--workers=4", NULL);
        eventually(client_records(clients[0], "left: eof, 1 lines") == 1);
        shutdown(clients[1], SHUT_WR);
        eventually(client_records(clients[1], "left: eof, 1 lines") == 1);
        eventually(systemd_stored("worker-") == 0);
        expect_status("0 clients, 2 served, 0 lost");
        assert_int_equal(records(" left: "), 2);
}

/* One that says something unknown, as a worker of another build would. */
static int foreign_worker(const void *message, size_t n) {
        int ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        systemd_keep(ends[0], "worker-1");
        assert_int_equal(send(ends[1], message, n, 0), n);
        return ends[1];
}

static void worker_of_another_version_holds_up_nobody(void **state) {
        /* Version, type, count and size of a record; what follows could be anything. */
        const uint16_t roll[] = {2, 3, 1, 16, 1, 2, 3, 4, 5, 6, 7, 8};

        (void)state;
        systemd_play();
        int worker = foreign_worker(roll, sizeof(roll));
        echod_start(NULL, NULL);
        echo(client_new(), "hello\n");
        eventually(records("A worker of another version is served to its end, uncounted") == 1);
        expect_status("1 clients, 1 served, 0 lost");
        assert_int_equal(send(worker, roll, sizeof(roll), 0), sizeof(roll));
        echo(client_new(), "hello again\n");
        (void)close(worker);
        expect_status("2 clients, 2 served, 0 lost");
        assert_int_equal(records("Worker "), 0);
}

static void worker_that_talks_nonsense_holds_up_nobody(void **state) {
        /* Too short; no such version; too many records; no such type. */
        static const char nonsense[][8] = {"x", "nonsense", "\1\0\3\0\377\377\140",
                                           "\1\0\11\0\0\0\140"};
        static const char huge[20000] = "\1";

        (void)state;
        systemd_play();
        int worker = foreign_worker("x", 1);
        for (size_t i = 0; i < COUNT(nonsense); i++)
                assert_int_equal(send(worker, nonsense[i], 8, 0), 8);
        echod_start(NULL, NULL);
        assert_true(send(worker, huge, sizeof(huge), 0) > 0);
        echo(client_new(), "hello\n");
        expect_status("1 clients, 1 served, 0 lost");
        (void)close(worker);
        echo(client_new(), "hello again\n");
        expect_status("2 clients, 2 served, 0 lost");
}

static void silent_pair_holds_up_nobody_for_long(void **state) {
        int ends[2];

        (void)state;
        systemd_play();
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        systemd_keep(ends[0], "worker-1");
        echod_start(NULL, NULL);
        echo(client_new(), "hello\n");
        expect_status("1 clients, 1 served, 0 lost");
}

static void unreadable_ledger_is_replaced(void **state) {
        const uint64_t other_version[32] = {99, 1, 1000, 1000, 1000, 1000};
        int empty = memfd_create("ledger", MFD_CLOEXEC),
            other = memfd_create("ledger", MFD_CLOEXEC);

        (void)state;
        systemd_play();
        assert_int_equal(write(other, other_version, sizeof(other_version)), sizeof(other_version));
        systemd_keep(empty, "ledger");
        echod_start(NULL, NULL);
        expect_status("0 clients, 0 served, 0 lost");
        assert_int_equal(systemd_stored("ledger"), 1);
        echod_kill();
        systemd_drop_store();
        systemd_keep(other, "ledger");
        echod_start(NULL, NULL);
        expect_status("0 clients, 0 served, 0 lost");
        int client = client_new();
        echo(client, "hello\n");
        eventually(systemd_stored("ledger") == 1);
        eventually(systemd_stored("worker-") == 1);
        echod_kill();
        echod_start(NULL, NULL);
        expect_status("1 clients, 1 served, 0 lost");
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(dropping_the_store_makes_workers_drain),
                CASE(workers_of_all_acceptors_drain),
                CASE(worker_that_drains_is_bound_in_time),
                CASE(sessions_that_end_during_a_stop_are_recorded),
                CASE(stopped_worker_does_not_keep_others_waiting),
                CASE(who_was_lost_unseen_is_told_even_if_a_roll_comes_late),
                CASE(adopted_worker_that_is_killed_is_recorded),
                CASE(retired_worker_that_leaves_meanwhile_is_recorded),
                CASE(worker_of_another_version_holds_up_nobody),
                CASE(worker_that_talks_nonsense_holds_up_nobody),
                CASE(silent_pair_holds_up_nobody_for_long),
                CASE(unreadable_ledger_is_replaced),
        };

        return cmocka_run_group_tests_name("adoption", cases, NULL, NULL);
}
