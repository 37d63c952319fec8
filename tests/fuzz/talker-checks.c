/* SPDX-License-Identifier: MIT */

/* What may and what must happen to a client. */

#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "input.h"
#include "talker.h"
#include "worker.h"

#define SLACK 100000 /* us; a worker does not look for the late ones all the time */

/* Where the last whole line ends, of all that was said. */
static size_t last_line(const struct talker *talker) {
        const char *last = memrchr(talker->words, '\n', talker->said);

        return last != NULL ? (size_t)(last - talker->words) + 1 : 0;
}

static size_t waiting(const struct talker *talker) {
        int n = 0;

        CHECK(ioctl(talker->fd, FIONREAD, &n) == 0);
        return (size_t)n;
}

/* TCP may still have it under way. */
bool talker_is_owed(const struct talker *talker) {
        return !talker->tcp && talker->heard + waiting(talker) < last_line(talker);
}

static uint64_t patience(void) {
        return stage.idle > 0 && stage.idle < stage.send ? stage.idle : stage.send;
}

/* Whether the worker may end it by then without having sent back everything. */
static bool may_be_cut(const struct talker *talker, uint64_t when) {
        return when - talker->calm >= patience() ||
               (stage.stopped && when - stage.stopped_at >= stage.drain);
}

bool talker_is_served(const struct talker *talker) {
        return talker->copy < 0 || !may_be_cut(talker, stage.now);
}

/* What comes back is of a line that has been ended, or is too long to be held, or is a tail. */
void talker_check_echo(const struct talker *talker, const char *echo, size_t n) {
        size_t line = last_line(talker);

        CHECK(n <= talker->said - talker->heard);
        CHECK(memcmp(echo, talker->words + talker->heard, n) == 0);
        CHECK(talker->heard + n <= line || talker->said - line >= WORKER_BUFFER || talker->shut ||
              stage.stopped);
}

void talker_check_end(const struct talker *talker) {
        CHECK(may_be_cut(talker, stage.now) || (talker->shut && talker->heard == talker->said) ||
              (stage.stopped && talker->heard >= talker->owed));
}

static bool is_cut_off(const struct talker *talker) {
        struct pollfd end = {.fd = talker->fd, .events = POLLRDHUP};

        return poll(&end, 1, 0) == 1;
}

static bool is_answered(const struct talker *talker) {
        if (talker->shut) /* and it would see the end, if no acceptor held it open */
                return talker->heard == talker->said && talker->copy >= 0;
        return talker->heard >= last_line(talker) && talker->said - talker->heard < WORKER_BUFFER;
}

/* Pieces of a line that is too long may still be owed, too. */
static bool may_be_owed(const struct talker *talker) {
        return waiting(talker) > 0 &&
               (talker->tcp || talker->said - last_line(talker) >= WORKER_BUFFER);
}

/* The worker has dealt with what was said last, just now; or, if that cannot be told, before. */
static void calm_down(struct talker *talker) {
        if (talker->moved && !may_be_owed(talker))
                talker->calm = stage.now;
        talker->moved = false;
}

bool talker_is_content(struct talker *talker) {
        uint64_t silence = stage.now - talker->touched;

        if (talker->fd < 0 || !talker->joined || talker->over || stage.stopped)
                return true;
        if (is_cut_off(talker)) /* whether it may be is checked when it hears of it */
                return true;
        if (talker_is_owed(talker)) /* a timeout is extended once if the kernel has sent some */
                return silence <= 2 * stage.send + SLACK || talker->copy >= 0;
        if (waiting(talker) == 0) {
                if (!talker_is_served(talker))
                        return true;
                if ((stage.idle > 0 && silence > stage.idle + SLACK) || !is_answered(talker))
                        return false;
        }
        calm_down(talker);
        return true;
}

static uint64_t count_lines(const struct talker *talker, uint64_t n) {
        const char *word = talker->words, *end = talker->words + n;
        uint64_t lines = 0;

        while ((word = memchr(word, '\n', (size_t)(end - word))) != NULL) {
                lines++;
                word++;
        }
        return lines;
}

void talker_check_report(const struct talker *talker, const struct session *report) {
        CHECK(report->ended >= report->since && report->ended <= stage.now);
        CHECK(report->received <= talker->said && report->sent <= report->received);
        CHECK(report->sent >= talker->heard);
        CHECK(report->lines == count_lines(talker, report->received));
        switch (report->reason) {
        case SESSION_EOF:
                CHECK(talker->shut || talker->gone);
                CHECK(report->sent == report->received);
                CHECK(report->received == talker->said || talker->gone || stage.stopped);
                break;
        case SESSION_RESET:
                CHECK(talker->gone);
                break;
        case SESSION_DRAIN:
                CHECK(stage.stopped);
                break;
        case SESSION_TIMEOUT:
                CHECK(may_be_cut(talker, report->ended));
                break;
        default: /* there is no other error here than a socket that got lost */
                CHECK(report->reason == SESSION_ERROR && talker->fd < 0 && !talker->gone);
        }
}
