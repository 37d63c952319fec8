/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "listener.h"
#include "support.h"

/* What is passed to a child as systemd passes it (sd_listen_fds(3)). */
struct passing {
        int fds[80];
        int n;
        const char *names; /* NULL: none */
        const char *count; /* instead of n */
        bool elsewhere;    /* meant for another process */
};

/* What came of it, in memory that the child shares. */
struct outcome {
        int result;
        size_t n_listeners, n_workers;
        int listeners[LISTENERS_MAX], ledger;
        pid_t pids[4];
        int pairs[4];
        bool no_delay, non_blocking; /* all listening sockets */
        bool told_on;                /* to children, by the environment */
        size_t closed;               /* by inheritance_free() */
};

static struct outcome *outcome;
static const struct service echo = {.unit = "echo", .program = "echod"};

static const struct passing *passed;

static void place(const struct passing *passing) {
        int high[80];

        for (int i = 0; i < passing->n; i++)
                high[i] = fcntl(passing->fds[i], F_DUPFD, 300);
        for (int i = 0; i < passing->n; i++)
                (void)dup2(high[i], 3 + i);
}

static void announce(const struct passing *passing) {
        char pid[16], count[16];

        if (passing->n == 0 && passing->count == NULL)
                return;
        (void)snprintf(pid, sizeof(pid), "%d", (int)(passing->elsewhere ? getppid() : getpid()));
        (void)snprintf(count, sizeof(count), "%d", passing->n);
        (void)setenv("LISTEN_PID", pid, 1);
        (void)setenv("LISTEN_FDS", passing->count != NULL ? passing->count : count, 1);
        if (passing->names != NULL)
                (void)setenv("LISTEN_FDNAMES", passing->names, 1);
}

static bool option_is_on(int fd, int level, int option) {
        int value = 0;

        return getsockopt(fd, level, option, &value, &(socklen_t){sizeof(value)}) == 0 && value;
}

static void look_at(const struct inheritance *taken) {
        outcome->n_listeners = taken->n_listeners;
        outcome->n_workers = taken->n_workers;
        outcome->ledger = taken->ledger;
        outcome->no_delay = outcome->non_blocking = true;
        for (size_t i = 0; i < taken->n_listeners; i++) {
                int fd = outcome->listeners[i] = taken->listeners[i];

                outcome->no_delay &= option_is_on(fd, IPPROTO_TCP, TCP_NODELAY);
                outcome->non_blocking &= (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
        }
        for (size_t i = 0; i < taken->n_workers && i < COUNT(outcome->pids); i++) {
                outcome->pids[i] = taken->workers[i].pid;
                outcome->pairs[i] = taken->workers[i].pair;
        }
}

static int take_in_child(void *argument) {
        struct inheritance taken;

        (void)argument;
        place(passed);
        announce(passed);
        outcome->result = inheritance_take(&taken, &echo);
        look_at(&taken);
        outcome->told_on = getenv("LISTEN_FDS") != NULL;
        outcome->closed = descriptors();
        inheritance_free(&taken);
        outcome->closed -= descriptors();
        return 0;
}

static void take(const struct passing *passing) {
        passed = passing;
        memset(outcome, 0, sizeof(*outcome));
        assert_int_equal(in_child(take_in_child, NULL), 0);
}

static int listening(int family) {
        struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
        socklen_t length = family == AF_UNIX   ? sizeof(sa_family_t)
                           : family == AF_INET ? sizeof(struct sockaddr_in)
                                               : sizeof(struct sockaddr_in6);
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (void *)&any, length), 0);
        assert_int_equal(listen(fd, 8), 0);
        return fd;
}

static void close_all(const struct passing *passing) {
        for (int i = 0; i < passing->n; i++)
                (void)close(passing->fds[i]);
}

static void listening_sockets_are_taken_in_order(void **state) {
        struct passing passing = {.fds = {listening(AF_INET), listening(AF_INET)},
                                  .n = 2,
                                  .names = "echo.socket:echo.socket"};

        (void)state;
        take(&passing);
        assert_int_equal(outcome->result, 0);
        assert_string_equal(stderr_text(), "");
        assert_int_equal(outcome->n_listeners, 2);
        assert_int_equal(outcome->listeners[0], 3);
        assert_int_equal(outcome->listeners[1], 4);
        assert_int_equal(outcome->ledger, -1);
        assert_int_equal(outcome->n_workers, 0);
        assert_true(outcome->non_blocking);
        assert_true(outcome->no_delay);
        assert_false(outcome->told_on);
        assert_int_equal(outcome->closed, 2);
        close_all(&passing);
}

static void unix_socket_is_taken(void **state) {
        struct passing passing = {.fds = {listening(AF_UNIX)}, .n = 1};

        (void)state;
        take(&passing);
        assert_int_equal(outcome->result, 0);
        assert_string_equal(stderr_text(), "");
        assert_int_equal(outcome->n_listeners, 1);
        assert_true(outcome->non_blocking);
        close_all(&passing);
}

