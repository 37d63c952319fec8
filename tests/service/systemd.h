/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Plays systemd for the program under test: hears its notifications (sd_notify(3)), keeps its
 * descriptors in a store and passes them back, by name, to the next one that is started. Like
 * systemd, it drops an entry by itself when its other end hangs up.
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#define STORE_MAX 512

struct stored {
        int fd;
        char name[64];
};

/* What is started from now on has a systemd. */
void systemd_play(void);
bool systemd_is_played(void);

/* Stops reading notifications, or goes on. */
void systemd_pause(bool paused);

/* How many notifications had that line; or one that begins like that. */
size_t systemd_heard(const char *line);
size_t systemd_heard_of(const char *beginning);

/* The latest STATUS of the acceptor that was started last. */
const char *systemd_status(void);
#define expect_status(text) eventually(strcmp(systemd_status(), text) == 0)

/* The store. systemd_keep() takes fd. */
size_t systemd_stored(const char *prefix);
const struct stored *systemd_store(size_t *n);
void systemd_keep(int fd, const char *name);
void systemd_drop_store(void);

/* Like FileDescriptorStoreMax=: what comes when there are so many is not kept. */
void systemd_store_holds(size_t most);

/* Fills the queue of notifications that are not read. */
void systemd_congest(void);

/* For the harness: what to poll, reading all that has come, before an acceptor is started, and the
 * end of the play. */
size_t systemd_polled(struct pollfd *polled, size_t max);
void systemd_read(void);
void systemd_forget_status(void);
void systemd_end(void);
