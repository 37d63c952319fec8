/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What systemd passes to the service (sd_listen_fds(3)): the listening sockets of its socket units,
 * and what the descriptor store kept of its predecessor. Sorts and checks them; opens none itself.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "feed.h"
#include "service.h"
#include "session.h"

#define LISTENERS_MAX 64

/* Workers are stored under the name "worker-PID", a sink under "sink-PID". */
#define LISTENER_WORKER_NAME "worker-"
#define LISTENER_SINK_NAME "sink-"

/* ... and a client that nobody could take yet under this one. */
#define LISTENER_CLIENT_NAME "waiting-client"

struct stored_worker {
        pid_t pid;
        int pair;
        bool sink;
};

struct inheritance {
        int listeners[LISTENERS_MAX];
        size_t n_listeners;
        int ledger; /* -1: none */
        int client; /* likewise */
        struct feed feed;
        struct stored_worker *workers;
        size_t n_workers, n_sinks; /* sinks are among the workers */
};

/*
 * Takes over all that was passed. Listening sockets come back non-blocking, and with Nagle's
 * algorithm off, which the accepted ones inherit. Returns 0, or a negative errno after a record:
 * -ENOTCONN if something is wrong with what was passed, so that the service cannot start with it.
 */
int inheritance_take(struct inheritance *inheritance, const struct service *service);

/* Closes what nobody has taken over: the listening sockets, the ledger, the client, the feed. */
void inheritance_free(struct inheritance *inheritance);

/*
 * Accepts one client, non-blocking, with urgent data in line, and begins its session. Returns its
 * socket, which is the caller's, or a negative errno: -EAGAIN when there is none (any more); most
 * others concern a client that has gone, or its network (accept(2)).
 */
int listener_accept(int listener, struct session *session);

/* The session of a client that was accepted before, by a predecessor. */
struct session listener_resume(int fd);

/* For the journal: "port 4040", or the path of a UNIX socket. Returns text. */
const char *listener_format(int fd, char *text, size_t size);
