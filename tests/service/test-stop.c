/* SPDX-License-Identifier: MIT */

/* How the service is stopped where no systemd keeps its pairs. */

#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"

static void each_signal_ends_it_well(void **state) {
        const int signals[] = {SIGTERM, SIGINT};

        (void)state;
        for (size_t i = 0; i < COUNT(signals); i++) {
                echod_start(NULL, NULL);
                echod_signal(signals[i]);
                assert_int_equal(echod_wait(), 0);
                eventually(all_gone());
        }
}

static void it_ends_as_soon_as_its_clients_have_gone(void **state) {
        int clients[10];

        (void)state;
        echod_start("--workers=4", "--drain-timeout=1h", NULL);
        clients_served(clients, COUNT(clients));
        echod_signal(SIGTERM);
        for (size_t i = 0; i < COUNT(clients); i++) {
                expect_end(clients[i]);
                expect_farewell(clients[i]);
        }
        assert_int_equal(echod_wait(), 0);
        eventually(all_gone());
        assert_int_equal(records(" left: drain, 1 lines"), 10);
}

static void tail_is_answered_on_stop(void **state) {
        (void)state;
        echod_start(NULL, NULL);
        int client = client_new();

        say(client, "a line\nand a tail");
        expect(client, "a line\n");
        echod_signal(SIGTERM);
        expect(client, "and a tail");
        expect_end(client);
        expect_farewell(client);
        assert_int_equal(echod_wait(), 0);
        eventually(all_gone());
        expect_records(client, "left: drain, 1 lines", 1);
}

static size_t unacknowledged(int client) {
        int bytes = 0;

        assert_int_equal(ioctl(client, SIOCOUTQ, &bytes), 0);
        return (size_t)bytes;
}

/* What has arrived before its worker begins to drain, though it had read nothing of it. */
static void what_was_received_is_answered_on_stop(void **state) {
        static char lines[500 * 100 + 1];
        int clients[2], untaken;

        (void)state;
        for (size_t i = 0; i < 500; i++)
                (void)snprintf(lines + 100 * i, 101, "%099zu\n", i);
        echod_start("--workers=1", NULL);
        clients_served(clients, COUNT(clients));
        pid_t worker = worker_of(clients[0]);
        process_stop(worker);
        say_bytes(clients[0], lines, 49999); /* without the last newline */
        untaken = client_new();
        eventually(client_records(untaken, "connected") == 1);
        say(untaken, "never seen by the worker before");
        process_rest(echod_pid());
        echod_signal(SIGTERM);
        process_rest(echod_pid()); /* it has told the worker to stop */
        say_bytes(clients[1], lines, 49999);
        eventually(unacknowledged(clients[1]) == 0);
        process_continue(worker);
        for (size_t i = 0; i < COUNT(clients); i++) {
                expect_bytes(clients[i], lines, 49999);
                expect_end(clients[i]);
                expect_farewell(clients[i]);
        }
        expect(untaken, "never seen by the worker before");
        expect_end(untaken);
        expect_farewell(untaken);
        assert_int_equal(echod_wait(), 0);
        eventually(all_gone());
}

/* It says more than is owed an answer. Closing with any of that unread would reset the connection,
 * and destroy answers that are still on their way. */
static void talkative_client_gets_what_it_is_owed_and_no_reset(void **state) {
        static const char line[4096] = "spoken without a pause\n";
        char piece[4096], lines[2 * sizeof(line)];
        ssize_t n;

        (void)state;
        memcpy(lines, line, sizeof(line));
        memcpy(lines + sizeof(line), line, sizeof(line));
        echod_start(NULL, NULL);
        int client = client_small();
        size_t sent = client_flood(client, line, sizeof(line)), got = 0;

        echod_signal(SIGTERM);
        while (attend(client, POLLIN, PATIENCE_MSEC) &&
               (n = recv(client, piece, sizeof(piece), 0)) > 0) {
                assert_memory_equal(piece, lines + got % sizeof(line), (size_t)n);
                got += (size_t)n;
        }
        assert_int_equal(n, 0);
        assert_true(got <= sent && got > sizeof(line));
        expect_farewell(client);
        assert_int_equal(echod_wait(), 0);
}

