/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/*
 * Reads a length of time: a whole number and a unit ("500ms", "30s", "5min", "1h"); without a unit
 * it is seconds. At most DURATION_MAX_HOURS. Returns 0 and sets *usec, or -EINVAL.
 */
#define DURATION_MAX_HOURS 8760

int duration_parse(const char *text, uint64_t *usec);
