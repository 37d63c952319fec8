/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "roster.h"
#include "support.h"

#define SEED 20260403

static struct session numbered(uint64_t id) {
        return (struct session){
                .id = id, .since = id * 10, .peer = {.family = AF_INET, .port = (uint16_t)id}};
}

static void assert_known(const struct roster *roster, const struct session *session) {
        const struct roster_entry *entry = roster_find(roster, session->slot, session->id);

        assert_non_null(entry);
        assert_int_equal(entry->id, session->id);
        assert_int_equal(entry->since, session->since);
        assert_memory_equal(&entry->peer, &session->peer, sizeof(session->peer));
}

static void added_session_is_found_by_slot_and_number(void **state) {
        struct roster roster = {0};
        struct session a = numbered(7), b = numbered(8);

        (void)state;
        assert_int_equal(roster_add(&roster, &a), 0);
        assert_int_equal(roster_add(&roster, &b), 0);
        assert_int_not_equal(a.slot, b.slot);
        assert_int_equal(roster.count, 2);
        assert_known(&roster, &a);
        assert_known(&roster, &b);
        roster_free(&roster);
}

static void what_a_worker_makes_up_is_not_found(void **state) {
        struct roster roster = {0};
        struct session a = numbered(7), b = numbered(8), c = numbered(9);

        (void)state;
        assert_null(roster_find(&roster, 0, 7)); /* there is no table yet */
        (void)roster_add(&roster, &a);
        (void)roster_add(&roster, &b);
        (void)roster_add(&roster, &c);
        roster_remove(&roster, roster_find(&roster, c.slot, 9));
        assert_null(roster_find(&roster, c.slot, 9)); /* it has gone */
        assert_null(roster_find(&roster, c.slot, 0)); /* a free slot is nobody's */
        assert_null(roster_find(&roster, a.slot, 8)); /* another's slot */
        assert_null(roster_find(&roster, a.slot, 0));
        assert_null(roster_find(&roster, roster.used, 7));
        assert_null(roster_find(&roster, roster.size, 7));
        assert_null(roster_find(&roster, UINT32_MAX, 7));
        roster_free(&roster);
}

static void freed_slot_is_used_again(void **state) {
        struct roster roster = {0};
        struct session session;
        uint32_t size;

        (void)state;
        for (uint64_t id = 1; id <= 5; id++) {
                session = numbered(id);
                assert_int_equal(roster_add(&roster, &session), 0);
        }
        size = roster.size;
        for (uint64_t id = 6; id <= 10000; id++) {
                roster_remove(&roster, roster_find(&roster, session.slot, session.id));
                session = numbered(id);
                assert_int_equal(roster_add(&roster, &session), 0);
        }
        assert_int_equal(roster.size, size);
        assert_int_equal(roster.count, 5);
        roster_free(&roster);
}

/* The oracle: a plain list of who is there, and in which slot. */
static void random_comings_and_goings_are_kept_right(void **state) {
        static struct session there[300];
        struct roster roster = {0};
        uint64_t random = SEED;
        size_t n = 0;

        (void)state;
        for (uint64_t id = 1; id <= 20000; id++) {
                if (n < COUNT(there) && random_below(&random, 100) < (id / 500 % 2 ? 70 : 30)) {
                        there[n] = numbered(id);
                        assert_int_equal(roster_add(&roster, &there[n++]), 0);
                } else if (n > 0) {
                        size_t i = random_below(&random, n);
                        roster_remove(&roster, roster_find(&roster, there[i].slot, there[i].id));
                        there[i] = there[--n];
                }
                if (roster.count != n)
                        fail_msg("seed %d: %u there instead of %zu", SEED, roster.count, n);
                for (size_t i = 0; i < n && (id % 64 == 0); i++) {
                        struct roster_entry *found =
                                roster_find(&roster, there[i].slot, there[i].id);
                        if (found == NULL || found->since != there[i].id * 10)
                                fail_msg("seed %d: %zu is not found", SEED, i);
                }
        }
        roster_free(&roster);
}

static void as_many_fit_as_the_header_says(void **state) {
        struct roster roster = {0};
        struct session session;

        (void)state;
        for (uint64_t id = 1; id <= 65536; id++) {
                session = numbered(id);
                if (roster_add(&roster, &session) != 0)
                        fail_msg("session %llu does not fit", (unsigned long long)id);
        }
        session = numbered(65537);
        assert_int_equal(roster_add(&roster, &session), -ENOMEM);
        assert_int_equal(roster.count, 65536);
        for (uint32_t slot = 0; slot < 65536; slot++) /* all different, so every slot is taken */
                if (roster_find(&roster, slot, roster.slots[slot].id) == NULL)
                        fail_msg("slot %u is free", slot);
        roster_free(&roster);
}

static void adopted_session_keeps_its_slot(void **state) {
        struct roster roster = {0};
        struct session first = numbered(3), last = numbered(4);

        (void)state;
        first.slot = 5;
        last.slot = 65535;
        assert_int_equal(roster_enter(&roster, &first), 0);
        assert_int_equal(roster_enter(&roster, &last), 0);
        assert_int_equal(roster.count, 2);
        assert_known(&roster, &first);
        assert_known(&roster, &last);
        roster_remove(&roster, roster_find(&roster, 5, 3));
        assert_null(roster_find(&roster, 5, 3));
        assert_int_equal(roster.count, 1);
        assert_int_equal(roster_enter(&roster, &first), 0);
        roster_free(&roster);
}

static void adopted_session_that_cannot_be_is_refused(void **state) {
        struct roster roster = {0};
        struct session a = numbered(3), same_slot = numbered(4), none = numbered(0);
        struct session outside = numbered(5), far_outside = numbered(6);

        (void)state;
        a.slot = same_slot.slot = 2;
        none.slot = 3;
        outside.slot = 65536;
        far_outside.slot = UINT32_MAX;
        assert_int_equal(roster_enter(&roster, &a), 0);
        assert_int_equal(roster_enter(&roster, &same_slot), -EINVAL);
        assert_int_equal(roster_enter(&roster, &a), -EINVAL);
        assert_int_equal(roster_enter(&roster, &none), -EINVAL);
        assert_int_equal(roster_enter(&roster, &outside), -EINVAL);
        assert_int_equal(roster_enter(&roster, &far_outside), -EINVAL);
        assert_int_equal(roster.count, 1);
        assert_known(&roster, &a);
        roster_free(&roster);
}

static void freed_roster_is_empty(void **state) {
        struct roster roster = {0};
        struct session session = numbered(1);

        (void)state;
        (void)roster_add(&roster, &session);
        roster_free(&roster);
        assert_null(roster_find(&roster, session.slot, 1));
        assert_int_equal(roster.count, 0);
        assert_int_equal(roster_add(&roster, &session), 0);
        roster_free(&roster);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(added_session_is_found_by_slot_and_number),
                cmocka_unit_test(what_a_worker_makes_up_is_not_found),
                cmocka_unit_test(freed_slot_is_used_again),
                cmocka_unit_test(random_comings_and_goings_are_kept_right),
                cmocka_unit_test(as_many_fit_as_the_header_says),
                cmocka_unit_test(adopted_session_keeps_its_slot),
                cmocka_unit_test(adopted_session_that_cannot_be_is_refused),
                cmocka_unit_test(freed_roster_is_empty),
        };

        return cmocka_run_group_tests_name("roster", tests, end_when_stuck, NULL);
}
