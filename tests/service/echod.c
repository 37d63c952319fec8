/* SPDX-License-Identifier: MIT */
#include "echod.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "process.h"
#include "systemd.h"

#define PASSED_FIRST 3 /* SD_LISTEN_FDS_START */
#define PASSED_MAX 8
#define VARIABLES_MAX 8
#define END_MSEC 2000 /* a stopped one does not end */

static struct {
        struct stored passed[PASSED_MAX];
        size_t n_passed;
        char variables[VARIABLES_MAX][PATH_MAX];
        size_t n_variables;
        unsigned descriptors_max;
        pid_t pid;
        bool ended;
        int status;
} echod;

void echod_reset(void) {
        memset(&echod, 0, sizeof(echod));
}

void echod_was_reaped(pid_t pid, int status) {
        if (pid != echod.pid)
                return;
        echod.ended = true;
        echod.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void pass(int fd, const char *name) {
        struct stored *passed = &echod.passed[echod.n_passed++];

        assert_true(fd >= 0);
        assert_true(echod.n_passed <= PASSED_MAX);
        passed->fd = fd;
        (void)snprintf(passed->name, sizeof(passed->name), "%s", name);
}

int listening(void) {
        return echod.passed[0].fd;
}

static int listen_on(const struct sockaddr *address, socklen_t length) {
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;

        assert_true(fd >= 0);
        if (address->sa_family == AF_INET6)
                assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
        assert_int_equal(bind(fd, address, length), 0);
        assert_int_equal(listen(fd, SOMAXCONN), 0);
        pass(fd, "echo.socket");
        return fd;
}

int listen_ipv4(void) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

        return listen_on((struct sockaddr *)&in, sizeof(in));
}

int listen_dual_stack(void) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

        return listen_on((struct sockaddr *)&in6, sizeof(in6));
}

int listen_unix(void) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};

        path_of("socket", un.sun_path, sizeof(un.sun_path));
        return listen_on((struct sockaddr *)&un, sizeof(un));
}

void limit_descriptors(unsigned n) {
        echod.descriptors_max = n;
}

void environment(const char *format, ...) {
        va_list arguments;

        assert_true(echod.n_variables < VARIABLES_MAX);
        va_start(arguments, format);
        (void)vsnprintf(echod.variables[echod.n_variables++], PATH_MAX, format, arguments);
        va_end(arguments);
}

static void place_descriptors(const struct stored *fds, size_t n) {
        int copies[PASSED_MAX + STORE_MAX];

        for (size_t i = 0; i < n; i++) /* out of the way of those that come to their places */
                copies[i] = fcntl(fds[i].fd, F_DUPFD, PASSED_FIRST + (int)n);
        for (size_t i = 0; i < n; i++)
                if (dup2(copies[i], PASSED_FIRST + (int)i) < 0)
                        _exit(126);
        if (close_range(PASSED_FIRST + (unsigned)n, ~0U, 0) < 0)
                _exit(126);
}

static void set_environment(const struct stored *fds, size_t n) {
        static char names[(PASSED_MAX + STORE_MAX) * 64];
        char number[24];

        (void)unsetenv("JOURNAL_STREAM");
        (void)unsetenv("NOTIFY_SOCKET");
        (void)unsetenv("WATCHDOG_USEC");
        (void)unsetenv("LISTEN_FDS");
        if (n > 0) {
                (void)snprintf(number, sizeof(number), "%d", (int)getpid());
                (void)setenv("LISTEN_PID", number, 1);
                (void)snprintf(number, sizeof(number), "%zu", n);
                (void)setenv("LISTEN_FDS", number, 1);
                for (size_t i = 0; i < n; i++)
                        (void)strcat(strcat(names, i > 0 ? ":" : ""), fds[i].name);
                (void)setenv("LISTEN_FDNAMES", names, 1);
        }
        for (size_t i = 0; i < echod.n_variables; i++)
                (void)putenv(echod.variables[i]);
}

static void reset_signals(void) {
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                (void)signal(i, SIG_DFL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(char **argv) {
        struct stored fds[PASSED_MAX + STORE_MAX];
        struct rlimit limit;
        size_t n_stored, n = echod.n_passed;
        const struct stored *store = systemd_store(&n_stored);

        memcpy(fds, echod.passed, n * sizeof(*fds));
        memcpy(fds + n, store, n_stored * sizeof(*fds));
        n += n_stored;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (dup2(open("/dev/null", O_RDONLY), 0) < 0 || dup2(log_writer(), 1) < 0 ||
            dup2(log_writer(), 2) < 0)
                _exit(126);
        set_environment(fds, n);
        place_descriptors(fds, n);
        if (echod.descriptors_max > 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = echod.descriptors_max;
                (void)setrlimit(RLIMIT_NOFILE, &limit);
        }
        reset_signals();
        (void)execv(argv[0], argv);
        _exit(127);
}

static void launch(const char *argument, va_list more) {
        char *argv[16] = {getenv("ECHOD"), (char *)argument};
        size_t n = 1;

        assert_non_null(argv[0]);
        while (argv[n] != NULL && n < COUNT(argv) - 2)
                argv[++n] = va_arg(more, char *);
        systemd_forget_status();
        echod.ended = false;
        echod.pid = fork();
        assert_true(echod.pid >= 0);
        if (echod.pid == 0)
                become(argv);
}

void echod_launch(const char *argument, ...) {
        va_list more;

        va_start(more, argument);
        launch(argument, more);
        va_end(more);
}

void echod_start(const char *argument, ...) {
        size_t accepting = records("Accepting connections on");
        va_list more;

        if (echod.n_passed == 0)
                (void)listen_ipv4();
        va_start(more, argument);
        launch(argument, more);
        va_end(more);
        eventually(records("Accepting connections on") == accepting + echod.n_passed);
}

pid_t echod_pid(void) {
        return echod.pid;
}

void echod_signal(int signal) {
        assert_false(echod.ended);
        assert_int_equal(kill(echod.pid, signal), 0);
}

bool echod_has_ended(void) {
        reap();
        return echod.ended;
}

int echod_wait(void) {
        eventually(echod_has_ended());
        return echod.status;
}

void echod_stop(void) {
        echod_signal(SIGTERM);
        assert_int_equal(echod_wait(), 0);
        systemd_read();
}

void echod_kill(void) {
        echod_signal(SIGKILL);
        assert_int_equal(echod_wait(), 1000 + SIGKILL);
        systemd_read();
}

void echod_end(void) {
        uint64_t until = now_msec() + END_MSEC;

        if (echod.pid == 0 || echod_has_ended())
                return;
        (void)kill(echod.pid, SIGTERM);
        (void)kill(echod.pid, SIGINT); /* the second signal: it need not wait for its workers */
        while (!echod_has_ended() && now_msec() < until)
                (void)attend(-1, 0, 5);
}

bool all_gone(void) {
        pid_t children[PROCESSES_MAX];

        reap();
        return process_children(getpid(), children) == 0;
}
