/* SPDX-License-Identifier: MIT */

/* What a client says comes back, whatever it is and however it is cut. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"

#define MIB ((size_t)1 << 20)

/* One worker has all clients, so whoever was served after another tells that both were. */
static void start_one_worker(void) {
        (void)listen_ipv4();
        echod_start("--workers=1", NULL);
}

/* Returns when the worker has read what others said before this. */
static void let_it_read(int witness) {
        echo(witness, "first\n");
        echo(witness, "second\n");
}

static void every_byte_value_comes_back(void **state) {
        int listeners[3], client;
        char bytes[257];

        (void)state;
        listeners[0] = listen_ipv4();
        listeners[1] = listen_dual_stack();
        listeners[2] = listen_unix();
        echod_start(NULL, NULL);
        for (int i = 0; i < 256; i++)
                bytes[i] = (char)i;
        bytes[256] = '\n';
        for (size_t i = 0; i < COUNT(listeners); i++) {
                client = client_of(listeners[i]);
                say_bytes(client, bytes, sizeof(bytes));
                expect_bytes(client, bytes, sizeof(bytes));
        }
}

static void telnet_line_ends_stay_as_they_are(void **state) {
        (void)state;
        start_one_worker();
        int client = client_new();

        echo(client, "hello\r\n");
        echo(client, "\r\n");
        say_bytes(client, "\0\r\n\xff\xff\n", 6);
        expect_bytes(client, "\0\r\n\xff\xff\n", 6);
}

static void empty_lines_come_back(void **state) {
        (void)state;
        start_one_worker();
        int client = client_new();

        echo(client, "\n");
        echo(client, "\n\n\n\n");
        shutdown(client, SHUT_WR);
        expect_end(client);
        eventually(client_records(client, "left: eof, 5 lines") == 1);
}

static void partial_line_waits_for_its_newline(void **state) {
        (void)state;
        start_one_worker();
        int client = client_new(), witness = client_new();

        say(client, "one\ntw");
        expect(client, "one\n");
        let_it_read(witness);
        expect_silence(client);
        say(client, "o");
        let_it_read(witness);
        expect_silence(client);
        say(client, "\nthree");
        expect(client, "two\n");
        let_it_read(witness);
        expect_silence(client);
}

static void tail_comes_back_at_the_end(void **state) {
        (void)state;
        int listeners[] = {listen_ipv4(), listen_unix()};

        echod_start(NULL, NULL);
        for (size_t i = 0; i < COUNT(listeners); i++) {
                int client = client_of(listeners[i]);

                say(client, "line\ntail");
                shutdown(client, SHUT_WR);
                expect(client, "line\ntail");
                expect_end(client);
                eventually(client_records(client, "left: eof, 1 lines") == 1);
        }
}

static void client_without_a_word_gets_its_end(void **state) {
        (void)state;
        start_one_worker();
        int client = client_new();

        shutdown(client, SHUT_WR);
        expect_end(client);
        eventually(client_records(client, "left: eof, 0 lines") == 1);
}

static void urgent_byte_stays_in_its_place(void **state) {
        (void)state;
        start_one_worker();
        int client = client_new();

        say(client, "before ");
        assert_int_equal(send(client, "!", 1, MSG_OOB), 1);
        say(client, " after\n");
        expect(client, "before ! after\n");
        assert_int_equal(send(client, "\n", 1, MSG_OOB), 1);
        expect(client, "\n");
}

static void thousand_pipelined_lines_come_back_before_the_end(void **state) {
        char lines[1000 * 10 + 1];

        (void)state;
        start_one_worker();
        int client = client_new();

        for (int i = 0; i < 1000; i++)
                (void)snprintf(lines + 10 * i, 11, "line %04d\n", i);
        say(client, lines);
        shutdown(client, SHUT_WR);
        expect(client, lines);
        expect_end(client);
        eventually(client_records(client, "left: eof, 1000 lines") == 1);
}

