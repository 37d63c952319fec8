/* SPDX-License-Identifier: MIT */

/* How clients come and go, and who serves them. */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "systemd.h"

static void silent_client_holds_up_nobody(void **state) {
        (void)state;
        echod_start("--workers=1", NULL);
        int silent = client_new();
        int partial = client_new();
        int talker = client_new();

        say(partial, "never ended");
        echo(talker, "hello\n");
        expect_silence(silent);
}

static void hundred_clients_are_answered_while_others_are_silent(void **state) {
        char line[32];
        int clients[100];

        (void)state;
        echod_start(NULL, NULL);
        for (size_t i = 0; i < COUNT(clients); i++)
                clients[i] = client_new();
        for (size_t i = 0; i < COUNT(clients); i++) {
                (void)snprintf(line, sizeof(line), "I am number %zu\n", i);
                echo(clients[i], line);
        }
        for (size_t i = 0; i < COUNT(clients); i++)
                expect_silence(clients[i]);
}

/* The number of workers that have so many clients. */
static size_t workers_with(size_t n_clients) {
        pid_t pids[PROCESSES_MAX];
        size_t n = workers(pids), count = 0;

        for (size_t i = 0; i < n; i++)
                count += worker_clients(pids[i]) == n_clients;
        return count;
}

static void each_client_up_to_the_limit_has_a_process_of_its_own(void **state) {
        int clients[20];

        (void)state;
        echod_start("--workers=20", NULL);
        clients_served(clients, COUNT(clients));
        assert_int_equal(worker_count(), 20);
        assert_int_equal(workers_with(1), 20);
}

static void clients_beyond_the_limit_are_spread_evenly(void **state) {
        int clients[40];

        (void)state;
        echod_start("--workers=4", NULL);
        clients_served(clients, COUNT(clients));
        assert_int_equal(worker_count(), 4);
        assert_int_equal(workers_with(10), 4);
}

static void gaps_are_filled_first(void **state) {
        int clients[40], more[3];
        pid_t emptied;

        (void)state;
        echod_start("--workers=4", NULL);
        clients_served(clients, COUNT(clients));
        emptied = worker_of(clients[0]);
        for (size_t i = 0, gone = 0; gone < 3; i++) /* all of one worker */
                if (worker_of(clients[i]) == emptied) {
                        (void)close(clients[i]);
                        clients[i] = -1;
                        gone++;
                }
        eventually(records("left: eof") == 3);
        clients_served(more, COUNT(more));
        for (size_t i = 0; i < COUNT(more); i++)
                assert_int_equal(worker_of(more[i]), emptied);
        assert_int_equal(workers_with(10), 4);
}

static void ten_thousand_in_a_row_leave_nothing_behind(void **state) {
        size_t descriptors;
        pid_t pids[PROCESSES_MAX];

        (void)state;
        systemd_play();
        echod_start("--workers=4", NULL);
        eventually(workers(pids) == 4);
        process_rest(echod_pid());
        descriptors = process_descriptors(echod_pid());
        for (int i = 0; i < 10000; i++) {
                int client = client_new();

                echo(client, "hello\n");
                (void)close(client);
        }
        eventually(workers(pids) == 4 && workers_with(0) == 4);
        eventually(process_descriptors(echod_pid()) == descriptors);
        eventually(process_children(echod_pid(), pids) == 4); /* no zombies either */
        expect_status("0 clients, 10000 served, 0 lost");
        eventually(records(" connected") + records(" left: eof, 1 lines") +
                           records(" held back: ") + 1 ==
                   records("")); /* no other record */
}

static void hundred_at_once_leave_nothing_behind(void **state) {
        int clients[100];
        size_t descriptors;
        pid_t pids[PROCESSES_MAX];

        (void)state;
        echod_start("--workers=32", NULL);
        eventually(workers(pids) == 8); /* spares */
        process_rest(echod_pid());
        descriptors = process_descriptors(echod_pid());
        for (int round = 0; round < 3; round++) {
                clients_served(clients, COUNT(clients));
                assert_int_equal(workers(pids), 32);
                for (size_t i = 0; i < COUNT(clients); i++)
                        (void)close(clients[i]);
        }
        eventually(records(" left: eof, 1 lines") == 300);
        eventually(process_children(echod_pid(), pids) == 8);
        eventually(process_descriptors(echod_pid()) == descriptors);
}

