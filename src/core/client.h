/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One client of a worker: its socket, what is counted of it, and how it is brought to its end. The
 * service decides what its bytes mean; this module decides when it may be closed.
 *
 * A connection is closed without loss in this order (RFC 9293, 3.6; by every end but one that
 * cannot wait, since it is broken or out of time): all that is owed is sent; then, unless the
 * client has closed first, our side is shut down and what the client still sends is read and
 * discarded until it closes too. Closing with unread input would send a reset, which destroys what
 * is still under way to the client.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "lines.h"
#include "session.h"

struct worker;

enum client_state {
        CLIENT_OPEN,
        CLIENT_DRAINING,  /* still answers the `quota` bytes that had arrived when draining began */
        CLIENT_FINISHING, /* reads no more; sends what it owes */
        CLIENT_LINGERING, /* our side is shut; discards until the client closes */
        CLIENT_ENDED      /* socket closed; its session waits to be reported */
};

struct client {
        TAILQ_ENTRY(client) link;
        struct worker *worker;
        int fd;
        enum client_state state;
        uint32_t events;   /* what epoll(7) waits for */
        uint32_t quota;    /* bytes still to be read, while draining */
        int unsent;        /* bytes that the kernel held when its progress was last looked at */
        uint32_t waiting;  /* for what its service cannot do at once; 0: it does not */
        uint64_t active;   /* us; when it last made progress */
        bool closed;       /* the client has closed its side, or is no longer waited for */
        bool rolled;       /* told in the roll that is being called */
        struct lines *own; /* what it holds between two wakes, of malloc(3); NULL: nothing */
        struct session session;
};

TAILQ_HEAD(client_list, client);

/*
 * Takes fd. A client that is to be watched and cannot be (fd is -1, or epoll is short of memory)
 * has ended already. NULL when there is no memory even to say so; fd is closed then.
 */
struct client *client_new(struct worker *worker, const struct session *session, int fd);
void client_free(struct client *client);

/* Whether it is to be read now: it may still say something, and owes us no reading. */
bool client_is_read(const struct client *client);

/*
 * Reads up to n bytes and returns their number. When no more will come (it has closed, or draining
 * has answered enough) the state is CLIENT_FINISHING afterwards; when it broke, CLIENT_ENDED.
 */
size_t client_receive(struct client *client, void *data, size_t n);

/* As recv(2) with MSG_PEEK, but a connection that broke returns 0, like one that ended: why is in
 * its session. client_drop() takes the first n bytes out of the receive queue. */
ssize_t client_peek(struct client *client, void *data, size_t n);
void client_drop(struct client *client, size_t n);

/* Sends what the socket takes of n bytes and returns their number. When it broke, the state is
 * CLIENT_ENDED afterwards. */
size_t client_send(struct client *client, const void *data, size_t n);

/* Waits for these events(epoll_ctl(2)), anew even if it has before. */
void client_watch(struct client *client, uint32_t events);

/* Waits for the socket to become writable instead of readable, or the other way round. */
void client_wait_writable(struct client *client, bool writable);

/*
 * Ends it, or lets its service do so, if it has been silent, or has taken nothing of what it is
 * owed, for too long by now. Returns when to look again, if it lasts; UINT64_MAX: never.
 */
uint64_t client_expire(struct client *client, uint64_t now);

/* Nothing more will be read, and all that was owed has been sent. */
void client_finish(struct client *client);

/* Answer what has arrived by now, then finish. */
void client_drain(struct client *client);

/* Reads what comes after our end, while lingering. */
void client_discard(struct client *client);

/* Closes at once, for that reason. */
void client_end(struct client *client, enum session_reason reason);
