/* SPDX-License-Identifier: MIT */
#include "acceptor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "cleanup.h"
#include "clock.h"
#include "journal.h"
#include "listener.h"
#include "notify.h"
#include "record.h"

#define ROLL_TIMEOUT (500 * USEC_PER_MSEC) /* a stopped worker does not answer */
#define RETRY (100 * USEC_PER_MSEC)
#define SINK_TIMEOUT USEC_PER_SEC
#define TICK USEC_PER_SEC
#define SOON (50 * USEC_PER_MSEC)
#define FAILURES_MAX 16

static void arm(sd_event_source *timer, uint64_t when) {
        (void)sd_event_source_set_time(timer, when);
        (void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static int listen_set(struct acceptor *acceptor, bool on) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < acceptor->inherited->n_listeners; i++)
                r = sd_event_source_set_enabled(acceptor->listening[i],
                                                on ? SD_EVENT_ON : SD_EVENT_OFF);
        return r;
}

/* Whatever is short (workers, descriptors, memory), clients wait in the backlog meanwhile. */
static void pause_for(struct acceptor *acceptor, uint64_t usec) {
        (void)listen_set(acceptor, false);
        arm(acceptor->retry, clock_usec(CLOCK_MONOTONIC) + usec);
}

static void tick_within(struct acceptor *acceptor, uint64_t usec) {
        uint64_t when = acceptor->ticked + usec;

        if (when >= acceptor->tick_at)
                return;
        acceptor->tick_at = when;
        arm(acceptor->tick, when);
}

static void replenish(struct acceptor *acceptor) {
        if (!acceptor->starting && crew_is_short(&acceptor->crew))
                (void)sd_event_source_set_enabled(acceptor->replenish, SD_EVENT_ONESHOT);
}

static void turn_away(struct acceptor *acceptor) {
        acceptor->crew.ledger->refused++;
        acceptor->status_due = true;
        tick_within(acceptor, TICK);
        record_turned_away(&acceptor->waiting_session.peer,
                           acceptor->crew.options->max_clients_per_source);
}

/* So that the client that no worker could take yet outlives us. */
static void store(struct acceptor *acceptor) {
        if (acceptor->waiting >= 0 && acceptor->crew.keeping && !acceptor->waiting_stored)
                acceptor->waiting_stored =
                        notify_store(LISTENER_CLIENT_NAME, acceptor->waiting) == 0;
}

/* A client that stays in the store would be served twice, if the next acceptor found it there.
 * Returns whether it cannot. */
static bool withdraw(struct acceptor *acceptor) {
        if (acceptor->waiting_stored && crew_is_open(&acceptor->crew))
                acceptor->waiting_stored =
                        notify_send("FDSTOREREMOVE=1\nFDNAME=" LISTENER_CLIENT_NAME) < 0;
        return !acceptor->waiting_stored;
}

/* Hands the waiting client over. Returns whether none is waiting any more. */
static bool hand_over(struct acceptor *acceptor) {
        struct crew *crew = &acceptor->crew;
        CLEANUP(fd_close) int fd = TAKE_FD(acceptor->waiting); /* on_crew_changed() looks at it */
        int r = withdraw(acceptor) ? crew_hand_over(crew, &acceptor->waiting_session, fd) : -EAGAIN;

        if (r < 0 && r != -EUSERS) {
                if (r == -EAGAIN)
                        tick_within(acceptor, SOON); /* a worker may not be stuck any more */
                else
                        record_fault("Cannot hand a client over", r);
                acceptor->waiting = TAKE_FD(fd);
                store(acceptor);
                pause_for(acceptor, RETRY);
                return false;
        }
        if (r == -EUSERS)
                turn_away(acceptor);
        replenish(acceptor);
        if (crew->clients >= crew->options->max_clients) {
                (void)listen_set(acceptor, false); /* until on_crew_changed() finds a place free */
                acceptor->full = true;
                record_full(crew->clients);
        }
        return true;
}

/* It will not be better at once. */
static bool is_shortage(int error) {
        return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct acceptor *acceptor = userdata;
        int r = listener_accept(fd, &acceptor->waiting_session);

        (void)source;
        (void)revents;
        if (r >= 0) {
                acceptor->failures = 0;
                acceptor->waiting = r;
                (void)hand_over(acceptor);
        } else if (is_shortage(r) || ++acceptor->failures >= FAILURES_MAX) {
                record_fault("Cannot accept", r);
                pause_for(acceptor, RETRY);
        }
        return 0;
}

