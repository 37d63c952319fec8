/* SPDX-License-Identifier: MIT */

/* The pair's messages as they are on the wire, and what must not pass: see test-pair.c, too. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pair.h"
#include "support.h"

/* Version 1, written down by hand: a header of four numbers, then records of 80 bytes. */
#define HEADER 8
#define RECORD 80
#define FULL (HEADER + 32 * RECORD)

struct wire {
        uint16_t version, type, count, record;
        char records[40 * RECORD];
};

enum { CLIENT = 1, RETIRE, ROLL, LEFT, PING };

static int acceptor, worker, attachment;

static int open_pair(void **state) {
        (void)state;
        attachment = dup(STDIN_FILENO);
        return attachment >= 0 ? pair_open(&acceptor, &worker) : -1;
}

static int close_pair(void **state) {
        (void)state;
        (void)close(acceptor);
        (void)close(worker);
        (void)close(attachment);
        return 0;
}

static void send_raw(const struct wire *wire, size_t n, size_t attached) {
        struct iovec part = {(void *)wire, n};
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(4 * sizeof(int))];
        } control = {0};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

        if (attached > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(attached * sizeof(int));
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(attached * sizeof(int));
                for (size_t i = 0; i < attached; i++)
                        memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &attachment,
                               sizeof(int));
        }
        assert_int_equal(sendmsg(acceptor, &message, MSG_NOSIGNAL), n);
}

static const struct malformed {
        const char *what;
        uint16_t version, type, count, record;
        size_t bytes, attached;
        int expected;
        bool by_attachment; /* so a peek, which sees none, finds nothing wrong */
} malformed[] = {
        {"a single byte", 1, LEFT, 0, 80, 1, 0, -EBADMSG, false},
        {"a single byte that may begin version 2", 2, LEFT, 0, 80, 1, 0, -EBADMSG, false},
        {"half a header", 1, LEFT, 0, 80, 4, 0, -EBADMSG, false},
        {"most of a header", 1, LEFT, 0, 80, 7, 0, -EBADMSG, false},
        {"a socket and most of a header", 1, CLIENT, 1, 80, 7, 1, -EBADMSG, false},
        {"version 0", 0, LEFT, 1, 80, 88, 0, -EPROTO, false},
        {"version 2", 2, LEFT, 1, 80, 88, 0, -EPROTO, false},
        {"version 65535", 65535, LEFT, 1, 80, 88, 0, -EPROTO, false},
        {"version 256, by the other byte order", 256, LEFT, 1, 80, 88, 0, -EPROTO, false},
        {"version 2 with larger records", 2, LEFT, 2, 96, 200, 0, -EPROTO, false},
        {"version 2 with an unknown type", 2, 9, 0, 0, 8, 0, -EPROTO, false},
        {"version 2 that is cut off", 2, LEFT, 33, 80, FULL + 80, 0, -EPROTO, false},
        {"version 2 with a socket", 2, CLIENT, 1, 80, 88, 1, -EPROTO, false},
        {"type 0", 1, 0, 0, 80, 8, 0, -EBADMSG, false},
        {"type 7", 1, 7, 0, 80, 8, 0, -EBADMSG, false},
        {"type 65535", 1, 65535, 0, 80, 8, 0, -EBADMSG, false},
        {"type 7 with a socket", 1, 7, 1, 80, 88, 1, -EBADMSG, false},
        {"no record where one is counted", 1, LEFT, 1, 80, 8, 0, -EBADMSG, false},
        {"a record that is not counted", 1, LEFT, 0, 80, 88, 0, -EBADMSG, false},
        {"one record of two", 1, LEFT, 2, 80, 88, 0, -EBADMSG, false},
        {"half a record", 1, LEFT, 1, 80, 48, 0, -EBADMSG, false},
        {"a byte too few", 1, LEFT, 1, 80, 87, 0, -EBADMSG, false},
        {"a byte too many", 1, LEFT, 1, 80, 89, 0, -EBADMSG, false},
        {"33 records", 1, LEFT, 33, 80, FULL + 80, 0, -EBADMSG, false},
        {"32 of 33 records", 1, LEFT, 33, 80, FULL, 0, -EBADMSG, false},
        {"32 records and a byte", 1, LEFT, 32, 80, FULL + 1, 0, -EBADMSG, false},
        {"65535 records", 1, LEFT, 65535, 80, 88, 0, -EBADMSG, false},
        {"smaller records", 1, LEFT, 1, 72, 88, 0, -EBADMSG, false},
        {"larger records", 1, LEFT, 1, 88, 96, 0, -EBADMSG, false},
        {"records of no size", 1, LEFT, 0, 0, 8, 0, -EBADMSG, false},
        {"a socket without a client", 1, CLIENT, 0, 80, 8, 1, -EBADMSG, false},
        {"two clients with a socket", 1, CLIENT, 2, 80, 168, 1, -EBADMSG, false},
        {"a client with two sockets", 1, CLIENT, 1, 80, 88, 2, -EBADMSG, true},
        {"a client with four sockets", 1, CLIENT, 1, 80, 88, 4, -EBADMSG, true},
        {"a retirement with a socket", 1, RETIRE, 0, 80, 8, 1, -EBADMSG, true},
        {"a ping with a socket", 1, PING, 0, 80, 8, 1, -EBADMSG, true},
        {"a roll with a socket", 1, ROLL, 1, 80, 88, 1, -EBADMSG, true},
        {"a report with a socket", 1, LEFT, 1, 80, 88, 1, -EBADMSG, true},
        {"a report with two sockets", 1, LEFT, 1, 80, 88, 2, -EBADMSG, true},
};

