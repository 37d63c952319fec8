/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The command line. One table names each option, its argument and its meaning, and a service may
 * add rows of its own; parsing and --help read the same rows.
 */

#include <stdint.h>

#define WORKERS_MAX 4096
#define CLIENTS_MAX 1000000

struct service;
struct options;

struct option_row {
        const char *name, *argument; /* argument NULL: it takes none; name NULL: the last row */
        const char *meaning;
        const char *expected; /* what to write instead of a bad value */
        int (*parse)(struct options *options, const char *value);
};

struct options {
        unsigned workers;
        unsigned max_clients;
        unsigned max_clients_per_source; /* 0: no limit */
        uint64_t drain_timeout;          /* us */
        uint64_t send_timeout;           /* us */
        uint64_t idle_timeout;           /* us; 0: none */
        int log_level;                   /* syslog(3) */
};

/*
 * Fills *options with the defaults and what argv says. Returns 1 to go on, 0 when --help or
 * --version has answered, -EINVAL after a record that names the option, its fault and its remedy.
 */
int options_parse(struct options *options, const struct service *service, int argc, char **argv);

/* The shorter one of the two after which a client may have timed out. */
uint64_t options_least_timeout(const struct options *options);

/* Parses a number from 1 to most. 0 or -EINVAL. */
int options_number(const char *value, unsigned long most, unsigned *number);
