/* SPDX-License-Identifier: MIT */

/* The acceptor is killed or restarted, and nobody who is connected notices. */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "systemd.h"

static void clients_notice_nothing_when_the_acceptor_is_killed(void **state) {
        int clients[20];

        (void)state;
        start_stored(clients, COUNT(clients));
        for (size_t i = 0; i < COUNT(clients); i++)
                say(clients[i], "begun before, ");
        echod_kill();
        for (size_t i = 0; i < COUNT(clients); i++) {
                say(clients[i], "ended meanwhile\nbegun ");
                expect(clients[i], "begun before, ended meanwhile\n");
        }
        echod_start("--workers=4", NULL);
        for (size_t i = 0; i < COUNT(clients); i++) {
                say(clients[i], "meanwhile, ended after\n");
                expect(clients[i], "begun meanwhile, ended after\n");
        }
        eventually(records("Adopted 4 workers with ") == 1);
        expect_status("20 clients, 20 served, 0 lost");
        echo(client_new(), "hello\n");
        expect_status("21 clients, 21 served, 0 lost");
}

static void new_clients_wait_for_the_next_acceptor(void **state) {
        int clients[1], waiting[20];

        (void)state;
        start_stored(clients, COUNT(clients));
        echod_kill();
        for (size_t i = 0; i < COUNT(waiting); i++) {
                waiting[i] = client_new();
                say(waiting[i], "is anybody there?\n");
        }
        shutdown(waiting[0], SHUT_WR);
        echod_start("--workers=4", NULL);
        for (size_t i = 0; i < COUNT(waiting); i++)
                expect(waiting[i], "is anybody there?\n");
        expect_end(waiting[0]);
        expect_status("20 clients, 21 served, 0 lost");
}

/* The only worker does not read, and so nobody can take the last client. */
static void expect_waiting_client_to_outlive(void (*end)(void)) {
        int clients[40];
        size_t last = 0;

        systemd_play();
        echod_start("--workers=1", NULL);
        clients_served(clients, 1);
        pid_t worker = worker_of(clients[0]);
        process_stop(worker);
        while (systemd_stored("waiting-client") == 0) {
                assert_true(++last < COUNT(clients));
                clients[last] = client_new();
                say(clients[last], "hello\n");
                eventually(client_records(clients[last], "connected\n") == 1 ||
                           systemd_stored("waiting-client") == 1);
        }
        assert_false(attend(clients[last], POLLIN, 500));            /* tried again meanwhile ... */
        assert_int_equal(systemd_heard("FDNAME=waiting-client"), 1); /* ... but never taken out */
        end();
        assert_int_equal(systemd_stored("waiting-client"), 1);
        echod_start("--workers=1", NULL);
        expect(clients[last], "hello\n");
        eventually(systemd_stored("waiting-client") == 0);
        eventually(client_records(clients[last], "connected\n") == 1);
        process_continue(worker);
        for (size_t i = 1; i < last; i++)
                expect(clients[i], "hello\n");
        for (size_t i = 0; i <= last; i++)
                echo(clients[i], "still there\n");
}

/* These notice neither the end of their acceptor nor the next one. */
static void expect_to_go_on(const int clients[8]) {
        for (size_t i = 0; i < 8; i++)
                echo(clients[i], "nothing noticed\n");
        echod_start("--workers=4", NULL);
        for (size_t i = 0; i < 8; i++)
                echo(clients[i], "nothing at all\n");
        expect_status("8 clients, 8 served, 0 lost");
        assert_int_equal(records(" left: "), 0);
}

static void client_that_waits_for_a_worker_outlives_a_restart(void **state) {
        (void)state;
        expect_waiting_client_to_outlive(echod_stop);
}

static void client_that_waits_for_a_worker_outlives_a_killed_acceptor(void **state) {
        (void)state;
        expect_waiting_client_to_outlive(echod_kill);
}

