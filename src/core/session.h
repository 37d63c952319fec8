/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What is known of one client's connection. It travels between acceptor and worker in the messages
 * of their pair (pair.h), so its layout is part of their protocol.
 */

#include <stdint.h>

#include "peer.h"

enum session_reason {
        SESSION_EOF,     /* the client closed its side */
        SESSION_RESET,   /* the connection broke */
        SESSION_DRAIN,   /* the service was stopped */
        SESSION_TIMEOUT, /* the client took or sent nothing for too long */
        SESSION_ERROR,   /* the worker could not serve it */
        SESSION_LOST,    /* the worker died */
        SESSION_REASONS
};

struct session {
        struct peer peer;
        uint64_t id;       /* clients are numbered as they come; 0: no session */
        uint64_t since;    /* CLOCK_MONOTONIC, us */
        uint64_t ended;    /* likewise; 0 while it lasts */
        uint64_t lines;    /* newlines received */
        uint64_t received; /* bytes */
        uint64_t sent;     /* bytes */
        uint32_t slot;     /* its place in the acceptor's table of its worker's sessions */
        uint32_t reason;   /* enum session_reason, once ended */
};

/* As in the REASON field. */
const char *session_reason(uint32_t reason);
