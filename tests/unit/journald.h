/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A journald of the test's own. The journal's socket has a fixed path, which belongs to the real
 * journald; a program linked with -Wl,--wrap=connect and this has what is sent to that path, and to
 * no other, delivered here. Everything else is as in life: systemd.exec(5)'s JOURNAL_STREAM, the
 * datagram socket, its queue.
 */

#include <stdbool.h>
#include <stddef.h>

/* Fixtures. Between them stderr is a pipe that JOURNAL_STREAM names, and the journal is open. */
int journald_start(void **state);
int journald_stop(void **state);

/* Takes the next record; false when there is none. Each line of it is a well-formed field. */
bool journald_receive(void);

/* Of the record taken last: how many fields have that name, and the value of the first. */
size_t journald_count(const char *name);
const char *journald_field(const char *name);

/* journald is gone: its socket refuses. And is back, with another socket. */
void journald_die(void);
void journald_return(void);

/* All that came to stderr, which the journal does not use now; "" if nothing. */
const char *journald_stderr(void);
