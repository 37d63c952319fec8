/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the storms share. Each has a short form, and a long one (tests/run --long), and adds a row
 * to the table of what was tried, how often, and what was lost.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "load.h"

bool storm_is_long(void);

/* How often to do something. */
uint64_t storm_times(uint64_t in_short, uint64_t in_long);

/* Lets so many microseconds pass; reads meanwhile what the program says. */
void storm_pass(uint64_t usec);

/* Up to `most` microseconds, at random. */
uint64_t storm_while(uint64_t most);

/* Records since the last storm_forget(), counted as they come: the log is dropped behind them. */
struct storm_records {
        uint64_t connected, eof, reset, lost, left; /* of clients */
        uint64_t workers, clients;                  /* lost workers, and clients with them */
        uint64_t others;                            /* that no storm is to make, as of faults */
};
void storm_forget(void);
const struct storm_records *storm_records(void);

/* What the latest STATUS says. */
struct storm_status {
        uint64_t clients, served, lost;
};
struct storm_status storm_status(void);

/* Records of processes that were killed, since they had not read their pairs for long. */
#define STORM_KILLED "has not read its pair for long and is killed\n"

/* Waits until there are n of them: not before half a minute has passed since `began`. */
void storm_await_killed(size_t n, uint64_t began);

/* Nobody was refused, answered wrongly or kept waiting, and the program knows of no fault. */
void storm_expect_well(const struct load *load);

void storm_row(const char *what, uint64_t times, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
