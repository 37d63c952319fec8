/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "options.h"
#include "service.h"
#include "settings.h"
#include "support.h"

static const struct service receiver = {.unit = "receiver",
                                        .program = PROGRAM,
                                        .summary = "Takes lines.",
                                        .options = settings_options};

static int parse(const char *word, const char *next) {
        struct options options;
        const char *argv[] = {"receiverd", word, next, NULL};

        return options_parse(&options, &receiver,
                             next != NULL   ? 3
                             : word != NULL ? 2
                                            : 1,
                             (char **)argv);
}

static int capture_and_reset(void **state) {
        settings = (struct settings){.line_max = 65536};
        return stderr_capture(state);
}

static void nothing_said_means_the_journal_and_64_kib(void **state) {
        (void)state;
        assert_int_equal(parse(NULL, NULL), 1);
        assert_false(settings.to_stdout);
        assert_false(settings.prefix);
        assert_int_equal(settings.line_max, 65536);
}

static void own_options_are_heard_beside_the_common_ones(void **state) {
        struct options options;
        const char *argv[] = {"receiverd",  "--sink=stdout", "--workers=3",     "--prefix",
                              "--line-max", "131072",        "--log-level=err", NULL};

        (void)state;
        assert_int_equal(options_parse(&options, &receiver, COUNT(argv) - 1, (char **)argv), 1);
        assert_true(settings.to_stdout);
        assert_true(settings.prefix);
        assert_int_equal(settings.line_max, 131072);
        assert_int_equal(options.workers, 3);
        assert_int_equal(options.log_level, 3);
        assert_string_equal(stderr_text(), "");
}

static void last_sink_counts(void **state) {
        (void)state;
        assert_int_equal(parse("--sink=stdout", "--sink=journal"), 1);
        assert_false(settings.to_stdout);
}

static void abbreviation_is_heard_unless_two_options_begin_so(void **state) {
        (void)state;
        assert_int_equal(parse("--pre", "--line=1"), 1);
        assert_true(settings.prefix);
        assert_int_equal(settings.line_max, 1);
        assert_int_equal(parse("--s=stdout", NULL), -EINVAL); /* --sink, --send-timeout */
}

static void malformed_option_names_fault_and_remedy(void **state) {
        static const struct {
                const char *word, *record;
        } cases[] = {
                {"--sink=", "Bad option --sink=: write journal or stdout\n"},
                {"--sink=Journal", "Bad option --sink=Journal: write journal or stdout\n"},
                {"--sink", "Bad option --sink: it needs a value: write OPTION=VALUE\n"},
                {"--line-max=0",
                 "Bad option --line-max=0: write a number of bytes from 1 to 131072\n"},
                {"--line-max=131073",
                 "Bad option --line-max=131073: write a number of bytes from 1 to 131072\n"},
                {"--line-max=-1",
                 "Bad option --line-max=-1: write a number of bytes from 1 to 131072\n"},
                {"--prefix=yes", "Bad option --prefix=yes: there is no such option, or it takes no "
                                 "value; see --help\n"},
        };
        char expected[256];

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                assert_int_equal(parse(cases[i].word, NULL), -EINVAL);
                (void)snprintf(expected, sizeof(expected), "echod: %s", cases[i].record);
                assert_string_equal(stderr_text(), expected); /* the name is the fixture's */
        }
        assert_int_equal(settings.line_max, 65536);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, capture_and_reset, stderr_release)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(nothing_said_means_the_journal_and_64_kib),
                CASE(own_options_are_heard_beside_the_common_ones),
                CASE(last_sink_counts),
                CASE(abbreviation_is_heard_unless_two_options_begin_so),
                CASE(malformed_option_names_fault_and_remedy),
        };

        return cmocka_run_group_tests_name("settings", tests, end_when_stuck, NULL);
}
