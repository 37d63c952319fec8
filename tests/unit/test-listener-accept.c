/* SPDX-License-Identifier: MIT */

/* How a client is accepted; see test-listener.c for the rest. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "listener.h"
#include "support.h"

static struct sockaddr_in address;
static int listener;

static int open_listener(void **state) {
        (void)state;
        address = (struct sockaddr_in){.sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (bind(listener, (void *)&address, sizeof(address)) < 0 || listen(listener, 8) < 0)
                return -1;
        return getsockname(listener, (void *)&address, &(socklen_t){sizeof(address)});
}

static int close_listener(void **state) {
        (void)state;
        return close(listener);
}

static int connected(void) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        assert_int_equal(connect(fd, (void *)&address, sizeof(address)), 0);
        return fd;
}

static uint64_t now_usec(void) {
        struct timespec now;

        assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void accepted_client_has_a_session(void **state) {
        int client = connected();
        struct sockaddr_in own = {0};
        struct session session;
        uint64_t before = now_usec();
        int fd = listener_accept(listener, &session);

        (void)state;
        assert_true(fd >= 0);
        assert_in_range(session.since, before, now_usec());
        assert_int_equal(getsockname(client, (void *)&own, &(socklen_t){sizeof(own)}), 0);
        assert_int_equal(session.peer.family, AF_INET);
        assert_int_equal(session.peer.port, ntohs(own.sin_port));
        assert_memory_equal(session.peer.address, &own.sin_addr, 4);
        assert_int_equal(session.id, 0); /* not served yet */
        assert_int_equal(session.lines + session.received + session.sent + session.ended, 0);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        (void)close(fd);
        (void)close(client);
}

/* Urgent data is data, and stands where it was sent. */
static void urgent_data_stays_in_line(void **state) {
        int client = connected();
        struct session session;
        int fd = listener_accept(listener, &session);
        char got[4] = "";

        (void)state;
        assert_int_equal(send(client, "a", 1, 0), 1);
        assert_int_equal(send(client, "b", 1, MSG_OOB), 1);
        assert_int_equal(send(client, "c", 1, 0), 1);
        (void)close(client);
        assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* the test may wait, for what has been sent */
        for (size_t n = 0; n < 3;) {                /* a read stops at the mark */
                ssize_t part = recv(fd, got + n, 3 - n, 0);
                assert_true(part > 0);
                n += (size_t)part;
        }
        assert_string_equal(got, "abc");
        (void)close(fd);
}

static void nobody_there_is_no_error(void **state) {
        struct session session;

        (void)state;
        assert_int_equal(listener_accept(listener, &session), -EAGAIN);
}

static int accept_without_room(void *result) {
        struct session session;

        while (dup(STDIN_FILENO) >= 0)
                ;
        *(int *)result = listener_accept(listener, &session);
        return 0;
}

static void shortage_is_told(void **state) {
        int client = connected(), *result = shared_memory(sizeof(*result));

        (void)state;
        assert_int_equal(in_child(accept_without_room, result), 0);
        assert_int_equal(*result, -EMFILE);
        (void)close(client);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_listener, close_listener)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(accepted_client_has_a_session),
                CASE(urgent_data_stays_in_line),
                CASE(nobody_there_is_no_error),
                CASE(shortage_is_told),
        };

        return cmocka_run_group_tests_name("listener-accept", tests, end_when_stuck, NULL);
}
