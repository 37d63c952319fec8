/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Who is at the other end of a connection, in a form that fits in a message and prints as the PEER
 * field: "192.0.2.7:51234", "[2001:db8::1]:51234", "[fe80::1%2]:51234", "unix:PID". An IPv4 client
 * of a dual-stack socket is IPv4.
 */

#include <stdint.h>
#include <sys/socket.h>

struct peer {
        uint16_t family; /* AF_INET, AF_INET6, AF_UNIX */
        uint16_t port;   /* host byte order */
        uint32_t number; /* AF_INET6: scope; AF_UNIX: pid */
        uint8_t address[16];
};

/* Room for the longest: "[" INET6_ADDRSTRLEN "%" 4294967295 "]:65535". */
#define PEER_TEXT_MAX 72

/* Of an address that accept4(2) gave for fd. fd is asked only where the address says nothing. */
struct peer peer_of(const struct sockaddr_storage *address, int fd);

/* Writes text and returns it. A peer of no known family is "unknown": a message may hold anything.
 */
const char *peer_format(const struct peer *peer, char text[static PEER_TEXT_MAX]);
