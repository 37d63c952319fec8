/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How many clients each source has: an IPv4 address, or an IPv6 /64, which is what one customer
 * usually gets (RFC 6177). A hash table of fixed size, keyed with a random seed so that nobody can
 * aim for collisions. AF_UNIX peers are not counted.
 */

#include <stdint.h>

#include "peer.h"

struct source {
        uint64_t key;
        uint32_t clients; /* 0: a free entry */
};

struct sources {
        struct source *entries;
        uint32_t mask; /* size - 1; a power of two */
        uint32_t used;
        uint64_t seed;
};

/* Room for that many sources; more are not counted, nor is anything without room. 0 or -ENOMEM. */
int sources_init(struct sources *sources, uint32_t most);
void sources_free(struct sources *sources);

uint32_t sources_count(const struct sources *sources, const struct peer *peer);
void sources_add(struct sources *sources, const struct peer *peer);
void sources_remove(struct sources *sources, const struct peer *peer);
