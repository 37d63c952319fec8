/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A client of the program under test: a non-blocking socket, and what it says and expects. Whatever
 * is expected must come in PATIENCE_MSEC, or the case fails where it expected it.
 */

#include <stddef.h>
#include <stdint.h>

/* Connects to the first socket that was passed, or to a certain one. */
int client_new(void);
int client_of(int listening);

/* By IPv4, to the port of a socket of whatever family. */
int client_of_ipv4(int listening);

/* One that can receive only little at once. */
int client_small(void);

/* Fills clients with n of them, and returns when each has been answered. */
void clients_served(int *clients, size_t n);

/* The same, of a program that is started with four workers; they are in systemd's store. */
void start_stored(int *clients, size_t n);

/* As the program writes it: "127.0.0.1:51234". text has room for 64. */
const char *client_name(int fd, char *text);

/* How many records there are that this client has connected or left. */
size_t client_records(int fd, const char *what);
#define expect_records(fd, what, n) expect_records_at(__FILE__, __LINE__, fd, what, n)
void expect_records_at(const char *file, int line, int fd, const char *what, size_t n);

/* Closes with a reset. */
void client_reset(int fd);

/* The state of its TCP connection (tcp(7)), and an error that is pending there. */
int client_tcp_state(int fd);
int client_error(int fd);

/* Sends as much as is taken while it reads nothing; returns how much. */
size_t client_flood(int fd, const void *line, size_t n);

/* Byte i of an endless text without a newline. */
char pattern(uint64_t i);

#define say(fd, text) say_at(__FILE__, __LINE__, fd, text, strlen(text))
#define say_bytes(fd, data, n) say_at(__FILE__, __LINE__, fd, data, n)
#define expect(fd, text) expect_at(__FILE__, __LINE__, fd, text, strlen(text))
#define expect_bytes(fd, data, n) expect_at(__FILE__, __LINE__, fd, data, n)
/* FIN, and nothing before it. */
#define expect_end(fd) expect_end_at(__FILE__, __LINE__, fd)
/* Says and expects the same. */
#define echo(fd, text) echo_at(__FILE__, __LINE__, fd, text)
/* That nothing has come so far. */
#define expect_silence(fd) expect_silence_at(__FILE__, __LINE__, fd)
/* Our side ends; it is told so, and nothing was amiss: no reset in answer to what is said after its
 * end, or to our own. */
#define expect_farewell(fd) expect_farewell_at(__FILE__, __LINE__, fd)

void say_at(const char *file, int line, int fd, const void *data, size_t n);
void expect_at(const char *file, int line, int fd, const void *data, size_t n);
void echo_at(const char *file, int line, int fd, const char *text);
void expect_end_at(const char *file, int line, int fd);
void expect_silence_at(const char *file, int line, int fd);
void expect_farewell_at(const char *file, int line, int fd);
