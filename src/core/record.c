/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <inttypes.h>
#include <string.h>
#include <syslog.h>

#include "clock.h"
#include "journal.h"

/* How long the end of a process may wait for the journal. */
#define FINISH_MSEC 500

static struct bound {
        uint64_t minute;    /* when the running minute began */
        uint64_t written;   /* client records since then */
        uint64_t held_back; /* those that were too many */
        uint64_t full;      /* when the limit of clients was last told */
        uint64_t fault;     /* when the last fault was written */
} bound;

static void minute_end(uint64_t now) {
        if (bound.held_back > 0)
                journal_send(LOG_WARNING,
                             "%" PRIu64 " client records held back: more than %d a minute\n"
                             "MESSAGE_ID=" RECORD_HELD_BACK "\nRECORDS=%" PRIu64,
                             bound.held_back, RECORD_CLIENTS_MAX, bound.held_back);
        bound.minute = now;
        bound.written = 0;
        bound.held_back = 0;
}

bool record_tick(void) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC);

        if (now - bound.minute >= USEC_PER_MINUTE)
                minute_end(now);
        return bound.held_back > 0;
}

static bool client_record_allowed(void) {
        (void)record_tick();
        if (bound.written >= RECORD_CLIENTS_MAX) {
                bound.held_back++;
                return false;
        }
        bound.written++;
        return true;
}

void record_reset(void) {
        bound = (struct bound){0};
}

void record_finish(void) {
        minute_end(clock_usec(CLOCK_MONOTONIC));
        journal_finish(FINISH_MSEC);
}

void record_listening(const char *where) {
        journal_send(LOG_INFO, "Accepting connections on %s\nMESSAGE_ID=" RECORD_LISTENING, where);
}

void record_connected(const struct session *session, uint64_t epoch) {
        char peer[PEER_TEXT_MAX];

        if (client_record_allowed())
                journal_send(LOG_INFO,
                             "Client %s connected\nMESSAGE_ID=" RECORD_CONNECTED "\n"
                             "PEER=%s\nSESSION=%" PRIx64 "-%" PRIu64,
                             peer_format(&session->peer, peer), peer, epoch, session->id);
}

void record_left(const struct session *session, uint64_t epoch) {
        const char *reason = session_reason(session->reason);
        char peer[PEER_TEXT_MAX];

        if (!client_record_allowed())
                return;
        if (session->reason == SESSION_LOST) /* with the worker went its counters */
                journal_send(LOG_INFO,
                             "Client %s left: lost with its worker\n"
                             "MESSAGE_ID=" RECORD_LEFT "\nPEER=%s\nSESSION=%" PRIx64 "-%" PRIu64
                             "\nREASON=%s\nDURATION_USEC=%" PRIu64,
                             peer_format(&session->peer, peer), peer, epoch, session->id, reason,
                             session->ended - session->since);
        else
                journal_send(LOG_INFO,
                             "Client %s left: %s, %" PRIu64 " lines\nMESSAGE_ID=" RECORD_LEFT "\n"
                             "PEER=%s\nSESSION=%" PRIx64 "-%" PRIu64 "\nREASON=%s\n"
                             "LINES=%" PRIu64 "\nBYTES_RECEIVED=%" PRIu64 "\nBYTES_SENT=%" PRIu64
                             "\nDURATION_USEC=%" PRIu64,
                             peer_format(&session->peer, peer), reason, session->lines, peer, epoch,
                             session->id, reason, session->lines, session->received, session->sent,
                             session->ended - session->since);
}

void record_worker_lost(pid_t pid, const char *how, size_t clients) {
        journal_send(LOG_ERR,
                     "Worker %d lost with %zu clients: %s\n"
                     "MESSAGE_ID=" RECORD_WORKER_LOST "\nWORKER_PID=%d\nCLIENTS=%zu\nCAUSE=%s",
                     (int)pid, clients, how, (int)pid, clients, how);
}

void record_sink_lost(pid_t pid, const char *how) {
        journal_send(LOG_ERR,
                     "Sink %d lost: %s\nMESSAGE_ID=" RECORD_SINK_LOST "\nSINK_PID=%d\nCAUSE=%s",
                     (int)pid, how, (int)pid, how);
}

void record_stuck(const char *what, pid_t pid) {
        journal_send(LOG_ERR,
                     "%s %d has not read its pair for long and is killed\n"
                     "MESSAGE_ID=" RECORD_STUCK "\nWORKER_PID=%d",
                     what, (int)pid, (int)pid);
}

void record_lost_unseen(uint64_t clients) {
        journal_send(LOG_ERR,
                     "%" PRIu64 " clients lost with workers that died while no acceptor ran\n"
                     "MESSAGE_ID=" RECORD_LOST_UNSEEN "\nCLIENTS=%" PRIu64,
                     clients, clients);
}

void record_adopted(size_t workers, size_t clients) {
        journal_send(LOG_INFO,
                     "Adopted %zu workers with %zu clients\n"
                     "MESSAGE_ID=" RECORD_ADOPTED "\nWORKERS=%zu\nCLIENTS=%zu",
                     workers, clients, workers, clients);
}

void record_draining(size_t clients) {
        journal_send(LOG_INFO, "Draining %zu clients\nMESSAGE_ID=" RECORD_DRAINING "\nCLIENTS=%zu",
                     clients, clients);
}

void record_full(size_t clients) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC);

        if (bound.full != 0 && now - bound.full < USEC_PER_MINUTE)
                return;
        bound.full = now;
        journal_send(LOG_WARNING,
                     "All %zu places are taken: more clients wait until one leaves\n"
                     "MESSAGE_ID=" RECORD_FULL "\nCLIENTS=%zu",
                     clients, clients);
}

void record_turned_away(const struct peer *peer, unsigned limit) {
        char text[PEER_TEXT_MAX];

        if (client_record_allowed())
                journal_send(LOG_NOTICE,
                             "Client %s turned away: its source has %u clients already\n"
                             "MESSAGE_ID=" RECORD_TURNED_AWAY "\nPEER=%s",
                             peer_format(peer, text), limit, text);
}

void record_limit(unsigned wanted, unsigned possible) {
        journal_send(LOG_NOTICE,
                     "Accepting at most %u clients, not %u: the workers can hold no more\n"
                     "MESSAGE_ID=" RECORD_LIMIT "\nCLIENTS=%u",
                     possible, wanted, possible);
}

void record_refused(const char *what, const char *advice) {
        journal_send(LOG_ERR, "%s: %s\nMESSAGE_ID=" RECORD_REFUSED, what, advice);
}

void record_fault(const char *what, int error) {
        uint64_t now = clock_usec(CLOCK_MONOTONIC);

        if (bound.fault != 0 && now - bound.fault < USEC_PER_SEC)
                return;
        bound.fault = now;
        journal_send(LOG_WARNING, "%s: %s\nMESSAGE_ID=" RECORD_FAULT "\nERRNO=%d", what,
                     strerror(-error), -error);
}
