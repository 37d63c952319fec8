/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The scripted acceptor of fuzz-worker: its end of the pair, what it tells the worker, and whether
 * what it hears from it is true of the talkers.
 */

#include <stdbool.h>
#include <stdint.h>

#include "input.h"
#include "talker.h"

struct boss {
        int pair;     /* -1: closed */
        bool eager;   /* reads as soon as the pair is full */
        bool retired; /* has told the worker to take no more */
        bool calling; /* ... and so is owed its roll */
        uint64_t sessions;
};

extern struct boss boss;

/* Returns the worker's end. small: the reports of a few clients fill it. */
int boss_open(bool small);

void boss_join(struct talker *talker, bool tcp, bool small, bool keep);
void boss_retire(void);

/* Something else, or something that nobody says; more of the script may be part of it. */
void boss_tell(struct talker *talker, uint8_t what, struct input *script);

/* Tells the worker to drain: by SIGTERM, or the pair's end, or both its ends. */
void boss_stop(unsigned how);

/* Reads all that the worker has said so far. */
void boss_hear(void);

/* The worker has left: whatever it owed must be here. */
void boss_take_stock(void);
