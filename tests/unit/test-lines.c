/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "lines.h"
#include "support.h"

#define SEED 20260401
#define ROUNDS 3000

/* The oracle: the rules of lines.h on a stream that never moves; offsets only grow. */
struct model {
        const char *stream;
        size_t size; /* of the buffer */
        size_t pushed, released, popped;
};

static size_t model_push(struct model *model, size_t n) {
        size_t newlines = 0;

        for (; n > 0; n--)
                if (model->stream[model->pushed++] == '\n') {
                        model->released = model->pushed;
                        newlines++;
                }
        if (model->released == model->popped && model->pushed - model->popped == model->size)
                model->released = model->pushed; /* a line as long as the buffer */
        return newlines;
}

static bool agree(const struct model *model, const struct lines *lines) {
        const char *ready;
        size_t n = lines_ready(lines, &ready);

        return n == model->released - model->popped &&
               lines_held(lines) == model->pushed - model->popped &&
               memcmp(ready, model->stream + model->popped, n) == 0;
}

struct trial {
        uint64_t random;
        struct model model;
        struct lines lines, other;
        size_t total;
};

static bool push_some(struct trial *trial) {
        struct model *model = &trial->model;
        char *to;
        size_t room = lines_room(&trial->lines, &to);
        size_t left = trial->total - model->pushed, n = room < left ? room : left;

        if (room != model->size - (model->pushed - model->popped) ||
            (room == 0 && model->released == model->popped))
                return false;
        n = random_below(&trial->random, n + 1);
        memcpy(to, model->stream + model->pushed, n);
        return lines_push(&trial->lines, n) == model_push(model, n);
}

static void pop_some(struct trial *trial) {
        size_t n = random_below(&trial->random, trial->model.released - trial->model.popped + 1);

        lines_pop(&trial->lines, n);
        trial->model.popped += n;
}

/* As between the scratch buffer and a client's own. */
static bool move_all(struct trial *trial) {
        struct lines emptied = trial->lines;

        lines_move(&trial->other, &emptied);
        trial->lines = trial->other;
        trial->other = emptied;
        return lines_held(&trial->other) == 0;
}

static bool slice(struct trial *trial) {
        bool right = true;

        while (right && trial->model.popped < trial->total) {
                size_t what = random_below(&trial->random, 8);

                if (what < 4)
                        right = push_some(trial);
                else if (what < 7)
                        pop_some(trial);
                else
                        right = move_all(trial);
                if (trial->model.pushed == trial->total) {
                        lines_finish(&trial->lines);
                        trial->model.released = trial->total;
                }
                right = right && agree(&trial->model, &trial->lines);
        }
        return right;
}

/* Of random bytes, from newlines alone to hardly any. */
static bool round_is_right(uint64_t seed) {
        static const size_t densities[] = {1, 2, 16, 256, SIZE_MAX};
        struct trial trial = {.random = seed};
        size_t size = 1 + random_below(&trial.random, random_below(&trial.random, 2) ? 8 : 600);
        size_t total = random_below(&trial.random, 4 * size + 2);
        size_t density = densities[random_below(&trial.random, COUNT(densities))];
        char *stream = malloc(total + 1);
        bool right;

        assert_non_null(stream);
        for (size_t i = 0; i < total; i++)
                stream[i] = random_below(&trial.random, density) == 0
                                    ? '\n'
                                    : (char)random_below(&trial.random, 256);
        trial.total = total;
        trial.model = (struct model){.stream = stream, .size = size};
        /* Of exactly that size, so that valgrind and ASan see a byte too many. */
        trial.lines = (struct lines){.data = malloc(size), .size = size};
        trial.other = (struct lines){.data = malloc(size), .size = size};
        right = slice(&trial);
        free(trial.lines.data);
        free(trial.other.data);
        free(stream);
        return right;
}

static void random_slicings_come_out_as_the_model_says(void **state) {
        (void)state;
        for (uint64_t seed = SEED; seed < SEED + ROUNDS; seed++)
                if (!round_is_right(seed))
                        fail_msg("seed %llu", (unsigned long long)seed);
}

/* The cases below use a buffer of eight bytes. */
static struct lines eight(void) {
        static char data[8];

        return (struct lines){.data = data, .size = sizeof(data)};
}

static size_t push(struct lines *lines, const char *bytes, size_t n) {
        char *to;

        assert_true(lines_room(lines, &to) >= n);
        memcpy(to, bytes, n);
        return lines_push(lines, n);
}

