/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "echod.h"
#include "process.h"
#include "systemd.h"

#define LOG_MAX (16 << 20)
#define LOG_PIECE 65536
#define LOG_SHOWN 5000

/* All that belongs to one case. Its descriptors are those from `base` on. */
static struct {
        int base;
        char directory[32];
        int err, err_writer;
        char *log;
        size_t log_length;
} harness;

uint64_t now_msec(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A line at a time: print_error() has no room for more. */
static void show_log(void) {
        size_t shown = harness.log_length < LOG_SHOWN ? harness.log_length : LOG_SHOWN;
        const char *line = harness.log + harness.log_length - shown;

        while (*line != '\0') {
                size_t n = strcspn(line, "\n");

                print_error("# log: %.*s\n", n < 500 ? (int)n : 500, line);
                line += n + (line[n] == '\n');
        }
}

void fail_at(const char *file, int line, const char *format, ...) {
        char text[512];
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        print_error("# %s\n", text);
        show_log();
        _fail(file, line);
        abort(); /* not reached: _fail() jumps */
}

void path_of(const char *name, char *path, size_t size) {
        assert_in_range(snprintf(path, size, "%s/%s", harness.directory, name), 1, size - 1);
}

void reap(void) {
        pid_t pid;
        int status;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                echod_was_reaped(pid, status);
}

static void read_log(void) {
        size_t room = LOG_MAX - 1 - harness.log_length;
        ssize_t n;

        /* Not all the room at once: valgrind looks at each byte of it. */
        while ((n = read(harness.err, harness.log + harness.log_length,
                         room < LOG_PIECE ? room : LOG_PIECE)) > 0) {
                harness.log_length += (size_t)n;
                room -= (size_t)n;
        }
        harness.log[harness.log_length] = '\0';
}

/* Waits once, and reads all that has come. Returns what came at fd. */
static short attend_once(int fd, short events, int msec) {
        struct pollfd polled[STORE_MAX + 3] = {{fd, events, 0}, {harness.err, POLLIN, 0}};
        size_t n = 2 + systemd_polled(polled + 2, COUNT(polled) - 2);

        (void)poll(polled, n, msec);
        read_log();
        systemd_read();
        reap();
        return polled[0].revents;
}

bool attend(int fd, short events, int msec) {
        uint64_t until = now_msec() + (uint64_t)msec, now;

        do {
                now = now_msec();
                if (attend_once(fd, events, now < until ? (int)(until - now) : 0) != 0)
                        return true;
        } while (fd >= 0 && now_msec() < until);
        return false;
}

const char *log_text(void) {
        read_log();
        return harness.log;
}

int log_writer(void) {
        return harness.err_writer;
}

size_t records(const char *text) {
        const char *found = log_text();
        size_t count = 0;

        while ((found = strstr(found, text)) != NULL) {
                const char *end = strchr(found, '\n');

                if (end == NULL)
                        break; /* a line that is still being written */
                count++;
                found = end + 1;
                if (*found == '\0')
                        break;
        }
        return count;
}

void log_forget(void) {
        char *rest = strrchr(harness.log, '\n');

        if (rest == NULL)
                return;
        harness.log_length -= (size_t)(rest + 1 - harness.log);
        memmove(harness.log, rest + 1, harness.log_length + 1);
}

/* Workers that lose their acceptor become our children. */
static void kill_all(void) {
        pid_t children[PROCESSES_MAX];
        size_t n;

        while ((n = process_children(getpid(), children)) > 0) {
                for (size_t i = 0; i < n; i++)
                        (void)kill(children[i], SIGKILL);
                (void)attend(-1, 0, 1);
        }
}

int echod_setup(void **state) {
        int ends[2];

        (void)state;
        memset(&harness, 0, sizeof(harness));
        echod_reset();
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
        harness.base = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        harness.log = calloc(1, LOG_MAX);
        (void)strcpy(harness.directory, "/tmp/echod-XXXXXX");
        if (harness.base < 0 || harness.log == NULL || mkdtemp(harness.directory) == NULL ||
            pipe2(ends, O_CLOEXEC) < 0)
                return -1;
        harness.err = ends[0];
        harness.err_writer = ends[1];
        (void)fcntl(harness.err, F_SETFL, O_NONBLOCK);
        (void)fcntl(harness.err, F_SETPIPE_SZ, 1 << 20); /* so that no record is ever left out */
        return 0;
}

int echod_teardown(void **state) {
        const char *const files[] = {"socket", "notify"};
        char path[PATH_MAX];
        int r = 0;

        (void)state;
        echod_end();
        kill_all();
        read_log();
        if (strstr(harness.log, "Sanitizer") != NULL ||
            strstr(harness.log, "runtime error:") != NULL ||
            strstr(harness.log, "Assertion") != NULL) {
                show_log();
                r = -1;
        }
        systemd_end();
        (void)close_range((unsigned)harness.base, ~0U, 0);
        for (size_t i = 0; i < COUNT(files); i++) {
                path_of(files[i], path, sizeof(path));
                (void)unlink(path);
        }
        if (rmdir(harness.directory) < 0)
                r = -1;
        free(harness.log);
        return r;
}
