/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Scope-bound ownership: a variable marked CLEANUP(f) is released by f when it goes out of scope,
 * and TAKE_FD moves a descriptor to a longer-lived owner.
 */

#include <errno.h>
#include <unistd.h>

#define CLEANUP(f) __attribute__((cleanup(f)))

/* Closes *fd and leaves errno alone. Safe on -1. */
static inline void fd_close(int *fd) {
        int saved = errno;

        if (*fd >= 0)
                (void)close(*fd);
        *fd = -1;
        errno = saved;
}

static inline int fd_take(int *fd) {
        int taken = *fd;

        *fd = -1;
        return taken;
}

#define TAKE_FD(fd) fd_take(&(fd))
