/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Accepts clients from the sockets that systemd passed and hands each to a worker of its crew;
 * answers systemd (READY, STATUS, watchdog, SIGTERM). It lives in the service's main process, on
 * one event loop; it never reads a byte that a client sent, and nothing that it does waits for
 * anybody, but for the journal at its end.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "crew.h"
#include "listener.h"
#include "session.h"

struct acceptor {
        /* Set by the caller; the rest is zero but for `waiting`. */
        sd_event *event;
        struct inheritance *inherited;
        struct crew crew;

        sd_event_source *listening[LISTENERS_MAX];
        sd_event_source *retry;     /* start without the roll, listen again, end without a sink */
        sd_event_source *replenish; /* fork spares, when there is nothing else to do */
        sd_event_source *tick;
        uint64_t ticked;     /* us; when the tick last came */
        uint64_t tick_at;    /* us; when it comes next; UINT64_MAX: not at all */
        int waiting;         /* a client that no worker could take yet, or -1 */
        bool waiting_stored; /* ... and is in the store, where the next acceptor finds it */
        struct session waiting_session;
        unsigned failures; /* to accept, in a row */
        bool ready;        /* systemd knows that we serve */
        bool ending;       /* as soon as there is a sink that stays */
        bool starting, stopping, full, status_due;
};

/* Adopts the workers that were inherited, and accepts as soon as these have told whom they serve,
 * or half a second later. SIGTERM and SIGINT are blocked already. Returns a negative errno if it
 * cannot start. */
int acceptor_start(struct acceptor *acceptor);

/* To be called when the event loop has failed: a timer may not have been set. */
void acceptor_tick(struct acceptor *acceptor);

/* The event and what was inherited stay the caller's. */
void acceptor_free(struct acceptor *acceptor);
