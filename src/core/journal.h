/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Log records that cannot block their writer. Where stderr is the journal (JOURNAL_STREAM,
 * systemd.exec(5)), a record goes to journald in its native protocol, without waiting; elsewhere
 * its message goes to stderr as a line of text. What cannot be written at once is counted and the
 * count is told as soon as something can be written again. (sd_journal_send(3) waits for journald.)
 *
 * One writer per process; its state is private to journal.c.
 */

#include <stdint.h>

#define JOURNAL_RECORDS_LOST "a82e113d30cf4301a8b2276a01fdc4bc" /* MESSAGE_ID */

/* Records less urgent than level (syslog(3)) are left out. identifier is not copied. */
void journal_open(const char *identifier, int level);

/* What comes after this goes to stderr, until it is opened again. */
void journal_close(void);

/*
 * format is the message, then any fields, a line each: "Client %s left\nPEER=%s\nLINES=%u".
 * Arguments must not contain a newline: see journal_printable(). At most 2 KiB in all.
 */
void journal_send(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells what was lost so far, if it can be told now. Returns what is still untold. */
uint64_t journal_flush(void);

/* Replaces control characters in text from outside, in place. Returns text. */
char *journal_printable(char *text);
