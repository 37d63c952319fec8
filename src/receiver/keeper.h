/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a worker of the receiver is: the keeper of its clients' sockets, and of the Buffer, its
 * child, that reads them. It hands every client on over a pair like the acceptor's, hears from the
 * Buffer when one has left, and starts another Buffer when that one dies, on the same sockets. It
 * never reads a byte that a client sent.
 */

struct client;
struct worker;

/* See service.h. */
void keeper_come(struct client *client);
void keeper_round(struct worker *worker);
