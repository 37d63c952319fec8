/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The acceptor's workers: those that it forked, and those that it adopted from the descriptor store
 * after its predecessor went. The crew owns their pairs, chooses who gets a client, hears their
 * reports (crew-reports.c), and keeps what must be known of every client. It never sees a byte that
 * a client sent, and never waits for a worker.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "clock.h"
#include "feed.h"
#include "ledger.h"
#include "options.h"
#include "roster.h"
#include "service.h"
#include "sources.h"

/* Idle workers kept ready, so that no fork stands in a client's way. */
#define CREW_SPARES 8

#define CREW_PING (10 * USEC_PER_SEC)

struct crew_worker {
        struct crew *crew;
        pid_t pid;
        int pair;
        uint32_t place;           /* in crew->workers */
        sd_event_source *reports; /* of the pair; once that has hung up, of the pidfd */
        struct roster roster;
        uint64_t idle_since;   /* us; 0: it has, or never had, a client */
        uint64_t unread_since; /* us; when it was last seen to run or to have read all; 0: it has */
        int pidfd;             /* -1: could not be opened */
        unsigned failures;     /* to hear it, in a row */
        uint64_t pinged;       /* us */
        bool own;              /* our child, not adopted; of a sink, too */
        bool stuck;            /* it has read nothing for long */
        bool stored;           /* the store has a copy of our end */
        bool blocked;          /* its pair is full: it does not read */
        bool retired;          /* it takes no more clients */
        bool retire_unsent;    /* ... but has not been told yet */
        bool calling;          /* it owes its roll */
        bool sink;             /* it takes no clients: it writes for all the others */
};

struct crew {
        const struct service *service;
        const struct options *options;
        sd_event *event;
        struct ledger *ledger;
        const struct feed *feed;
        bool keeping; /* systemd has a store */

        /* Called when STATUS is another, or somebody may take clients again. */
        void (*changed)(void *userdata);
        void *userdata;

        struct crew_worker **workers; /* our own at 0 to options->workers - 1, then the adopted */
        uint32_t size;
        uint32_t *load;       /* of our own: clients, or CREW_NOT_NOW */
        uint32_t hired;       /* our own */
        uint32_t calling;     /* adopted ones that owe their roll */
        uint32_t sinks;       /* never two at work: a new one is hired when the old one has gone */
        uint64_t rest_until;  /* us; no fork before, since one has failed */
        uint64_t call;        /* of the roll; no other acceptor's has this number */
        uint64_t left_before; /* the last session that our predecessor put on record */
        size_t clients;
        struct sources sources; /* counted only if there is a limit for each */
        bool uncounted;         /* somebody serves clients that we know nothing of */
        bool stopping;          /* no more forks at all */
};

#define CREW_NOT_NOW UINT32_MAX
#define CREW_FAILURES 16

/* The first of the least loaded; n when nobody can take a client now. */
uint32_t crew_choose(const uint32_t *load, uint32_t n);

/* The fields above `workers` are set by the caller. Returns 0 or -ENOMEM. */
int crew_init(struct crew *crew, size_t adopted);

/* Takes over a worker of an earlier acceptor (and its pair) and calls its roll. 0 or -errno. */
int crew_adopt(struct crew *crew, pid_t pid, int pair, bool sink);

/*
 * Numbers the session and gives it, with its socket, to the least loaded worker. The caller keeps
 * and closes fd. -EAGAIN: nobody can take it now, changed() will tell. -EUSERS: its source has as
 * many as it may have. Or another negative errno.
 */
int crew_hand_over(struct crew *crew, struct session *session, int fd);

/* Whether anybody can take a client now, as far as is known. */
bool crew_is_open(const struct crew *crew);

/* Whether there are fewer idle workers than there should and could be. */
bool crew_is_short(const struct crew *crew);

/* Forks one worker. Returns false if that cannot be now. */
bool crew_hire(struct crew *crew);

/* Each second or so, or CREW_PING at the latest while there are clients or a sink: lets workers go
 * that have been idle for long, stores what could not be stored, pings, and kills what has not read
 * anything for long. Returns whether there is a reason to call again in a second. */
bool crew_tick(struct crew *crew);

/* Before an end: the store may have been deaf when a worker got its first client. */
void crew_store_all(struct crew *crew);

/* So that what workers deliver while they drain is written: starts a sink if there is none. */
void crew_ensure_sink(struct crew *crew);

/* Whether an earlier acceptor's sink has yet to leave, before which there can be no other. */
bool crew_awaits_sink(const struct crew *crew);

/* Asks every worker to drain and leave, and hires no more. */
void crew_stop(struct crew *crew);

/* When all of them have left: asks the sink to end with the feed. */
void crew_end_feed(struct crew *crew);

/* Lets go of every pair. Where no store holds them, the workers drain. */
void crew_free(struct crew *crew);

/* Once the roll is complete: counts as lost whoever was served and is neither here nor on record as
 * gone, since its worker has died unseen, between two acceptors. */
void crew_reckon(struct crew *crew);

/* Between crew.c, crew-reports.c and crew-care.c: */
int crew_on_pair(sd_event_source *source, int fd, uint32_t revents, void *userdata);
void crew_settle(struct crew_worker *worker);  /* state has changed: works out load and events */
void crew_dismiss(struct crew_worker *worker); /* it is gone: frees it */
void crew_retire(struct crew_worker *worker);
void crew_count(struct crew *crew, const struct peer *peer);              /* a client has come */
void crew_forget(struct crew_worker *worker, struct roster_entry *entry); /* ... and gone */

/* Only what the store holds outlives us; a worker with clients must. */
void crew_store(struct crew_worker *worker);

void crew_sent(struct crew_worker *worker);     /* something that it has not read yet */
void crew_seen(struct crew_worker *worker);     /* it runs: it has said or read something */
bool crew_is_stuck(struct crew_worker *worker); /* looks anew */
