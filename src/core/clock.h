/* SPDX-License-Identifier: MIT */
#pragma once

/* Time in microseconds, as systemd counts it. */

#include <stdint.h>
#include <time.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)

/* clock_gettime(2) cannot fail for a clock that the kernel has. CLOCK_MONOTONIC is one for all
 * processes, so that a start taken by one acceptor is good for the next. */
static inline uint64_t clock_usec(clockid_t clock) {
        struct timespec now;

        (void)clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}
