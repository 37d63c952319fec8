/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "journal.h"
#include "journald.h"
#include "support.h"

static void without_journal_the_message_is_a_line_of_text(void **state) {
        (void)state;
        journal_send(LOG_INFO, "Client %s left: %d lines\nPEER=%s\nLINES=%d", "a", 3, "a", 3);
        journal_send(LOG_ERR, "No fields");
        assert_string_equal(stderr_text(), "echod: Client a left: 3 lines\nechod: No fields\n");
        assert_int_equal(journal_flush(), 0);
        assert_string_equal(stderr_text(), "");
}

static void less_urgent_records_are_left_out(void **state) {
        (void)state;
        journal_open("echod", LOG_WARNING);
        journal_send(LOG_NOTICE, "too little");
        journal_send(LOG_WARNING, "just enough");
        journal_send(LOG_EMERG, "more");
        assert_string_equal(stderr_text(), "echod: just enough\nechod: more\n");
        journal_open("echod", LOG_DEBUG);
        journal_send(LOG_DEBUG, "all");
        assert_string_equal(stderr_text(), "echod: all\n");
}

static void other_descriptors_journal_is_not_ours(void **state) {
        (void)state;
        (void)setenv("JOURNAL_STREAM", "1:2", 1); /* inherited from a parent, systemd.exec(5) */
        journal_open("echod", LOG_INFO);
        journal_send(LOG_INFO, "text");
        (void)unsetenv("JOURNAL_STREAM");
        assert_string_equal(stderr_text(), "echod: text\n");
}

static void long_message_is_cut_to_one_line(void **state) {
        static char message[100000];
        const char *text;

        (void)state;
        memset(message, 'x', sizeof(message) - 1);
        journal_send(LOG_INFO, "%s", message);
        text = stderr_text();
        assert_memory_equal(text, "echod: xxxxxxxxxx", 17);
        assert_in_range(strlen(text), 2000, 2100);
        assert_string_equal(text + strlen(text) - 2, "x\n");
}

static void control_characters_become_printable(void **state) {
        char text[] = "a\nb\r\tc\x1b[0m\x01\x1f\x7f ~\xc3\xa4\xff";

        (void)state;
        assert_ptr_equal(journal_printable(text), text);
        assert_string_equal(text, "a?b??c?[0m??? ~\xc3\xa4\xff");
        assert_string_equal(journal_printable((char[]){""}), "");
}

/* Fills stderr's pipe, waits for nobody, reads it all: what comes then tells of the loss. */
static int write_to_a_full_pipe(void *found) {
        static char rest[1 << 20];
        int ends[2];
        ssize_t n = 0;

        if (pipe(ends) < 0 || dup2(ends[1], STDERR_FILENO) < 0)
                return 1;
        journal_open("echod", LOG_INFO);
        for (int i = 0; i < 100000 && journal_flush() == 0; i++)
                journal_send(LOG_INFO, "filling");
        journal_send(LOG_INFO, "lost");
        journal_send(LOG_DEBUG, "left out, so not lost");
        journal_send(LOG_INFO, "lost, too");
        if (journal_flush() != 3)
                return 2;
        if (read(ends[0], rest, sizeof(rest)) <= 0) /* all there is: it is one pipe's worth */
                return 3;
        journal_send(LOG_INFO, "heard");
        (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
        n = read(ends[0], found, 1000);
        return n > 0 && journal_flush() == 0 ? 0 : 4;
}

static void full_pipe_blocks_nobody_and_the_loss_is_told(void **state) {
        char *found = shared_memory(1001);

        (void)state;
        assert_int_equal(in_child(write_to_a_full_pipe, found), 0);
        assert_string_equal(found, "echod: 3 records could not be written and are lost\n"
                                   "echod: heard\n");
}

static void record_reaches_the_journal_with_its_fields(void **state) {
        (void)state;
        journal_send(LOG_NOTICE, "Client %s left\nPEER=%s\nLINES=%d", "a", "a", 3);
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "Client a left");
        assert_string_equal(journald_field("PRIORITY"), "5");
        assert_string_equal(journald_field("SYSLOG_IDENTIFIER"), "echod");
        assert_string_equal(journald_field("PEER"), "a");
        assert_string_equal(journald_field("LINES"), "3");
        assert_int_equal(journald_count("MESSAGE"), 1);
        assert_int_equal(journald_count("PRIORITY"), 1);
        assert_false(journald_receive());
        assert_string_equal(journald_stderr(), "");
}

