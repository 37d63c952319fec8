/* SPDX-License-Identifier: MIT */
#include "settings.h"

#include <errno.h>
#include <string.h>

struct settings settings = {.line_max = 65536};

static int parse_sink(struct options *options, const char *value) {
        (void)options;
        settings.to_stdout = strcmp(value, "stdout") == 0;
        return settings.to_stdout || strcmp(value, "journal") == 0 ? 0 : -EINVAL;
}

static int parse_prefix(struct options *options, const char *value) {
        (void)options;
        (void)value;
        settings.prefix = true;
        return 0;
}

static int parse_line_max(struct options *options, const char *value) {
        (void)options;
        return options_number(value, LINE_MAX_MOST, &settings.line_max);
}

const struct option_row settings_options[] = {
        {"sink", "SINK", "write lines to journal (the default) or stdout",
         "write journal or stdout", parse_sink},
        {"prefix", NULL, "... each after its SESSION, OFFSET and marks, on stdout", NULL,
         parse_prefix},
        {"line-max", "BYTES", "cut longer lines (1 to 131072; default 65536)",
         "write a number of bytes from 1 to 131072", parse_line_max},
        {0},
};
