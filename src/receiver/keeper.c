/* SPDX-License-Identifier: MIT */
#include "keeper.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffer.h"
#include "cleanup.h"
#include "clock.h"
#include "draft.h"
#include "pair.h"
#include "record.h"
#include "roster.h"
#include "settings.h"
#include "worker.h"

#define PAUSE (100 * USEC_PER_MSEC)
#define PING (9 * USEC_PER_SEC) /* at the earliest; the acceptor's each 10 s bring a round */
#define UNHEARD_MAX 3

/* One per process. */
static struct {
        pid_t pid; /* the Buffer; 0: there is none */
        int pair;
        bool opened;        /* the drafts */
        bool waiting;       /* a client may not have been handed on yet */
        bool draining;      /* the Buffer has been told to */
        uint64_t delivered; /* deliveries by all Buffers before the one that lives */
        bool vain;          /* the last one died without having delivered anything */
        uint64_t again;     /* us; no other Buffer before */
        uint64_t pinged;    /* us */
        unsigned unheard; /* pings in a row before which it had neither read all nor said a word */
} keeper = {.pair = -1};

void keeper_come(struct client *client) {
        if (client->session.slot >= ROSTER_MAX) {
                client_end(client, SESSION_ERROR);
                return;
        }
        if (keeper.opened) /* a new one is empty */
                draft_reset(&client->session);
        client->waiting = 1;
        keeper.waiting = true;
}

/* Wakes the worker for its next round. */
static int watch(struct worker *worker, int operation, int fd, uint32_t events) {
        struct epoll_event event = {.events = events};

        return epoll_ctl(worker->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

static int start(struct worker *worker) {
        CLEANUP(fd_close) int ours = -1;
        CLEANUP(fd_close) int its = -1;
        int r = keeper.opened ? 0 : drafts_open(settings.line_max + 2); /* with CR and newline */
        pid_t pid;

        keeper.opened = r == 0;
        if (r == 0)
                r = pair_open(&ours, &its);
        if (r == 0)
                r = watch(worker, EPOLL_CTL_ADD, ours, EPOLLIN);
        if (r < 0)
                return r;
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                buffer_main(worker, its);
        keeper.pid = pid;
        keeper.pair = TAKE_FD(ours);
        keeper.delivered = *drafts_deliveries();
        keeper.draining = false;
        keeper.pinged = worker->now;
        keeper.unheard = 0;
        return 0;
}

static struct client *find(struct worker *worker, const struct session *session) {
        struct client *client;

        TAILQ_FOREACH (client, &worker->clients, link)
                if (client->session.slot == session->slot && client->session.id == session->id)
                        break;
        return client;
}

static void hear(struct worker *worker) {
        struct pair_message message;
        struct client *client;
        int r;

        while ((r = pair_receive(keeper.pair, &message)) == 1 || r == -ECONNRESET) {
                keeper.unheard = 0;
                for (size_t i = 0; r == 1 && i < message.count; i++) {
                        client = find(worker, &message.sessions[i]);
                        if (message.type != PAIR_LEFT || client == NULL)
                                continue;
                        worker->progress = true;
                        client->session.lines = message.sessions[i].lines;
                        client->session.received = message.sessions[i].received;
                        client_end(client, message.sessions[i].reason);
                }
        }
}

/* What a Buffer has not reported before it died is all in the sockets and the drafts. */
static void bury(struct worker *worker) {
        struct client *client;
        bool in_vain = *drafts_deliveries() == keeper.delivered;

        hear(worker);
        worker->progress = true;
        fd_close(&keeper.pair);
        keeper.pid = 0;
        keeper.again = worker->now + (in_vain && keeper.vain ? PAUSE : 0);
        keeper.vain = in_vain;
        TAILQ_FOREACH (client, &worker->clients, link)
                client->waiting = 1;
        keeper.waiting = true;
}

/* A Buffer that is stopped or loops would keep its clients waiting for ever. */
static void look_after(struct worker *worker) {
        if (worker->now - keeper.pinged < PING)
                return;
        keeper.pinged = worker->now;
        keeper.unheard = pair_is_heard(keeper.pair) ? 0 : keeper.unheard + 1;
        if (keeper.unheard >= UNHEARD_MAX) {
                worker_open_journal(worker);
                record_stuck("Buffer", keeper.pid);
                (void)kill(keeper.pid, SIGKILL);
        }
        (void)pair_send(keeper.pair, PAIR_PING, NULL, 0, -1);
}

/* Returns whether every client has been handed on. */
static bool hand_on(struct worker *worker) {
        struct client *client;
        int r = 0;

        if (!keeper.waiting)
                return true;
        TAILQ_FOREACH (client, &worker->clients, link) {
                if (client->waiting == 0)
                        continue;
                r = pair_send(keeper.pair, PAIR_CLIENT, &client->session, 1, client->fd);
                if (r < 0)
                        break;
                client->waiting = 0;
        }
        keeper.waiting = r < 0;
        (void)watch(worker, EPOLL_CTL_MOD, keeper.pair, EPOLLIN | (r == -EAGAIN ? EPOLLOUT : 0));
        if (r < 0 && r != -EAGAIN)
                worker_look_by(worker, worker->now + PAUSE);
        return r == 0;
}

void keeper_round(struct worker *worker) {
        int r;

        if (keeper.pid > 0) {
                hear(worker);
                if (waitpid(keeper.pid, NULL, WNOHANG) == keeper.pid)
                        bury(worker);
                else
                        look_after(worker);
        }
        if (keeper.pid == 0 && worker->draining && TAILQ_EMPTY(&worker->clients))
                return;
        if (keeper.pid == 0 && worker->now >= keeper.again && (r = start(worker)) < 0) {
                worker_open_journal(worker);
                record_fault("Cannot start a Buffer, trying again", r);
                keeper.again = worker->now + PAUSE;
        }
        if (keeper.pid == 0) {
                worker_look_by(worker, keeper.again);
                return;
        }
        if (hand_on(worker) && worker->draining && !keeper.draining)
                keeper.draining = shutdown(keeper.pair, SHUT_WR) == 0;
}
