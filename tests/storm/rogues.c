/* SPDX-License-Identifier: MIT */
#include "rogues.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "harness.h"

#define HALF_A_LINE 40000

void rogue_flood(int *fd) {
        static const char lines[65536] = "nobody will read this\n";

        while (send(*fd, lines, sizeof(lines), MSG_NOSIGNAL) > 0)
                ;
        assert_int_equal(errno, EAGAIN);
}

void rogue_read_a_byte(int fd) {
        char byte;

        assert_true(recv(fd, &byte, 1, 0) == 1 || errno == EAGAIN);
        rogue_flood(&fd);
}

void rogue_send_a_byte(int fd) {
        say(fd, "x");
}

void rogue_hold_a_line(int *fd) {
        static char half[HALF_A_LINE];

        memset(half, 'h', sizeof(half));
        say_bytes(*fd, half, sizeof(half));
}

/* A socket under repair (TCP_REPAIR, for checkpoints of a process) is closed without a word to its
 * peer. That takes root; for others it stays, as silent. */
void rogue_vanish(int *fd) {
        int on = 1, unsent;

        rogue_hold_a_line(fd);
        eventually(ioctl(*fd, SIOCOUTQ, &unsent) == 0 && unsent == 0);
        if (setsockopt(*fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
                return;
        (void)close(*fd);
        *fd = -1;
}

/* RFC 854: interrupt process, data mark; do timing mark; will and won't. */
void rogue_negotiate(int fd) {
        static const char said[] = "\377\364\377\362\377\375\6ls -l\r\n\377\373\37\377\374\1\r\n";
        static const size_t mark = 3;
        int on = 1;

        (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
        say_bytes(fd, said, mark);
        assert_int_equal(send(fd, said + mark, 1, MSG_OOB | MSG_NOSIGNAL), 1);
        say_bytes(fd, said + mark + 1, sizeof(said) - 1 - mark - 1);
        expect_bytes(fd, said, sizeof(said) - 1);
}

void rogue_pour(int fd, uint64_t n, uint64_t sip, unsigned turn) {
        static char out[65536], in[65536], text[2 * sizeof(out)];
        uint64_t sent = 0, heard = 0;

        for (size_t i = 0; i < sizeof(text); i++) /* has a period of sizeof(out) */
                text[i] = (char)('a' + i % sizeof(out) % 23);
        memcpy(out, text, sizeof(out));
        while (heard < n) {
                size_t offset = sent % sizeof(out), left = sizeof(out) - offset;
                ssize_t r = sent < n ? send(fd, out + offset, left < n - sent ? left : n - sent,
                                            MSG_NOSIGNAL)
                                     : 0;

                sent += r > 0 ? (uint64_t)r : 0;
                if (sent == n)
                        (void)shutdown(fd, SHUT_WR);
                r = recv(fd, in, sizeof(in), 0);
                assert_true(r > 0 || (r < 0 && errno == EAGAIN));
                if (r < 0) {
                        assert_true(attend(fd, POLLIN | (sent < n ? POLLOUT : 0), PATIENCE_MSEC));
                        continue;
                }
                assert_memory_equal(in, text + heard % sizeof(out), (size_t)r);
                heard += (uint64_t)r;
                if (heard / sip != (heard - (uint64_t)r) / sip)
                        (void)attend(-1, 0, (int)turn);
        }
        expect_end(fd);
}
