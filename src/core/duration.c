/* SPDX-License-Identifier: MIT */
#include "duration.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

static const struct {
        const char *suffix;
        uint64_t usec;
} units[] = {
        {"", USEC_PER_SEC},       {"ms", USEC_PER_MSEC}, {"s", USEC_PER_SEC},
        {"min", USEC_PER_MINUTE}, {"h", USEC_PER_HOUR},
};

int duration_parse(const char *text, uint64_t *usec) {
        char *suffix;

        if (!isdigit((unsigned char)*text)) /* strtoull would take a sign and leading spaces */
                return -EINVAL;

        errno = 0;
        unsigned long long number = strtoull(text, &suffix, 10);
        if (errno != 0)
                return -EINVAL;

        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
                if (strcmp(suffix, units[i].suffix) != 0)
                        continue;
                if (number > DURATION_MAX_HOURS * USEC_PER_HOUR / units[i].usec)
                        return -EINVAL;
                *usec = number * units[i].usec;
                return 0;
        }
        return -EINVAL;
}
