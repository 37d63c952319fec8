/* SPDX-License-Identifier: MIT */

/* The journal when nobody reads it, for a while or for good; see test-journal.c for the rest. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "journal.h"
#include "journald.h"
#include "support.h"

/* Fills stderr's pipe, waits for nobody, reads it: what did not fit comes then, in its place. */
static int write_to_a_full_pipe(void *found) {
        static char rest[1 << 20];
        int ends[2];
        ssize_t n = 0;

        if (pipe(ends) < 0 || dup2(ends[1], STDERR_FILENO) < 0)
                return 1;
        journal_open("echod", LOG_INFO);
        for (int i = 0; i < 100000 && !journal_flush(); i++)
                journal_send(LOG_INFO, "filling");
        journal_send(LOG_DEBUG, "left out");
        journal_send(LOG_INFO, "late");
        if (!journal_flush())
                return 2;
        if (read(ends[0], rest, sizeof(rest)) <= 0) /* all there is: it is one pipe's worth */
                return 3;
        journal_send(LOG_INFO, "last");
        (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
        n = read(ends[0], found, 1000);
        return n > 0 && !journal_flush() ? 0 : 4;
}

static void full_pipe_blocks_nobody_and_loses_nothing(void **state) {
        char *found = shared_memory(1001);

        (void)state;
        assert_int_equal(in_child(write_to_a_full_pipe, found), 0);
        assert_string_equal(found, "echod: filling\nechod: late\nechod: last\n");
}

/* Records, numbered and padded, that nobody reads for now. */
static void send_one(int number, size_t padding) {
        static char pad[2000];

        memset(pad, 'x', padding);
        pad[padding] = '\0';
        journal_send(LOG_INFO, "record\nNUMBER=%d\nPAD=%s", number, pad);
}

static void send_numbered(int n, size_t padding) {
        for (int i = 0; i < n; i++)
                send_one(i, padding);
}

static bool receive_next(void) {
        while (!journald_receive())
                if (!journal_flush())
                        return journald_receive();
        return true;
}

/* Reads until all has come: how many numbered records, in order, before anything else. */
static int receive_numbered(void) {
        char expected[16];
        int n = 0;

        while (receive_next() && strcmp(journald_field("MESSAGE"), "record") == 0) {
                (void)snprintf(expected, sizeof(expected), "%d", n++);
                assert_string_equal(journald_field("NUMBER"), expected);
        }
        return n;
}

static void journald_that_does_not_read_for_long_misses_nothing(void **state) {
        (void)state;
        send_numbered(5000, 200);
        assert_true(journal_flush());
        assert_int_equal(receive_numbered(), 5000);
        assert_false(journal_flush());
}

/* It is always a little behind, so that the backlog is never empty. */
static void journald_that_reads_slowly_misses_nothing(void **state) {
        int read = 0;

        (void)state;
        send_numbered(200, 1000);
        for (int i = 200; i < 5000; i++) {
                assert_true(receive_next());
                assert_string_equal(journald_field("MESSAGE"), "record");
                assert_int_equal(atoi(journald_field("NUMBER")), read++);
                send_one(i, 1000);
        }
}

static void backlog_is_bounded_and_the_loss_is_told(void **state) {
        char lost[16];
        int n;

        (void)state;
        send_numbered(3000, 1900); /* nearly three times the backlog */
        n = receive_numbered();
        assert_in_range(n, 1000, 2000);
        (void)snprintf(lost, sizeof(lost), "%d", 3000 - n);
        assert_string_equal(journald_field("MESSAGE_ID"), "a82e113d30cf4301a8b2276a01fdc4bc");
        assert_string_equal(journald_field("RECORDS"), lost);
        assert_string_equal(journald_field("PRIORITY"), "4");
        assert_false(journald_receive());
        assert_false(journal_flush());
}

static void dead_journald_is_waited_for(void **state) {
        (void)state;
        journald_die();
        errno = ENOTTY;
        journal_send(LOG_INFO, "waits");
        assert_int_equal(errno, ENOTTY); /* the caller's, whatever happened here */
        assert_true(journal_flush());
        assert_string_equal(journald_stderr(), "");
}

static void restarted_journald_gets_what_waited(void **state) {
        (void)state;
        journal_send(LOG_INFO, "record\nNUMBER=0");
        assert_int_equal(receive_numbered(), 1);
        journald_die();
        journald_return();
        journal_send(LOG_INFO, "at once"); /* over a socket that leads nowhere now */
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "at once");
        journald_die();
        journal_send(LOG_INFO, "record\nNUMBER=0");
        journal_send(LOG_INFO, "record\nNUMBER=1");
        journald_return();
        assert_int_equal(receive_numbered(), 2);
        assert_false(journal_flush());
}

