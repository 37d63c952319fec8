/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the unit tests share. Each test-MODULE.c is a program with one group of cases. A case that
 * changes the process for good (descriptors, limits, environment) does so in a child; a child
 * returns what it found and asserts nothing, since cmocka lives in the parent.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Group fixture: a case that blocks ends the program. */
int end_when_stuck(void **state);

/* How many descriptors this process has open. */
size_t descriptors(void);

/* splitmix64: the same numbers everywhere for the same seed. */
uint64_t random_next(uint64_t *state);
size_t random_below(uint64_t *state, size_t bound);

/* Runs f in a child. Returns what it returned (0 to 255), or 1000 + the signal that killed it. */
int in_child(int (*f)(void *argument), void *argument);

/* Memory that a child shares with us, zeroed; kept to the end of the program. */
void *shared_memory(size_t size);

/* Fixtures: between them stderr is a file in memory, and the journal writes text to it. */
int stderr_capture(void **state);
int stderr_release(void **state);

/* What came to stderr since it was captured or last asked for; valid until asked again. */
const char *stderr_text(void);
