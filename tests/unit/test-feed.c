/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "feed.h"
#include "manager.h"
#include "notify.h"
#include "support.h"

static char message[4096];

static void feed_is_made_where_there_is_none(void **state) {
        struct feed feed = {-1, -1};
        size_t before = descriptors();

        (void)state;
        assert_int_equal(feed_open(&feed), 0);
        assert_int_equal(descriptors(), before + 2);
        assert_int_equal(send(feed.in, "one", 3, 0), 3);
        assert_int_equal(send(feed.in, "two", 3, 0), 3);
        assert_int_equal(recv(feed.out, message, sizeof(message), 0), 3); /* messages stay whole */
        assert_memory_equal(message, "one", 3);
        assert_int_equal(fcntl(feed.in, F_GETFD), FD_CLOEXEC);
        assert_int_equal(fcntl(feed.out, F_GETFD), FD_CLOEXEC);
        feed_close(&feed);
        assert_int_equal(descriptors(), before);
}

static void what_is_in_a_kept_feed_stays_there(void **state) {
        struct feed feed = {-1, -1}, kept;

        (void)state;
        assert_int_equal(feed_open(&feed), 0);
        assert_int_equal(send(feed.in, "kept", 4, 0), 4);
        kept = feed;
        assert_int_equal(feed_open(&kept), 0);
        assert_int_equal(kept.in, feed.in);
        assert_int_equal(kept.out, feed.out);
        assert_int_equal(recv(kept.out, message, sizeof(message), MSG_DONTWAIT), 4);
        feed_close(&feed);
}

static void half_a_feed_is_replaced(void **state) {
        struct feed feed = {-1, -1};
        size_t before = descriptors();

        (void)state;
        assert_int_equal(feed_open(&feed), 0);
        (void)close(feed.out);
        feed.out = -1;
        assert_int_equal(feed_open(&feed), 0);
        assert_int_equal(descriptors(), before + 2);
        assert_int_equal(send(feed.in, "new", 3, 0), 3);
        assert_int_equal(recv(feed.out, message, sizeof(message), 0), 3);
        feed_close(&feed);
}

static void sender_is_told_when_it_is_full_and_nothing_is_lost(void **state) {
        struct feed feed = {-1, -1};
        size_t sent = 0, received = 0;

        (void)state;
        assert_int_equal(feed_open(&feed), 0);
        while (send(feed.in, message, sizeof(message), MSG_DONTWAIT) == sizeof(message))
                sent++;
        assert_int_equal(errno, EAGAIN);
        assert_true(sent * sizeof(message) >= 1 << 16);
        while (recv(feed.out, message, sizeof(message), MSG_DONTWAIT) == sizeof(message))
                received++;
        assert_int_equal(received, sent);
        feed_close(&feed);
}

static void longest_line_and_its_head_fit_into_one_message(void **state) {
        static char line[131072 + 4096];
        struct feed feed = {-1, -1};

        (void)state;
        assert_int_equal(feed_open(&feed), 0);
        assert_int_equal(send(feed.in, line, sizeof(line), MSG_DONTWAIT), sizeof(line));
        feed_close(&feed);
}

static void new_feed_is_stored(void **state) {
        struct feed feed = {-1, -1};
        int in, out;

        (void)state;
        assert_int_equal(notify_open(), 1);
        assert_int_equal(feed_open(&feed), 0);
        assert_string_equal(manager_hear(NULL), "FDSTOREREMOVE=1\nFDNAME=feed-in");
        assert_string_equal(manager_hear(NULL), "FDSTOREREMOVE=1\nFDNAME=feed-out");
        assert_string_equal(manager_hear(&in), "FDSTORE=1\nFDNAME=feed-in");
        assert_string_equal(manager_hear(&out), "FDSTORE=1\nFDNAME=feed-out");
        feed_close(&feed);
        assert_int_equal(send(in, "kept", 4, MSG_DONTWAIT), 4);
        assert_int_equal(recv(out, message, sizeof(message), MSG_DONTWAIT), 4);
        (void)close(in);
        (void)close(out);
}

/* Or what is delivered would be gone with the acceptor. */
static void feed_that_cannot_be_stored_is_not_used(void **state) {
        struct feed feed = {-1, -1};

        (void)state;
        assert_int_equal(notify_open(), 1);
        manager_leave();
        assert_int_equal(feed_open(&feed), -ECONNREFUSED);
        feed_close(&feed);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(feed_is_made_where_there_is_none),
                cmocka_unit_test(what_is_in_a_kept_feed_stays_there),
                cmocka_unit_test(half_a_feed_is_replaced),
                cmocka_unit_test(sender_is_told_when_it_is_full_and_nothing_is_lost),
                cmocka_unit_test(longest_line_and_its_head_fit_into_one_message),
                cmocka_unit_test_setup_teardown(new_feed_is_stored, manager_start, manager_stop),
                cmocka_unit_test_setup_teardown(feed_that_cannot_be_stored_is_not_used,
                                                manager_start, manager_stop),
        };

        return cmocka_run_group_tests_name("feed", tests, end_when_stuck, NULL);
}
