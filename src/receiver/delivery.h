/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a Buffer sends over the feed: this, and then bytes of one client as they came. They are
 * whole lines, each with its newline; or the tail that never had one; or the beginning of one line
 * that was too long. The feed outlives a build: who changes the layout counts DELIVERY_VERSION up
 * and goes on reading what the last one wrote.
 */

#include <stdint.h>

#include "peer.h"

#define DELIVERY_VERSION 1

#define DELIVERY_CUT 1  /* the line was `length` bytes long, without its newline */
#define DELIVERY_TAIL 2 /* the client has closed before a newline */

struct delivery {
        uint16_t version;
        uint16_t flags;
        struct peer peer;
        uint64_t epoch, id; /* the SESSION field (record.h) */
        uint64_t offset;    /* of the first byte, in what the client has sent */
        uint64_t length;    /* DELIVERY_CUT */
};
