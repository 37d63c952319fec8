/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <sys/epoll.h>

#include "cleanup.h"
#include "support.h"

/* The test is the acceptor, and always one report behind. */
static void reports_that_must_have_been_read_are_forgotten(void **state) {
        static const struct service service = {.unit = "echo", .program = "echod"};
        static const struct options options = {0};
        struct worker worker = {.service = &service, .options = &options};
        struct session session = {.peer = {.family = AF_INET}};
        CLEANUP(fd_close) int acceptor = -1;

        (void)state;
        TAILQ_INIT(&worker.clients);
        TAILQ_INIT(&worker.ended);
        TAILQ_INIT(&worker.told);
        assert_int_equal(pair_open(&acceptor, &worker.pair), 0);
        worker.epoll = epoll_create1(EPOLL_CLOEXEC);
        for (session.id = 1; session.id <= UINT64_C(2) * PAIR_REPORTS_MAX; session.id++) {
                struct client *client = client_new(&worker, &session, -1);

                assert_non_null(client);
                client_end(client, SESSION_EOF);
                worker_report(&worker);
                assert_true(TAILQ_EMPTY(&worker.ended));
                if (session.id > 1)
                        assert_int_equal(pair_drop(acceptor), 0);
                assert_in_range(worker.n_told, 1, PAIR_REPORTS_MAX);
        }
        assert_int_equal(TAILQ_LAST(&worker.told, client_list)->session.id, 2 * PAIR_REPORTS_MAX);
        worker_forget_told(&worker);
        fd_close(&worker.pair);
        fd_close(&worker.epoll);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reports_that_must_have_been_read_are_forgotten),
        };

        return cmocka_run_group_tests_name("worker-reports", tests, end_when_stuck, NULL);
}