static void store_is_sorted_by_name(void **state) {
        struct passing passing = {.n = 5,
                                  .names = "worker-4711:echo.socket:ledger:worker-32768:workers"};
        int pair[2];

        (void)state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
        passing.fds[0] = pair[0];
        passing.fds[1] = listening(AF_INET);
        passing.fds[2] = dup(STDERR_FILENO);
        passing.fds[3] = pair[1];
        passing.fds[4] = listening(AF_UNIX);
        take(&passing);
        assert_int_equal(outcome->result, 0);
        assert_int_equal(outcome->n_listeners, 2);
        assert_int_equal(outcome->listeners[0], 4);
        assert_int_equal(outcome->listeners[1], 7);
        assert_int_equal(outcome->ledger, 5);
        assert_int_equal(outcome->n_workers, 2);
        assert_int_equal(outcome->pids[0], 4711);
        assert_int_equal(outcome->pairs[0], 3);
        assert_int_equal(outcome->pids[1], 32768);
        assert_int_equal(outcome->pairs[1], 6);
        assert_int_equal(outcome->closed, 3); /* the pairs are the crew's */
        close_all(&passing);
}

static void assert_refused(const struct passing *passing, int result, const char *expected) {
        take(passing);
        assert_string_equal(stderr_text(), expected);
        assert_int_equal(outcome->result, result);
        close_all(passing);
}

static void no_socket_says_what_to_start(void **state) {
        struct passing none = {.n = 0}, elsewhere = {.n = 1, .elsewhere = true};
        struct passing only_stored = {.n = 1, .names = "ledger"};
        const char *expected = "echod: No listening socket was passed: start echo.socket, not the "
                               "program\n";

        (void)state;
        elsewhere.fds[0] = listening(AF_INET);
        only_stored.fds[0] = dup(STDERR_FILENO);
        assert_refused(&none, -ENOTCONN, expected);
        assert_refused(&elsewhere, -ENOTCONN, expected);
        assert_refused(&only_stored, -ENOTCONN, expected);
}

static void wrong_socket_names_the_likely_mistake(void **state) {
        struct passing datagram = {.fds = {socket(AF_INET, SOCK_DGRAM, 0)}, .n = 1};
        struct passing packets = {.fds = {socket(AF_UNIX, SOCK_SEQPACKET, 0)}, .n = 1};
        struct passing file = {.fds = {dup(STDERR_FILENO)}, .n = 1};

        (void)state;
        assert_refused(&datagram, -ENOTCONN,
                       "echod: Descriptor 3 is a datagram socket: write ListenStream= in the "
                       "socket unit, not ListenDatagram=\n");
        assert_refused(&packets, -ENOTCONN,
                       "echod: Descriptor 3 is no stream socket: write ListenStream= in the socket "
                       "unit\n");
        assert_refused(&file, -ENOTCONN,
                       "echod: Descriptor 3 is no socket: pass listening sockets only; see "
                       "echod(8)\n");
}

static void connected_socket_asks_for_accept_yes(void **state) {
        struct passing passing = {.fds = {listening(AF_INET)}, .n = 2};
        int pair[2];

        (void)state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        passing.fds[1] = pair[0];
        assert_refused(&passing, -ENOTCONN,
                       "echod: Descriptor 4 is a connected socket: is Accept=yes set in the socket "
                       "unit? It must be Accept=no\n");
        (void)close(pair[1]);
}

static void first_wrong_socket_is_the_only_one_told(void **state) {
        struct passing passing = {.n = 2};

        (void)state;
        passing.fds[0] = socket(AF_INET, SOCK_DGRAM, 0);
        passing.fds[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
        assert_refused(&passing, -ENOTCONN,
                       "echod: Descriptor 3 is a datagram socket: write ListenStream= in the "
                       "socket unit, not ListenDatagram=\n");
}

static void as_many_sockets_fit_as_the_header_says(void **state) {
        struct passing passing = {.n = 64};

        (void)state;
        for (int i = 0; i < 65; i++)
                passing.fds[i] = listening(AF_UNIX);
        take(&passing);
        assert_int_equal(outcome->result, 0);
        assert_int_equal(outcome->n_listeners, 64);
        assert_int_equal(outcome->listeners[63], 66);
        passing.n = 65;
        assert_refused(&passing, -ENOTCONN,
                       "echod: Descriptor 67 is one too many: pass at most 64 listening sockets\n");
}

static void garbled_environment_is_an_error(void **state) {
        struct passing garbled = {.n = 0, .count = "many"};
        struct passing misnamed = {.n = 1, .names = "echo.socket:another"};

        (void)state;
        misnamed.fds[0] = listening(AF_UNIX);
        take(&garbled);
        assert_true(outcome->result < 0);
        assert_non_null(strstr(stderr_text(), "echod: Cannot take over the passed descriptors: "));
        take(&misnamed);
        assert_true(outcome->result < 0);
        assert_non_null(strstr(stderr_text(), "echod: Cannot take over the passed descriptors: "));
        close_all(&misnamed);
}

static int share_outcome(void **state) {
        outcome = shared_memory(sizeof(*outcome));
        return end_when_stuck(state);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, stderr_capture, stderr_release)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(listening_sockets_are_taken_in_order),
                CASE(unix_socket_is_taken),
                CASE(store_is_sorted_by_name),
                CASE(no_socket_says_what_to_start),
                CASE(wrong_socket_names_the_likely_mistake),
                CASE(connected_socket_asks_for_accept_yes),
                CASE(first_wrong_socket_is_the_only_one_told),
                CASE(as_many_sockets_fit_as_the_header_says),
                CASE(garbled_environment_is_an_error),
        };

        return cmocka_run_group_tests_name("listener", tests, share_outcome, NULL);
}
