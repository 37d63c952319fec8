/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONGEST 1000000 /* us; what took longer counts as that */

static uint32_t histogram[LONGEST + 1];
static uint64_t rounds, untimed;

uint64_t measure_now(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void measure_round(uint64_t began) {
        uint64_t took = measure_now() - began;

        histogram[took < LONGEST ? took : LONGEST]++;
        rounds++;
}

void measure_count(uint64_t more) {
        untimed += more;
}

static unsigned percentile(double part) {
        uint64_t wanted = (uint64_t)((double)rounds * part), seen = 0;
        unsigned usec = 0;

        while (rounds > 0 && usec < LONGEST && (seen += histogram[usec]) <= wanted)
                usec++;
        return usec;
}

void measure_print(double seconds) {
        printf("%.0f %u %u %u\n", (double)(rounds + untimed) / seconds, percentile(0.5),
               percentile(0.99), percentile(0.999));
}

void fail(const char *what) {
        fprintf(stderr, "load: %s: %s\n", what,
                errno != 0 ? strerror(errno) : "not as it should be");
        exit(EXIT_FAILURE);
}
