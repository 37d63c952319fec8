/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "options.h"
#include "service.h"
#include "support.h"

static const struct service service = {
        .unit = "echo", .program = "echod", .summary = "Sends every line back."};

/* words is changed in its order only: getopt_long(3) permutes. */
static int parse(struct options *options, const char **words) {
        int n = 0;

        while (words[n] != NULL)
                n++;
        memset(options, 0xa5, sizeof(*options));
        return options_parse(options, &service, n, (char **)words);
}

#define PARSE(options, ...) parse(options, (const char *[]){"echod", __VA_ARGS__, NULL})

static void nothing_said_means_the_defaults(void **state) {
        struct options options;

        (void)state;
        assert_int_equal(PARSE(&options, NULL), 1);
        assert_int_equal(options.workers, 64);
        assert_int_equal(options.max_clients, 16384);
        assert_int_equal(options.max_clients_per_source, 0);
        assert_int_equal(options.drain_timeout, UINT64_C(10000000));
        assert_int_equal(options.send_timeout, UINT64_C(300000000));
        assert_int_equal(options.idle_timeout, 0);
        assert_int_equal(options.log_level, LOG_INFO);
        assert_string_equal(stderr_text(), "");
}

static void every_option_is_heard(void **state) {
        struct options options;

        (void)state;
        assert_int_equal(PARSE(&options, "--workers=3", "--drain-timeout=500ms", "--log-level=err"),
                         1);
        assert_int_equal(options.workers, 3);
        assert_int_equal(options.drain_timeout, 500000);
        assert_int_equal(options.log_level, LOG_ERR);
        assert_int_equal(PARSE(&options, "--max-clients=1000000", "--max-clients-per-source=1",
                               "--send-timeout=1ms", "--idle-timeout=1h"),
                         1);
        assert_int_equal(options.max_clients, 1000000);
        assert_int_equal(options.max_clients_per_source, 1);
        assert_int_equal(options.send_timeout, 1000);
        assert_int_equal(options.idle_timeout, UINT64_C(3600000000));
        assert_int_equal(PARSE(&options, "--drain-timeout=0"), 1); /* nobody is waited for */
        assert_int_equal(options.drain_timeout, 0);
        assert_int_equal(PARSE(&options, "--log-level", "debug", "--workers", "7"), 1);
        assert_int_equal(options.workers, 7);
        assert_int_equal(options.log_level, LOG_DEBUG);
        assert_int_equal(options.drain_timeout, UINT64_C(10000000));
        assert_string_equal(stderr_text(), "");
}

static void last_word_counts(void **state) {
        struct options options;

        (void)state;
        assert_int_equal(PARSE(&options, "--workers=3", "--workers=4"), 1);
        assert_int_equal(options.workers, 4);
}

static void workers_are_from_1_to_4096(void **state) {
        static const char *const wrong[] = {
                "--workers=0",   "--workers=4097", "--workers=",
                "--workers=-1",  "--workers=+1",   "--workers= 1",
                "--workers=1 ",  "--workers=0x10", "--workers=ten",
                "--workers=1.5", "--workers=1e3",  "--workers=4294967297",
                "--workers=1,",  "--workers=\xff", "--workers=18446744073709551617"};
        struct options options;

        (void)state;
        assert_int_equal(PARSE(&options, "--workers=1"), 1);
        assert_int_equal(options.workers, 1);
        assert_int_equal(PARSE(&options, "--workers=4096"), 1);
        assert_int_equal(options.workers, 4096);
        for (size_t i = 0; i < COUNT(wrong); i++) {
                char expected[128];

                (void)snprintf(expected, sizeof(expected),
                               "echod: Bad option %s: write a number from 1 to 4096\n", wrong[i]);
                assert_int_equal(PARSE(&options, wrong[i]), -EINVAL);
                assert_string_equal(stderr_text(), expected);
        }
}

static void log_levels_are_those_of_syslog(void **state) {
        static const char *const names[] = {"--log-level=emerg",   "--log-level=alert",
                                            "--log-level=crit",    "--log-level=err",
                                            "--log-level=warning", "--log-level=notice",
                                            "--log-level=info",    "--log-level=debug"};
        struct options options;

        (void)state;
        for (int i = 0; i < 8; i++) { /* syslog(3): 0 is emerg, 7 is debug */
                assert_int_equal(PARSE(&options, names[i]), 1);
                assert_int_equal(options.log_level, i);
        }
}

static void malformed_option_names_fault_and_remedy(void **state) {
        static const struct {
                const char *word, *record;
        } cases[] = {
                {"--drain-timeout=soon", "echod: Bad option --drain-timeout=soon: write a time "
                                         "like 500ms, 30s, 5min or 1h\n"},
                {"--send-timeout=0", "echod: Bad option --send-timeout=0: write a time like "
                                     "500ms, 30s, 5min or 1h\n"},
                {"--idle-timeout=0s", "echod: Bad option --idle-timeout=0s: write a time like "
                                      "500ms, 30s, 5min or 1h\n"},
                {"--max-clients=0", "echod: Bad option --max-clients=0: write a number from 1 to "
                                    "1000000\n"},
                {"--max-clients=1000001", "echod: Bad option --max-clients=1000001: write a number "
                                          "from 1 to 1000000\n"},
                {"--max-clients-per-source=1000001",
                 "echod: Bad option --max-clients-per-source=1000001: write a number from 1 to "
                 "1000000\n"},
                {"--help=yes", "echod: Bad option --help=yes: there is no such option, or it takes "
                               "no value; see --help\n"},
                {"--log-level=INFO", "echod: Bad option --log-level=INFO: write emerg, alert, "
                                     "crit, err, warning, notice, info or debug\n"},
                {"--log-level=6", "echod: Bad option --log-level=6: write emerg, alert, "
                                  "crit, err, warning, notice, info or debug\n"},
                {"--workers", "echod: Bad option --workers: it needs a value: write "
                              "OPTION=VALUE\n"},
                {"--port=4040", "echod: Bad option --port=4040: there is no such option, or it "
                                "takes no value; see "
                                "--help\n"},
                {"-x", "echod: Bad option -x: there is no such option, or it takes no value; see "
                       "--help\n"},
                {"-xyz", "echod: Bad option -x: there is no such option, or it takes no value; see "
                         "--help\n"},
                {"4040", "echod: Bad option 4040: it takes options only; see --help\n"},
                {"-", "echod: Bad option -: it takes options only; see --help\n"},
        };
        struct options options;

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                assert_int_equal(PARSE(&options, cases[i].word), -EINVAL);
                assert_string_equal(stderr_text(), cases[i].record);
        }
}

