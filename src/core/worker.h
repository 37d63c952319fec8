/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A worker process: one epoll loop over its pair and its clients. It takes the clients that the
 * acceptor hands over, lets the service serve them (service.h), reports each one's end, and leaves
 * when it is retired and its last client has gone. When its pair hangs up (the service was stopped)
 * or on SIGTERM it drains: what was received is still answered, and then it closes.
 */

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "options.h"
#include "pair.h"
#include "service.h"

/* The longest line that echo holds back for its newline; so also what a client can make it hold. */
#define WORKER_BUFFER 65536

struct worker {
        const struct service *service;
        const struct options *options;
        uint64_t epoch; /* the ledger's, for records that nobody else can write any more */
        int pair, signals, epoll;
        struct client_list clients; /* being served */
        struct client_list ended;   /* to be reported */
        struct client_list told;    /* reported, but perhaps not read yet */
        size_t n_told;              /* how many these are */
        struct lines scratch;       /* for whichever client has its turn; empty between turns */
        bool listening;             /* to the pair: more clients may come */
        bool orphaned;              /* nobody hears it any more: it writes records itself */
        bool unheard;               /* the acceptor went before it had read all reports */
        bool blocked;               /* the pair is full: it has more to say */
        bool leaving;               /* waits for nothing but its reports to be read */
        bool retiring;              /* leaves with its last client */
        bool rolling;               /* has not told its roll to the end */
        bool recording;             /* has opened the journal for itself */
        struct session call;        /* the one to be answered with the roll */
        bool draining;
        uint64_t deadline; /* us, CLOCK_MONOTONIC: of the drain */
        uint64_t now;      /* likewise: when this round began */
        uint64_t look;     /* likewise: when to look for clients that have timed out */
        bool progress;     /* this round has moved something */
        unsigned vain;     /* rounds in a row that have not */
};

/* Where a child finds its pair and, if its service has one, its end of the feed. */
#define WORKER_PAIR_FD 3
#define WORKER_FEED_FD 4

/* To be called in a child right after fork(2): keeps nothing of its parent's but these two (feed
 * may be -1) and the standard streams; ends the process if it cannot. */
void worker_become(int pair, int feed);

/* A worker, from there on. */
_Noreturn void worker_main(const struct service *service, const struct options *options, int pair,
                           int feed, uint64_t epoch);

/* A worker's life, without what fork(2) brings: takes `pair`, and returns an exit status: 0, or the
 * errno of what it could not start without. */
int worker_run(const struct service *service, const struct options *options, int pair,
               uint64_t epoch);

/* For client.c: its session is over and waits for the report. */
void worker_ended(struct worker *worker, struct client *client);

/* For client.c: a client may have timed out by then. */
void worker_look_by(struct worker *worker, uint64_t when);

/* Between worker.c and worker-reports.c: */

/* Waits for what the pair has to say, and for room if it is full. */
void worker_watch_pair(struct worker *worker);

/* For a worker that writes records itself: the acceptor does it as long as there is one. */
void worker_open_journal(struct worker *worker);

/* Returns whether it was said; false: the pair is full. With nobody there to hear it, it is said,
 * and what matters of it goes to the journal. */
bool worker_say(struct worker *worker, enum pair_type type, const struct session *sessions,
                size_t count);

/* Reports the sessions that have ended, as far as the pair takes it. */
void worker_report(struct worker *worker);

/* Tells the roll, or what is still untold of it. */
void worker_call_roll(struct worker *worker);

/* What the acceptor had not read when the service was stopped is known to nobody else. */
void worker_record_told(struct worker *worker);
void worker_forget_told(struct worker *worker);
