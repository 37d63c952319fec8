/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What makes a service on this core: its name, and what its workers do with a client. Everything
 * else (systemd, acceptor, hand-over, restart, drain, records) is the same for all.
 */

struct client;

struct service {
        const char *unit;    /* its units are UNIT.socket and UNIT.service */
        const char *program; /* its processes are called this in ps and in the journal */
        const char *summary; /* what it does with its clients, for --help */

        /* A client's turn: its socket is readable, or writable if that was waited for, or it is to
         * be brought to its end (client.h). */
        void (*turn)(struct client *client);
};

/* A service's main(): the whole program. Returns its exit status. */
int service_run(const struct service *service, int argc, char **argv);