static void first_malformed_option_is_the_only_one_told(void **state) {
        struct options options;

        (void)state;
        assert_int_equal(PARSE(&options, "--workers=0", "--log-level=x", "y", "--help"), -EINVAL);
        assert_string_equal(stderr_text(),
                            "echod: Bad option --workers=0: write a number from 1 to 4096\n");
}

static void word_after_the_options_is_refused(void **state) {
        struct options options;

        (void)state;
        assert_int_equal(PARSE(&options, "--workers=2", "--", "more"), -EINVAL);
        assert_string_equal(stderr_text(),
                            "echod: Bad option more: it takes options only; see --help\n");
}

/* The text that follows a newline would stand in the journal as a field of its own. */
static void newline_in_an_option_cannot_forge_a_field(void **state) {
        struct options options;

        (void)state;
        assert_int_equal(PARSE(&options, "--workers=1\nPRIORITY=0"), -EINVAL);
        assert_string_equal(stderr_text(), "echod: Bad option --workers=1?PRIORITY=0: write a "
                                           "number from 1 to 4096\n");
        assert_int_equal(PARSE(&options, "--x\nPRIORITY=0"), -EINVAL);
        assert_string_equal(stderr_text(), "echod: Bad option --x?PRIORITY=0: there is no such "
                                           "option, or it takes no value; see --help\n");
        assert_int_equal(PARSE(&options, "x\nPRIORITY=0"), -EINVAL);
        assert_string_equal(stderr_text(), "echod: Bad option x?PRIORITY=0: it takes options only; "
                                           "see --help\n");
        assert_int_equal(PARSE(&options, "-\n"), -EINVAL);
        assert_string_equal(stderr_text(), "echod: Bad option -?: there is no such option, or it "
                                           "takes no value; see --help\n");
}

static void endless_option_is_cut_and_its_remedy_told(void **state) {
        static char word[100000] = "--workers=";
        struct options options;
        const char *text;

        (void)state;
        memset(word + 10, '9', sizeof(word) - 11);
        assert_int_equal(PARSE(&options, word), -EINVAL);
        text = stderr_text();
        assert_memory_equal(text, "echod: Bad option --workers=99999999", 36);
        assert_non_null(strstr(text, "99: write a number from 1 to 4096\n"));
        assert_true(strlen(text) < 1000);
}

/* In a child, since stdout speaks TAP here. */
static int print_in_child(void *argument) {
        struct options options;
        const char **words = argument;
        int r;

        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        r = PARSE(&options, words[0], words[1]);
        (void)fflush(stdout);
        return r < 0 ? 100 : r;
}

static void help_names_every_option(void **state) {
        const char *text;

        (void)state;
        assert_int_equal(in_child(print_in_child, (const char *[]){"--help", NULL}), 0);
        text = stderr_text();
        assert_memory_equal(text, "Usage: echod [OPTION]...\nSends every line back.\n", 48);
        assert_non_null(strstr(text, "\n  --workers=N "));
        assert_non_null(strstr(text, "\n  --max-clients=N "));
        assert_non_null(strstr(text, "\n  --max-clients-per-source=N "));
        assert_non_null(strstr(text, "\n  --send-timeout=TIME "));
        assert_non_null(strstr(text, "\n  --idle-timeout=TIME "));
        assert_non_null(strstr(text, "\n  --drain-timeout=TIME "));
        assert_non_null(strstr(text, "\n  --log-level=LEVEL "));
        assert_non_null(strstr(text, "\n  --help "));
        assert_non_null(strstr(text, "\n  --version "));
        assert_non_null(strstr(text, "systemctl start echo.socket. See echod(8).\n"));
}

static void version_is_the_projects(void **state) {
        (void)state;
        assert_int_equal(in_child(print_in_child, (const char *[]){"--version", "--workers=0"}), 0);
        assert_string_equal(stderr_text(), "echod " PROJECT_VERSION "\n");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, stderr_capture, stderr_release)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(nothing_said_means_the_defaults),
                CASE(every_option_is_heard),
                CASE(last_word_counts),
                CASE(workers_are_from_1_to_4096),
                CASE(log_levels_are_those_of_syslog),
                CASE(malformed_option_names_fault_and_remedy),
                CASE(first_malformed_option_is_the_only_one_told),
                CASE(word_after_the_options_is_refused),
                CASE(newline_in_an_option_cannot_forge_a_field),
                CASE(endless_option_is_cut_and_its_remedy_told),
                CASE(help_names_every_option),
                CASE(version_is_the_projects),
        };

        return cmocka_run_group_tests_name("options", tests, end_when_stuck, NULL);
}
