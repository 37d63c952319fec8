/* SPDX-License-Identifier: MIT */
#include "talker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "input.h"

#define SMALL 8192
#define END_MS 3000

struct stage stage;
struct talker talkers[TALKERS];

static int listening = -1;

void talker_prepare(void) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int on = 1;

        if (listening >= 0)
                return;
        listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(bind(listening, (struct sockaddr *)&address, sizeof(address)) == 0);
        CHECK(setsockopt(listening, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) == 0);
        CHECK(setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
        CHECK(listen(listening, 1) == 0);
}

/* Each from another address of 127.0.0.0/8: the ports of one would be used up soon. */
static void bind_anew(int fd) {
        static uint32_t address;
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(0x7f000002 + address)};
        int on = 1;

        address = (address + 1) % 0xfffff0;
        CHECK(setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0);
        CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
        CHECK(bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
}

static int connect_tcp(int *own) {
        struct sockaddr_in address;
        socklen_t length = sizeof(address);
        int accepted;

        CHECK(getsockname(listening, (struct sockaddr *)&address, &length) == 0);
        *own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bind_anew(*own);
        CHECK(connect(*own, (struct sockaddr *)&address, sizeof(address)) == 0);
        accepted = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        CHECK(accepted >= 0);
        return accepted;
}

static int connect_unix(int *own) {
        int ends[2];

        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
        *own = ends[0];
        return ends[1];
}

/* A small receive buffer would make TCP wait for timers. */
static void shrink(int fd) {
        int size = SMALL;

        CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
}

int talker_connect(struct talker *talker, bool tcp, bool small) {
        int other = tcp ? connect_tcp(&talker->fd) : connect_unix(&talker->fd);

        talker->tcp = tcp;
        talker->touched = talker->calm = stage.now;
        if (small) {
                shrink(other);
                if (!tcp)
                        shrink(talker->fd);
        }
        return other;
}

static void say(struct talker *talker, size_t n, int flags) {
        ssize_t taken;

        if (talker->fd < 0 || talker->shut || n == 0)
                return;
        taken = send(talker->fd, talker->words + talker->said, n,
                     MSG_DONTWAIT | MSG_NOSIGNAL | flags);
        if (taken <= 0)
                return;
        talker->said += (size_t)taken;
        talker->touched = stage.now;
        talker->moved |= talker_is_served(talker);
}

static size_t room(const struct talker *talker, size_t n) {
        return n < TALK_MAX - talker->said ? n : TALK_MAX - talker->said;
}

/* Every byte but a newline; where it stands tells one stretch of them from another. */
static const char *babble(size_t from) {
        static char bytes[2 * TALK_MAX];

        for (size_t i = 0; bytes[0] == '\0' && i < sizeof(bytes); i++)
                bytes[sizeof(bytes) - 1 - i] = (char)('\v' + (i * 7 / 4 + i / 1020) % 255);
        return bytes + from;
}

void talker_say(struct talker *talker, size_t n, size_t length) {
        char *words = talker->words + talker->said;

        n = room(talker, n);
        memcpy(words, babble(talker->said), n);
        for (size_t i = length; length > 0 && i <= n; i += length)
                words[i - 1] = '\n';
        say(talker, n, 0);
}

void talker_say_words(struct talker *talker, const uint8_t *words, size_t n) {
        n = room(talker, n);
        memcpy(talker->words + talker->said, words, n);
        say(talker, n, 0);
}

void talker_say_urgently(struct talker *talker) {
        size_t n = room(talker, 1);

        memset(talker->words + talker->said, '!', n);
        say(talker, n, talker->tcp ? MSG_OOB : 0);
}

void talker_hear(struct talker *talker, size_t n) {
        static char echo[TALK_MAX];
        ssize_t received;

        if (talker->fd < 0 || talker->over)
                return;
        /* If it has sent everything, the worker does not get to know that it is read. */
        talker->moved |= talker_is_owed(talker) && talker_is_served(talker);
        if (n > sizeof(echo))
                n = sizeof(echo);
        while (n > 0 && (received = recv(talker->fd, echo, n, MSG_DONTWAIT)) > 0) {
                talker_check_echo(talker, echo, (size_t)received);
                talker->heard += (size_t)received;
                talker->touched = stage.now;
                n -= (size_t)received;
        }
        if (n > 0 && (received == 0 || errno != EAGAIN)) {
                talker->over = true;
                talker_check_end(talker);
        }
}

void talker_hear_out(struct talker *talker) {
        struct pollfd more = {.fd = talker->fd, .events = POLLIN};

        while (talker->fd >= 0 && !talker->over) {
                CHECK(poll(&more, 1, END_MS) == 1);
                talker_hear(talker, SIZE_MAX);
        }
}

void talker_shut(struct talker *talker) {
        if (talker->fd < 0 || talker->shut)
                return;
        talker->shut = true;
        (void)shutdown(talker->fd, SHUT_WR);
        talker->touched = stage.now;
        talker->moved = true;
}

void talker_close(struct talker *talker) {
        if (talker->fd < 0)
                return;
        (void)close(talker->fd);
        talker->fd = -1;
        talker->gone = true;
}

void talker_reset(struct talker *talker) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};

        if (talker->fd >= 0)
                (void)setsockopt(talker->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        talker_close(talker);
}

void talker_close_copy(struct talker *talker) {
        if (talker->copy >= 0)
                (void)close(talker->copy);
        talker->copy = -1;
}

/* Of TCP, what is not acknowledged may not have arrived. */
void talker_note_stop(struct talker *talker) {
        int under_way = 0;

        if (talker->fd < 0)
                return;
        if (talker->tcp)
                CHECK(ioctl(talker->fd, SIOCOUTQ, &under_way) == 0);
        talker->owed = talker->said - (size_t)under_way;
}
