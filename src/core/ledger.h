/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The few numbers that must outlive an acceptor: they stand in a memfd that systemd's descriptor
 * store keeps, mapped by whichever acceptor runs, so that the next one counts on where the last one
 * was killed. Written by the acceptor alone, but for what its sink is writing.
 */

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_NAME "ledger" /* in the store */

struct ledger {
        uint64_t version;
        uint64_t epoch;     /* when counting began, CLOCK_REALTIME us: makes sessions unique */
        uint64_t served;    /* clients handed to a worker; the number of the latest session */
        uint64_t announced; /* the latest session whose beginning is on record */
        uint64_t left;      /* the latest session whose end is on record */
        uint64_t ended;     /* sessions that have ended */
        uint64_t lost;      /* sessions that ended with a worker's death */
        uint64_t refused;   /* clients turned away for what their source had already */

        /* What the sink is writing to its file; the next one takes back half of it. Elsewhere,
         * `writing` tells that the last line may be half one. */
        uint64_t writing;    /* bytes; 0: nothing */
        uint64_t writing_at; /* the size of the file before */
        uint64_t writing_to; /* the file's inode number */
};

/*
 * Maps the inherited ledger (the descriptor stays the caller's) or, with -1 or a descriptor of
 * something else, a new one, which is put into the store. NULL: out of memory or descriptors; see
 * errno.
 */
struct ledger *ledger_open(int inherited);
void ledger_close(struct ledger *ledger);

/* Whether children have it, too. */
void ledger_share(struct ledger *ledger, bool shared);
