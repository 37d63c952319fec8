/* SPDX-License-Identifier: MIT */

/* What a worker tells the acceptor, and the journal when there is no acceptor to tell. */

#include <errno.h>
#include <sys/epoll.h>

#include "journal.h"
#include "pair.h"
#include "record.h"
#include "worker.h"

void worker_watch_pair(struct worker *worker) {
        struct epoll_event event = {.data.ptr = &worker->pair};

        if (worker->listening)
                event.events |= EPOLLIN;
        if (worker->blocked)
                event.events |= EPOLLOUT;
        if (worker->leaving) /* each report that is read makes room, and an edge */
                event.events |= EPOLLOUT | EPOLLET;
        if (event.events == 0) /* EPOLLHUP would be reported all the same */
                (void)epoll_ctl(worker->epoll, EPOLL_CTL_DEL, worker->pair, NULL);
        else if (epoll_ctl(worker->epoll, EPOLL_CTL_MOD, worker->pair, &event) < 0)
                (void)epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->pair, &event);
}

void worker_open_journal(struct worker *worker) {
        if (!worker->recording)
                journal_open(worker->service->program, worker->options->log_level);
        worker->recording = true;
}

static void set_blocked(struct worker *worker, bool blocked) {
        if (worker->blocked == blocked)
                return;
        worker->blocked = blocked;
        worker_watch_pair(worker);
}

bool worker_say(struct worker *worker, enum pair_type type, const struct session *sessions,
                size_t count) {
        int r = pair_send(worker->pair, type, sessions, count, -1);

        if ((r == -EPIPE || r == -ECONNRESET) && pair_is_hung_up(worker->pair)) {
                worker->unheard |= r == -ECONNRESET;
                worker->orphaned = true;
        }
        set_blocked(worker, r < 0 && !worker->orphaned);
        if (worker->orphaned && type == PAIR_LEFT) {
                worker_open_journal(worker);
                for (size_t i = 0; i < count; i++)
                        record_left(&sessions[i], worker->epoch);
        }
        return !worker->blocked;
}

static void forget(struct worker *worker, struct client *client) {
        TAILQ_REMOVE(&worker->told, client, link);
        worker->n_told--;
        client_free(client);
}

void worker_forget_told(struct worker *worker) {
        struct client *client;

        while ((client = TAILQ_FIRST(&worker->told)) != NULL)
                forget(worker, client);
}

void worker_record_told(struct worker *worker) {
        struct client *client;

        if (worker->unheard) {
                worker_open_journal(worker);
                TAILQ_FOREACH (client, &worker->told, link)
                        record_left(&client->session, worker->epoch);
        }
        worker->unheard = false;
        worker_forget_told(worker);
}

/* The first n of those that have ended. */
static void told(struct worker *worker, size_t n) {
        for (; n > 0; n--) {
                struct client *client = TAILQ_FIRST(&worker->ended);

                TAILQ_REMOVE(&worker->ended, client, link);
                TAILQ_INSERT_TAIL(&worker->told, client, link);
                worker->n_told++;
                if (worker->orphaned)
                        forget(worker, client);
                else if (worker->n_told > PAIR_REPORTS_MAX) /* the first has been read then */
                        forget(worker, TAILQ_FIRST(&worker->told));
        }
}

void worker_report(struct worker *worker) {
        struct session batch[PAIR_BATCH];
        struct client *client;

        if (!TAILQ_EMPTY(&worker->ended) && pair_is_heard(worker->pair))
                worker_forget_told(worker);
        while (!TAILQ_EMPTY(&worker->ended)) {
                size_t n = 0;

                for (client = TAILQ_FIRST(&worker->ended); client != NULL && n < PAIR_BATCH;
                     client = TAILQ_NEXT(client, link))
                        batch[n++] = client->session;
                if (!worker_say(worker, PAIR_LEFT, batch, n))
                        return;
                told(worker, n);
        }
}

void worker_call_roll(struct worker *worker) {
        struct session batch[PAIR_BATCH];
        struct client *client, *first = TAILQ_FIRST(&worker->clients);

        if (!TAILQ_EMPTY(&worker->ended)) /* whoever is in neither would be gone without a trace */
                return;
        while (worker->rolling && first != NULL) {
                size_t n = 0;

                for (client = first; client != NULL && n < PAIR_BATCH;
                     client = TAILQ_NEXT(client, link))
                        if (!client->rolled)
                                batch[n++] = client->session;
                if (n > 0 && !worker_say(worker, PAIR_ROLL, batch, n))
                        return;
                for (; first != client; first = TAILQ_NEXT(first, link))
                        first->rolled = true;
        }
        if (worker->rolling && worker_say(worker, PAIR_ROLLED, &worker->call, 1))
                worker->rolling = false;
}
