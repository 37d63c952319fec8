/* SPDX-License-Identifier: MIT */
#pragma once

/* The options that receiverd has besides those of every service. */

#include <stdbool.h>

#include "options.h"

#define PROGRAM "receiverd"
#define LINE_MAX_MOST 131072 /* what surely fits into one message of the feed */

struct settings {
        unsigned line_max;      /* bytes of a line that are delivered */
        bool to_stdout, prefix; /* --sink=stdout; SESSION and OFFSET before each line */
};

extern struct settings settings; /* written by options_parse() alone */
extern const struct option_row settings_options[];
