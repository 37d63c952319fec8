/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/mman.h>

#include "draft.h"
#include "roster.h"
#include "support.h"

#define SIZE 16
#define ROUNDS 3000
#define SEED 20261128

static struct session session = {.slot = 7};

static int open_drafts(void **state) {
        (void)end_when_stuck(state);
        return drafts_open(SIZE);
}

static int new_client(void **state) {
        (void)state;
        draft_reset(&session);
        return 0;
}

static struct draft *draft(void) {
        return draft_of(&session);
}

static void new_client_has_no_line_begun_wherever_its_queue_begins(void **state) {
        static const uint64_t offsets[] = {0, 1, 100, UINT64_MAX - 1, UINT64_MAX};

        (void)state;
        for (size_t i = 0; i < COUNT(offsets); i++)
                assert_false(draft_is_open(draft(), offsets[i]));
}

static void line_goes_on_behind_what_is_kept_of_it(void **state) {
        (void)state;
        draft_keep(&session, 100, "abc", 3);
        assert_true(draft_is_open(draft(), 103));
        draft_keep(&session, 103, "defg", 4);
        assert_true(draft_is_open(draft(), 107));
        assert_int_equal(draft()->start, 100);
        assert_memory_equal(draft_text(&session), "abcdefg", 7);
}

/* A Buffer that dies after draft_keep() has dropped nothing: the queue begins where it began. */
static void beginning_that_was_not_dropped_is_kept_anew(void **state) {
        (void)state;
        draft_keep(&session, 100, "abc", 3);
        assert_false(draft_is_open(draft(), 100));
        draft_keep(&session, 100, "abcde", 5);
        assert_true(draft_is_open(draft(), 105));
        assert_memory_equal(draft_text(&session), "abcde", 5);
}

static void continuation_that_was_not_dropped_is_kept_anew(void **state) {
        (void)state;
        draft_keep(&session, 0, "x", 1);
        draft_keep(&session, 1, "abc", 3);
        assert_true(draft_is_open(draft(), 1)); /* only the x was dropped */
        draft_keep(&session, 1, "abcde", 5);
        assert_int_equal(draft()->start, 0);
        assert_memory_equal(draft_text(&session), "xabcde", 6);
}

/* ... after draft_end(), likewise: the line is delivered once more. */
static void line_that_was_delivered_but_not_dropped_is_still_open(void **state) {
        (void)state;
        draft_keep(&session, 10, "abc", 3);
        draft_end(&session, 18);
        assert_true(draft_is_open(draft(), 13));
        assert_memory_equal(draft_text(&session), "abc", 3);
        assert_false(draft_is_open(draft(), 18));
        assert_false(draft_is_open(draft(), 500));
}

static void next_line_begins_after_the_last_one_has_ended(void **state) {
        (void)state;
        draft_keep(&session, 10, "abc", 3);
        draft_end(&session, 18);
        draft_keep(&session, 18, "xy", 2);
        assert_int_equal(draft()->start, 18);
        assert_true(draft_is_open(draft(), 20));
        assert_memory_equal(draft_text(&session), "xy", 2);
}

static void only_the_beginning_of_a_long_line_is_kept(void **state) {
        (void)state;
        draft_keep(&session, 0, "0123456789", 10);
        draft_keep(&session, 10, "abcdefghij", 10);
        draft_keep(&session, 20, "!!!!", 4);
        draft_keep(&session, UINT64_C(1) << 40, "!!!!", 4);
        assert_memory_equal(draft_text(&session), "0123456789abcdef", SIZE);
        assert_true(draft_is_open(draft(), 24));
}

static void clients_have_a_draft_each(void **state) {
        static const struct session last = {.slot = ROSTER_MAX - 1};

        (void)state;
        draft_reset(&last);
        draft_keep(&session, 0, "0123456789abcdef", SIZE);
        draft_keep(&last, 0, "fedcba9876543210", SIZE);
        assert_memory_equal(draft_text(&session), "0123456789abcdef", SIZE);
        assert_memory_equal(draft_text(&last), "fedcba9876543210", SIZE);
        draft_reset(&last);
        assert_false(draft_is_open(draft_of(&last), 16));
        assert_memory_equal(draft_text(&session), "0123456789abcdef", SIZE);
        assert_true(draft_is_open(draft(), 16));
}

static void what_a_client_leaves_goes_back_to_the_kernel(void **state) {
        static const char zeroes[SIZE];

        (void)state;
        draft_keep(&session, 0, "0123456789abcdef", SIZE);
        draft_reset(&session);
        assert_memory_equal(draft_text(&session), zeroes, SIZE);
        assert_int_equal(draft()->lines, 0);
        assert_int_equal(draft()->counted, 0);
}