static void client_that_stays_is_closed_when_time_is_up(void **state) {
        static const char line[4096] = "nobody will read this\n";

        (void)state;
        echod_start("--workers=2", "--drain-timeout=1s", NULL);
        int staying = client_new(), deaf = client_small();
        uint64_t began;

        echo(staying, "hello\n");
        (void)client_flood(deaf, line, sizeof(line));
        began = now_msec();
        echod_signal(SIGTERM);
        expect_end(staying);
        assert_int_equal(echod_wait(), 0);
        assert_true(now_msec() - began >= 900);
        eventually(all_gone());
        expect_records(staying, "left: timeout, 1 lines", 1);
        expect_records(deaf, "left: timeout, ", 1);
}

static void acceptor_waits_for_its_workers(void **state) {
        (void)state;
        echod_start(NULL, NULL);
        int client = client_new();

        echo(client, "hello\n");
        echod_signal(SIGTERM);
        expect_end(client);
        expect_records(client, "left", 0);
        assert_false(echod_has_ended());
        expect_farewell(client);
        assert_int_equal(echod_wait(), 0);
        expect_records(client, "left: drain, 1 lines", 1);
}

static void second_signal_ends_the_waiting(void **state) {
        (void)state;
        echod_start("--drain-timeout=1h", NULL);
        int client = client_new();

        echo(client, "hello\n");
        echod_signal(SIGINT);
        expect_end(client);
        echod_stop();
        expect_farewell(client); /* its worker goes on until then */
        eventually(all_gone());
        expect_records(client, "left: drain, 1 lines", 1);
}

static void nobody_is_accepted_after_the_stop(void **state) {
        (void)state;
        echod_start("--drain-timeout=1h", NULL);
        int client = client_new(), next;

        echo(client, "hello\n");
        echod_signal(SIGTERM);
        expect_end(client);
        next = client_new(); /* the listening socket is ours, too */
        say(next, "is anybody there?\n");
        expect_farewell(client);
        assert_int_equal(echod_wait(), 0);
        expect_silence(next);
        expect_records(next, "connected", 0);
        echod_start(NULL, NULL);
        expect(next, "is anybody there?\n"); /* it has waited */
}

static void unix_client_is_drained_too(void **state) {
        (void)state;
        (void)listen_unix();
        echod_start(NULL, NULL);
        int client = client_new();

        say(client, "a line\nand a tail");
        expect(client, "a line\n");
        echod_signal(SIGTERM);
        expect(client, "and a tail");
        expect_end(client);
        (void)close(client);
        assert_int_equal(echod_wait(), 0);
        eventually(all_gone());
        assert_int_equal(records(" left: drain, 1 lines"), 1);
}

/* Workers whose acceptor is killed, where nobody else holds their pairs, are told by that. */
static void workers_drain_when_their_acceptor_is_killed(void **state) {
        int clients[4];

        (void)state;
        echod_start("--workers=2", NULL);
        clients_served(clients, COUNT(clients));
        say(clients[0], "a tail");
        echod_kill();
        expect(clients[0], "a tail");
        for (size_t i = 0; i < COUNT(clients); i++) {
                expect_end(clients[i]);
                expect_farewell(clients[i]);
                eventually(client_records(clients[i], "left: drain") == 1);
        }
        eventually(all_gone());
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(each_signal_ends_it_well),
                CASE(it_ends_as_soon_as_its_clients_have_gone),
                CASE(tail_is_answered_on_stop),
                CASE(what_was_received_is_answered_on_stop),
                CASE(talkative_client_gets_what_it_is_owed_and_no_reset),
                CASE(client_that_stays_is_closed_when_time_is_up),
                CASE(acceptor_waits_for_its_workers),
                CASE(second_signal_ends_the_waiting),
                CASE(nobody_is_accepted_after_the_stop),
                CASE(unix_client_is_drained_too),
                CASE(workers_drain_when_their_acceptor_is_killed),
        };

        return cmocka_run_group_tests_name("stop", cases, NULL, NULL);
}