static void long_record_stays_well_formed(void **state) {
        static char message[100000];

        (void)state;
        memset(message, 'x', sizeof(message) - 1);
        journal_send(LOG_INFO, "%s\nPEER=a", message);
        assert_true(journald_receive());
        assert_int_equal(strlen(journald_field("MESSAGE")), 2047);
        assert_string_equal(journald_field("PRIORITY"), "6");
        assert_string_equal(journald_field("SYSLOG_IDENTIFIER"), "echod");
}

static void printable_text_cannot_forge_a_field(void **state) {
        char text[] = "1\nPRIORITY=0\nMESSAGE_ID=0";

        (void)state;
        journal_send(LOG_INFO, "Bad option %s\nPEER=a", journal_printable(text));
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "Bad option 1?PRIORITY=0?MESSAGE_ID=0");
        assert_int_equal(journald_count("PRIORITY"), 1);
        assert_int_equal(journald_count("MESSAGE_ID"), 0);
}

static void journald_that_does_not_read_blocks_nobody(void **state) {
        size_t heard = 0;

        (void)state;
        for (int i = 0; i < 100000 && journal_flush() == 0; i++)
                journal_send(LOG_INFO, "filling");
        journal_send(LOG_INFO, "lost");
        assert_int_equal(journal_flush(), 2);
        while (journald_receive())
                heard++;
        assert_true(heard > 0);
        journal_send(LOG_INFO, "heard");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"),
                            "2 records could not be written and are lost");
        assert_string_equal(journald_field("MESSAGE_ID"), "a82e113d30cf4301a8b2276a01fdc4bc");
        assert_string_equal(journald_field("RECORDS"), "2");
        assert_string_equal(journald_field("PRIORITY"), "4");
        assert_true(journald_receive());
        assert_string_equal(journald_field("MESSAGE"), "heard");
        assert_false(journald_receive());
        assert_int_equal(journal_flush(), 0);
}

static void what_was_lost_is_told_without_another_record(void **state) {
        (void)state;
        for (int i = 0; i < 100000 && journal_flush() == 0; i++)
                journal_send(LOG_INFO, "filling");
        while (journald_receive())
                ;
        assert_int_equal(journal_flush(), 0);
        assert_true(journald_receive());
        assert_string_equal(journald_field("RECORDS"), "1");
        assert_false(journald_receive());
}

static void dead_journald_is_a_loss_like_any_other(void **state) {
        (void)state;
        journald_die();
        errno = ENOTTY;
        journal_send(LOG_INFO, "lost");
        journal_send(LOG_INFO, "lost");
        assert_int_equal(errno, ENOTTY); /* the caller's, whatever happened here */
        assert_int_equal(journal_flush(), 2);
        assert_string_equal(journald_stderr(), "");
        journal_close(); /* what comes after goes to stderr */
        assert_int_equal(journal_flush(), 0);
        assert_string_equal(journald_stderr(),
                            "echod: 2 records could not be written and are lost\n");
}

static void journal_holds_one_descriptor_while_open(void **state) {
        size_t open = descriptors();

        (void)state;
        journal_open("echod", LOG_INFO);
        journal_open("echod", LOG_DEBUG);
        assert_int_equal(descriptors(), open);
        journal_close();
        journal_close();
        assert_int_equal(descriptors(), open - 1);
}

#define TEXT(f) cmocka_unit_test_setup_teardown(f, stderr_capture, stderr_release)
#define NATIVE(f) cmocka_unit_test_setup_teardown(f, journald_start, journald_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEXT(without_journal_the_message_is_a_line_of_text),
                TEXT(less_urgent_records_are_left_out),
                TEXT(other_descriptors_journal_is_not_ours),
                TEXT(long_message_is_cut_to_one_line),
                TEXT(full_pipe_blocks_nobody_and_the_loss_is_told),
                cmocka_unit_test(control_characters_become_printable),
                NATIVE(record_reaches_the_journal_with_its_fields),
                NATIVE(long_record_stays_well_formed),
                NATIVE(printable_text_cannot_forge_a_field),
                NATIVE(journald_that_does_not_read_blocks_nobody),
                NATIVE(what_was_lost_is_told_without_another_record),
                NATIVE(dead_journald_is_a_loss_like_any_other),
                NATIVE(journal_holds_one_descriptor_while_open),
        };

        return cmocka_run_group_tests_name("journal", tests, end_when_stuck, NULL);
}
