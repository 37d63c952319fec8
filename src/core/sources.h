/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How many clients each source has: an IPv4 address, or an IPv6 /64, which is what one customer
 * usually gets (RFC 6177). A balanced tree (tsearch(3)), so that nobody can choose addresses that
 * make it slow; as large as there are sources now. AF_UNIX peers are not counted.
 */

#include <stdint.h>

#include "peer.h"

struct sources {
        void *tree; /* NULL: empty */
};

uint32_t sources_count(const struct sources *sources, const struct peer *peer);

/* A client has come, or gone. Where memory is short, the first one of its source is not counted. */
void sources_add(struct sources *sources, const struct peer *peer);
void sources_remove(struct sources *sources, const struct peer *peer);

void sources_free(struct sources *sources);
