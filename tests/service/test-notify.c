/* SPDX-License-Identifier: MIT */

/* What systemd is told, and that nobody waits for it to listen. */

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

static void it_says_when_it_is_ready(void **state) {
        (void)state;
        systemd_play();
        echod_start(NULL, NULL);
        eventually(systemd_heard("READY=1") == 1);
        echo(client_new(), "hello\n");
        assert_int_equal(systemd_heard("READY=1"), 1);
        assert_int_equal(systemd_heard("STOPPING=1"), 0);
}

static void it_says_that_it_stops(void **state) {
        const int signals[] = {SIGTERM, SIGINT};

        (void)state;
        systemd_play();
        for (size_t i = 0; i < COUNT(signals); i++) {
                echod_start(NULL, NULL);
                echod_signal(signals[i]);
                assert_int_equal(echod_wait(), 0);
                assert_int_equal(systemd_heard("STOPPING=1"), i + 1);
        }
}

static void status_follows_the_clients(void **state) {
        int clients[3];

        (void)state;
        systemd_play();
        echod_start(NULL, NULL);
        expect_status("0 clients, 0 served, 0 lost");
        clients_served(clients, COUNT(clients));
        expect_status("3 clients, 3 served, 0 lost");
        (void)close(clients[0]);
        client_reset(clients[1]);
        expect_status("1 clients, 3 served, 0 lost");
        echo(client_new(), "hello\n");
        expect_status("2 clients, 4 served, 0 lost");
}

static void status_is_told_at_most_once_a_second(void **state) {
        uint64_t began = now_msec(), until;

        (void)state;
        systemd_play();
        echod_start("--workers=4", NULL);
        expect_status("0 clients, 0 served, 0 lost");
        until = now_msec() + 3000;
        while (now_msec() < until) {
                int client = client_new();

                echo(client, "hello\n");
                (void)close(client);
        }
        size_t told = systemd_heard_of("STATUS=");
        assert_in_range(told, 2, 1 + (now_msec() - began) / 1000);
}

static void watchdog_is_answered(void **state) {
        (void)state;
        systemd_play();
        environment("WATCHDOG_USEC=200000");
        echod_start(NULL, NULL);
        eventually(systemd_heard("WATCHDOG=1") >= 3);
}

static void watchdog_is_answered_under_load(void **state) {
        size_t heard;

        (void)state;
        systemd_play();
        environment("WATCHDOG_USEC=200000");
        echod_start("--workers=4", NULL);
        heard = systemd_heard("WATCHDOG=1");
        eventually((client_reset(client_new()), systemd_heard("WATCHDOG=1") >= heard + 5));
}

static void hung_acceptor_does_not_answer_the_watchdog(void **state) {
        size_t heard;

        (void)state;
        systemd_play();
        environment("WATCHDOG_USEC=200000");
        echod_start(NULL, NULL);
        eventually(systemd_heard("WATCHDOG=1") >= 1);
        process_stop(echod_pid());
        heard = systemd_heard("WATCHDOG=1");
        (void)attend(-1, 0, 1000);
        assert_int_equal(systemd_heard("WATCHDOG=1"), heard);
        echod_signal(SIGABRT); /* as systemd does; not blocked, so it need not wait for SIGKILL */
        process_continue(echod_pid());
        assert_int_equal(echod_wait(), 1000 + SIGABRT);
}

/* As when systemd is busy or stopped: its queue of notifications is full. */
static void clients_are_served_while_systemd_does_not_listen(void **state) {
        int clients[30];

        (void)state;
        systemd_play();
        environment("WATCHDOG_USEC=200000");
        echod_start("--workers=40", NULL);
        eventually(systemd_heard("READY=1") == 1);
        systemd_congest();
        for (size_t i = 0; i < COUNT(clients); i++) {
                clients[i] = client_new();
                echo(clients[i], "hello\n");
        }
        for (int i = 0; i < 10; i++) { /* longer than the watchdog's time */
                (void)attend(-1, 0, 100);
                echo(clients[i], "still there\n");
                echo(client_new(), "and new\n");
        }
        systemd_pause(false);
        expect_status("40 clients, 40 served, 0 lost"); /* all is said later */
        eventually(systemd_stored("worker-") == 40);
        echod_kill();
        for (size_t i = 0; i < COUNT(clients); i++)
                echo(clients[i], "still there\n");
}

static void ready_is_told_once_systemd_listens(void **state) {
        (void)state;
        systemd_play();
        systemd_congest();
        (void)listen_ipv4();
        echod_launch(NULL, NULL);
        int client = client_new();
        echo(client, "hello\n");
        pid_t worker = worker_of(client);
        (void)close(client);
        eventually(process_state(worker) == 0); /* at a tick later than that of the first attempt */
        systemd_pause(false);
        eventually(systemd_heard("READY=1") == 1);
}

static void store_that_was_full_is_filled_later(void **state) {
        (void)state;
        systemd_play();
        echod_start(NULL, NULL);
        eventually(systemd_heard("READY=1") == 1);
        systemd_congest();
        int client = client_new();
        echo(client, "hello\n");
        systemd_pause(false);
        eventually(systemd_stored("worker-") == 1);
        echod_kill();
        echo(client, "still there\n");
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(it_says_when_it_is_ready),
                CASE(it_says_that_it_stops),
                CASE(status_follows_the_clients),
                CASE(status_is_told_at_most_once_a_second),
                CASE(watchdog_is_answered),
                CASE(watchdog_is_answered_under_load),
                CASE(hung_acceptor_does_not_answer_the_watchdog),
                CASE(clients_are_served_while_systemd_does_not_listen),
                CASE(ready_is_told_once_systemd_listens),
                CASE(store_that_was_full_is_filled_later),
        };

        return cmocka_run_group_tests_name("notify", cases, NULL, NULL);
}
