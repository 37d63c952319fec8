/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a test case of the service lives in: a directory, a log of all that its processes say on
 * stderr, and the promise that none of these, and no descriptor, outlives the case, even if it
 * fails. Whoever waits, waits in attend(), which keeps reading what they say meanwhile.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* How long anything may take; the slowest sanitizer build on a busy machine needs a tenth. */
#define PATIENCE_MSEC 20000

#define CASE(f) cmocka_unit_test_setup_teardown(f, echod_setup, echod_teardown)

/* Fixtures of each case. */
int echod_setup(void **state);
int echod_teardown(void **state);

/* Leaves out a case that looks at what valgrind changes of a process: name, descriptors, calls.
 * (For meson, what cmocka 1.1 prints for skip() is a failure.) */
#define LEAVE_OUT_UNDER_VALGRIND()                                                                 \
        do {                                                                                       \
                if (getenv("ECHOD_TEST_VALGRIND") != NULL) /* tests/valgrind */                    \
                        return;                                                                    \
        } while (0)

/* In the directory that the case has for itself. */
void path_of(const char *name, char *path, size_t size);

/* What all of them have said so far. */
const char *log_text(void);

/* The number of lines of the log that contain text. */
size_t records(const char *text);

/* Drops the lines that have been read: the log of a long case would not fit. */
void log_forget(void);

/* Where the log comes from: the stderr of what is started. */
int log_writer(void);

uint64_t now_msec(void);

/* Waits for no child that has not ended. */
void reap(void);

/* Waits for events at fd (poll(2); fd -1: none), at most so long. Returns whether they came. */
bool attend(int fd, short events, int msec);

/* Waits until the condition holds. */
#define eventually(condition)                                                                      \
        do {                                                                                       \
                uint64_t until_ = now_msec() + PATIENCE_MSEC;                                      \
                while (!(condition)) {                                                             \
                        if (now_msec() > until_)                                                   \
                                fail_at(__FILE__, __LINE__, "never: %s", #condition);              \
                        (void)attend(-1, 0, 5);                                                    \
                }                                                                                  \
        } while (0)

/* Like fail_msg(), in the name of a helper's caller; adds the end of the log. */
_Noreturn void fail_at(const char *file, int line, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
