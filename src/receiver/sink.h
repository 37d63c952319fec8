/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The sink: the one process that writes the lines of all clients, to the journal or to stdout. It
 * takes a delivery out of the feed when it is written; until then it is in the feed's queue, from
 * where the next sink takes it. So when a sink dies, at most one delivery is written twice. This is
 * the only process here that may wait: for journald, or for whoever reads its stdout.
 */

struct ledger;
struct options;

/* See service.h. */
int sink_run(const struct options *options, struct ledger *ledger);
