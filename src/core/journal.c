/* SPDX-License-Identifier: MIT */
#include "journal.h"

#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

#include "cleanup.h"

#define TEXT_MAX 2048
#define RECORD_MAX (TEXT_MAX + 128)
#define FINISH_TRIES 100
#define LOST_FORMAT                                                                                \
        "%" PRIu64 " records could not be written and are lost\n"                                  \
        "MESSAGE_ID=" JOURNAL_RECORDS_LOST "\nRECORDS=%" PRIu64

static const struct sockaddr_un journald = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};

static struct {
        const char *identifier;
        int level;
        int socket;    /* -1: write text to stderr */
        char *backlog; /* NULL: empty */
        size_t start, end;
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

static void connect_socket(void) {
        (void)connect(journal.socket, (const struct sockaddr *)&journald, sizeof(journald));
}

void journal_close(void) {
        fd_close(&journal.socket);
        free(journal.backlog);
        journal.backlog = NULL;
        journal.start = journal.end = 0;
        journal.lost = 0;
}

void journal_open(const char *identifier, int level) {
        journal_close();
        journal.identifier = identifier;
        journal.level = level;
        if (stderr_is_journal())
                journal.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (journal.socket >= 0)
                connect_socket();
}

/* One datagram for journald, or one line for stderr. */
static bool write_out(const char *data, size_t n) {
        struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};

        if (journal.socket >= 0) {
                if (send(journal.socket, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
                        return true;
                if (errno == EAGAIN)
                        return false;
                connect_socket(); /* journald has been restarted, and listens on another one */
                return send(journal.socket, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
        }
        /* poll(2) says a terminal or pipe writable when it takes a line; O_NONBLOCK would be
         * everybody's. */
        return poll(&err, 1, 0) == 1 && (err.revents & POLLOUT) != 0 &&
               write(STDERR_FILENO, data, n) == (ssize_t)n;
}

/* The native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL) has a line KEY=value for each field. */
static size_t compose(char *out, size_t size, int priority, const char *text) {
        int n;

        if (journal.socket >= 0)
                n = snprintf(out, size, "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\n", text,
                             priority, journal.identifier);
        else
                n = snprintf(out, size, "%s: %.*s\n", journal.identifier, (int)strcspn(text, "\n"),
                             text);
        return (size_t)n;
}

/* Each record in the backlog is preceded by its length. */
static bool keep(const char *data, size_t n) {
        if (journal.backlog == NULL)
                journal.backlog = malloc(JOURNAL_BACKLOG); /* takes memory as it is written to */
        if (journal.backlog == NULL)
                return false;
        if (sizeof(n) + n > JOURNAL_BACKLOG - journal.end) {
                memmove(journal.backlog, journal.backlog + journal.start,
                        journal.end - journal.start);
                journal.end -= journal.start;
                journal.start = 0;
        }
        if (sizeof(n) + n > JOURNAL_BACKLOG - journal.end)
                return false;
        memcpy(journal.backlog + journal.end, &n, sizeof(n));
        memcpy(journal.backlog + journal.end + sizeof(n), data, n);
        journal.end += sizeof(n) + n;
        return true;
}

static bool flush_backlog(void) {
        size_t n;

        while (journal.start < journal.end) {
                memcpy(&n, journal.backlog + journal.start, sizeof(n));
                if (!write_out(journal.backlog + journal.start + sizeof(n), n))
                        return false;
                journal.start += sizeof(n) + n;
        }
        free(journal.backlog);
        journal.backlog = NULL;
        journal.start = journal.end = 0;
        return true;
}

bool journal_flush(void) {
        char text[TEXT_MAX], record[RECORD_MAX];

        if (!flush_backlog())
                return true;
        if (journal.lost > 0) {
                (void)snprintf(text, sizeof(text), LOST_FORMAT, journal.lost, journal.lost);
                if (write_out(record, compose(record, sizeof(record), LOG_WARNING, text)))
                        journal.lost = 0;
        }
        return journal.lost > 0;
}

void journal_await_read(int socket, int msec) {
        static const struct timespec nap = {.tv_nsec = 1000000};
        int unread = 0;

        for (; msec > 0 && ioctl(socket, SIOCOUTQ, &unread) == 0 && unread > 0; msec--)
                (void)nanosleep(&nap, NULL);
}

void journal_finish(int msec) {
        struct pollfd room = {.fd = journal.socket >= 0 ? journal.socket : STDERR_FILENO,
                              .events = POLLOUT};

        for (int tries = 0; journal_flush() && tries < FINISH_TRIES; tries++)
                if (poll(&room, 1, msec / FINISH_TRIES) < 0)
                        return;
        journal_await_read(journal.socket, msec);
}

void journal_send(int priority, const char *format, ...) {
        char text[TEXT_MAX], record[RECORD_MAX];
        va_list arguments;
        int saved = errno;
        size_t n;

        if (priority <= journal.level) {
                va_start(arguments, format);
                (void)vsnprintf(text, sizeof(text), format, arguments);
                va_end(arguments);
                n = compose(record, sizeof(record), priority, text);
                if ((journal_flush() || !write_out(record, n)) && !keep(record, n))
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
