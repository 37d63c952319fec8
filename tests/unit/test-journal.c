/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "journal.h"
#include "journald.h"
#include "support.h"

static void without_journal_the_message_is_a_line_of_text(void **state) {
        (void)state;
        journal_send(LOG_INFO, "Client %s left: %d lines\nPEER=%s\nLINES=%d", "a", 3, "a", 3);
        journal_send(LOG_ERR, "No fields");
        assert_string_equal(stderr_text(), "echod: Client a left: 3 lines\nechod: No fields\n");
        assert_false(journal_flush());
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
                cmocka_unit_test(control_characters_become_printable),
                NATIVE(record_reaches_the_journal_with_its_fields),
                NATIVE(long_record_stays_well_formed),
                NATIVE(printable_text_cannot_forge_a_field),
                NATIVE(journal_holds_one_descriptor_while_open),
        };

        return cmocka_run_group_tests_name("journal", tests, end_when_stuck, NULL);
}
