/* SPDX-License-Identifier: MIT */

/*
 * A whole worker of the echo service, in this process. The input is a script for its clients and
 * its acceptor: they act when the worker waits, in its epoll_wait(2), and nobody else does; so it
 * needs no thread and no fork. The clock is the script's, too.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "boss.h"
#include "clock.h"
#include "echo.h"
#include "input.h"
#include "service.h"
#include "talker.h"
#include "worker.h"

#define BUSY_MAX 4000   /* rounds of a worker while nobody does anything */
#define SETTLE_MS 3000  /* for the kernel to deliver what is under way */
#define DESCRIPTORS 128 /* none has a larger number here */

static const struct service service = {.unit = "fuzz", .program = "fuzzd", .turn = echo_turn};

static struct options options;
static struct input script;
static uint8_t ending;

static bool on_stage;     /* the worker runs */
static unsigned busy;     /* its rounds since somebody acted */
static uint64_t advance;  /* us, that are still to pass */
static unsigned together; /* actions that the worker will see at once */

static void act(void) {
        uint8_t action = input_byte(&script);
        unsigned number = action >> 4 & 7;
        struct talker *talker = &talkers[number];
        bool variant = action >> 7;
        const uint8_t *words;
        size_t n;

        switch (action & 15) {
        case 0:
        case 1:
                boss_join(talker, action & 1, number & 1, variant);
                break;
        case 2:
                n = input_word(&script);
                talker_say(talker, n, variant ? input_byte(&script) : n);
                break;
        case 3:
                n = input_bytes(&script, input_byte(&script), &words);
                talker_say_words(talker, words, n);
                break;
        case 4:
                talker_hear(talker, input_word(&script));
                break;
        case 5:
                talker_hear(talker, SIZE_MAX);
                break;
        case 6:
                talker_shut(talker);
                break;
        case 7:
                talker_close(talker);
                break;
        case 8:
                talker_reset(talker);
                break;
        case 9:
                talker_close_copy(talker);
                break;
        case 10:
                advance = input_word(&script) * (variant ? USEC_PER_SEC : USEC_PER_MSEC);
                break;
        case 11:
                boss_tell(talker, input_byte(&script), &script);
                break;
        case 12:
                boss_hear();
                break;
        case 13:
                boss_stop(number);
                break;
        case 14:
                if (variant)
                        together = number;
                else
                        talker_say_urgently(talker);
                break;
        default: /* what fills the buffer, or all but a byte */
                talker_say(talker, WORKER_BUFFER - variant, 0);
        }
}

/* Everybody behaves, and so the worker has no reason to stay. */
static void finish(void) {
        boss.eager = true;
        boss_hear();
        if (ending == 3 && !stage.stopped)
                boss_retire();
        else if (!boss.retired)
                boss_stop(ending);
        for (size_t i = 0; i < TALKERS; i++) {
                talker_close_copy(&talkers[i]);
                if (boss.retired)
                        talker_shut(&talkers[i]);
                talker_hear(&talkers[i], SIZE_MAX);
                if (talkers[i].over)
                        talker_close(&talkers[i]);
        }
}

/* What the worker calls instead (ld --wrap). */
int __real_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
        if (!on_stage)
                return __real_clock_gettime(clock, now);
        now->tv_sec = (time_t)(stage.now / USEC_PER_SEC);
        now->tv_nsec = (long)(stage.now % USEC_PER_SEC * 1000);
        return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left) {
        return on_stage ? 0 : __real_nanosleep(time, left);
}

/* An acceptor that has been away comes back just when the pair has been found full. */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
        ssize_t n = __real_sendmsg(fd, message, flags);
        int error = errno;

        if (on_stage && n < 0 && error == EAGAIN && boss.eager && fd != boss.pair)
                boss_hear();
        errno = error;
        return n;
}

static bool all_are_content(void) {
        bool content = true;

        for (size_t i = 0; i < TALKERS; i++)
                content &= talker_is_content(&talkers[i]);
        return content;
}

/* The kernel may take its time with a TCP segment; what has not happened then does not happen. */
static int settle(int epoll, struct epoll_event *events, int most) {
        int n = __real_epoll_wait(epoll, events, most, 0);

        for (int i = 0; n == 0 && !all_are_content(); i++) {
                CHECK(i < SETTLE_MS);
                n = __real_epoll_wait(epoll, events, most, 1);
        }
        return n;
}

static void pass_time(uint64_t until) {
        uint64_t step = advance < until - stage.now ? advance : until - stage.now;

        stage.now += step;
        advance -= step;
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
        uint64_t until = timeout < 0 ? UINT64_MAX : stage.now + (uint64_t)timeout * USEC_PER_MSEC;
        int n = 0, tries = 0;

        if (!on_stage)
                return __real_epoll_wait(epoll, events, most, timeout);
        CHECK(++busy < BUSY_MAX);
        while (n == 0) {
                n = settle(epoll, events, most);
                if (n > 0 || stage.now == until)
                        break;
                if (advance > 0) {
                        pass_time(until);
                        if (stage.now == until)
                                break;
                } else if (script.left > 0) {
                        busy = 0;
                        act();
                        for (; together > 0 && script.left > 0; together--)
                                act();
                } else {
                        CHECK(++tries < SETTLE_MS);
                        finish();
                        n = __real_epoll_wait(epoll, events, most, tries > 2);
                }
        }
        return n;
}

static unsigned count_descriptors(void) {
        unsigned n = 0;

        for (int fd = 0; fd < DESCRIPTORS; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static void prepare(uint8_t how) {
        for (size_t i = 0; i < TALKERS; i++) {
                memset(&talkers[i], 0, offsetof(struct talker, words));
                talkers[i].fd = talkers[i].copy = -1;
        }
        stage = (struct stage){
                .now = USEC_PER_HOUR,
                .idle = how & 1 ? USEC_PER_SEC : 0,
                .send = how & 2 ? 2 * USEC_PER_SEC : 5 * USEC_PER_MINUTE,
                .drain = how & 4 ? 0 : 10 * USEC_PER_SEC,
        };
        options = (struct options){.drain_timeout = stage.drain,
                                   .send_timeout = stage.send,
                                   .idle_timeout = stage.idle,
                                   .log_level = -1};
        ending = how >> 6;
        busy = together = 0;
        advance = 0;
}

/* A worker changes what signals do, for the whole process. */
static void perform(int pair) {
        const struct timespec at_once = {0};
        struct sigaction interrupt;
        sigset_t terminate, own;

        (void)sigemptyset(&terminate);
        (void)sigaddset(&terminate, SIGTERM);
        CHECK(sigprocmask(SIG_BLOCK, &terminate, &own) == 0);
        CHECK(sigaction(SIGINT, NULL, &interrupt) == 0);

        on_stage = true;
        CHECK(worker_run(&service, &options, pair, 0) == EXIT_SUCCESS);
        on_stage = false;

        (void)sigtimedwait(&terminate, NULL, &at_once); /* it may have left before it heard */
        CHECK(sigaction(SIGINT, &interrupt, NULL) == 0);
        CHECK(sigprocmask(SIG_SETMASK, &own, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        unsigned before;
        uint8_t how;
        int pair;

        talker_prepare();
        before = count_descriptors();
        script = (struct input){data, size};
        how = input_byte(&script);
        prepare(how);
        pair = boss_open(how & 8);
        boss.eager = how & 16;
        perform(pair);
        boss_take_stock();
        CHECK(count_descriptors() == before);
        return 0;
}
