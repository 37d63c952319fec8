/* SPDX-License-Identifier: MIT */

/* The command line, and what the program does not start with. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "systemd.h"

static void bad_option_is_refused_with_its_remedy(void **state) {
        const char *const workers = "write a number from 1 to 4096";
        const char *const unknown = "there is no such option, or it takes no value; see --help";
        const struct {
                const char *option, *advice;
        } bad[] = {
                {"--workers=0", workers},
                {"--workers=4097", workers},
                {"--workers=-1", workers},
                {"--workers=+8", workers},
                {"--workers= 8", workers},
                {"--workers=8x", workers},
                {"--workers=", workers},
                {"--workers=99999999999999999999", workers},
                {"--drain-timeout=soon", "write a time like 500ms, 30s, 5min or 1h"},
                {"--drain-timeout=-1s", "write a time like 500ms, 30s, 5min or 1h"},
                {"--drain-timeout=5 s", "write a time like 500ms, 30s, 5min or 1h"},
                {"--log-level=loud",
                 "write emerg, alert, crit, err, warning, notice, info or debug"},
                {"--workers", "it needs a value: write OPTION=VALUE"},
                {"--no-such-option", unknown},
                {"-x", unknown},
                {"--help=me", unknown},
                {"word", "it takes options only; see --help"},
        };
        char expected[256];

        (void)state;
        (void)listen_ipv4();
        for (size_t i = 0; i < COUNT(bad); i++) {
                echod_launch(bad[i].option, NULL);
                assert_int_equal(echod_wait(), 2);
                (void)snprintf(expected, sizeof(expected), "echod: Bad option %s: %s\n",
                               bad[i].option, bad[i].advice);
                if (records(expected) != 1 || records("") != i + 1)
                        fail_at(__FILE__, __LINE__, "not exactly one record for %s", bad[i].option);
        }
}

static void all_options_are_taken(void **state) {
        (void)state;
        (void)listen_ipv4();
        const struct {
                const char *workers, *timeout, *level;
        } good[] = {
                {"--workers=1", "--drain-timeout=500ms", "--log-level=info"},
                {"--workers=4096", "--drain-timeout=1h", "--log-level=debug"},
                {"--workers=3", "--drain-timeout=5min", "--log-level=info"},
                {"--workers=3", "--drain-timeout=7", "--log-level=debug"},
        };
        for (size_t i = 0; i < COUNT(good); i++) {
                echod_start(good[i].workers, good[i].timeout, good[i].level, NULL);
                echo(client_new(), "hello\n");
                echod_kill();
        }
}

static void log_level_leaves_out_what_is_less_urgent(void **state) {
        (void)state;
        (void)listen_ipv4();
        echod_launch("--log-level=warning", NULL);
        int client = client_new();

        echo(client, "hello\n");
        (void)kill(worker_of(client), SIGKILL);
        expect_end(client);
        eventually(records("lost with 1 clients: killed by SIGKILL\n") == 1);
        echod_stop();
        assert_int_equal(records(""), 1);
}

static void version_is_one_line(void **state) {
        char expected[64];

        (void)state;
        echod_launch("--version", NULL);
        assert_int_equal(echod_wait(), 0);
        (void)snprintf(expected, sizeof(expected), "echod %s\n", getenv("ECHOD_VERSION"));
        assert_string_equal(log_text(), expected);
}

/* So that a mistake in a unit makes at most twelve attempts a minute. */
static void bad_option_under_systemd_is_not_retried_at_once(void **state) {
        uint64_t began = now_msec();

        (void)state;
        systemd_play();
        (void)listen_ipv4();
        echod_launch("--workers=none", NULL);
        assert_int_equal(echod_wait(), 2);
        assert_true(now_msec() - began >= 4900);
        assert_int_equal(records(""), 1);
        assert_int_equal(systemd_heard("READY=1"), 0);
}

static void corrected_option_need_not_wait(void **state) {
        (void)state;
        systemd_play();
        (void)listen_ipv4();
        echod_launch("--workers=none", NULL);
        eventually(records("Bad option") == 1);
        echod_signal(SIGTERM);
        assert_int_equal(echod_wait(), 1000 + SIGTERM);
        echod_start("--workers=1", NULL);
        echo(client_new(), "hello\n");
}

static void expect_refusal(const char *record) {
        echod_launch(NULL, NULL);
        assert_int_equal(echod_wait(), 1);
        assert_string_equal(log_text(), record);
}

static void it_refuses_to_start_without_a_socket(void **state) {
        (void)state;
        expect_refusal("echod: No listening socket was passed: start echo.socket, not the "
                       "program\n");
}

static void it_refuses_a_datagram_socket(void **state) {
        (void)state;
        pass(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "echo.socket");
        expect_refusal("echod: Descriptor 3 is a datagram socket: write ListenStream= in the "
                       "socket unit, not ListenDatagram=\n");
}

static void it_refuses_a_connected_socket(void **state) {
        int ends[2];

        (void)state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        pass(ends[0], "connection");
        expect_refusal("echod: Descriptor 3 is a connected socket: is Accept=yes set in the "
                       "socket unit? It must be Accept=no\n");
}

static void it_refuses_a_sequential_packet_socket(void **state) {
        (void)state;
        pass(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "echo.socket");
        expect_refusal("echod: Descriptor 3 is no stream socket: write ListenStream= in the "
                       "socket unit\n");
}

static void it_refuses_what_is_no_socket(void **state) {
        int ends[2];

        (void)state;
        (void)listen_ipv4(); /* though one is good */
        assert_int_equal(pipe(ends), 0);
        pass(ends[0], "pipe");
        expect_refusal("echod: Descriptor 4 is no socket: pass listening sockets only; see "
                       "echod(8)\n");
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(bad_option_is_refused_with_its_remedy),
                CASE(all_options_are_taken),
                CASE(log_level_leaves_out_what_is_less_urgent),
                CASE(version_is_one_line),
                CASE(bad_option_under_systemd_is_not_retried_at_once),
                CASE(corrected_option_need_not_wait),
                CASE(it_refuses_to_start_without_a_socket),
                CASE(it_refuses_a_datagram_socket),
                CASE(it_refuses_a_connected_socket),
                CASE(it_refuses_a_sequential_packet_socket),
                CASE(it_refuses_what_is_no_socket),
        };

        return cmocka_run_group_tests_name("options", cases, NULL, NULL);
}
