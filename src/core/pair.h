/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The pair: the SOCK_SEQPACKET socket pair between acceptor and worker, over which clients are
 * handed over (SCM_RIGHTS, unix(7)) and reported on. (Likewise between a worker of the receiver and
 * its Buffer, and, without clients, between acceptor and sink.) It outlives an acceptor in
 * systemd's descriptor store, so both ends may be of different builds: messages carry a version and
 * the size of a record, and whoever reads one trusts neither.
 *
 *      acceptor -> worker      CLIENT   one session and its socket: serve it
 *                              RETIRE   take no more, tell the roll, leave with your last client
 *                              PING     nothing; that it is read shows that the worker runs (to a
 *                                       new sink it is the word to begin)
 *      worker -> acceptor      ROLL     clients being served
 *                              ROLLED   these were all
 *                              LEFT     clients that have left
 */

#include <stdbool.h>
#include <stddef.h>

#include "session.h"

#define PAIR_VERSION 1
#define PAIR_BATCH 32         /* sessions in one message */
#define PAIR_REPORTS_MAX 2048 /* sessions on their way to the acceptor are always fewer */

enum pair_type { PAIR_CLIENT = 1, PAIR_RETIRE, PAIR_ROLL, PAIR_LEFT, PAIR_PING, PAIR_ROLLED };

struct pair_message {
        enum pair_type type;
        size_t count;
        struct session sessions[PAIR_BATCH];
        int fd; /* the receiver's to close; -1: there came none, or it could not be taken (EMFILE)
                 */
};

/*
 * Makes a pair, non-blocking and close-on-exec. What fits into it on its way to the worker is kept
 * small: these are the clients that a stuck or dying worker takes with it untouched. What fits into
 * it on its way back is what a worker must remember until it is read. 0 or -errno.
 */
int pair_open(int *acceptor_end, int *worker_end);

/*
 * Sends up to PAIR_BATCH sessions, and a descriptor unless fd is -1 (the caller keeps its copy).
 * -EAGAIN: the other end does not read for now. -EPIPE: it is gone. -ECONNRESET: it is gone, and
 * has not read all that was sent before; told once, by whichever call comes first.
 */
int pair_send(int pair, enum pair_type type, const struct session *sessions, size_t count, int fd);

/*
 * Receives one message. Returns 1, or 0 when the other end is gone and all that it sent is read, or
 * -EAGAIN, or -ECONNRESET (as above; there may be more to read), or -EBADMSG (malformed) or -EPROTO
 * (another version); the last two have consumed it.
 */
int pair_receive(int pair, struct pair_message *message);

/*
 * The same, but the message stays and no descriptor is taken: whoever dies before pair_drop()
 * leaves it to its successor. -EBADMSG and -EPROTO leave it, too.
 */
int pair_peek(int pair, struct pair_message *message);
int pair_drop(int pair); /* 0 or -errno */

/* Whether the other end is gone, for a call that says so may be mistaken. */
bool pair_is_hung_up(int pair);

/* Whether the other end is there and has read all that was sent. */
bool pair_is_heard(int pair);