/* A worker is a copy of the acceptor, with what that could not write. */
static int be_a_worker(void *argument) {
        (void)argument;
        journal_close();
        while (journald_receive()) /* there is room again */
                ;
        journal_open("echod", LOG_INFO);
        journal_send(LOG_INFO, "record of its own");
        return 0;
}

static void worker_tells_nothing_of_the_acceptors(void **state) {
        (void)state;
        send_numbered(3000, 1900);
        assert_int_equal(in_child(be_a_worker, NULL), 0);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "record of its own");
        assert_false(journald_receive());
}

/* Reads, in a process of its own, all that comes to stderr's pipe; returns how many lines. */
static int read_to_the_end(void *end) {
        char part[1000];
        int lines = 0;
        ssize_t n;

        (void)close(STDERR_FILENO);
        while ((n = read(*(int *)end, part, sizeof(part))) > 0)
                for (ssize_t i = 0; i < n; i++)
                        lines += part[i] == '\n';
        return lines == 20000 ? 0 : 1;
}

static int finish_with_a_reader(void *argument) {
        int ends[2], status;
        pid_t reader;

        (void)argument;
        if (pipe(ends) < 0 || dup2(ends[1], STDERR_FILENO) < 0)
                return 1;
        (void)close(ends[1]);
        journal_open("echod", LOG_INFO);
        send_numbered(20000, 0);
        if (!journal_flush()) /* nothing waits: so nothing is tested */
                return 2;
        reader = fork();
        if (reader == 0)
                _exit(read_to_the_end(&ends[0]));
        journal_finish(20000);
        (void)close(STDERR_FILENO);
        return waitpid(reader, &status, 0) == reader && status == 0 ? 0 : 3;
}

static void end_waits_for_a_slow_reader(void **state) {
        (void)state;
        assert_int_equal(in_child(finish_with_a_reader, NULL), 0);
}

static int finish_without_a_reader(void *argument) {
        int ends[2];

        (void)argument;
        if (pipe(ends) < 0 || dup2(ends[1], STDERR_FILENO) < 0)
                return 1;
        journal_open("echod", LOG_INFO);
        send_numbered(20000, 0);
        journal_finish(100);
        return journal_flush() ? 0 : 2;
}

static void end_does_not_wait_for_ever(void **state) {
        (void)state;
        assert_int_equal(in_child(finish_without_a_reader, NULL), 0);
}

#define TEXT(f) cmocka_unit_test_setup_teardown(f, stderr_capture, stderr_release)
#define NATIVE(f) cmocka_unit_test_setup_teardown(f, journald_start, journald_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEXT(full_pipe_blocks_nobody_and_loses_nothing),
                cmocka_unit_test(end_waits_for_a_slow_reader),
                cmocka_unit_test(end_does_not_wait_for_ever),
                NATIVE(journald_that_does_not_read_for_long_misses_nothing),
                NATIVE(journald_that_reads_slowly_misses_nothing),
                NATIVE(backlog_is_bounded_and_the_loss_is_told),
                NATIVE(dead_journald_is_waited_for),
                NATIVE(restarted_journald_gets_what_waited),
                NATIVE(worker_tells_nothing_of_the_acceptors),
        };

        return cmocka_run_group_tests_name("journal-backlog", tests, end_when_stuck, NULL);
}
