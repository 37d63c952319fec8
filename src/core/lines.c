/* SPDX-License-Identifier: MIT */
#include "lines.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 64

/* In blocks, and in a byte: compilers make that sixteen comparisons at a time. */
static size_t newlines(const char *data, size_t n) {
        size_t count = 0;

        for (; n >= BLOCK; n -= BLOCK, data += BLOCK) {
                uint8_t found = 0;

                for (size_t i = 0; i < BLOCK; i++)
                        found = (uint8_t)(found + (data[i] == '\n'));
                count += found;
        }
        for (size_t i = 0; i < n; i++)
                count += data[i] == '\n';
        return count;
}

size_t lines_room(struct lines *lines, char **room) {
        if (lines->start > 0) {
                memmove(lines->data, lines->data + lines->start, lines_held(lines));
                lines->ready -= lines->start;
                lines->end -= lines->start;
                lines->start = 0;
        }
        *room = lines->data + lines->end;
        return lines->size - lines->end;
}

size_t lines_push(struct lines *lines, size_t n) {
        const char *fresh = lines->data + lines->end;
        const char *last = memrchr(fresh, '\n', n);

        assert(n <= lines->size - lines->end);
        lines->end += n;
        if (last != NULL)
                lines->ready = (size_t)(last - lines->data) + 1;
        else if (lines->ready == lines->start && lines_held(lines) == lines->size)
                lines->ready = lines->end;
        return newlines(fresh, n);
}

void lines_finish(struct lines *lines) {
        lines->ready = lines->end;
}

size_t lines_ready(const struct lines *lines, const char **ready) {
        *ready = lines->data + lines->start;
        return lines->ready - lines->start;
}

void lines_pop(struct lines *lines, size_t n) {
        assert(n <= lines->ready - lines->start);
        lines->start += n;
        if (lines->start == lines->end)
                lines_clear(lines);
}

size_t lines_held(const struct lines *lines) {
        return lines->end - lines->start;
}

void lines_move(struct lines *to, struct lines *from) {
        size_t held = lines_held(from);

        assert(lines_held(to) == 0 && held <= to->size);
        memcpy(to->data, from->data + from->start, held);
        to->start = 0;
        to->ready = from->ready - from->start;
        to->end = held;
        lines_clear(from);
}

void lines_clear(struct lines *lines) {
        lines->start = lines->ready = lines->end = 0;
}
