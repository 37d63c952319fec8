/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Load on the program under test: a process of its own, with callers who connect, talk, and verify
 * every byte that comes back. What they meet is counted in memory that both processes share.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_PATIENCE_SEC 30 /* the longest that a caller waits for an answer */

struct load_plan {
        unsigned talkers;   /* who stay, and talk all the time; when cut off, they call again */
        unsigned visitors;  /* who say a line, hear it, and leave; again and again */
        unsigned resetters; /* who break the connection off: unsaid, unheard or heard */
        uint64_t visits;    /* how many in all, and resets; 0: until the end of the load */
        unsigned round;     /* bytes that a talker says at once, at most; 0: 6000 */
        unsigned rest;      /* us, to rest after each round, visit or reset; 0: never */
};

struct load {
        _Atomic uint64_t rounds;    /* of talkers, answered to the last byte */
        _Atomic uint64_t lines;     /* in them */
        _Atomic uint64_t visits;    /* answered to the end of the connection */
        _Atomic uint64_t resets;    /* made */
        _Atomic uint64_t connected; /* talkers who have been answered since they called */
        /* What went wrong: */
        _Atomic uint64_t refused; /* connections that did not come about */
        _Atomic uint64_t cut;     /* ... that ended before all was answered */
        _Atomic uint64_t broken;  /* ... that were reset instead of ended, after the answer */
        _Atomic uint64_t wrong;   /* answers with other bytes */
        _Atomic uint64_t late;    /* answers that did not come */

        _Atomic bool leaving, over;
        _Atomic uint32_t slowness[1024]; /* of rounds: how many took about so long */
        struct load_plan plan;
        pid_t pid;
};

/* Starts it, on the first socket that was passed. Returns when all talkers have been answered. */
struct load *load_start(const struct load_plan *plan);

/* Lets a moment pass. Returns whether it is not over; nobody may have waited in vain. */
bool load_goes_on(struct load *load);

/* Waits until the plan's visits or resets are through. */
void load_wait(struct load *load);

/* Has everybody finish what they have begun, and leave; waits until they have. What was counted is
 * there until load_free(). */
void load_end(struct load *load);
void load_free(struct load *load);

/* Forgets how long rounds have taken; how long, in us, the given share of them took at most. */
void load_time(struct load *load);
uint64_t load_percentile(const struct load *load, unsigned percent);