/* Systemd did not listen when they came, and does so again as the restart begins. */
static void unstored_clients_outlive_a_restart(void **state) {
        int clients[8];

        (void)state;
        systemd_play();
        echod_start("--workers=4", NULL);
        eventually(systemd_heard("READY=1") == 1);
        systemd_congest();
        clients_served(clients, COUNT(clients));
        process_stop(echod_pid());
        systemd_pause(false);
        assert_int_equal(systemd_stored("worker-"), 0);
        echod_signal(SIGTERM);
        process_continue(echod_pid());
        assert_int_equal(echod_wait(), 0);
        assert_int_equal(systemd_stored("worker-"), 4);
        expect_to_go_on(clients);
}

static void sigterm_leaves_clients_to_the_store(void **state) {
        int clients[8];

        (void)state;
        start_stored(clients, COUNT(clients));
        echod_stop();
        assert_int_equal(systemd_heard("STOPPING=1"), 1);
        expect_to_go_on(clients);
}

static void sighup_ends_the_acceptor_like_a_crash(void **state) {
        int clients[8];

        (void)state;
        start_stored(clients, COUNT(clients));
        echod_signal(SIGHUP);
        assert_int_equal(echod_wait(), 1000 + SIGHUP);
        assert_int_equal(systemd_heard("STOPPING=1"), 0);
        expect_to_go_on(clients);
}

static void each_session_is_recorded_once(void **state) {
        int clients[30];

        (void)state;
        start_stored(clients, COUNT(clients));
        for (size_t i = 0; i < 10; i++)
                shutdown(clients[i], SHUT_WR);
        eventually(records(" left: eof, 1 lines") == 10);
        process_rest(echod_pid());
        echod_kill();
        for (size_t i = 10; i < 20; i++) {
                echo(clients[i], "a second line\n");
                shutdown(clients[i], SHUT_WR);
                expect_end(clients[i]);
        }
        echod_start("--workers=4", NULL);
        for (size_t i = 20; i < 30; i++) {
                echo(clients[i], "a second line\n");
                echo(clients[i], "a third line\n");
                shutdown(clients[i], SHUT_WR);
                expect_end(clients[i]);
        }
        eventually(records(" left: ") == 30);
        expect_status("0 clients, 30 served, 0 lost");
        for (size_t i = 0; i < 30; i++) {
                expect_records(clients[i], "connected", 1);
                expect_records(clients[i], "left: eof, ", 1);
        }
        assert_int_equal(records(" left: eof, 2 lines\n"), 10);
        assert_int_equal(records(" left: eof, 3 lines\n"), 10);
        assert_int_equal(records(" left: "), 30);
}

static void adopted_worker_leaves_with_its_last_client(void **state) {
        int clients[4];
        pid_t worker;

        (void)state;
        systemd_play();
        echod_start("--workers=2", NULL);
        clients_served(clients, COUNT(clients));
        worker = worker_of(clients[0]);
        eventually(systemd_stored("worker-") == 2);
        echod_kill();
        echod_start("--workers=2", NULL);
        int fresh = client_new();
        echo(fresh, "hello\n");
        assert_int_not_equal(worker_of(fresh), worker); /* it takes no more */
        eventually(systemd_stored("worker-") == 3);
        for (size_t i = 0; i < COUNT(clients); i++)
                if (worker_of(clients[i]) == worker)
                        shutdown(clients[i], SHUT_WR);
        eventually(process_state(worker) == 0);
        eventually(systemd_stored("worker-") == 2);
        expect_status("3 clients, 5 served, 0 lost");
        assert_int_equal(records("Worker "), 0);
}

static void spares_leave_with_their_acceptor(void **state) {
        int clients[2];
        pid_t pids[PROCESSES_MAX];

        (void)state;
        systemd_play();
        echod_start(NULL, NULL);
        clients_served(clients, COUNT(clients));
        eventually(systemd_stored("worker-") == 2);
        eventually(worker_count() >= 8); /* there are spares */
        assert_int_equal(systemd_stored("worker-"), 2);
        echod_kill();
        eventually(workers(pids) == 2); /* nothing idle is left over */
        echo(clients[0], "still there\n");
        echo(clients[1], "and there\n");
}