/* Sends n bytes of lines of that length, and our end, and reads them back a little at a time. */
static void pass_through(int client, size_t line, size_t n) {
        char *data = malloc(n), piece[4096];
        size_t sent = 0, got = 0;

        assert_non_null(data);
        for (size_t i = 0; i < n; i++)
                data[i] = (i + 1) % line == 0 ? '\n' : pattern(i);
        while (got < n) {
                /* Not all at once: valgrind looks at each byte. */
                size_t most = n - sent < sizeof(piece) * 16 ? n - sent : sizeof(piece) * 16;
                ssize_t r = send(client, data + sent, most, MSG_NOSIGNAL);

                if (r > 0 && (sent += (size_t)r) == n)
                        shutdown(client, SHUT_WR);
                r = recv(client, piece, sizeof(piece), 0);
                assert_true(r > 0 || (r < 0 && errno == EAGAIN));
                if (r > 0) {
                        assert_memory_equal(piece, data + got, (size_t)r);
                        got += (size_t)r;
                } else {
                        assert_true(
                                attend(client, POLLIN | (sent < n ? POLLOUT : 0), PATIENCE_MSEC));
                }
        }
        expect_end(client);
        free(data);
}

static void lines_of_4_mib_pass_to_a_slow_reader(void **state) {
        (void)state;
        start_one_worker();
        int client = client_small();

        pass_through(client, 4 * MIB, 8 * MIB);
        eventually(client_records(client, "left: eof, 2 lines") == 1);
}

static void long_lines_pass_on_every_family(void **state) {
        (void)state;
        int listeners[] = {listen_ipv4(), listen_dual_stack(), listen_unix()};

        echod_start(NULL, NULL);
        for (size_t i = 0; i < COUNT(listeners); i++) {
                pass_through(client_of(listeners[i]), 65535, MIB);
                pass_through(client_of(listeners[i]), 65536, MIB);
                pass_through(client_of(listeners[i]), 65537, MIB);
        }
}

static void endless_line_passes_in_bounded_memory(void **state) {
        (void)state;
        start_one_worker();
        int client = client_new();
        pid_t worker;
        uint64_t before;

        echo(client, "\n");
        worker = worker_of(client);
        before = process_number(worker, "VmRSS");
        pass_through(client, 64 * MIB, 64 * MIB);
        assert_in_range(process_number(worker, "VmHWM"), 1, before + 4096);
}

/* Expects back what client_flood() has sent. */
static void expect_flood(int client, const char *line, size_t n, size_t flood) {
        for (size_t i = 0; i < flood / n; i++)
                expect_bytes(client, line, n);
        if (flood % n > 0)
                expect_bytes(client, line, flood % n);
}

static void client_that_half_closes_gets_everything(void **state) {
        static const char line[4096] = "a line of\n4096 bytes is too long for\nthis file\n";
        size_t owed;

        (void)state;
        start_one_worker();
        int client = client_small();

        owed = client_flood(client, line, sizeof(line)); /* so there is more than was read so far */
        shutdown(client, SHUT_WR);
        expect_flood(client, line, sizeof(line), owed);
        expect_end(client);
        eventually(client_records(client, "left: eof") == 1);
}

static void client_that_never_reads_is_no_longer_read(void **state) {
        static const char line[4096] = "nobody will read this line\n";

        (void)state;
        start_one_worker();
        int deaf = client_new(), other = client_new();
        size_t owed = client_flood(deaf, line, sizeof(line));

        assert_in_range(owed, sizeof(line), 64 * MIB);
        for (int i = 0; i < 100; i++)
                echo(other, "still served\n");
        shutdown(deaf, SHUT_WR);
        expect_flood(deaf, line, sizeof(line), owed); /* and nothing of it is lost */
        expect_end(deaf);
}

int main(void) {
        const struct CMUnitTest cases[] = {
                CASE(every_byte_value_comes_back),
                CASE(telnet_line_ends_stay_as_they_are),
                CASE(empty_lines_come_back),
                CASE(partial_line_waits_for_its_newline),
                CASE(tail_comes_back_at_the_end),
                CASE(client_without_a_word_gets_its_end),
                CASE(urgent_byte_stays_in_its_place),
                CASE(thousand_pipelined_lines_come_back_before_the_end),
                CASE(lines_of_4_mib_pass_to_a_slow_reader),
                CASE(long_lines_pass_on_every_family),
                CASE(endless_line_passes_in_bounded_memory),
                CASE(client_that_half_closes_gets_everything),
                CASE(client_that_never_reads_is_no_longer_read),
        };

        return cmocka_run_group_tests_name("lines", cases, NULL, NULL);
}
