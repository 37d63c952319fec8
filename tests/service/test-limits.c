/* SPDX-License-Identifier: MIT */

/* Who is kept waiting, turned away or sent off. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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

static void clients_beyond_the_limit_wait_for_a_place(void **state) {
        int clients[3];

        (void)state;
        systemd_play();
        echod_start("--max-clients=3", NULL);
        clients_served(clients, COUNT(clients));
        int fourth = client_new(), fifth = client_new();
        say(fourth, "is there room?\n");
        say(fifth, "and for me?\n");
        expect_status("3 clients (no place left), 3 served, 0 lost");
        expect_silence(fourth);
        (void)close(clients[0]);
        expect(fourth, "is there room?\n");
        expect_silence(fifth);
        client_reset(clients[1]);
        expect(fifth, "and for me?\n");
        shutdown(clients[2], SHUT_WR);
        expect_status("2 clients, 5 served, 0 lost");
        echo(client_new(), "hello\n");
}

static void limit_counts_those_of_the_last_acceptor(void **state) {
        int clients[3];

        (void)state;
        systemd_play();
        echod_start("--max-clients=3", "--max-clients-per-source=3", NULL);
        clients_served(clients, COUNT(clients));
        eventually(systemd_stored("worker-") == 3);
        echod_kill();
        int fourth = client_new();
        say(fourth, "is there room?\n");
        echod_start("--max-clients=3", "--max-clients-per-source=3", NULL);
        expect_status("3 clients (no place left), 3 served, 0 lost");
        expect_silence(fourth);
        (void)close(clients[2]);
        expect(fourth, "is there room?\n");
}

/* Connects from a certain address of the loopback network. */
static int client_from(const char *source) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        socklen_t length = sizeof(in);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_int_equal(inet_pton(AF_INET, source, &in.sin_addr), 1);
        assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
        assert_int_equal(getsockname(listening(), (struct sockaddr *)&in, &length), 0);
        if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
                assert_true(errno == EINPROGRESS && attend(fd, POLLOUT, PATIENCE_MSEC));
        return fd;
}

static void source_that_has_enough_is_turned_away(void **state) {
        int clients[2];

        (void)state;
        systemd_play();
        echod_start("--max-clients-per-source=2", NULL);
        clients_served(clients, COUNT(clients));
        expect_end(client_new());
        expect_end(client_new());
        echo(client_from("127.0.0.2"), "somebody else\n");
        echo(clients[0], "still there\n");
        expect_status("3 clients, 3 served, 0 lost, 2 refused");
        (void)close(clients[1]);
        eventually(records(" left: eof") == 1);
        echo(client_new(), "hello\n");
        eventually(records(" connected\n") == 4); /* written after the client was handed over */
}

static void silent_client_is_sent_off_in_time(void **state) {
        uint64_t began = now_msec();

        (void)state;
        echod_start("--workers=1", "--idle-timeout=2s", NULL);
        int silent = client_new(), talker = client_new(), partial = client_new();

        say(partial, "no newline");
        do
                echo(talker, "not silent\n");
        while (!attend(silent, POLLIN, 50) && now_msec() - began < PATIENCE_MSEC);
        expect_end(silent);
        assert_true(now_msec() - began >= 1900);
        eventually(client_records(silent, "left: timeout, 0 lines") == 1);
        eventually(client_records(partial, "left: timeout, 0 lines") == 1);
        echo(talker, "still there\n");
}

/* More than a worker hears of at once. */
static void clients_that_spoke_while_their_worker_was_stopped_were_not_silent(void **state) {
        int clients[80];
        uint64_t began;

        (void)state;
        echod_start("--workers=1", "--idle-timeout=1s", NULL);
        clients_served(clients, COUNT(clients));
        pid_t worker = worker_of(clients[0]);
        process_stop(worker);
        began = now_msec();
        for (size_t i = 0; i < COUNT(clients); i++)
                say(clients[i], "heard?\n");
        while (now_msec() - began < 1200)
                assert_false(attend(clients[0], POLLIN, 200));
        process_continue(worker);
        for (size_t i = 0; i < COUNT(clients); i++)
                expect(clients[i], "heard?\n");
        for (size_t i = 0; i < COUNT(clients); i++)
                echo(clients[i], "still there\n");
}

