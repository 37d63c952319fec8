/* SPDX-License-Identifier: MIT */
#include "sink.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "journal.h"
#include "options.h"
#include "output.h"
#include "pair.h"
#include "record.h"
#include "settings.h"
#include "worker.h"

#define MESSAGE_MAX (1 << 18) /* of the feed; more than any build sends */
#define PAUSE_LEAST 100       /* ms, before it is tried again; doubled each time */
#define PAUSE_MOST 5000
#define FINISH_MSEC 500
#define HEAR_EACH (100 * USEC_PER_MSEC) /* while it is busy */

static struct {
        bool begun;     /* the acceptor has given its word */
        bool leaving;   /* now: another one is to take over */
        bool stopping;  /* nobody hears us: when the feed has ended */
        int pause;      /* ms; 0: what was tried last has succeeded */
        uint64_t heard; /* us; when it last looked while it was busy */
        uint64_t drain_timeout;
} sink;

/* From the acceptor. When it goes and no other one comes, the service is being stopped: what is in
 * the feed is still written, but not for longer than clients are given. */
static void hear(void) {
        struct pair_message message;
        int r;

        while ((r = pair_receive(WORKER_PAIR_FD, &message)) == 1 || r == -ECONNRESET) {
                if (r != 1)
                        continue;
                sink.begun = true;
                if (message.type != PAIR_RETIRE)
                        continue;
                (void)pair_send(WORKER_PAIR_FD, PAIR_ROLLED, message.sessions, message.count, -1);
                sink.leaving = true;
        }
        sink.leaving |= r == -EPROTO; /* a newer acceptor: its own sink is to take over */
        if (r != 0)
                return;
        sink.stopping = true;
        sink.leaving |= !sink.begun;
        (void)alarm((unsigned)(sink.drain_timeout / USEC_PER_SEC) + 1);
}

/* Waits for the acceptor, for fd, or until time is up. */
static void wait_for(int fd, short events, int msec) {
        struct pollfd ends[] = {{.fd = sink.stopping ? -1 : WORKER_PAIR_FD, .events = POLLIN},
                                {.fd = fd, .events = events}};

        (void)poll(ends, 2, msec);
        if (ends[0].revents != 0)
                hear();
}

/* It could not be written. Returns whether to try again. */
static bool try_again(int error) {
        if (error == -EAGAIN) {
                wait_for(output_fd(), POLLOUT, -1);
                return !sink.leaving;
        }
        if (sink.pause == 0)
                record_fault("Cannot write lines, trying again", error);
        sink.pause = sink.pause == 0 ? PAUSE_LEAST : 2 * sink.pause;
        if (sink.pause > PAUSE_MOST)
                sink.pause = PAUSE_MOST;
        wait_for(-1, 0, sink.pause);
        if (!settings.to_stdout)
                (void)output_open(NULL); /* journald may listen on another socket now */
        return !sink.leaving;
}

static void has_succeeded(void) {
        if (sink.pause > 0)
                (void)journal_flush(); /* journald may not have been there to hear of it */
        sink.pause = 0;
}

static bool write_line(const struct delivery *delivery, const struct line *line) {
        int r;

        while ((r = output_line(delivery, line)) < 0)
                if (!try_again(r))
                        return false;
        has_succeeded();
        return true;
}

static bool write_lines(const struct delivery *delivery, const char *data, size_t n) {
        const char *end = data + n, *newline;
        struct line line = {.text = data, .offset = delivery->offset};

        while (line.text < end && (newline = memchr(line.text, '\n', (size_t)(end - line.text)))) {
                line.length = (size_t)(newline - line.text);
                line.cut_from = 0;
                if (line.length > 0 && newline[-1] == '\r')
                        line.length--;
                if (line.length > settings.line_max) {
                        line.cut_from = (uint64_t)(newline - line.text);
                        line.length = settings.line_max;
                }
                if (!write_line(delivery, &line))
                        return false;
                line.offset += (uint64_t)(newline + 1 - line.text);
                line.text = newline + 1;
        }
        return true;
}

/* Returns whether all of it is written. */
static bool write_delivery(const struct delivery *delivery, const char *data, size_t n) {
        struct line whole = {.text = data,
                             .length = n,
                             .offset = delivery->offset,
                             .cut_from = delivery->flags & DELIVERY_CUT ? delivery->length : 0,
                             .tail = (delivery->flags & DELIVERY_TAIL) != 0};
        int r;

        if (n > settings.line_max) { /* as a tail, or for a worker with another --line-max */
                if (whole.cut_from == 0)
                        whole.cut_from = n;
                whole.length = settings.line_max;
        }
        if (!(delivery->flags != 0 ? write_line(delivery, &whole) : write_lines(delivery, data, n)))
                return false;
        while ((r = output_flush()) < 0)
                if (!try_again(r))
                        return false;
        has_succeeded();
        return true;
}

/* One delivery: it is taken out of the feed when it is written. Returns whether the feed goes on.
 */
static bool pass_on(char *message) {
        struct delivery delivery;
        uint64_t now;
        ssize_t n = recv(WORKER_FEED_FD, message, MESSAGE_MAX, MSG_PEEK | MSG_DONTWAIT);

        if (n == 0)
                return false;
        if (n < 0) {
                wait_for(WORKER_FEED_FD, POLLIN, -1);
                return true;
        }
        memcpy(&delivery, message, sizeof(delivery));
        if ((size_t)n < sizeof(delivery) || delivery.version != DELIVERY_VERSION)
                record_fault("A delivery of another version is left out", -EPROTO);
        else if (!write_delivery(&delivery, message + sizeof(delivery),
                                 (size_t)n - sizeof(delivery)))
                return true; /* the next sink does */
        (void)recv(WORKER_FEED_FD, message, 1, MSG_DONTWAIT);
        now = clock_usec(CLOCK_MONOTONIC);
        if (now - sink.heard >= HEAR_EACH) {
                sink.heard = now;
                wait_for(-1, 0, 0);
        }
        return true;
}

static void set_signals(void) {
        sigset_t set;

        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGHUP, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigprocmask(SIG_SETMASK, &set, NULL);
}

int sink_run(const struct options *options, struct ledger *ledger) {
        char *message = malloc(MESSAGE_MAX);
        bool more = message != NULL;
        int r;

        set_signals();
        journal_open(PROGRAM, options->log_level);
        sink.drain_timeout = options->drain_timeout;
        while (more && !sink.begun && !sink.leaving)
                wait_for(-1, 0, -1);
        while (more && !sink.leaving && (r = output_open(ledger)) < 0)
                (void)try_again(r);
        while (more && !sink.leaving)
                more = pass_on(message);
        record_finish();
        if (!settings.to_stdout)
                journal_await_read(output_fd(), FINISH_MSEC);
        free(message);
        return message != NULL ? EXIT_SUCCESS : ENOMEM; /* as a worker's (worker.h) */
}