/* Clients are accepted once all adopted workers have told whom they serve. */
static void resume(struct acceptor *acceptor) {
        if (acceptor->starting || acceptor->stopping || acceptor->ending)
                return;
        acceptor->full = acceptor->crew.clients >= acceptor->crew.options->max_clients;
        if (!acceptor->full && acceptor->waiting >= 0 && !hand_over(acceptor))
                return;
        (void)sd_event_source_set_enabled(acceptor->retry, SD_EVENT_OFF);
        if (listen_set(acceptor, !acceptor->full) < 0)
                pause_for(acceptor, RETRY);
}

/* READY=1 comes with the first one that systemd takes. */
static void tell_status(struct acceptor *acceptor) {
        struct crew *crew = &acceptor->crew;
        char state[192], refused[48] = "";

        if (crew->ledger->refused > 0)
                (void)snprintf(refused, sizeof(refused), ", %" PRIu64 " refused",
                               crew->ledger->refused);
        (void)snprintf(state, sizeof(state),
                       "%sSTATUS=%zu clients%s, %" PRIu64 " served, %" PRIu64 " lost%s",
                       acceptor->ready ? "" : "READY=1\n", crew->clients,
                       acceptor->full ? " (no place left)" : "", crew->ledger->served,
                       crew->ledger->lost, refused);
        acceptor->status_due = notify_send(state) < 0;
        acceptor->ready |= !acceptor->status_due;
}

static void start_listening(struct acceptor *acceptor) {
        size_t adopted = acceptor->inherited->n_workers - acceptor->inherited->n_sinks;
        char where[128];

        acceptor->starting = false;
        for (size_t i = 0; i < acceptor->inherited->n_listeners; i++)
                record_listening(
                        listener_format(acceptor->inherited->listeners[i], where, sizeof(where)));
        if (adopted > 0)
                record_adopted(adopted, acceptor->crew.clients);
        replenish(acceptor);
        resume(acceptor);
        acceptor->status_due = true;
        tick_within(acceptor, 0);
}

/* Leaves behind all clients, for the next acceptor, and a sink that writes what workers deliver
 * while they drain. */
static int end(struct acceptor *acceptor) {
        store(acceptor);
        crew_store_all(&acceptor->crew);
        crew_ensure_sink(&acceptor->crew);
        return sd_event_exit(acceptor->event, 0);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        struct acceptor *acceptor = userdata;

        (void)source;
        (void)usec;
        if (acceptor->ending)
                return end(acceptor);
        if (acceptor->starting)
                start_listening(acceptor); /* without the ones that do not answer */
        else
                resume(acceptor);
        replenish(acceptor);
        return 0;
}

static int on_replenish(sd_event_source *source, void *userdata) {
        struct acceptor *acceptor = userdata;

        if (acceptor->ending || !crew_is_short(&acceptor->crew))
                return 0;
        if (crew_hire(&acceptor->crew))
                return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        arm(acceptor->retry, clock_usec(CLOCK_MONOTONIC) + RETRY);
        return 0;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        struct acceptor *acceptor = userdata;
        bool again;

        (void)source;
        (void)usec;
        acceptor->ticked = clock_usec(CLOCK_MONOTONIC);
        acceptor->tick_at = UINT64_MAX;
        if (!acceptor->starting) {
                crew_reckon(&acceptor->crew);
                if (acceptor->status_due)
                        tell_status(acceptor);
        }
        crew_ensure_sink(&acceptor->crew); /* however busy we are */
        again = crew_tick(&acceptor->crew);
        again |= record_tick() || acceptor->status_due;
        if (journal_flush() || (!acceptor->ready && !acceptor->starting))
                tick_within(acceptor, SOON);
        replenish(acceptor);
        if (again)
                tick_within(acceptor, TICK);
        else if (acceptor->crew.clients > 0 || acceptor->crew.sinks > 0)
                tick_within(acceptor, CREW_PING);
        return 0;
}

void acceptor_tick(struct acceptor *acceptor) {
        arm(acceptor->tick, 0);
}

static bool has_place_again(const struct acceptor *acceptor) {
        return acceptor->full && acceptor->crew.clients < acceptor->crew.options->max_clients;
}

static void on_crew_changed(void *userdata) {
        struct acceptor *acceptor = userdata;

        acceptor->status_due = true;
        tick_within(acceptor, TICK);
        replenish(acceptor);
        if (acceptor->ending) {
                if (!crew_awaits_sink(&acceptor->crew))
                        (void)end(acceptor);
        } else if (acceptor->stopping && acceptor->crew.hired == 0) {
                crew_end_feed(&acceptor->crew);
                if (acceptor->crew.sinks == 0)
                        (void)sd_event_exit(acceptor->event, 0);
        } else if (acceptor->starting ? acceptor->crew.calling == 0
                                      : acceptor->waiting >= 0 || has_place_again(acceptor))
                arm(acceptor->retry, 0);
}

