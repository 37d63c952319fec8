/* SPDX-License-Identifier: MIT */
#include "storm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "systemd.h"

#define KILLED_EARLIEST_MSEC 29000
#define KILLED_LATEST_MSEC 60000 /* half a minute, and up to ten seconds until it is pinged */

static struct storm_records counted;

bool storm_is_long(void) {
        return getenv("ECHOD_TEST_LONG") != NULL;
}

uint64_t storm_times(uint64_t in_short, uint64_t in_long) {
        return storm_is_long() ? in_long : in_short;
}

static uint64_t now_usec(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void storm_pass(uint64_t usec) {
        uint64_t until = now_usec() + usec, now;

        while ((now = now_usec()) < until)
                (void)attend(-1, 0, (int)((until - now) / 1000));
}

uint64_t storm_while(uint64_t most) {
        return (uint64_t)rand() % (most + 1);
}

static bool is_expected(const char *text) {
        const char *const expected[] = {"Accepting connections on ", "Adopted ", " held back: ",
                                        " places are taken: ", "A worker of another version "};
        size_t i = 0;

        while (i < COUNT(expected) && strstr(text, expected[i]) == NULL)
                i++;
        return i < COUNT(expected);
}

static void count(const char *line, size_t n) {
        unsigned pid, clients;
        char text[256];

        (void)snprintf(text, sizeof(text), "%.*s", (int)n, line);
        if (sscanf(text, "echod: Worker %u lost with %u clients", &pid, &clients) == 2) {
                counted.workers++;
                counted.clients += clients;
        } else if (strncmp(text, "echod: Client ", 14) != 0) {
                if (!is_expected(text)) {
                        counted.others++;
                        print_error("# log: %s\n", text);
                }
        } else if (strstr(text, " connected") != NULL) {
                counted.connected++;
        } else {
                counted.left += strstr(text, " left: ") != NULL;
                counted.eof += strstr(text, " left: eof, ") != NULL;
                counted.reset += strstr(text, " left: reset, ") != NULL;
                counted.lost += strstr(text, " left: lost ") != NULL;
        }
}

const struct storm_records *storm_records(void) {
        const char *line = log_text(), *end;

        for (; (end = strchr(line, '\n')) != NULL; line = end + 1)
                count(line, (size_t)(end - line));
        log_forget();
        return &counted;
}

void storm_forget(void) {
        (void)storm_records();
        counted = (struct storm_records){0};
}

struct storm_status storm_status(void) {
        struct storm_status status = {0};

        (void)sscanf(systemd_status(), "%" SCNu64 " clients, %" SCNu64 " served, %" SCNu64 " lost",
                     &status.clients, &status.served, &status.lost);
        return status;
}

void storm_await_killed(size_t n, uint64_t began) {
        while (records(STORM_KILLED) < n && now_msec() < began + KILLED_LATEST_MSEC)
                (void)attend(-1, 0, 100);
        assert_true(now_msec() >= began + KILLED_EARLIEST_MSEC);
        assert_true(records(STORM_KILLED) >= n);
}

void storm_expect_well(const struct load *load) {
        assert_int_equal(load->refused, 0);
        assert_int_equal(load->wrong, 0);
        assert_int_equal(load->late, 0);
        assert_int_equal(load->broken, 0);
        assert_int_equal(storm_records()->others, 0);
}

void storm_row(const char *what, uint64_t times, const char *format, ...) {
        char outcome[256];
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(outcome, sizeof(outcome), format, arguments);
        va_end(arguments);
        (void)printf("# storm: %-52s %10" PRIu64 "  %s\n", what, times, outcome);
        (void)fflush(stdout);
}
