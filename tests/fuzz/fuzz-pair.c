/* SPDX-License-Identifier: MIT */

/*
 * The reading side of the pair, fed whatever bytes and descriptors, through a real pair. What must
 * come out of a message is worked out here from the format as it is written down in pair.h: a
 * header of four 16-bit numbers (version, type, count, size of a record), then the records.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input.h"
#include "pair.h"

#define HEADER 8
#define RECORD sizeof(struct session)
#define RECORDS_MAX 50
#define DESCRIPTORS 64 /* none has a larger number here */
#define FDS_MAX 3

struct wire {
        uint16_t header[4];
        struct session records[RECORDS_MAX];
};

struct sent {
        struct wire wire;
        size_t bytes, fds;
};

static int sender, receiver, attachment = -1;
static bool unread; /* the sender has not read all that we sent it */

static unsigned count_descriptors(void) {
        unsigned n = 0;

        for (int fd = 0; fd < DESCRIPTORS; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static int expected(const struct sent *sent, bool peek) {
        const uint16_t *header = sent->wire.header;

        if (sent->bytes < HEADER)
                return -EBADMSG;
        if (header[0] != 1)
                return -EPROTO;
        if (header[1] < 1 || header[1] > 6 || header[2] > 32 || header[3] != RECORD)
                return -EBADMSG;
        if (sent->bytes != HEADER + header[2] * RECORD || (header[1] == 1 && header[2] != 1))
                return -EBADMSG;
        if (!peek && sent->fds > (header[1] == 1)) /* a client without its socket may come */
                return -EBADMSG;
        return 1;
}

/* Whether fd is the one that was attached, and would not outlive exec(2). */
static bool is_attachment(int fd) {
        struct stat own, other;

        return fstat(attachment, &own) == 0 && fstat(fd, &other) == 0 &&
               own.st_ino == other.st_ino && own.st_dev == other.st_dev &&
               (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static void check_message(const struct sent *sent, const struct pair_message *message) {
        CHECK(message->type == sent->wire.header[1]);
        CHECK(message->count == sent->wire.header[2]);
        CHECK(memcmp(message->sessions, sent->wire.records, message->count * RECORD) == 0);
}

static void receive(const struct sent *sent) {
        struct pair_message message;
        int r;

        memset(&message, 0xa5, sizeof(message));
        r = pair_receive(receiver, &message);
        CHECK(r == expected(sent, false));
        CHECK((message.fd != -1) == (r == 1 && sent->fds == 1));
        if (r == 1)
                check_message(sent, &message);
        if (message.fd >= 0) {
                CHECK(is_attachment(message.fd));
                (void)close(message.fd);
        }
}

static void peek(const struct sent *sent) {
        struct pair_message message;

        for (int i = 0; i < 2; i++) {
                memset(&message, 0x5a, sizeof(message));
                CHECK(pair_peek(receiver, &message) == expected(sent, true));
                CHECK(message.fd == -1);
                if (expected(sent, true) == 1)
                        check_message(sent, &message);
        }
}

static bool send_raw(const struct sent *sent) {
        struct iovec part = {(void *)&sent->wire, sent->bytes};
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
        } control = {0};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

        if (sent->fds > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(sent->fds * sizeof(int));
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sent->fds * sizeof(int));
                for (size_t i = 0; i < sent->fds; i++)
                        memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &attachment,
                               sizeof(int));
        }
        return sendmsg(sender, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sent->bytes;
}

/* What a message is made of. Most lengths are about right, or else none would be. */
static void compose(struct sent *sent, struct input *input, uint8_t how) {
        const uint8_t *records;
        size_t n;

        memset(sent, 0, sizeof(*sent));
        for (size_t i = 0; i < 4; i++)
                sent->wire.header[i] = input_word(input);
        sent->fds = how & 3;
        sent->bytes = HEADER + sent->wire.header[2] * RECORD;
        if (how & 4)
                sent->bytes += (size_t)(int8_t)input_byte(input);
        if (how & 8)
                sent->bytes = input_word(input);
        sent->bytes = 1 + (sent->bytes - 1) % sizeof(sent->wire);
        n = input_bytes(input, input_byte(input), &records);
        memcpy(sent->wire.records, records, n);
}

static void check_message_sent_raw(struct input *input, uint8_t how) {
        static struct sent sent;

        compose(&sent, input, how);
        CHECK(send_raw(&sent));
        if (how & 16)
                peek(&sent);
        if (how & 32)
                pair_drop(receiver);
        else
                receive(&sent);
}

/* What pair_send() says comes out as it went in. */
static void check_message_sent_well(struct input *input, uint8_t how) {
        static struct sent sent;
        enum pair_type type = 1 + input_byte(input) % 6;

        compose(&sent, input, 0);
        sent.wire.header[0] = 1;
        sent.wire.header[1] = (uint16_t)type;
        sent.wire.header[2] = type == PAIR_CLIENT ? 1 : sent.wire.header[2] % (PAIR_BATCH + 1);
        sent.wire.header[3] = RECORD;
        sent.fds = type == PAIR_CLIENT;
        sent.bytes = HEADER + sent.wire.header[2] * RECORD;
        CHECK(pair_send(sender, type, sent.wire.records, sent.wire.header[2],
                        sent.fds > 0 ? attachment : -1) == 0);
        CHECK(!pair_is_heard(sender));
        if (how & 16)
                peek(&sent);
        receive(&sent);
        CHECK(pair_is_heard(sender));
}

/* The other end goes; then, at last, what it had sent must come, and the end after that. */
static void check_end(const struct sent *last, bool sent) {
        struct pair_message message;

        (void)close(sender);
        if (unread)
                CHECK(pair_receive(receiver, &message) == -ECONNRESET);
        if (sent)
                receive(last);
        CHECK(pair_peek(receiver, &message) == 0);
        CHECK(pair_receive(receiver, &message) == 0 && message.fd == -1);
        CHECK(pair_send(receiver, PAIR_LEFT, NULL, 0, -1) == -EPIPE);
}

static void end(struct input *input, uint8_t how) {
        static struct sent last;
        bool sent = how & 4;

        if (sent) {
                compose(&last, input, how & 3);
                CHECK(send_raw(&last));
        }
        check_end(&last, sent);
}

/* Either way there is a limit, and nobody waits. */
static void fill(void) {
        struct pair_message message;
        int r, n = 0, m = 0;

        while ((r = pair_send(sender, PAIR_CLIENT, &(struct session){0}, 1, attachment)) == 0)
                n++;
        CHECK(r == -EAGAIN && n > 0);
        while ((r = pair_receive(receiver, &message)) == 1) {
                (void)close(message.fd);
                m++;
        }
        CHECK(r == -EAGAIN && m == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct input input = {data, size};
        struct pair_message message;
        unsigned before;

        if (attachment < 0)
                attachment = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(attachment >= 0);
        before = count_descriptors();
        CHECK(pair_open(&sender, &receiver) == 0);
        unread = false;
        CHECK(pair_receive(receiver, &message) == -EAGAIN && message.fd == -1);
        while (input.left > 1) {
                uint8_t how = input_byte(&input);

                if (how < 192) {
                        check_message_sent_raw(&input, how);
                } else if (how < 240) {
                        check_message_sent_well(&input, how);
                } else if (how < 248) {
                        fill();
                } else {
                        CHECK(pair_send(receiver, PAIR_PING, NULL, 0, -1) == 0);
                        unread = true;
                        CHECK(!pair_is_heard(receiver));
                }
                CHECK(pair_receive(receiver, &message) == -EAGAIN);
        }
        end(&input, input_byte(&input));
        (void)close(receiver);
        CHECK(count_descriptors() == before);
        return 0;
}
