/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What must be known of a client besides the bytes in its receive queue: how many lines were
 * delivered, and the beginning of the line that still waits for its newline. Memory that a worker
 * shares with its Buffers, one after the other, so that it outlives each of them.
 *
 * A Buffer may die between any two stores to it. What holds is told by the stream's offset at which
 * the queue begins, which only the kernel changes: the line that began at `start` goes on in the
 * queue if that begins later, but before `end`; and what the queue begins after is in the text.
 *
 * (The line could wait in the queue itself, but the kernel gives the memory of a packet back when
 * its last byte is read: a hundred bytes left of a large one can close the window for good.)
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "session.h"

struct draft {
        uint64_t lines;   /* newlines in what was delivered ... */
        uint64_t counted; /* ... of the stream up to this offset */
        uint64_t start, end;
};

/* Makes room for every slot (session.h), and lines up to text_size; of what is longer only the
 * beginning is kept. Memory is used as it is written to. 0 or -errno; then it can be tried again.
 */
int drafts_open(size_t text_size);

/* How many deliveries there have been, by all Buffers. */
uint64_t *drafts_deliveries(void);

/* A client's, and the beginning of its line. */
struct draft *draft_of(const struct session *session);
char *draft_text(const struct session *session);

/* For a new client. */
void draft_reset(const struct session *session);

/* Whether the line goes on in a queue that begins at `offset`. */
bool draft_is_open(const struct draft *draft, uint64_t offset);

/* Adds n bytes at `offset`, or begins a line there. They can be dropped from the queue then. */
void draft_keep(const struct session *session, uint64_t offset, const char *data, size_t n);

/* The line is delivered. It is over as soon as the queue begins at `end`. */
void draft_end(const struct session *session, uint64_t end);
