/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The command line. One table names each option, its argument and its meaning; parsing and --help
 * read the same table.
 */

#include <stdint.h>

#define WORKERS_MAX 4096
#define CLIENTS_MAX 1000000

struct service;

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
