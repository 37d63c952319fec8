/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The program under test. Its listening sockets are passed to it as systemd passes them
 * (sd_listen_fds(3)): descriptors from 3 on, their number and names in the environment.
 */

#include <stdbool.h>
#include <sys/types.h>

/* Opens a listening socket on a port (or path) that is free, and passes it to what is started from
 * now on. Returns it; it stays the harness's. */
int listen_ipv4(void);
int listen_dual_stack(void);
int listen_unix(void);

/* Passes any descriptor; fd becomes the harness's. */
void pass(int fd, const char *name);

/* The first socket that was passed. */
int listening(void);

/* Limits the descriptors of what is started from now on. */
void limit_descriptors(unsigned n);

/* Sets a variable of the environment of what is started from now on. */
void environment(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Starts the program with these arguments, up to NULL. */
void echod_launch(const char *argument, ...) __attribute__((sentinel));

/* The same, with a listening socket on IPv4 unless one has been opened; returns when it accepts. */
void echod_start(const char *argument, ...) __attribute__((sentinel));

/* Pid of the acceptor that was started last. */
pid_t echod_pid(void);
void echod_signal(int signal);

/* Waits for the acceptor's end. Returns its exit status, or 1000 + the signal that killed it. */
int echod_wait(void);
bool echod_has_ended(void);

/* SIGTERM to the acceptor, which ends with 0; returns when it is gone. */
void echod_stop(void);

/* kill -9 to the acceptor; returns when it is gone. */
void echod_kill(void);

/* Whether no process is left of all that were started. */
bool all_gone(void);

/* For the harness: before a case, whoever was waited for, and after it: an acceptor that ends in
 * order tells what it leaks, and which lines it ran. */
void echod_reset(void);
void echod_end(void);
void echod_was_reaped(pid_t pid, int status);
