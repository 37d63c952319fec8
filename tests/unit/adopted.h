/* SPDX-License-Identifier: MIT */
#pragma once

/* A crew that adopts two workers of a predecessor. The test is these workers. */

#include <stdint.h>

#include "crew.h"
#include "pair.h"

/* More than PID_MAX_LIMIT (proc(5)): whatever happens to it happens to no process. */
#define ADOPTED_PID 5000000

extern struct ledger ledger;
extern struct crew crew;
extern int worker[2]; /* the workers' ends of their pairs */

/* Fixtures, with a journald. Sessions 1 to 6 have been served, 1 and 2 have left; there may be four
 * clients of each source, and nobody is adopted yet. */
int open_crew(void **state);
int close_crew(void **state);

void adopt(int i);
void let_crew_hear(void);

/* As the predecessor numbered it; each number has a slot, a port and counters of its own. */
struct session numbered(uint64_t id);

/* Worker i tells of the sessions from first to last; of none, if that is 0. */
void say(int i, enum pair_type type, uint64_t first, uint64_t last);
void say_roll(int i, uint64_t first, uint64_t last);
