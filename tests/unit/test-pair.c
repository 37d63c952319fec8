/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pair.h"
#include "support.h"

/* The two ends of the pair, and a pipe whose reading end is handed over. */
static struct {
        int acceptor, worker;
        int pipe[2];
} ends;

static int open_ends(void **state) {
        (void)state;
        return pair_open(&ends.acceptor, &ends.worker) == 0 ? pipe(ends.pipe) : -1;
}

static void close_end(int *fd) {
        if (*fd >= 0)
                (void)close(*fd);
        *fd = -1;
}

static int close_ends(void **state) {
        (void)state;
        close_end(&ends.acceptor);
        close_end(&ends.worker);
        close_end(&ends.pipe[0]);
        close_end(&ends.pipe[1]);
        return 0;
}

static struct session numbered(uint64_t id) {
        struct session session;

        memset(&session, 0, sizeof(session)); /* padding, too: it is compared */
        session.peer = (struct peer){.family = AF_INET, .port = 51234, .address = {192, 0, 2, 7}};
        session.id = id;
        session.since = id << 40;
        session.ended = id << 41;
        session.lines = 1000 + id;
        session.received = 2000 + id;
        session.sent = 3000 + id;
        session.slot = (uint32_t)id + 4;
        session.reason = SESSION_DRAIN;
        return session;
}