static void assert_ready(const struct lines *lines, const char *expected, size_t n) {
        const char *ready;

        assert_int_equal(lines_ready(lines, &ready), n);
        assert_memory_equal(ready, expected, n);
}

static void partial_line_waits_for_its_newline(void **state) {
        struct lines lines = eight();

        (void)state;
        assert_int_equal(push(&lines, "a\nbc", 4), 1);
        assert_ready(&lines, "a\n", 2);
        lines_pop(&lines, 2);
        assert_ready(&lines, "", 0);
        assert_int_equal(lines_held(&lines), 2);
        assert_int_equal(push(&lines, "d", 1), 0);
        assert_ready(&lines, "", 0);
        assert_int_equal(push(&lines, "\n", 1), 1);
        assert_ready(&lines, "bcd\n", 4);
}

static void empty_input_makes_nothing_ready(void **state) {
        struct lines lines = eight();

        (void)state;
        assert_int_equal(push(&lines, "", 0), 0);
        assert_ready(&lines, "", 0);
        lines_finish(&lines);
        assert_ready(&lines, "", 0);
        assert_int_equal(lines_held(&lines), 0);
}

static void empty_lines_are_lines(void **state) {
        struct lines lines = eight();

        (void)state;
        assert_int_equal(push(&lines, "\n\n\r\n", 4), 3);
        assert_ready(&lines, "\n\n\r\n", 4);
}

static void unterminated_tail_goes_out_at_the_end(void **state) {
        struct lines lines = eight();

        (void)state;
        (void)push(&lines, "a\ntail", 6);
        lines_finish(&lines);
        assert_ready(&lines, "a\ntail", 6);
}

static void line_that_just_fits_waits_and_goes_out_whole(void **state) {
        struct lines lines = eight();

        (void)state;
        assert_int_equal(push(&lines, "1234567", 7), 0);
        assert_ready(&lines, "", 0);
        assert_int_equal(push(&lines, "\n", 1), 1);
        assert_ready(&lines, "1234567\n", 8);
}

static void line_that_fills_the_buffer_passes_in_pieces(void **state) {
        struct lines lines = eight();
        char *to;

        (void)state;
        assert_int_equal(push(&lines, "12345678", 8), 0);
        assert_ready(&lines, "12345678", 8);
        assert_int_equal(lines_room(&lines, &to), 0);
        lines_pop(&lines, 3);
        assert_ready(&lines, "45678", 5);
        lines_pop(&lines, 5);
        assert_int_equal(push(&lines, "9\n", 2), 1);
        assert_ready(&lines, "9\n", 2);
}

static void every_byte_but_lf_is_data(void **state) {
        char bytes[256], data[256];
        struct lines lines = {.data = data, .size = sizeof(data)};

        (void)state;
        for (int i = 0; i < 256; i++)
                bytes[i] = (char)i;
        assert_int_equal(push(&lines, bytes, '\n'), 0);
        assert_ready(&lines, "", 0);
        assert_int_equal(push(&lines, &bytes['\n'], sizeof(bytes) - '\n' - 1), 1);
        assert_ready(&lines, bytes, '\n' + 1);
        lines_finish(&lines);
        assert_ready(&lines, bytes, sizeof(bytes) - 1);
}

static void what_is_forgotten_leaves_all_the_room(void **state) {
        struct lines lines = eight();
        char *to;

        (void)state;
        (void)push(&lines, "a\nb", 3);
        lines_clear(&lines);
        assert_ready(&lines, "", 0);
        assert_int_equal(lines_held(&lines), 0);
        assert_int_equal(lines_room(&lines, &to), 8);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(random_slicings_come_out_as_the_model_says),
                cmocka_unit_test(partial_line_waits_for_its_newline),
                cmocka_unit_test(empty_input_makes_nothing_ready),
                cmocka_unit_test(empty_lines_are_lines),
                cmocka_unit_test(unterminated_tail_goes_out_at_the_end),
                cmocka_unit_test(line_that_just_fits_waits_and_goes_out_whole),
                cmocka_unit_test(line_that_fills_the_buffer_passes_in_pieces),
                cmocka_unit_test(every_byte_but_lf_is_data),
                cmocka_unit_test(what_is_forgotten_leaves_all_the_room),
        };

        return cmocka_run_group_tests_name("lines", tests, end_when_stuck, NULL);
}