/* All of it is with the kernel already, so the service has nothing more to send. */
static void client_that_is_still_being_sent_its_echo_is_not_silent(void **state) {
        enum { MOUTHFUL = 512 };
        static char line[65536];
        size_t taken = 0;

        (void)state;
        memset(line, 'x', sizeof(line));
        line[sizeof(line) - 1] = '\n';
        echod_start("--workers=1", "--idle-timeout=1s", NULL);
        int slow = client_small();
        say_bytes(slow, line, sizeof(line));
        int silent = client_new();
        while (!attend(silent, POLLIN, 50) && taken < sizeof(line) / 2) {
                expect_bytes(slow, line, MOUTHFUL);
                taken += MOUTHFUL;
        }
        expect_end(silent);
        for (int i = 0; i < 2; i++) /* nor is it when it takes nothing for a while */
                expect_end(client_new());
        say(slow, "more\n");
        expect_bytes(slow, line + taken, sizeof(line) - taken);
        expect(slow, "more\n");
}

static void client_that_takes_nothing_is_sent_off_in_time(void **state) {
        static const char line[4096] = "nobody will read this\n";

        (void)state;
        echod_start("--workers=1", "--send-timeout=5s", NULL);
        int deaf = client_small(), silent = client_new();

        echo(silent, "hello\n");
        (void)client_flood(deaf, line, sizeof(line));
        eventually(client_records(deaf, "left: timeout, ") == 1);
        echo(silent, "still there\n");
}

/* The service has no more to send: all of it is with the kernel. */
static void client_that_takes_nothing_from_the_kernel_is_sent_off_in_time(void **state) {
        static char line[65536];

        (void)state;
        memset(line, 'x', sizeof(line));
        line[sizeof(line) - 1] = '\n';
        echod_start("--workers=1", "--send-timeout=1s", NULL);
        int deaf = client_small(), silent = client_new();

        say_bytes(deaf, line, sizeof(line));
        eventually(client_records(deaf, "left: timeout, 1 lines") == 1);
        echo(silent, "still there\n");
}

/* It gets some until it is noticed, and then no more. */
static void stopped_worker_gets_no_more_clients(void **state) {
        int clients[2], more[10], last[20];
        size_t answered = 0;

        (void)state;
        echod_start("--workers=2", NULL);
        clients_served(clients, COUNT(clients));
        pid_t stopped = worker_of(clients[0]);
        process_stop(stopped);
        for (size_t i = 0; i < COUNT(more); i++) {
                more[i] = client_new();
                say(more[i], "hello\n");
        }
        while (answered < COUNT(more) && attend(more[answered], POLLIN, 1000))
                answered++; /* up to the first that was given to the stopped one */
        clients_served(last, COUNT(last));
        for (size_t i = 0; i < COUNT(last); i++)
                assert_int_not_equal(worker_of(last[i]), stopped);
        process_continue(stopped);
        for (size_t i = 0; i < COUNT(more); i++)
                expect(more[i], "hello\n"); /* after all */
}

static void workers_that_died_unseen_are_counted(void **state) {
        int clients[4];

        (void)state;
        systemd_play();
        echod_start("--workers=2", NULL);
        clients_served(clients, COUNT(clients));
        eventually(systemd_stored("worker-") == 2);
        pid_t victim = worker_of(clients[0]);
        process_rest(echod_pid());
        echod_kill();
        assert_int_equal(kill(victim, SIGKILL), 0);
        eventually(systemd_stored("worker-") == 1);
        echod_start("--workers=2", NULL);
        expect_status("2 clients, 4 served, 2 lost");
        assert_int_equal(records("2 clients lost with workers that died while no acceptor ran\n"),
                         1);
        echod_kill();
        echod_start("--workers=2", NULL);
        expect_status("2 clients, 4 served, 2 lost");
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(clients_beyond_the_limit_wait_for_a_place),
                CASE(limit_counts_those_of_the_last_acceptor),
                CASE(source_that_has_enough_is_turned_away),
                CASE(silent_client_is_sent_off_in_time),
                CASE(clients_that_spoke_while_their_worker_was_stopped_were_not_silent),
                CASE(client_that_is_still_being_sent_its_echo_is_not_silent),
                CASE(client_that_takes_nothing_is_sent_off_in_time),
                CASE(client_that_takes_nothing_from_the_kernel_is_sent_off_in_time),
                CASE(stopped_worker_gets_no_more_clients),
                CASE(workers_that_died_unseen_are_counted),
        };

        return cmocka_run_group_tests_name("limits", cases, NULL, NULL);
}
