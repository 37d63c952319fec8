/* SPDX-License-Identifier: MIT */
#pragma once

/* Clients that misbehave. They are played by the test itself, a turn at a time. */

#include <stddef.h>
#include <stdint.h>

#define ROGUES_MAX 200

struct rogue {
        const char *what;   /* they do, all of them at once */
        const char *option; /* of the program, when they are about */
        unsigned n;
        void (*begin)(int *fd); /* connected; it may close it, and set it to -1 */
        void (*turn)(int fd);
};

void rogue_flood(int *fd);       /* sends all that goes, and reads nothing */
void rogue_read_a_byte(int fd);  /* ... but for a byte a turn */
void rogue_send_a_byte(int fd);  /* never a newline */
void rogue_hold_a_line(int *fd); /* says half of it */
void rogue_vanish(int *fd);      /* likewise, and is gone without a FIN: its peer is half open */
void rogue_negotiate(int fd);    /* telnet's commands, some of them urgent; all come back */

/* So many bytes, without a newline, and takes them back; it rests for `turn` ms after each sip. */
void rogue_pour(int fd, uint64_t n, uint64_t sip, unsigned turn);
