/* SPDX-License-Identifier: MIT */

/* What the crew's workers say, and how they go. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "clock.h"
#include "crew.h"
#include "pair.h"
#include "record.h"

#define FAILED_REST (300 * USEC_PER_MSEC)

/* A predecessor that was killed between handing a client over and recording it left that to us. */
static void catch_up(struct crew *crew, const struct session *session) {
        struct ledger *ledger = crew->ledger;

        if (session->id == ledger->served + 1)
                ledger->served = session->id;
        if (session->id == ledger->announced + 1 && session->id == ledger->served) {
                record_connected(session, ledger->epoch);
                ledger->announced = session->id;
        }
}

static void heard_roll(struct crew_worker *worker, const struct pair_message *message) {
        struct crew *crew = worker->crew;

        if (!worker->calling)
                return;
        for (size_t i = 0; i < message->count; i++) {
                if (roster_enter(&worker->roster, &message->sessions[i]) < 0)
                        continue;
                crew_count(crew, &message->sessions[i].peer);
                catch_up(crew, &message->sessions[i]);
        }
}

static void heard_rolled(struct crew_worker *worker, const struct pair_message *message) {
        if (!worker->calling || message->count != 1 ||
            message->sessions[0].id != worker->crew->call)
                return;
        worker->calling = false;
        worker->crew->calling--;
}

static void record_end(struct crew *crew, struct session *session) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC);

        if (session->ended < session->since || session->ended > now)
                session->ended = now;
        record_left(session, crew->ledger->epoch);
        crew->ledger->left = session->id;
        crew->ledger->ended++;
}

/* What we know ourselves is not taken from a worker; its counters are. */
static void heard_left(struct crew_worker *worker, const struct session *report) {
        struct roster_entry *known = roster_find(&worker->roster, report->slot, report->id);
        struct session ended = *report;

        if (known == NULL && !worker->calling)
                return;
        if (known != NULL) {
                ended.peer = known->peer;
                ended.since = known->since;
                crew_forget(worker, known);
        } else {
                catch_up(worker->crew, report); /* it left while there was no acceptor */
        }
        record_end(worker->crew, &ended);
        if (worker->roster.count == 0)
                worker->idle_since = ended.ended;
}

static void heard(struct crew_worker *worker, const struct pair_message *message) {
        size_t first = 0;

        if (message->type == PAIR_ROLL)
                heard_roll(worker, message);
        if (message->type == PAIR_ROLLED)
                heard_rolled(worker, message);
        if (message->type != PAIR_LEFT)
                return;
        /* A predecessor that was killed in the middle of this message has recorded its beginning.
         */
        for (size_t i = 0; i < message->count; i++)
                if (message->sessions[i].id == worker->crew->left_before)
                        first = i + 1;
        for (size_t i = first; i < message->count; i++)
                heard_left(worker, &message->sessions[i]);
}

static void heard_nonsense(struct crew_worker *worker, int error) {
        record_fault(error == -EPROTO
                             ? "A worker of another version is served to its end, uncounted"
                             : "A worker sent a malformed message",
                     error);
        if (error != -EPROTO)
                return;
        worker->crew->uncounted = true;
        worker->crew->calling -= worker->calling;
        worker->calling = false;
}

/* Returns as pair_peek() does, or why the message could not be dropped: it comes again then. */
static int hear(struct crew_worker *worker) {
        struct pair_message message;
        int r = pair_peek(worker->pair, &message), dropped = 0;

        if (r == 1)
                heard(worker, &message);
        if (r == -EPROTO || r == -EBADMSG)
                heard_nonsense(worker, r);
        if (r == 1 || r == -EPROTO || r == -EBADMSG)
                dropped = pair_drop(worker->pair);
        if (dropped < 0)
                r = dropped;
        if (r == 1)
                crew_seen(worker);
        worker->failures = r < 0 ? worker->failures + 1 : 0;
        return r;
}

static void lose_clients(struct crew_worker *worker) {
        struct crew *crew = worker->crew;
        struct roster *roster = &worker->roster;

        for (uint32_t i = 0; i < roster->used; i++) {
                struct roster_entry *entry = &roster->slots[i];
                struct session lost = {.peer = entry->peer,
                                       .id = entry->id,
                                       .since = entry->since,
                                       .reason = SESSION_LOST};

                if (lost.id == 0)
                        continue;
                crew_forget(worker, entry);
                crew->ledger->lost++;
                record_end(crew, &lost);
        }
}

void crew_reckon(struct crew *crew) {
        struct ledger *ledger = crew->ledger;
        uint64_t known = ledger->ended + crew->clients;

        if (crew->calling > 0 || crew->uncounted || ledger->served <= known)
                return;
        record_lost_unseen(ledger->served - known);
        ledger->lost += ledger->served - known;
        ledger->ended += ledger->served - known;
}

/* Whether its process has ended, and how: 1, 0 or -errno. An adopted one is systemd's to wait for.
 */
static int await_end(const struct crew_worker *worker, siginfo_t *how) {
        *how = (siginfo_t){0};
        if (!worker->own)
                return 1;
        if (waitid(P_PID, (id_t)worker->pid, how, WEXITED | WNOHANG) < 0)
                return errno == ECHILD ? 1 : -errno;
        return how->si_pid != 0;
}

/* It is gone, and all that it said has been heard. */
static int finish(struct crew_worker *worker, const siginfo_t *info) {
        struct crew *crew = worker->crew;
        bool served = worker->idle_since > 0 || worker->roster.count > 0;
        bool killed = info->si_pid != 0 && info->si_code != CLD_EXITED;
        bool unstarted = !killed && info->si_status != 0; /* later on it exits with 0 only */
        char how[48] = "not our child, its status is unknown";

        if (killed)
                (void)snprintf(how, sizeof(how), "killed by SIG%s", sigabbrev_np(info->si_status));
        else if (info->si_pid != 0)
                (void)snprintf(how, sizeof(how), "exited with status %d", info->si_status);
        if (unstarted || (killed && !served)) /* forking the next one at once would hardly help */
                crew->rest_until = clock_usec(CLOCK_MONOTONIC) + FAILED_REST;
        if (unstarted)
                record_fault("A worker could not start", -info->si_status);
        else if (killed && worker->sink)
                record_sink_lost(worker->pid, how);
        else if (killed || worker->roster.count > 0)
                record_worker_lost(worker->pid, how, worker->roster.count);
        lose_clients(worker);
        crew_dismiss(worker);
        crew->changed(crew->userdata);
        return 0;
}

int crew_on_pair(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct crew_worker *worker = userdata;
        bool told = fd != worker->pair || worker->pidfd < 0;
        siginfo_t how;
        int r;

        if (revents & EPOLLOUT) {
                worker->blocked = false;
                crew_seen(worker);
                if (worker->retire_unsent)
                        crew_retire(worker);
        }
        r = hear(worker);
        if (r == 0) {
                r = await_end(worker, &how);
                if (r > 0)
                        return finish(worker, &how);
                worker->retired = true;
                /* The pidfd tells the end, but a debugger may keep it from us even then. */
                if (r == 0 && !told)
                        r = sd_event_source_set_io_fd(source, worker->pidfd);
                if (r < 0 || told)
                        worker->failures = CREW_FAILURES;
        }
        /* What cannot be heard, though there is something, is left until the next tick. */
        if (worker->failures >= CREW_FAILURES) {
                if (r < 0)
                        record_fault("Cannot hear a worker", r);
                (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        }
        crew_settle(worker);
        return 0;
}
