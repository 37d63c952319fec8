/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The line splitter: bytes in, whole lines out. It does no I/O and allocates nothing; it works on a
 * buffer that its caller lends, so that a socket, a test and a fuzzer can share it.
 *
 * Every byte value is data; only LF ends a line. A partial line waits for its newline. A line that
 * fills the whole buffer passes through in pieces.
 *
 *      data          start           ready            end            size
 *       |  free        |  may go out   |  partial line  |  room        |
 */

#include <stddef.h>

struct lines {
        char *data;
        size_t size;
        size_t start, ready, end;
};

/* Where to put the next bytes, and how many fit. Never 0 while nothing may go out. */
size_t lines_room(struct lines *lines, char **room);

/* n bytes have been put where lines_room() said. Returns how many newlines were among them. */
size_t lines_push(struct lines *lines, size_t n);

/* No more bytes will come: the unterminated tail may go out as it is. */
void lines_finish(struct lines *lines);

/* What may go out, and how much it is. */
size_t lines_ready(const struct lines *lines, const char **ready);

/* The first n ready bytes have gone out. */
void lines_pop(struct lines *lines, size_t n);

/* Bytes held, ready or not. */
size_t lines_held(const struct lines *lines);

/* Moves all that `from` holds into `to`, which is empty and large enough. */
void lines_move(struct lines *to, struct lines *from);

/* Forgets what it holds. */
void lines_clear(struct lines *lines);