static void assert_flags(int fd) {
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void ends_do_not_block_and_close_on_exec(void **state) {
        struct pair_message message;

        (void)state;
        assert_flags(ends.acceptor);
        assert_flags(ends.worker);
        assert_int_equal(pair_receive(ends.worker, &message), -EAGAIN);
        assert_int_equal(pair_peek(ends.acceptor, &message), -EAGAIN);
        assert_int_equal(message.fd, -1);
}

static void client_arrives_with_its_socket(void **state) {
        struct session sent = numbered(5);
        struct pair_message message;
        char byte = 0;

        (void)state;
        assert_int_equal(pair_send(ends.acceptor, PAIR_CLIENT, &sent, 1, ends.pipe[0]), 0);
        close_end(&ends.pipe[0]); /* the sender's own, which it kept */
        assert_int_equal(pair_receive(ends.worker, &message), 1);
        assert_int_equal(message.type, PAIR_CLIENT);
        assert_int_equal(message.count, 1);
        assert_memory_equal(&message.sessions[0], &sent, sizeof(sent));
        assert_true(message.fd >= 0);
        assert_true(fcntl(message.fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(write(ends.pipe[1], "x", 1), 1);
        assert_int_equal(read(message.fd, &byte, 1), 1);
        assert_int_equal(byte, 'x');
        (void)close(message.fd);
}

static void sender_keeps_its_copy(void **state) {
        struct session session = numbered(5);
        size_t before = descriptors();

        (void)state;
        assert_int_equal(pair_send(ends.acceptor, PAIR_CLIENT, &session, 1, ends.pipe[0]), 0);
        assert_int_equal(descriptors(), before);
        assert_true(fcntl(ends.pipe[0], F_GETFD) >= 0);
}

static void reports_arrive_whole_and_in_order(void **state) {
        struct session sent[PAIR_BATCH];
        struct pair_message message;

        (void)state;
        for (size_t i = 0; i < PAIR_BATCH; i++)
                sent[i] = numbered(i + 1);
        assert_int_equal(pair_send(ends.worker, PAIR_LEFT, sent, 3, -1), 0);
        assert_int_equal(pair_send(ends.worker, PAIR_ROLL, sent, PAIR_BATCH, -1), 0);
        assert_int_equal(pair_send(ends.worker, PAIR_PING, NULL, 0, -1), 0);

        assert_int_equal(pair_receive(ends.acceptor, &message), 1);
        assert_int_equal(message.type, PAIR_LEFT);
        assert_int_equal(message.count, 3);
        assert_memory_equal(message.sessions, sent, 3 * sizeof(*sent));
        assert_int_equal(message.fd, -1);
        assert_int_equal(pair_receive(ends.acceptor, &message), 1);
        assert_int_equal(message.type, PAIR_ROLL);
        assert_int_equal(message.count, 32);
        assert_memory_equal(message.sessions, sent, sizeof(sent));
        assert_int_equal(pair_receive(ends.acceptor, &message), 1);
        assert_int_equal(message.type, PAIR_PING);
        assert_int_equal(message.count, 0);
        assert_int_equal(pair_receive(ends.acceptor, &message), -EAGAIN);
}

/* This is how many clients a stuck worker takes with it; echod(8) states the bound. */
static void stuck_worker_swallows_few_clients(void **state) {
        struct session session = numbered(5);
        int swallowed = 0, r;

        (void)state;
        while ((r = pair_send(ends.acceptor, PAIR_CLIENT, &session, 1, ends.pipe[0])) == 0)
                swallowed++;
        assert_int_equal(r, -EAGAIN);
        assert_in_range(swallowed, 8, 32);
}

static void reports_that_are_not_read_are_few(void **state) {
        struct session sessions[PAIR_BATCH];
        struct pair_message message;

        (void)state;
        for (size_t i = 0; i < PAIR_BATCH; i++)
                sessions[i] = numbered(i + 1);
        for (size_t n = 1; n <= PAIR_BATCH; n++) {
                size_t sent = 0, read = 0;
                int r;

                while ((r = pair_send(ends.worker, PAIR_LEFT, sessions, n, -1)) == 0)
                        sent += n;
                assert_int_equal(r, -EAGAIN);
                assert_in_range(sent, 100, PAIR_REPORTS_MAX - 1);
                while (pair_receive(ends.acceptor, &message) == 1)
                        read += message.count;
                assert_int_equal(read, sent);
        }
}

static void peek_leaves_message_and_socket(void **state) {
        struct session sent = numbered(5);
        struct pair_message message;
        size_t before = descriptors();

        (void)state;
        assert_int_equal(pair_send(ends.acceptor, PAIR_CLIENT, &sent, 1, ends.pipe[0]), 0);
        for (int i = 0; i < 3; i++) {
                memset(&message, 0xff, sizeof(message));
                assert_int_equal(pair_peek(ends.worker, &message), 1);
                assert_int_equal(message.type, PAIR_CLIENT);
                assert_int_equal(message.count, 1);
                assert_memory_equal(&message.sessions[0], &sent, sizeof(sent));
                assert_int_equal(message.fd, -1);
                assert_int_equal(descriptors(), before);
        }
        assert_int_equal(pair_receive(ends.worker, &message), 1);
        assert_true(message.fd >= 0);
        (void)close(message.fd);
}

static void drop_takes_one_message_and_its_socket(void **state) {
        struct session session = numbered(5);
        struct pair_message message;
        size_t before = descriptors();
        char byte;

        (void)state;
        assert_int_equal(pair_send(ends.acceptor, PAIR_CLIENT, &session, 1, ends.pipe[1]), 0);
        assert_int_equal(pair_send(ends.acceptor, PAIR_RETIRE, NULL, 0, -1), 0);
        pair_drop(ends.worker);
        assert_int_equal(descriptors(), before);
        close_end(&ends.pipe[1]); /* the last one: */
        assert_int_equal(read(ends.pipe[0], &byte, 1), 0);
        assert_int_equal(pair_peek(ends.worker, &message), 1);
        assert_int_equal(message.type, PAIR_RETIRE);
        pair_drop(ends.worker);
        assert_int_equal(pair_peek(ends.worker, &message), -EAGAIN);
        pair_drop(ends.worker); /* nothing: it does not wait */
}

static void nothing_can_be_sent_to_the_gone(void **state) {
        struct session session = numbered(5);

        (void)state;
        close_end(&ends.worker);
        assert_int_equal(pair_send(ends.acceptor, PAIR_RETIRE, NULL, 0, -1), -EPIPE);
        assert_int_equal(pair_send(ends.acceptor, PAIR_CLIENT, &session, 1, ends.pipe[0]), -EPIPE);
}

/* As unix(7) sockets do: told once, by whichever call comes first. */
static void gone_with_unread_input_is_told_once(void **state) {
        (void)state;
        assert_int_equal(pair_send(ends.acceptor, PAIR_RETIRE, NULL, 0, -1), 0);
        close_end(&ends.worker);
        assert_int_equal(pair_send(ends.acceptor, PAIR_RETIRE, NULL, 0, -1), -ECONNRESET);
        assert_int_equal(pair_send(ends.acceptor, PAIR_RETIRE, NULL, 0, -1), -EPIPE);
}

static void send_to_the_worker_and_hang_up(bool with_report_unread) {
        struct session session = numbered(5);

        assert_int_equal(pair_send(ends.acceptor, PAIR_CLIENT, &session, 1, ends.pipe[0]), 0);
        assert_int_equal(pair_send(ends.acceptor, PAIR_RETIRE, NULL, 0, -1), 0);
        if (with_report_unread)
                assert_int_equal(pair_send(ends.worker, PAIR_LEFT, &session, 1, -1), 0);
        close_end(&ends.acceptor);
}

static void assert_read_to_the_end(void) {
        struct pair_message message;

        assert_int_equal(pair_receive(ends.worker, &message), 1);
        assert_int_equal(message.type, PAIR_CLIENT);
        (void)close(message.fd);
        assert_int_equal(pair_peek(ends.worker, &message), 1);
        assert_int_equal(pair_receive(ends.worker, &message), 1);
        assert_int_equal(message.type, PAIR_RETIRE);
        assert_int_equal(pair_receive(ends.worker, &message), 0);
        assert_int_equal(pair_peek(ends.worker, &message), 0);
        assert_int_equal(message.fd, -1);
}

static void end_comes_after_all_that_was_sent(void **state) {
        (void)state;
        send_to_the_worker_and_hang_up(false);
        assert_read_to_the_end();
}

static void end_with_a_report_unread_loses_no_client(void **state) {
        struct pair_message message;

        (void)state;
        send_to_the_worker_and_hang_up(true);
        assert_int_equal(pair_receive(ends.worker, &message), -ECONNRESET);
        assert_int_equal(message.fd, -1);
        assert_read_to_the_end();
}

static void reports_are_heard_when_the_last_is_taken(void **state) {
        struct session session = numbered(5);
        struct pair_message message;

        (void)state;
        assert_true(pair_is_heard(ends.worker));
        assert_int_equal(pair_send(ends.worker, PAIR_LEFT, &session, 1, -1), 0);
        assert_int_equal(pair_send(ends.worker, PAIR_LEFT, &session, 1, -1), 0);
        assert_int_equal(pair_send(ends.acceptor, PAIR_RETIRE, NULL, 0, -1), 0);
        assert_false(pair_is_heard(ends.worker));
        pair_drop(ends.acceptor);
        assert_int_equal(pair_peek(ends.acceptor, &message), 1);
        assert_false(pair_is_heard(ends.worker));
        pair_drop(ends.acceptor);
        assert_true(pair_is_heard(ends.worker));
}

static void reports_that_died_with_the_acceptor_are_not_heard(void **state) {
        struct session session = numbered(5);

        (void)state;
        assert_int_equal(pair_send(ends.worker, PAIR_LEFT, &session, 1, -1), 0);
        close_end(&ends.acceptor);
        assert_false(pair_is_heard(ends.worker));
}

/* An error that some call returns may be mistaken; a pair is not hung up half, either. */
static void only_the_end_of_the_acceptor_hangs_up(void **state) {
        (void)state;
        assert_false(pair_is_hung_up(ends.worker));
        assert_int_equal(shutdown(ends.acceptor, SHUT_WR), 0);
        assert_false(pair_is_hung_up(ends.worker));
        close_end(&ends.acceptor);
        assert_true(pair_is_hung_up(ends.worker));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_ends, close_ends)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(ends_do_not_block_and_close_on_exec),
                CASE(client_arrives_with_its_socket),
                CASE(sender_keeps_its_copy),
                CASE(reports_arrive_whole_and_in_order),
                CASE(stuck_worker_swallows_few_clients),
                CASE(reports_that_are_not_read_are_few),
                CASE(peek_leaves_message_and_socket),
                CASE(drop_takes_one_message_and_its_socket),
                CASE(nothing_can_be_sent_to_the_gone),
                CASE(gone_with_unread_input_is_told_once),
                CASE(end_comes_after_all_that_was_sent),
                CASE(end_with_a_report_unread_loses_no_client),
                CASE(reports_are_heard_when_the_last_is_taken),
                CASE(reports_that_died_with_the_acceptor_are_not_heard),
                CASE(only_the_end_of_the_acceptor_hangs_up),
        };

        return cmocka_run_group_tests_name("pair", tests, end_when_stuck, NULL);
}
