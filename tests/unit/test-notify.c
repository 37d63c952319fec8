/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "manager.h"
#include "notify.h"
#include "support.h"

static void manager_hears_what_is_said(void **state) {
        (void)state;
        assert_int_equal(notify_open(), 1);
        assert_int_equal(notify_send("READY=1\nSTATUS=3 clients, 1204 served, 0 lost"), 0);
        assert_string_equal(manager_hear(NULL), "READY=1\nSTATUS=3 clients, 1204 served, 0 lost");
        assert_string_equal(manager_hear(NULL), "");
}

static void stored_descriptor_arrives_under_its_name(void **state) {
        int ends[2], stored = -1;
        char byte = 0;

        (void)state;
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(notify_open(), 1);
        assert_int_equal(notify_store("worker-4711", ends[0]), 0);
        assert_string_equal(manager_hear(&stored), "FDSTORE=1\nFDNAME=worker-4711");
        assert_int_equal(write(ends[1], "x", 1), 1);
        assert_int_equal(read(stored, &byte, 1), 1);
        assert_int_equal(byte, 'x');
        (void)close(stored);
        (void)close(ends[0]);
        (void)close(ends[1]);
}

static void manager_that_does_not_read_stops_nobody(void **state) {
        int r = 0, said = 0;

        (void)state;
        assert_int_equal(notify_open(), 1);
        for (; r == 0 && said < 100000; said++)
                r = notify_send("STATUS=");
        assert_int_equal(r, -EAGAIN);
        assert_int_equal(notify_store("worker-1", STDIN_FILENO), -EAGAIN);
        assert_string_equal(manager_hear(NULL), "STATUS=");
        assert_int_equal(notify_send("STOPPING=1"), 0);
}

static void manager_at_a_path_is_found(void **state) {
        char path[] = "/tmp/test-notify-XXXXXX", socket[64];
        bool opened;

        (void)state;
        assert_non_null(mkdtemp(path));
        (void)snprintf(socket, sizeof(socket), "%s/notify", path);
        manager_listen(socket);
        opened = notify_open() == 1 && notify_send("READY=1") == 0;
        (void)unlink(socket);
        (void)rmdir(path);
        assert_true(opened);
        assert_string_equal(manager_hear(NULL), "READY=1");
}

static void manager_that_has_gone_is_an_error(void **state) {
        (void)state;
        assert_int_equal(notify_open(), 1);
        manager_leave();
        assert_int_equal(notify_send("READY=1"), -ECONNREFUSED);
}

/* In a child: notify_open() is to be called once, and has been. */
static int open_nowhere(void *path) {
        if (path != NULL)
                (void)setenv("NOTIFY_SOCKET", path, 1);
        else
                (void)unsetenv("NOTIFY_SOCKET");
        return notify_open();
}

#define NO_LIMIT 200

static int open_without_descriptors(void *unused) {
        (void)unused;
        if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){0}) < 0)
                return NO_LIMIT;
        return -notify_open();
}

static void manager_that_cannot_be_told_is_an_error(void **state) {
        int r = in_child(open_without_descriptors, NULL);

        (void)state;
        if (r != NO_LIMIT) /* as under valgrind alone, where nobody may lower it */
                assert_int_equal(r, EMFILE);
}

static void without_manager_nothing_is_opened(void **state) {
        char too_long[200];

        (void)state;
        memset(too_long, '@', sizeof(too_long) - 1);
        too_long[sizeof(too_long) - 1] = '\0';
        assert_int_equal(in_child(open_nowhere, NULL), 0);
        assert_int_equal(in_child(open_nowhere, (void *)""), 0);
        assert_int_equal(in_child(open_nowhere, (void *)"@"), 0);
        assert_int_equal(in_child(open_nowhere, too_long), 0);
        assert_int_equal(in_child(open_nowhere, (void *)"@somewhere"), 1);
}

static void without_manager_all_is_well(void **state) {
        (void)state; /* runs first: nothing has been opened */
        assert_int_equal(notify_send("READY=1"), 0);
        assert_int_equal(notify_store("ledger", STDIN_FILENO), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, manager_start, manager_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(without_manager_all_is_well),
                cmocka_unit_test(without_manager_nothing_is_opened),
                CASE(manager_hears_what_is_said),
                CASE(stored_descriptor_arrives_under_its_name),
                CASE(manager_that_does_not_read_stops_nobody),
                CASE(manager_at_a_path_is_found),
                CASE(manager_that_has_gone_is_an_error),
                CASE(manager_that_cannot_be_told_is_an_error),
        };

        return cmocka_run_group_tests_name("notify", tests, end_when_stuck, NULL);
}
