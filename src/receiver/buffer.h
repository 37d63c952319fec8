/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The Buffer: the process that reads its worker's clients and delivers their lines to the sink. It
 * may be killed at any instruction. It peeks at what is in the receive queue of a client's socket;
 * passes whole lines on, and keeps the rest in the client's draft (draft.h); only then it drops all
 * that from the queue. Killed in between, its successor on the same socket finds the same bytes,
 * and delivers what was delivered but not dropped again, at the same OFFSET.
 */

struct worker;

/* In a child of the worker right after fork(2). pair is its end of the pair with the worker. */
_Noreturn void buffer_main(struct worker *keeper, int pair);