/* Otherwise a kill right after the first answer would take the client along. */
static void worker_is_stored_before_its_first_client_is_served(void **state) {
        int clients[5];

        (void)state;
        systemd_play();
        echod_start(NULL, NULL);
        for (size_t i = 0; i < COUNT(clients); i++) {
                clients[i] = client_new();
                echo(clients[i], "hello\n");
                assert_int_equal(systemd_stored("worker-"), i + 1);
        }
        echod_kill();
        for (size_t i = 0; i < COUNT(clients); i++)
                echo(clients[i], "still there\n");
}

static void handed_over_but_untaken_client_survives(void **state) {
        int clients[1];

        (void)state;
        systemd_play();
        echod_start("--workers=1", NULL);
        clients_served(clients, 1);
        pid_t worker = worker_of(clients[0]);
        eventually(systemd_stored("worker-") == 1);
        process_stop(worker);
        int untaken = client_new();
        eventually(client_records(untaken, "connected") == 1);
        echod_kill();
        process_continue(worker);
        echo(untaken, "taken after all\n");
        echod_start("--workers=1", NULL);
        expect_status("2 clients, 2 served, 0 lost");
        shutdown(untaken, SHUT_WR);
        eventually(client_records(untaken, "left: eof, 1 lines") == 1);
}

static void counts_go_on_over_many_restarts(void **state) {
        int clients[8];

        (void)state;
        systemd_play();
        for (size_t i = 0; i < COUNT(clients); i++) {
                echod_start("--workers=4", NULL);
                clients[i] = client_new();
                for (size_t k = 0; k <= i; k++)
                        echo(clients[k], "hello\n");
                eventually(systemd_stored("worker-") == i + 1);
                process_rest(echod_pid());
                echod_kill();
        }
        echod_start("--workers=4", NULL);
        eventually(records("Adopted 8 workers with ") == 1);
        expect_status("8 clients, 8 served, 0 lost");
        for (size_t i = 0; i < COUNT(clients); i++)
                shutdown(clients[i], SHUT_WR);
        eventually(records(" left: eof, ") == 8);
        eventually(systemd_stored("worker-") == 0);
        expect_status("0 clients, 8 served, 0 lost");
        assert_int_equal(records(" connected\n"), 8);
        assert_int_equal(records(" left: "), 8);
}

static void sessions_begin_where_the_last_acceptor_ended(void **state) {
        int clients[2];

        (void)state;
        start_stored(clients, COUNT(clients));
        for (size_t i = 0; i < COUNT(clients); i++)
                shutdown(clients[i], SHUT_WR);
        expect_status("0 clients, 2 served, 0 lost");
        eventually(systemd_stored("worker-") == 0); /* idle ones leave, in time */
        echod_kill();
        echod_start("--workers=4", NULL);
        expect_status("0 clients, 2 served, 0 lost");
        assert_int_equal(records("Adopted"), 0);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(clients_notice_nothing_when_the_acceptor_is_killed),
                CASE(new_clients_wait_for_the_next_acceptor),
                CASE(client_that_waits_for_a_worker_outlives_a_restart),
                CASE(client_that_waits_for_a_worker_outlives_a_killed_acceptor),
                CASE(unstored_clients_outlive_a_restart),
                CASE(sigterm_leaves_clients_to_the_store),
                CASE(sighup_ends_the_acceptor_like_a_crash),
                CASE(each_session_is_recorded_once),
                CASE(adopted_worker_leaves_with_its_last_client),
                CASE(spares_leave_with_their_acceptor),
                CASE(worker_is_stored_before_its_first_client_is_served),
                CASE(handed_over_but_untaken_client_survives),
                CASE(counts_go_on_over_many_restarts),
                CASE(sessions_begin_where_the_last_acceptor_ended),
        };

        return cmocka_run_group_tests_name("restart", cases, NULL, NULL);
}