static void drafts_that_are_open_already_stay(void **state) {
        (void)state;
        draft_keep(&session, 5, "kept", 4);
        assert_int_equal(drafts_open(SIZE), 0);
        assert_true(draft_is_open(draft(), 9));
        assert_memory_equal(draft_text(&session), "kept", 4);
}

static int write_in_child(void *argument) {
        (void)argument;
        draft_keep(&session, 5, "from a child", 12);
        draft()->lines = 3;
        *drafts_deliveries() += 4;
        return 0;
}

static void what_a_buffer_has_written_outlives_it(void **state) {
        uint64_t before = *drafts_deliveries();

        (void)state;
        assert_int_equal(in_child(write_in_child, NULL), 0);
        assert_memory_equal(draft_text(&session), "from a child", 12);
        assert_true(draft_is_open(draft(), 17));
        assert_int_equal(draft()->lines, 3);
        assert_int_equal(*drafts_deliveries(), before + 4);
}

/* One client's stream as Buffers serve it that die between any two steps: 'dropped' is what the
 * kernel knows, and what comes out is what was said, or some of it once more. */
struct life {
        uint64_t random;
        const char *stream;
        size_t length, dropped, delivered;
        bool right;
};

static bool dies(struct life *life) {
        return random_below(&life->random, 4) == 0;
}

static void deliver(struct life *life, size_t from, const char *begun, size_t n_begun, size_t to) {
        life->right &= from <= life->delivered && /* no gap */
                       memcmp(begun, life->stream + from, n_begun < SIZE ? n_begun : SIZE) == 0;
        if (life->delivered < to)
                life->delivered = to;
}

/* One turn of a Buffer that sees n bytes of the queue, as in buffer.c. */
static void turn(struct life *life, size_t n) {
        const char *data = life->stream + life->dropped, *newline = memchr(data, '\n', n);
        size_t rest = newline != NULL ? (size_t)(newline - data) + 1 : n;
        bool open = draft_is_open(draft(), life->dropped);

        if (!open)
                draft_end(&session, life->dropped);
        if (newline == NULL) {
                draft_keep(&session, life->dropped, data, n);
        } else if (open) {
                size_t start = (size_t)draft()->start;

                deliver(life, start, draft_text(&session), life->dropped - start,
                        life->dropped + rest);
                if (dies(life))
                        return;
                draft_end(&session, life->dropped + rest);
        } else {
                deliver(life, life->dropped, "", 0, life->dropped + rest);
        }
        if (!dies(life))
                life->dropped += rest;
}

static void buffers_that_die_anywhere_lose_nothing(void **state) {
        char stream[200];

        (void)state;
        for (uint64_t seed = SEED; seed < SEED + ROUNDS; seed++) {
                struct life life = {.random = seed, .stream = stream, .right = true};

                draft_reset(&session);
                life.length = 1 + random_below(&life.random, sizeof(stream) - 1);
                for (size_t i = 0; i < life.length; i++)
                        stream[i] = i == life.length - 1 || random_below(&life.random, 9) == 0
                                            ? '\n'
                                            : (char)('a' + random_below(&life.random, 26));
                while (life.right && life.dropped < life.length)
                        turn(&life, 1 + random_below(&life.random, life.length - life.dropped));
                if (!life.right || life.delivered != life.length)
                        fail_msg("seed %llu", (unsigned long long)seed);
        }
}

#define CASE(f) cmocka_unit_test_setup(f, new_client)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(new_client_has_no_line_begun_wherever_its_queue_begins),
                CASE(line_goes_on_behind_what_is_kept_of_it),
                CASE(beginning_that_was_not_dropped_is_kept_anew),
                CASE(continuation_that_was_not_dropped_is_kept_anew),
                CASE(line_that_was_delivered_but_not_dropped_is_still_open),
                CASE(next_line_begins_after_the_last_one_has_ended),
                CASE(only_the_beginning_of_a_long_line_is_kept),
                CASE(clients_have_a_draft_each),
                CASE(what_a_client_leaves_goes_back_to_the_kernel),
                CASE(drafts_that_are_open_already_stay),
                CASE(what_a_buffer_has_written_outlives_it),
                CASE(buffers_that_die_anywhere_lose_nothing),
        };

        return cmocka_run_group_tests_name("draft", tests, open_drafts, NULL);
}
