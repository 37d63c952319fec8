/* SPDX-License-Identifier: MIT */
#include "crew.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "pair.h"
#include "record.h"
#include "worker.h"

#define REST (100 * USEC_PER_MSEC)

uint32_t crew_choose(const uint32_t *load, uint32_t n) {
        uint32_t best = n, least = CREW_NOT_NOW;

        for (uint32_t i = 0; i < n && least > 0; i++)
                if (load[i] < least) {
                        least = load[i];
                        best = i;
                }
        return best;
}

int crew_init(struct crew *crew, size_t adopted) {
        crew->size = crew->options->workers + (uint32_t)adopted + 1; /* the sink */
        crew->workers = calloc(crew->size, sizeof(struct crew_worker *));
        crew->load = malloc(crew->options->workers * sizeof(*crew->load));
        if (crew->workers == NULL || crew->load == NULL)
                return -ENOMEM;
        for (uint32_t i = 0; i < crew->options->workers; i++)
                crew->load[i] = CREW_NOT_NOW;
        /* For the workers, in which it would write to the heap: a buffer that a client gives back
         * goes back to the kernel (mallopt(3)). */
        (void)mallopt(M_MMAP_THRESHOLD, WORKER_BUFFER / 2);
        crew->call = clock_usec(CLOCK_MONOTONIC);
        crew->left_before = crew->ledger->left;
        return 0;
}

void crew_count(struct crew *crew, const struct peer *peer) {
        crew->clients++;
        if (crew->options->max_clients_per_source > 0)
                sources_add(&crew->sources, peer);
}

void crew_forget(struct crew_worker *worker, struct roster_entry *entry) {
        worker->crew->clients--;
        sources_remove(&worker->crew->sources, &entry->peer);
        roster_remove(&worker->roster, entry);
}

void crew_settle(struct crew_worker *worker) {
        uint32_t events = EPOLLIN | (worker->blocked ? EPOLLOUT : 0);

        (void)sd_event_source_set_io_events(worker->reports, events);
        if (worker->own && !worker->sink)
                worker->crew->load[worker->place] =
                        worker->retired || worker->blocked || worker->stuck ? CREW_NOT_NOW
                                                                            : worker->roster.count;
        worker->crew->changed(worker->crew->userdata);
}

void crew_dismiss(struct crew_worker *worker) {
        struct crew *crew = worker->crew;

        crew->workers[worker->place] = NULL;
        if (worker->own && !worker->sink) {
                crew->load[worker->place] = CREW_NOT_NOW;
                crew->hired--;
        }
        crew->calling -= worker->calling;
        crew->sinks -= worker->sink;
        sd_event_source_disable_unref(worker->reports);
        fd_close(&worker->pair);
        fd_close(&worker->pidfd);
        roster_free(&worker->roster);
        free(worker);
}

/* Enters a worker into the first free place from `first` on; takes the pair, even on failure. */
static int enter(struct crew *crew, uint32_t first, int pair, struct crew_worker **entered) {
        CLEANUP(fd_close) int owned = pair;
        struct crew_worker *worker = malloc(sizeof(*worker));
        int r;

        if (worker == NULL)
                return -ENOMEM;
        while (first < crew->size && crew->workers[first] != NULL)
                first++;
        *worker = (struct crew_worker){.crew = crew,
                                       .pair = owned,
                                       .pidfd = -1,
                                       .place = first,
                                       .own = first < crew->options->workers};
        r = sd_event_add_io(crew->event, &worker->reports, pair, EPOLLIN, crew_on_pair, worker);
        if (r < 0) {
                free(worker);
                return r;
        }
        (void)TAKE_FD(owned);
        crew->workers[first] = worker;
        crew->hired += worker->own;
        *entered = worker;
        return 0;
}