static void send_malformed(const struct malformed *m) {
        struct wire wire = {m->version, m->type, m->count, m->record, {0}};

        send_raw(&wire, m->bytes, m->attached);
        wire = (struct wire){1, RETIRE, 0, 80, {0}}; /* a good one to follow */
        send_raw(&wire, HEADER, 0);
}

static bool is_retirement(int r, const struct pair_message *message) {
        return r == 1 && message->type == PAIR_RETIRE && message->count == 0 && message->fd == -1;
}

static void malformed_message_is_consumed_without_a_trace(void **state) {
        struct pair_message message;
        size_t before = descriptors();

        (void)state;
        for (size_t i = 0; i < COUNT(malformed); i++) {
                send_malformed(&malformed[i]);
                memset(&message, 0, sizeof(message));
                if (pair_receive(worker, &message) != malformed[i].expected)
                        fail_msg("%s: is not recognized", malformed[i].what);
                if (message.fd != -1 || descriptors() != before)
                        fail_msg("%s: leaks a descriptor", malformed[i].what);
                if (!is_retirement(pair_receive(worker, &message), &message))
                        fail_msg("%s: is not consumed alone", malformed[i].what);
        }
}

static void malformed_message_stays_when_peeked_at(void **state) {
        struct pair_message message;
        size_t before = descriptors();

        (void)state;
        for (size_t i = 0; i < COUNT(malformed); i++) {
                int expected = malformed[i].by_attachment ? 1 : malformed[i].expected;

                send_malformed(&malformed[i]);
                if (pair_peek(worker, &message) != expected ||
                    pair_peek(worker, &message) != expected)
                        fail_msg("%s: is not recognized, or does not stay", malformed[i].what);
                pair_drop(worker);
                if (message.fd != -1 || descriptors() != before)
                        fail_msg("%s: leaks a descriptor", malformed[i].what);
                if (!is_retirement(pair_peek(worker, &message), &message))
                        fail_msg("%s: is not dropped alone", malformed[i].what);
                pair_drop(worker);
        }
}

/* As when the receiver has no descriptor left for it: the client must not be forgotten. */
static void client_without_its_socket_is_told_all_the_same(void **state) {
        struct wire wire = {1, CLIENT, 1, RECORD, {0}};
        struct pair_message message;

        (void)state;
        memset(wire.records, 7, RECORD);
        send_raw(&wire, HEADER + RECORD, 0);
        assert_int_equal(pair_receive(worker, &message), 1);
        assert_int_equal(message.type, PAIR_CLIENT);
        assert_int_equal(message.count, 1);
        assert_memory_equal(message.sessions, wire.records, RECORD);
        assert_int_equal(message.fd, -1);
}

static void full_message_is_taken(void **state) {
        struct wire wire = {1, LEFT, 32, RECORD, {0}};
        struct pair_message message;

        (void)state;
        for (size_t i = 0; i < sizeof(wire.records); i++)
                wire.records[i] = (char)(i % 251);
        send_raw(&wire, FULL, 0);
        assert_int_equal(pair_receive(worker, &message), 1);
        assert_int_equal(message.type, PAIR_LEFT);
        assert_int_equal(message.count, 32);
        assert_memory_equal(message.sessions, wire.records, 32 * RECORD);
}

/* An old worker may meet a new acceptor: another layout needs another version. */
static void layout_is_that_of_version_1(void **state) {
        struct session session;
        struct wire wire;

        (void)state;
        memset(&session, 0, sizeof(session));
        session.id = UINT64_C(0x1122334455667788);
        session.slot = 0x99aabbcc;
        assert_int_equal(pair_send(acceptor, PAIR_ROLL, &session, 1, -1), 0);
        assert_int_equal(recv(worker, &wire, sizeof(wire), 0), HEADER + RECORD);
        assert_int_equal(wire.version, 1);
        assert_int_equal(wire.type, ROLL);
        assert_int_equal(wire.count, 1);
        assert_int_equal(wire.record, RECORD);
        assert_memory_equal(wire.records + 24, &(uint64_t){UINT64_C(0x1122334455667788)}, 8);
        assert_memory_equal(wire.records + 72, &(uint32_t){0x99aabbcc}, 4);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_pair, close_pair)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(malformed_message_is_consumed_without_a_trace),
                CASE(malformed_message_stays_when_peeked_at),
                CASE(client_without_its_socket_is_told_all_the_same),
                CASE(full_message_is_taken),
                CASE(layout_is_that_of_version_1),
        };

        return cmocka_run_group_tests_name("pair-wire", tests, end_when_stuck, NULL);
}
