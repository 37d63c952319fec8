/* SPDX-License-Identifier: MIT */
#pragma once

/* What /proc tells of processes (proc(5)). A process that is gone has nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESSES_MAX 512

/* Children, zombies too. */
size_t process_children(pid_t pid, pid_t children[static PROCESSES_MAX]);

/* The workers of the acceptor under test, and those that it left to us: alive, no zombies. */
size_t workers(pid_t pids[static PROCESSES_MAX]);
size_t worker_count(void);

/* The worker that holds the other end of a client's TCP connection. */
pid_t worker_of(int client);

/* How many clients a worker has: its sockets but for its pair. */
size_t worker_clients(pid_t pid);

/* As in /proc/PID/stat: 'R', 'S', 'T', 'Z' ...; 0: gone. */
char process_state(pid_t pid);

/* User and system time, in clock ticks. */
uint64_t process_ticks(pid_t pid);

/* A number from /proc/PID/status: decimal ("VmRSS") or a mask ("SigBlk"). */
uint64_t process_number(pid_t pid, const char *key);
uint64_t process_mask(pid_t pid, const char *key);

size_t process_descriptors(pid_t pid);

/* Waits until it waits for something to do: it is in the middle of nothing. */
void process_rest(pid_t pid);

/* Stops it (SIGSTOP), and waits until it has; lets it go on. */
void process_stop(pid_t pid);
void process_continue(pid_t pid);

/* Inodes of its sockets. */
size_t process_sockets(pid_t pid, ino_t *inodes, size_t max);

/* Whether it has something of that name open or mapped. */
bool process_has(pid_t pid, const char *name);