int crew_adopt(struct crew *crew, pid_t pid, int pair, bool sink) {
        struct crew_worker *worker;
        int r = enter(crew, crew->options->workers, pair, &worker);

        if (r < 0)
                return r;
        worker->pid = pid;
        worker->pidfd = pidfd_open(pid, 0); /* its number is good as long as its pair is open */
        worker->stored = worker->calling = true;
        worker->sink = sink;
        crew->calling++;
        crew->sinks += sink;
        crew_retire(worker);
        return 0;
}

static _Noreturn void be_sink(struct crew *crew, int pair) {
        worker_become(pair, crew->feed->out);
        exit(crew->service->sink(crew->options, crew->ledger));
}

/* Gives it the word to begin, now that the store keeps its pair: there is no other sink, nor can
 * there be one that the next acceptor does not know of. */
static void release_sink(struct crew_worker *worker) {
        worker->own = worker->sink = worker->retired = true;
        worker->crew->sinks++;
        crew_store(worker);
        if ((worker->crew->keeping && !worker->stored) ||
            pair_send(worker->pair, PAIR_PING, NULL, 0, -1) < 0) {
                worker->crew->rest_until = clock_usec(CLOCK_MONOTONIC) + REST;
                crew_retire(worker); /* the next one may have better luck */
        }
}

static int hire(struct crew *crew, bool sink, struct crew_worker **hired) {
        CLEANUP(fd_close) int ours = -1;
        CLEANUP(fd_close) int its = -1;
        uint64_t epoch = crew->ledger->epoch; /* not mapped in the child */
        int r = pair_open(&ours, &its);
        pid_t pid;

        if (r >= 0)
                r = enter(crew, sink ? crew->options->workers : 0, TAKE_FD(ours), hired);
        if (r < 0)
                return r;
        if (sink)
                ledger_share(crew->ledger, true);
        pid = fork(); /* after it nothing may fail, or nobody waits for the child */
        if (pid == 0 && sink)
                be_sink(crew, its);
        if (pid == 0)
                worker_main(crew->service, crew->options, its, crew->feed->in, epoch);
        r = pid < 0 ? -errno : 0;
        if (sink)
                ledger_share(crew->ledger, false);
        if (r < 0) {
                crew_dismiss(*hired);
                return r;
        }
        (*hired)->pid = pid;
        (*hired)->pidfd = pidfd_open(pid, 0);
        if (sink)
                release_sink(*hired);
        crew_settle(*hired);
        return 0;
}

static bool lacks_sink(const struct crew *crew) {
        return crew->service->sink != NULL && crew->sinks == 0;
}

/* How many workers of our own there may be: each must fit into the store. */
static uint32_t places(const struct crew *crew) {
        uint32_t others =
                crew->service->sink != NULL ? 3 : 1; /* the ledger; both ends of the feed */
        uint32_t room;

        others += lacks_sink(crew);
        for (uint32_t i = crew->options->workers; i < crew->size; i++) /* adopted, and the sink */
                others += crew->workers[i] != NULL;
        room = others < FDSTORE_MAX ? FDSTORE_MAX - others : 1;
        return crew->options->workers < room ? crew->options->workers : room;
}

static bool can_hire(const struct crew *crew, bool sink) {
        return !crew->stopping && clock_usec(CLOCK_MONOTONIC) >= crew->rest_until &&
               (sink || crew->hired < places(crew));
}

static struct crew_worker *try_hire(struct crew *crew, bool sink) {
        struct crew_worker *hired = NULL;
        int r;

        if (!can_hire(crew, sink))
                return NULL;
        r = hire(crew, sink, &hired);
        if (r == 0)
                return hired;
        record_fault("Cannot start a worker", r);
        crew->rest_until = clock_usec(CLOCK_MONOTONIC) + REST;
        return NULL;
}

static struct crew_worker *choose(struct crew *crew) {
        uint32_t n = crew->options->workers;
        uint32_t best = crew_choose(crew->load, n);
        struct crew_worker *fresh = NULL;