/*
 * What systemd's store holds goes on without us: the next acceptor adopts it or, if the service is
 * being stopped, systemd drops it and the workers drain. Without a store we wait for them; a second
 * signal ends that.
 */
static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        struct acceptor *acceptor = userdata;

        (void)source;
        (void)info;
        (void)notify_send("STOPPING=1");
        (void)listen_set(acceptor, false);
        if (acceptor->crew.keeping && !acceptor->ending && crew_awaits_sink(&acceptor->crew)) {
                acceptor->ending = true;
                arm(acceptor->retry, clock_usec(CLOCK_MONOTONIC) + SINK_TIMEOUT);
                return 0;
        }
        if (acceptor->crew.keeping || acceptor->stopping)
                return end(acceptor);
        acceptor->stopping = true;
        crew_ensure_sink(&acceptor->crew);
        crew_stop(&acceptor->crew);
        return 0;
}

static int add_timer(struct acceptor *acceptor, sd_event_source **timer,
                     sd_event_time_handler_t handler) {
        int r = sd_event_add_time(acceptor->event, timer, CLOCK_MONOTONIC, 0, 10 * USEC_PER_MSEC,
                                  handler, acceptor);

        return r < 0 ? r : sd_event_source_set_enabled(*timer, SD_EVENT_OFF);
}

static int add_sources(struct acceptor *acceptor) {
        int r = sd_event_add_signal(acceptor->event, NULL, SIGTERM, on_stop, acceptor);

        if (r >= 0)
                r = sd_event_add_signal(acceptor->event, NULL, SIGINT, on_stop, acceptor);
        if (r >= 0)
                r = add_timer(acceptor, &acceptor->retry, on_retry);
        if (r >= 0)
                r = add_timer(acceptor, &acceptor->tick, on_tick);
        if (r >= 0)
                r = sd_event_add_defer(acceptor->event, &acceptor->replenish, on_replenish,
                                       acceptor);
        if (r >= 0)
                r = sd_event_source_set_enabled(acceptor->replenish, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_priority(acceptor->replenish, SD_EVENT_PRIORITY_IDLE);
        for (size_t i = 0; r >= 0 && i < acceptor->inherited->n_listeners; i++)
                r = sd_event_add_io(acceptor->event, &acceptor->listening[i],
                                    acceptor->inherited->listeners[i], EPOLLIN, on_client,
                                    acceptor);
        return r;
}

/* Clients of one that is left out would be taken for lost, and a second sink be started: all or
 * none, the next start may do better. */
static int adopt_all(struct acceptor *acceptor) {
        struct inheritance *inherited = acceptor->inherited;
        int r = crew_init(&acceptor->crew, inherited->n_workers);

        for (size_t i = 0; r >= 0 && i < inherited->n_workers; i++)
                r = crew_adopt(&acceptor->crew, inherited->workers[i].pid,
                               inherited->workers[i].pair, inherited->workers[i].sink);
        return r;
}

int acceptor_start(struct acceptor *acceptor) {
        int r = add_sources(acceptor);

        acceptor->starting = true;
        acceptor->tick_at = UINT64_MAX;
        acceptor->crew.changed = on_crew_changed;
        acceptor->crew.userdata = acceptor;
        acceptor->waiting = TAKE_FD(acceptor->inherited->client);
        acceptor->waiting_stored = acceptor->waiting >= 0;
        if (acceptor->waiting_stored)
                acceptor->waiting_session = listener_resume(acceptor->waiting);
        if (r >= 0)
                r = adopt_all(acceptor);
        if (r < 0)
                return r;
        (void)listen_set(acceptor, false);
        arm(acceptor->retry,
            acceptor->crew.calling == 0 ? 0 : clock_usec(CLOCK_MONOTONIC) + ROLL_TIMEOUT);
        return 0;
}

void acceptor_free(struct acceptor *acceptor) {
        fd_close(&acceptor->waiting);
        crew_free(&acceptor->crew);
        for (size_t i = 0; i < acceptor->inherited->n_listeners; i++)
                sd_event_source_disable_unref(acceptor->listening[i]);
        sd_event_source_disable_unref(acceptor->retry);
        sd_event_source_disable_unref(acceptor->replenish);
        sd_event_source_disable_unref(acceptor->tick);
        record_finish();
}
