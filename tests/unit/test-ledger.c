/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "manager.h"
#include "notify.h"
#include "support.h"

static uint64_t now_usec(void) {
        struct timespec now;

        assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A memfd of that many bytes of `from`, as systemd's store would return it. */
static int stored(const struct ledger *from, size_t size) {
        int fd = memfd_create("stored", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, from, size), size);
        return fd;
}

static struct ledger read_back(int fd) {
        struct ledger ledger = {0};

        assert_int_equal(pread(fd, &ledger, sizeof(ledger), 0), sizeof(ledger));
        return ledger;
}

static void assert_new(const struct ledger *ledger) {
        assert_non_null(ledger);
        assert_int_equal(ledger->served, 0);
        assert_int_equal(ledger->announced, 0);
        assert_int_equal(ledger->left, 0);
        assert_int_equal(ledger->lost, 0);
}

/* Version 1, with counts that no new ledger has. */
static const struct ledger kept = {
        .version = 1, .epoch = 12345, .served = 1204, .announced = 1203, .left = 1100, .lost = 7};

static void new_ledger_begins_now_with_nothing(void **state) {
        uint64_t before = now_usec();
        struct ledger *ledger = ledger_open(-1);

        (void)state;
        assert_new(ledger);
        assert_in_range(ledger->epoch, before, now_usec());
        ledger_close(ledger);
}

static void next_acceptor_counts_on(void **state) {
        int fd = stored(&kept, sizeof(kept));
        struct ledger *ledger = ledger_open(fd), after;

        (void)state;
        assert_non_null(ledger);
        assert_memory_equal(ledger, &kept, sizeof(kept));
        ledger->served++;
        ledger->lost = 8;
        ledger_close(ledger);
        after = read_back(fd); /* so fd is open still, and was written to */
        assert_int_equal(after.served, 1205);
        assert_int_equal(after.lost, 8);
        (void)close(fd);
}

static void assert_begins_anew(int fd) {
        struct ledger *ledger = ledger_open(fd);

        assert_new(ledger);
        assert_int_not_equal(ledger->epoch, 12345); /* or sessions would not be unique */
        ledger->served = 99;
        ledger_close(ledger);
        assert_true(fcntl(fd, F_GETFD) >= 0); /* it stays the caller's */
}

static void ledger_of_another_version_is_not_touched(void **state) {
        static const uint64_t versions[] = {0, 2, UINT64_MAX};

        (void)state;
        for (size_t i = 0; i < COUNT(versions); i++) {
                struct ledger other = kept, after;
                int fd;

                other.version = versions[i];
                fd = stored(&other, sizeof(other));
                assert_begins_anew(fd);
                after = read_back(fd);
                assert_memory_equal(&after, &other, sizeof(other));
                (void)close(fd);
        }
}

static void short_file_is_no_ledger(void **state) {
        static const size_t sizes[] = {0, 1, 8, sizeof(struct ledger) - 1};

        (void)state;
        for (size_t i = 0; i < COUNT(sizes); i++) {
                int fd = stored(&kept, sizes[i]);

                assert_begins_anew(fd);
                assert_int_equal(lseek(fd, 0, SEEK_END), sizes[i]);
                (void)close(fd);
        }
}

static void what_cannot_be_mapped_is_no_ledger(void **state) {
        int ends[2], fd = stored(&kept, sizeof(kept)), closed = dup(fd);
        char path[32];

        (void)state;
        assert_int_equal(pipe(ends), 0);
        assert_begins_anew(ends[0]);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        (void)dup2(open(path, O_RDONLY | O_CLOEXEC), closed);
        assert_begins_anew(closed); /* read-only */
        (void)close(closed);
        assert_new(ledger_open(closed)); /* closed indeed */
        (void)close(fd);
}

static void manager_keeps_the_new_ledger_instead_of_the_old(void **state) {
        int stored_fd = -1;
        struct ledger *ledger, *next;

        (void)state;
        assert_true(notify_open());
        ledger = ledger_open(-1);
        assert_new(ledger);
        assert_string_equal(manager_hear(NULL), "FDSTOREREMOVE=1\nFDNAME=ledger");
        assert_string_equal(manager_hear(&stored_fd), "FDSTORE=1\nFDNAME=ledger");
        assert_true(stored_fd >= 0);
        ledger->served = 31;
        ledger_close(ledger); /* the acceptor is gone */

        next = ledger_open(stored_fd);
        assert_non_null(next);
        assert_int_equal(next->served, 31);
        assert_string_equal(manager_hear(NULL), ""); /* it is in the store already */
        ledger_close(next);
        (void)close(stored_fd);
}

static void ledger_leaves_no_descriptor_open(void **state) {
        size_t before = descriptors();
        struct ledger *ledger = ledger_open(-1);

        (void)state;
        assert_new(ledger);
        assert_int_equal(descriptors(), before);
        ledger_close(ledger);
}

static int is_mapped(void *ledger) {
        unsigned char page;

        return mincore(ledger, sizeof(struct ledger), &page) == 0 || errno != ENOMEM;
}

static void worker_does_not_have_the_ledger(void **state) {
        int fd = stored(&kept, sizeof(kept));
        struct ledger *made = ledger_open(-1), *inherited = ledger_open(fd);

        (void)state;
        assert_true(is_mapped(made) && is_mapped(inherited));
        assert_false(in_child(is_mapped, made));
        assert_false(in_child(is_mapped, inherited));
        ledger_close(made);
        ledger_close(inherited);
        assert_false(is_mapped(made) || is_mapped(inherited));
        (void)close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(new_ledger_begins_now_with_nothing),
                cmocka_unit_test(next_acceptor_counts_on),
                cmocka_unit_test(ledger_of_another_version_is_not_touched),
                cmocka_unit_test(short_file_is_no_ledger),
                cmocka_unit_test(what_cannot_be_mapped_is_no_ledger),
                cmocka_unit_test(ledger_leaves_no_descriptor_open),
                cmocka_unit_test(worker_does_not_have_the_ledger),
                cmocka_unit_test_setup_teardown(manager_keeps_the_new_ledger_instead_of_the_old,
                                                manager_start, manager_stop),
        };

        return cmocka_run_group_tests_name("ledger", tests, end_when_stuck, NULL);
}