static void thousand_resets_are_no_error(void **state) {
        (void)state;
        echod_start("--workers=4", NULL);
        for (int i = 0; i < 1000; i++) {
                int client = client_new();

                if (i % 3 == 1)
                        say(client, "owed\n");
                if (i % 3 == 2)
                        echo(client, "answered\n");
                client_reset(client);
        }
        eventually(records(" connected") == 1000 && records(" left: ") == 1000);
        assert_true(records(" left: reset") >= 333);
        assert_int_equal(records(" left: reset") + records(" left: eof"), 1000);
        assert_int_equal(records(""), 1 + 1000 + 1000); /* no other record */
        echo(client_new(), "still there\n");
}

static void clients_that_go_at_once_are_no_error(void **state) {
        (void)state;
        echod_start("--workers=4", NULL);
        for (int i = 0; i < 1000; i++)
                (void)close(client_new());
        eventually(records(" left: eof, 0 lines") == 1000);
        assert_int_equal(records(" connected"), 1000);
        assert_int_equal(records(""), 1 + 1000 + 1000);
}

static void record_names_an_ipv4_client(void **state) {
        (void)state;
        echod_start(NULL, NULL);
        int client = client_new();

        eventually(client_records(client, "connected") == 1);
        assert_int_equal(records("Client 127.0.0.1:"), 1);
        echo(client, "one\ntwo\n");
        shutdown(client, SHUT_WR);
        eventually(client_records(client, "left: eof, 2 lines") == 1);
}

static void record_names_both_families_of_a_dual_stack_socket(void **state) {
        (void)state;
        int listener = listen_dual_stack(), ipv4, ipv6;

        echod_start(NULL, NULL);
        ipv4 = client_of_ipv4(listener);
        ipv6 = client_of(listener);
        echo(ipv4, "four\n");
        echo(ipv6, "six\n");
        eventually(client_records(ipv4, "connected") == 1);
        eventually(client_records(ipv6, "connected") == 1);
        assert_int_equal(records("Client 127.0.0.1:"), 1);
        assert_int_equal(records("Client [::1]:"), 1);
}

static void record_names_a_unix_client_by_its_pid(void **state) {
        char expected[64];

        (void)state;
        (void)listen_unix();
        echod_start(NULL, NULL);
        int client = client_new();

        echo(client, "hello\n");
        (void)snprintf(expected, sizeof(expected), "Client unix:%d connected\n", (int)getpid());
        eventually(records(expected) == 1);
        (void)close(client);
        (void)snprintf(expected, sizeof(expected), "Client unix:%d left: eof, 1 lines\n",
                       (int)getpid());
        eventually(records(expected) == 1);
}

static void all_listening_sockets_are_served(void **state) {
        (void)state;
        int listeners[] = {listen_ipv4(), listen_dual_stack(), listen_unix(), listen_ipv4()};

        echod_start("--workers=2", NULL);
        for (size_t i = 0; i < COUNT(listeners); i++)
                echo(client_of(listeners[i]), "hello\n");
        assert_int_equal(records("Accepting connections on port "), 3);
        assert_int_equal(records("Accepting connections on /tmp/echod-"), 1);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(silent_client_holds_up_nobody),
                CASE(hundred_clients_are_answered_while_others_are_silent),
                CASE(each_client_up_to_the_limit_has_a_process_of_its_own),
                CASE(clients_beyond_the_limit_are_spread_evenly),
                CASE(gaps_are_filled_first),
                CASE(ten_thousand_in_a_row_leave_nothing_behind),
                CASE(hundred_at_once_leave_nothing_behind),
                CASE(thousand_resets_are_no_error),
                CASE(clients_that_go_at_once_are_no_error),
                CASE(record_names_an_ipv4_client),
                CASE(record_names_both_families_of_a_dual_stack_socket),
                CASE(record_names_a_unix_client_by_its_pid),
                CASE(all_listening_sockets_are_served),
        };

        return cmocka_run_group_tests_name("clients", cases, NULL, NULL);
}
