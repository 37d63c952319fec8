/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What makes a service on this core: its name, and what its workers do with a client. Everything
 * else (systemd, acceptor, hand-over, restart, drain, records) is the same for all.
 */

#include <stdbool.h>

struct client;
struct ledger;
struct option_row;
struct options;
struct worker;

struct service {
        const char *unit;    /* its units are UNIT.socket and UNIT.service */
        const char *program; /* its processes are called this in ps and in the journal */
        const char *summary; /* what it does with its clients, for --help */
        const struct option_row *options; /* that other services have not; NULL: none */
        bool tcp_only;                    /* its workers need what only tcp(7) has */

        /* The rest may be NULL, where there is nothing to do. */

        /* A client's turn: it has just come, its socket is readable, or writable if that was waited
         * for, or it is to be brought to its end (client.h). NULL: the workers are keepers, which
         * never look at the sockets. */
        void (*turn)(struct client *client);
        /* A client has come; before its first turn. */
        void (*come)(struct client *client);
        /* It has been silent for too long. NULL: it is closed at once. */
        void (*expire)(struct client *client);
        /* Once as a worker starts, and after each round of events. What the service itself has
         * added to the worker's epoll set, with a NULL pointer, is looked at here. */
        void (*round)(struct worker *worker);
        /* The life of the process that all workers feed (feed.h), with its pair and its end of
         * the feed where worker.h says. Returns its exit status. */
        int (*sink)(const struct options *options, struct ledger *ledger);
};

/* A service's main(): the whole program. Returns its exit status. */
int service_run(const struct service *service, int argc, char **argv);
