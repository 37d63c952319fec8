/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the fuzz targets share: each is one LLVMFuzzerTestOneInput(), which reads its input as a
 * script, and aborts when the module under test and a model of it disagree. clang's libFuzzer
 * drives it (tests/fuzz/run), or replay.c over the files of the corpus.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(3), but always there. */
#define CHECK(condition)                                                                           \
        do                                                                                         \
                if (!(condition)) {                                                                \
                        (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,           \
                                      #condition);                                                 \
                        abort();                                                                   \
                }                                                                                  \
        while (0)

struct input {
        const uint8_t *data;
        size_t left;
};

/* All zero past the end. */
static inline uint8_t input_byte(struct input *input) {
        if (input->left == 0)
                return 0;
        input->left--;
        return *input->data++;
}

static inline uint16_t input_word(struct input *input) {
        unsigned low = input_byte(input);

        return (uint16_t)(low | (unsigned)input_byte(input) << 8);
}

/* Up to n bytes, as they are; returns their number. */
static inline size_t input_bytes(struct input *input, size_t n, const uint8_t **bytes) {
        if (n > input->left)
                n = input->left;
        *bytes = input->data;
        input->data += n;
        input->left -= n;
        return n;
}
