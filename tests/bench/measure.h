/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the load generator counts: rounds, and how long each took, in a histogram of microseconds.
 * One per process.
 */

#include <stdint.h>

uint64_t measure_now(void); /* us, CLOCK_MONOTONIC */

/* A round that began then has ended now. */
void measure_round(uint64_t began);

/* So many rounds, of which nobody knows how long each took. */
void measure_count(uint64_t more);

/* Prints "rounds/s p50 p99 p99.9", times in us (0: not known), for that many seconds. */
void measure_print(double seconds);

/* Says what failed and ends the program: a figure with errors in it is none. */
_Noreturn void fail(const char *what);
