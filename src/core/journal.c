/* SPDX-License-Identifier: MIT */
#include "journal.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include "cleanup.h"

#define TEXT_MAX 2048
#define LOST_FORMAT                                                                                \
        "%" PRIu64 " records could not be written and are lost\n"                                  \
        "MESSAGE_ID=" JOURNAL_RECORDS_LOST "\nRECORDS=%" PRIu64

static const struct sockaddr_un journald = {.sun_family = AF_UNIX,
                                            .sun_path = "/run/systemd/journal/socket"};

static struct {
        const char *identifier;
        int level;
        int socket; /* -1: write text to stderr */
        uint64_t lost;
} journal = {.identifier = "", .level = LOG_INFO, .socket = -1};

static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        struct stat st;
        char own[64];

        if (stream == NULL || fstat(STDERR_FILENO, &st) < 0)
                return false;
        (void)snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
        return strcmp(stream, own) == 0;
}

void journal_close(void) {
        fd_close(&journal.socket);
}

void journal_open(const char *identifier, int level) {
        journal_close();
        journal.identifier = identifier;
        journal.level = level;
        if (stderr_is_journal())
                journal.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* The native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): KEY=value lines in one datagram. */
static bool write_native(int priority, const char *text) {
        char fields[TEXT_MAX + 128];
        int n = snprintf(fields, sizeof(fields), "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n",
                         text, priority, journal.identifier);

        return sendto(journal.socket, fields, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL,
                      (const struct sockaddr *)&journald, sizeof(journald)) == n;
}

/* poll(2) says a terminal or pipe writable when it takes a line; O_NONBLOCK would be everybody's.
 */
static bool write_text(const char *text) {
        struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
        char line[TEXT_MAX + 64];
        int n = snprintf(line, sizeof(line), "%s: %.*s\n", journal.identifier,
                         (int)strcspn(text, "\n"), text);

        return poll(&err, 1, 0) == 1 && (err.revents & POLLOUT) != 0 &&
               write(STDERR_FILENO, line, (size_t)n) == n;
}

static bool write_record(int priority, const char *text) {
        return journal.socket >= 0 ? write_native(priority, text) : write_text(text);
}

uint64_t journal_flush(void) {
        char text[TEXT_MAX];

        if (journal.lost > 0) {
                (void)snprintf(text, sizeof(text), LOST_FORMAT, journal.lost, journal.lost);
                if (write_record(LOG_WARNING, text))
                        journal.lost = 0;
        }
        return journal.lost;
}

void journal_send(int priority, const char *format, ...) {
        char text[TEXT_MAX];
        va_list arguments;
        int saved = errno;

        if (priority <= journal.level) {
                va_start(arguments, format);
                (void)vsnprintf(text, sizeof(text), format, arguments);
                va_end(arguments);
                if (journal_flush() > 0 || !write_record(priority, text))
                        journal.lost++;
        }
        errno = saved;
}

char *journal_printable(char *text) {
        for (char *c = text; *c != '\0'; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        *c = '?';
        return text;
}
