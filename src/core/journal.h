/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Log records that cannot block their writer. Where stderr is the journal (JOURNAL_STREAM,
 * systemd.exec(5)), a record goes to journald in its native protocol, without waiting; elsewhere
 * its message goes to stderr as a line of text. What cannot be written at once is kept, up to
 * JOURNAL_BACKLOG bytes; what does not fit is counted, and the count is told later.
 * (sd_journal_send(3) waits for journald.)
 *
 * One writer per process; its state is private to journal.c.
 */

#include <stdbool.h>

#define JOURNAL_BACKLOG (2 << 20)
#define JOURNAL_SOCKET "/run/systemd/journal/socket" /* of its native protocol */

#define JOURNAL_RECORDS_LOST "a82e113d30cf4301a8b2276a01fdc4bc" /* MESSAGE_ID */

/* Records less urgent than level (syslog(3)) are left out. identifier is not copied. */
void journal_open(const char *identifier, int level);

/* Forgets what waits and what was lost: in a child, these are its parent's. What comes after this
 * goes to stderr, until it is opened again. */
void journal_close(void);

/*
 * format is the message, then any fields, a line each: "Client %s left\nPEER=%s\nLINES=%u".
 * Arguments must not contain a newline: see journal_printable(). At most 2 KiB in all.
 */
void journal_send(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes what waits, as far as that is possible now. Returns whether something still waits. */
bool journal_flush(void);

/* The same, but waits for up to that many milliseconds: for the end of a process. */
void journal_finish(int msec);

/* Waits for up to that many milliseconds until journald has read what was sent to it over socket:
 * it looks into /proc for the unit that a record is of, so its writer must still be there. */
void journal_await_read(int socket, int msec);

/* Replaces control characters in text from outside, in place. Returns text. */
char *journal_printable(char *text);
