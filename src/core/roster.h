/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The sessions of one worker, and what the acceptor knows of each by itself: a table whose slot
 * numbers travel with the sessions, so that a report finds its session at once. Private memory of
 * the acceptor; it believes nothing that a worker says without a look into this table.
 */

#include <stddef.h>

#include "session.h"

struct roster_entry {
        struct peer peer;
        uint64_t id;    /* 0: a free slot */
        uint64_t since; /* of a free one: which is the next free one */
};

struct roster {
        struct roster_entry *slots;
        uint32_t size, used; /* memory after the slots that were ever used is not touched */
        uint32_t count, free;
};

#define ROSTER_MAX 65536

/* Takes a free slot for a new session and writes its number into it. Returns 0 or -ENOMEM. */
int roster_add(struct roster *roster, struct session *session);

/*
 * Enters a session that a former acceptor added, at the slot it has. -EINVAL: it cannot have it. A
 * roster is either added to or entered into: an adopted worker takes no new clients.
 */
int roster_enter(struct roster *roster, const struct session *session);

/* What is known of the session of that slot and id, or NULL. */
struct roster_entry *roster_find(const struct roster *roster, uint32_t slot, uint64_t id);

void roster_remove(struct roster *roster, struct roster_entry *entry);
void roster_free(struct roster *roster);
