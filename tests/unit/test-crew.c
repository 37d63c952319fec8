/* SPDX-License-Identifier: MIT */
#include "crew.h"
#include "support.h"

#define SEED 20260402
#define NOT_NOW UINT32_MAX

static void least_loaded_worker_is_chosen(void **state) {
        const uint32_t load[] = {3, 2, 5, 1, 4};

        (void)state;
        assert_int_equal(crew_choose(load, 5), 3);
        assert_int_equal(crew_choose(load, 3), 1);
        assert_int_equal(crew_choose(load, 1), 0);
}

static void first_of_equals_is_chosen(void **state) {
        const uint32_t load[] = {2, 1, 1, 2, 1};

        (void)state;
        assert_int_equal(crew_choose(load, 5), 1);
}

static void idle_worker_goes_before_all_others(void **state) {
        const uint32_t load[] = {1, NOT_NOW, 0, 0, 1};

        (void)state;
        assert_int_equal(crew_choose(load, 5), 2);
}

static void busiest_worker_is_better_than_none(void **state) {
        const uint32_t load[] = {NOT_NOW, NOT_NOW - 1, NOT_NOW};

        (void)state;
        assert_int_equal(crew_choose(load, 3), 1);
}

static void nobody_is_chosen_when_nobody_can(void **state) {
        const uint32_t load[] = {NOT_NOW, NOT_NOW, NOT_NOW};

        (void)state;
        assert_int_equal(crew_choose(load, 3), 3);
        assert_int_equal(crew_choose(load, 1), 1);
        assert_int_equal(crew_choose(load, 0), 0);
}

/* The oracle: nobody who can serve has less, and nobody before has as little. */
static bool is_choice(const uint32_t *load, uint32_t n, uint32_t chosen) {
        for (uint32_t i = 0; i < n; i++) {
                if (chosen == n && load[i] != NOT_NOW)
                        return false;
                if (chosen < n &&
                    (load[i] < load[chosen] || (i < chosen && load[i] == load[chosen])))
                        return false;
        }
        return chosen == n || load[chosen] != NOT_NOW;
}

static void choice_is_right_for_random_crews(void **state) {
        uint32_t load[40];

        (void)state;
        for (uint64_t seed = SEED; seed < SEED + 20000; seed++) {
                uint64_t random = seed;
                uint32_t n = (uint32_t)random_below(&random, COUNT(load) + 1);
                size_t spread = 1 + random_below(&random, 6);

                for (uint32_t i = 0; i < n; i++)
                        load[i] = random_below(&random, 3) == 0
                                          ? NOT_NOW
                                          : (uint32_t)random_below(&random, spread);
                if (!is_choice(load, n, crew_choose(load, n)))
                        fail_msg("seed %llu", (unsigned long long)seed);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(least_loaded_worker_is_chosen),
                cmocka_unit_test(first_of_equals_is_chosen),
                cmocka_unit_test(idle_worker_goes_before_all_others),
                cmocka_unit_test(busiest_worker_is_better_than_none),
                cmocka_unit_test(nobody_is_chosen_when_nobody_can),
                cmocka_unit_test(choice_is_right_for_random_crews),
        };

        return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
