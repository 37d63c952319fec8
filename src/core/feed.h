/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The feed: a SOCK_SEQPACKET socket pair (unix(7)) over which the workers of a service pass what
 * they have to its sink, the one process that writes for all of them. Messages are whole or absent.
 * Systemd's store keeps both ends, so that what is in the queue outlives every process. A sender
 * waits while it is full.
 */

#define FEED_IN "feed-in"   /* in the store: where workers write */
#define FEED_OUT "feed-out" /* ... and where the sink reads */

struct feed {
        int in, out; /* -1: none */
};

/* Keeps what is there already, or makes a new feed and puts it into the store. 0 or -errno: then
 * the service does not start, for a feed that is not stored would not outlive it. */
int feed_open(struct feed *feed);
void feed_close(struct feed *feed);
