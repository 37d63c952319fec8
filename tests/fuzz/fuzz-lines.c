/* SPDX-License-Identifier: MIT */

/*
 * The line splitter against a model that keeps the held bytes at the front of an array and looks
 * through all of them each time. The input says how large the buffer is, and then, one after the
 * other: what comes in, in which pieces, and how much goes out at a time.
 */

#include <stdbool.h>
#include <string.h>

#include "input.h"
#include "lines.h"

#define SIZE_MOST 512

static struct {
        char held[SIZE_MOST];
        size_t n, ready, size;
} model;

static void model_push(const char *bytes, size_t n) {
        memcpy(model.held + model.n, bytes, n);
        model.n += n;
        for (size_t i = 0; i < model.n; i++)
                if (model.held[i] == '\n' && i >= model.ready)
                        model.ready = i + 1;
        if (model.ready == 0 && model.n == model.size)
                model.ready = model.n;
}

static void model_pop(size_t n) {
        for (size_t i = n; i < model.n; i++)
                model.held[i - n] = model.held[i];
        model.n -= n;
        model.ready -= n;
}

static void compare(const struct lines *lines) {
        const char *ready;

        CHECK(lines_held(lines) == model.n);
        CHECK(lines_ready(lines, &ready) == model.ready);
        CHECK(memcmp(ready, model.held, model.ready) == 0);
}

static void push(struct lines *lines, struct input *input, size_t most) {
        const uint8_t *bytes;
        size_t newlines = 0, room, n;
        char *where;

        room = lines_room(lines, &where);
        CHECK(room == model.size - model.n);
        CHECK(room > 0 || model.ready > 0);
        n = input_bytes(input, most < room ? most : room, &bytes);
        for (size_t i = 0; i < n; i++)
                newlines += bytes[i] == '\n';
        memcpy(where, bytes, n);
        CHECK(lines_push(lines, n) == newlines);
        model_push((const char *)bytes, n);
}

static void pop(struct lines *lines, size_t most) {
        size_t n = most < model.ready ? most : model.ready;

        lines_pop(lines, n);
        model_pop(n);
}

/* To another buffer; the old one is then gone. */
static void move(struct lines *lines) {
        struct lines other = {.data = malloc(model.size), .size = model.size};

        CHECK(other.data != NULL);
        lines_move(&other, lines);
        CHECK(lines_held(lines) == 0);
        free(lines->data);
        *lines = other;
}

static void step(struct lines *lines, struct input *input) {
        uint8_t operation = input_byte(input);
        size_t most = operation >> 3;

        if (most == 31)
                most = SIZE_MOST;
        switch (operation & 7) {
        case 0:
        case 1:
        case 2:
        case 3:
                push(lines, input, most);
                break;
        case 4:
        case 5:
                pop(lines, most);
                break;
        case 6:
                move(lines);
                break;
        default:
                if (most < 16) {
                        lines_finish(lines);
                        model.ready = model.n;
                } else {
                        lines_clear(lines);
                        model.n = model.ready = 0;
                }
        }
        compare(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct input input = {data, size};
        struct lines lines = {0};

        model.n = model.ready = 0;
        model.size = lines.size = 1 + input_word(&input) % SIZE_MOST;
        lines.data = malloc(lines.size);
        CHECK(lines.data != NULL);
        compare(&lines);
        while (input.left > 0)
                step(&lines, &input);
        free(lines.data);
        return 0;
}
