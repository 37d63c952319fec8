/* SPDX-License-Identifier: MIT */

/* How the crew looks after its workers: which are stored, idle or stuck. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "crew.h"
#include "listener.h"
#include "notify.h"
#include "pair.h"
#include "record.h"

#define IDLE_MAX USEC_PER_SEC
#define STUCK (100 * USEC_PER_MSEC) /* without reading its pair: gets no more clients */
#define HOPELESS (30 * USEC_PER_SEC)

void crew_store(struct crew_worker *worker) {
        char name[32];

        if (worker->stored || !worker->crew->keeping)
                return;
        (void)snprintf(name, sizeof(name), "%s%d",
                       worker->sink ? LISTENER_SINK_NAME : LISTENER_WORKER_NAME, (int)worker->pid);
        if (notify_store(name, worker->pair) < 0)
                return; /* crew_tick() tries again */
        worker->stored = true;
}

void crew_sent(struct crew_worker *worker) {
        if (worker->unread_since == 0)
                worker->unread_since = clock_usec(CLOCK_MONOTONIC);
}

void crew_seen(struct crew_worker *worker) {
        worker->failures = 0;
        worker->stuck = false;
        if (worker->unread_since != 0)
                worker->unread_since = clock_usec(CLOCK_MONOTONIC);
}

void crew_retire(struct crew_worker *worker) {
        struct session call = {.id = worker->crew->call};
        int r;

        worker->retired = true;
        r = pair_send(worker->pair, PAIR_RETIRE, &call, 1, -1);
        worker->retire_unsent = r < 0; /* crew_tick() tries again */
        worker->blocked = r == -EAGAIN;
        crew_sent(worker);
        crew_settle(worker);
}

bool crew_is_stuck(struct crew_worker *worker) {
        bool was = worker->stuck;
        uint64_t now = clock_usec(CLOCK_MONOTONIC);

        if (worker->unread_since != 0 && now - worker->unread_since >= STUCK / 2 &&
            pair_is_heard(worker->pair))
                worker->unread_since = 0;
        worker->stuck = worker->unread_since != 0 && now - worker->unread_since >= STUCK;
        if (worker->stuck != was)
                crew_settle(worker);
        return worker->stuck;
}

static void kill_hopeless(struct crew_worker *worker, uint64_t now) {
        worker->unread_since = now; /* it may take a while to go */
        record_stuck(worker->sink ? "Sink" : "Worker", worker->pid);
        if (worker->pidfd >= 0)
                (void)pidfd_send_signal(worker->pidfd, SIGKILL, NULL, 0);
        else if (worker->own) /* not waited for yet, so the number is still its own */
                (void)kill(worker->pid, SIGKILL);
}

/* Returns whether it is to be looked at again soon. */
static bool care(struct crew_worker *worker, uint64_t now) {
        if (worker->failures >= CREW_FAILURES) {
                if (sd_event_source_set_enabled(worker->reports, SD_EVENT_ON) >= 0)
                        worker->failures = 0;
                return true;
        }
        if (crew_is_stuck(worker)) {
                if (now - worker->unread_since >= HOPELESS)
                        kill_hopeless(worker, now);
                return true;
        }
        if (worker->retire_unsent) {
                crew_retire(worker);
                return true;
        }
        if (worker->roster.count > 0)
                crew_store(worker);
        if ((worker->roster.count > 0 || worker->sink) && now - worker->pinged >= CREW_PING) {
                worker->pinged = now;
                if (pair_send(worker->pair, PAIR_PING, NULL, 0, -1) == 0)
                        crew_sent(worker);
                return true;
        }
        if (worker->retired)
                return false;
        if (worker->roster.count > 0)
                return !worker->stored && worker->crew->keeping;
        if (worker->idle_since > 0 && now - worker->idle_since >= IDLE_MAX)
                crew_retire(worker);
        return worker->idle_since > 0;
}

void crew_store_all(struct crew *crew) {
        for (uint32_t i = 0; i < crew->size; i++)
                if (crew->workers[i] != NULL && crew->workers[i]->roster.count > 0)
                        crew_store(crew->workers[i]);
}

bool crew_tick(struct crew *crew) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC);
        bool again = crew->rest_until > now;

        for (uint32_t i = 0; i < crew->size; i++)
                if (crew->workers[i] != NULL)
                        again |= care(crew->workers[i], now);
        return again;
}
