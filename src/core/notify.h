/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the service tells systemd (sd_notify(3)): readiness, status, and descriptors to keep in its
 * store. Unlike sd_notify() it never waits: it may be called from the accept path.
 */

/* Remembers where to tell systemd. Returns 1, or 0 without systemd, or a negative errno. To be
 * called once, before the others. */
int notify_open(void);

/* state: newline-separated assignments ("READY=1\nSTATUS=..."). Returns 0, -EAGAIN when systemd
 * does not read for now, or another negative errno. Without systemd it does nothing and returns 0.
 */
int notify_send(const char *state);

/* FDSTORE=1: systemd keeps a copy of fd, under name, until its other end hangs up, the service is
 * stopped, or the store is told to drop it. */
int notify_store(const char *name, int fd);
