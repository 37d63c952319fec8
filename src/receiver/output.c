/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "journal.h"
#include "ledger.h"
#include "settings.h"

#define BESIDES_MAX 512 /* what comes with a line: fields, prefix */
#define BATCH 65536     /* gathered before it is written to a file */
#define PIPE_MOST 4096  /* PIPE_BUF: what poll(2) promises room for, pipe(7) */

static const struct sockaddr_un journald = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};

static struct {
        int fd;
        bool to_file;
        struct ledger *ledger;
        char *data;
        size_t size, start, end; /* what is to be written; whole lines */
} output = {.fd = -1};

/* What was written after that size. */
static int take_back(uint64_t size) {
        if (ftruncate(output.fd, (off_t)size) < 0 || lseek(output.fd, (off_t)size, SEEK_SET) < 0)
                return -errno;
        return 0;
}

/* A predecessor was killed while it wrote. */
static int mend(const struct stat *st) {
        struct ledger *ledger = output.ledger;
        uint64_t size = (uint64_t)st->st_size;
        int r = 0;

        if (ledger->writing == 0)
                return 0;
        if (!output.to_file) { /* what is being written is so until that newline is, too */
                output.data[output.end++] = '\n';
                return 0;
        }
        if (st->st_ino == ledger->writing_to && size > ledger->writing_at &&
            size <= ledger->writing_at + ledger->writing)
                r = take_back(ledger->writing_at);
        if (r == 0)
                ledger->writing = 0;
        return r;
}

static int open_stdout(struct ledger *ledger) {
        struct stat st;

        output.fd = STDOUT_FILENO;
        output.ledger = ledger;
        if (fstat(output.fd, &st) < 0)
                return -errno;
        output.to_file = S_ISREG(st.st_mode);
        return mend(&st);
}

static int open_journal(void) {
        if (output.fd < 0)
                output.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (output.fd < 0 ||
            connect(output.fd, (const struct sockaddr *)&journald, sizeof(journald)) < 0)
                return -errno;
        return 0;
}

int output_open(struct ledger *ledger) {
        if (output.data == NULL) {
                output.size = settings.line_max + BATCH + BESIDES_MAX;
                output.data = malloc(output.size);
        }
        if (output.data == NULL)
                return -ENOMEM;
        return settings.to_stdout ? open_stdout(ledger) : open_journal();
}

int output_fd(void) {
        return output.fd;
}

static void put(const char *text, size_t n) {
        memcpy(output.data + output.end, text, n);
        output.end += n;
}

static void put_prefix(const struct delivery *delivery, const struct line *line) {
        char text[BESIDES_MAX], mark[64] = "-";

        if (line->cut_from > 0)
                (void)snprintf(mark, sizeof(mark), "cut=%" PRIu64 "%s", line->cut_from,
                               line->tail ? ",tail" : "");
        else if (line->tail)
                (void)snprintf(mark, sizeof(mark), "tail");
        put(text, (size_t)snprintf(text, sizeof(text), "%" PRIx64 "-%" PRIu64 " %" PRIu64 " %s ",
                                   delivery->epoch, delivery->id, line->offset, mark));
}

static int to_stdout(const struct delivery *delivery, const struct line *line) {
        if (output.size - output.end < BESIDES_MAX + line->length) {
                int r = output_flush();

                if (r < 0)
                        return r;
        }
        if (settings.prefix)
                put_prefix(delivery, line);
        put(line->text, line->length);
        put("\n", 1);
        return 0;
}

/* The native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): as in journal.c, but this one waits.
 * sd_journal_send(3) would not tell of a journal that is not there. */
static int to_journal(const struct delivery *delivery, const struct line *line) {
        char peer[PEER_TEXT_MAX], text[BESIDES_MAX], cut[48] = "";
        ssize_t sent;
        int n;

        if (line->cut_from > 0)
                (void)snprintf(cut, sizeof(cut), "LINE_LENGTH=%" PRIu64 "\n", line->cut_from);
        n = snprintf(text, sizeof(text),
                     "\nPRIORITY=6\nSYSLOG_IDENTIFIER=" PROGRAM "\nMESSAGE_ID=" OUTPUT_LINE
                     "\nPEER=%s\nSESSION=%" PRIx64 "-%" PRIu64 "\nOFFSET=%" PRIu64 "\n%s%s",
                     peer_format(&delivery->peer, peer), delivery->epoch, delivery->id,
                     line->offset, cut, line->tail ? "UNTERMINATED=1\n" : "");
        output.end = 0;
        put("MESSAGE=", 8);
        put(line->text, line->length);
        put(text, (size_t)n);
        sent = send(output.fd, output.data, output.end, MSG_DONTWAIT | MSG_NOSIGNAL);
        return sent < 0 ? -errno : 0;
}

int output_line(const struct delivery *delivery, const struct line *line) {
        return settings.to_stdout ? to_stdout(delivery, line) : to_journal(delivery, line);
}

static int begin_writing(void) {
        struct ledger *ledger = output.ledger;
        struct stat st;

        if (fstat(output.fd, &st) < 0)
                return -errno;
        ledger->writing_at = (uint64_t)st.st_size;
        ledger->writing_to = st.st_ino;
        atomic_signal_fence(memory_order_seq_cst); /* whoever is killed in between wrote nothing */
        ledger->writing = output.end;
        return 0;
}

/* To a file all of it goes at once, or nothing: what a full disk took is taken back. */
static int to_file(void) {
        int r = begin_writing();
        ssize_t n;

        if (r < 0)
                return r;
        n = write(output.fd, output.data, output.end);
        r = n < 0 ? -errno : n < (ssize_t)output.end ? -ENOSPC : 0;
        if (n < 0 || r == 0 || take_back(output.ledger->writing_at) == 0)
                output.ledger->writing = 0; /* what others write now is theirs */
        return r;
}

static int to_stream(void) {
        struct pollfd room = {.fd = output.fd, .events = POLLOUT};
        uint64_t *writing = &output.ledger->writing;

        while (output.start < output.end) {
                size_t left = output.end - output.start;
                uint64_t before = *writing;
                ssize_t n;

                if (poll(&room, 1, 0) != 1)
                        return -EAGAIN;
                *writing = 1; /* killed in here, it may leave half a line */
                n = write(output.fd, output.data + output.start,
                          left < PIPE_MOST ? left : PIPE_MOST);
                if (n < 0) {
                        *writing = before;
                        return -errno;
                }
                output.start += (size_t)n;
                *writing = output.data[output.start - 1] != '\n';
        }
        return 0;
}

int output_flush(void) {
        int r;

        if (!settings.to_stdout || output.start == output.end)
                return 0;
        r = output.to_file ? to_file() : to_stream();
        if (r < 0)
                return r;
        output.start = output.end = 0;
        return 0;
}