        if (best == n || crew->load[best] > 0)
                fresh = try_hire(crew, false);
        if (fresh != NULL)
                return fresh;
        return best < n ? crew->workers[best] : NULL;
}

static bool is_gone(int error) {
        return error == -EPIPE || error == -ECONNRESET;
}

static int offer(struct crew_worker *worker, struct session *session, int fd) {
        int r;

        if (crew_is_stuck(worker))
                return -EAGAIN;
        r = roster_add(&worker->roster, session);
        if (r < 0)
                return r;
        crew_store(worker);
        r = pair_send(worker->pair, PAIR_CLIENT, session, 1, fd);
        if (r == 0) {
                crew_sent(worker);
                worker->idle_since = 0;
                crew_count(worker->crew, &session->peer);
        } else {
                roster_remove(&worker->roster,
                              roster_find(&worker->roster, session->slot, session->id));
                worker->blocked = r == -EAGAIN;
                if (is_gone(r)) {
                        crew_retire(worker); /* if it does live, it leaves with its last client */
                        worker->crew->rest_until = clock_usec(CLOCK_MONOTONIC) + REST;
                        if (worker->roster.count == 0)
                                (void)shutdown(worker->pair, SHUT_WR);
                }
        }
        crew_settle(worker);
        return r;
}

int crew_hand_over(struct crew *crew, struct session *session, int fd) {
        unsigned limit = crew->options->max_clients_per_source;
        struct crew_worker *worker;
        int r;

        if (limit > 0 && sources_count(&crew->sources, &session->peer) >= limit)
                return -EUSERS;
        session->id = crew->ledger->served + 1;
        do { /* each refusal makes one worker less to choose from */
                worker = choose(crew);
                if (worker == NULL)
                        return -EAGAIN;
                r = offer(worker, session, fd);
        } while (r == -EAGAIN || is_gone(r));
        if (r < 0)
                return r;

        crew->ledger->served = session->id;
        record_connected(session, crew->ledger->epoch);
        crew->ledger->announced = session->id;
        return 0;
}

bool crew_is_open(const struct crew *crew) {
        uint32_t n = crew->options->workers;

        return crew_choose(crew->load, n) < n || can_hire(crew, false);
}

bool crew_is_short(const struct crew *crew) {
        uint32_t idle = 0;

        if (lacks_sink(crew))
                return true;
        for (uint32_t i = 0; i < crew->options->workers && idle < CREW_SPARES; i++)
                idle += crew->load[i] == 0;
        return idle < CREW_SPARES && crew->hired < places(crew);
}

bool crew_hire(struct crew *crew) {
        return try_hire(crew, lacks_sink(crew)) != NULL;
}

void crew_ensure_sink(struct crew *crew) {
        struct crew_worker *sink;

        if (lacks_sink(crew))
                (void)hire(crew, true, &sink);
}

bool crew_awaits_sink(const struct crew *crew) {
        bool awaits = false;

        for (uint32_t i = crew->options->workers; i < crew->size; i++) /* the adopted ones */
                awaits |= crew->workers[i] != NULL && crew->workers[i]->sink &&
                          !crew->workers[i]->own;
        return awaits;
}

void crew_end_feed(struct crew *crew) {
        (void)shutdown(crew->feed->in, SHUT_WR);
}

void crew_stop(struct crew *crew) {
        crew->stopping = true;
        for (uint32_t i = 0; i < crew->size; i++)
                if (crew->workers[i] != NULL)
                        (void)shutdown(crew->workers[i]->pair, SHUT_WR);
        crew->changed(crew->userdata);
}

void crew_free(struct crew *crew) {
        for (uint32_t i = 0; crew->workers != NULL && i < crew->size; i++)
                if (crew->workers[i] != NULL)
                        crew_dismiss(crew->workers[i]);
        sources_free(&crew->sources);
        free(crew->workers);
        free(crew->load);
        crew->workers = NULL;
        crew->load = NULL;
}
