/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How a line is written, whole: as a record to the journal (in its native protocol), or into a
 * buffer that goes to stdout. What a killed predecessor has half written to a file is taken back;
 * half of a line in a pipe is closed off with a newline.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery.h"

#define OUTPUT_LINE "0affc532e08e4c8faa76e59516e65b85" /* MESSAGE_ID */

struct ledger;

struct line {
        const char *text; /* without its newline */
        size_t length;
        uint64_t offset;   /* in the client's stream */
        uint64_t cut_from; /* the real length of a line that is longer; 0: it is whole */
        bool tail;         /* the client closed before its newline */
};

/* Returns 0 or a negative errno; then it can be tried again. */
int output_open(struct ledger *ledger);

/* The same for a line of this delivery. On stdout it may be written only by output_flush(). */
int output_line(const struct delivery *delivery, const struct line *line);
int output_flush(void);

/* What to wait for to become writable after -EAGAIN. */
int output_fd(void);
