/* SPDX-License-Identifier: MIT */
#include "journald.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "journal.h"
#include "support.h"

#define JOURNALD_PATH "/run/systemd/journal/socket"

static struct {
        int socket;
        struct sockaddr_un address;
        socklen_t length;
        int own_stderr, pipe;
        char record[8192], value[4096], text[4096];
} journald = {.socket = -1};

int __real_connect(int fd, const struct sockaddr *to, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t length);

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t length) {
        const struct sockaddr_un *un = (const void *)to;

        if (un->sun_family != AF_UNIX || strcmp(un->sun_path, JOURNALD_PATH) != 0)
                return __real_connect(fd, to, length);
        return __real_connect(fd, (const void *)&journald.address, journald.length);
}

static bool open_socket(void) {
        const struct sockaddr_un any = {.sun_family = AF_UNIX};

        journald.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        journald.length = sizeof(journald.address);
        return journald.socket >= 0 && /* the kernel finds an abstract name, unix(7) */
               bind(journald.socket, (const void *)&any, sizeof(sa_family_t)) == 0 &&
               getsockname(journald.socket, (void *)&journald.address, &journald.length) == 0;
}

int journald_start(void **state) {
        char stream[64];
        struct stat st;
        int ends[2];

        (void)state;
        if (!open_socket() || pipe2(ends, O_CLOEXEC) < 0 || fstat(ends[1], &st) < 0)
                return -1;
        journald.own_stderr = dup(STDERR_FILENO);
        journald.pipe = ends[0];
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[1]);
        (void)fcntl(journald.pipe, F_SETFL, O_NONBLOCK);
        (void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
                       (uintmax_t)st.st_ino);
        (void)setenv("JOURNAL_STREAM", stream, 1);
        journal_open("echod", LOG_INFO);
        return 0;
}

int journald_stop(void **state) {
        (void)state;
        journal_close();
        (void)unsetenv("JOURNAL_STREAM");
        (void)dup2(journald.own_stderr, STDERR_FILENO);
        (void)close(journald.own_stderr);
        (void)close(journald.pipe);
        if (journald.socket >= 0)
                journald_die();
        return 0;
}

void journald_die(void) {
        (void)close(journald.socket);
        journald.socket = -1;
}

void journald_return(void) {
        assert_true(open_socket());
}

/* The native protocol: a name in capitals, "=", the value, a newline. */
static bool is_field(const char *line, const char *end) {
        const char *c = line;

        while (c < end && (isupper((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_'))
                c++;
        return c > line && c < end && *c == '=' && isupper((unsigned char)*line);
}

bool journald_receive(void) {
        ssize_t n = recv(journald.socket, journald.record, sizeof(journald.record) - 1, 0);

        if (n < 0)
                return false;
        journald.record[n] = '\0';
        assert_int_equal(strlen(journald.record), n);
        for (char *line = journald.record, *end; *line != '\0'; line = end + 1) {
                end = strchr(line, '\n');
                assert_non_null(end);
                assert_true(is_field(line, end));
        }
        return true;
}

static const char *find(const char *from, const char *name) {
        size_t n = strlen(name);

        while (*from != '\0' && (strncmp(from, name, n) != 0 || from[n] != '='))
                from = strchr(from, '\n') + 1;
        return *from != '\0' ? from : NULL;
}

size_t journald_count(const char *name) {
        const char *field = find(journald.record, name);
        size_t n = 0;

        for (; field != NULL; n++)
                field = find(strchr(field, '\n') + 1, name);
        return n;
}

const char *journald_field(const char *name) {
        const char *field = find(journald.record, name);

        assert_non_null(field);
        field += strlen(name) + 1;
        (void)snprintf(journald.value, sizeof(journald.value), "%.*s", (int)strcspn(field, "\n"),
                       field);
        return journald.value;
}

const char *journald_stderr(void) {
        ssize_t n = read(journald.pipe, journald.text, sizeof(journald.text) - 1);

        journald.text[n > 0 ? n : 0] = '\0';
        return journald.text;
}
