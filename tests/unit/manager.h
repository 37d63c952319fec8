/* SPDX-License-Identifier: MIT */
#pragma once

/* A service manager of the test's own: the socket that NOTIFY_SOCKET names (sd_notify(3)). */

/* Fixtures. It listens at an abstract address; notify_open() is left to the test. */
int manager_start(void **state);
int manager_stop(void **state);

/* Moves to a path. */
void manager_listen(const char *path);
void manager_leave(void);

/* The next notification, "" if there is none. *fd becomes the descriptor that came with it, or -1;
 * with NULL it is closed. */
const char *manager_hear(int *fd);
