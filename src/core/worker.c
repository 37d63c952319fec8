/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "journal.h"
#include "pair.h"
#include "record.h"

#define OOM_SCORE_ADJ "200" /* as if it used a fifth of all memory more; proc(5) */
#define EVENTS 64
#define VAIN_MAX 16
#define LOOK_PAUSE (50 * USEC_PER_MSEC)
#define LOOKS 64 /* during a timeout, at most */
#define KEEPER_EXTRA (500 * USEC_PER_MSEC)

static void turn(struct worker *worker, struct client *client) {
        if (client->state == CLIENT_LINGERING)
                client_discard(client);
        else if (client->state != CLIENT_ENDED && worker->service->turn != NULL)
                worker->service->turn(client);
}

void worker_ended(struct worker *worker, struct client *client) {
        TAILQ_REMOVE(&worker->clients, client, link);
        TAILQ_INSERT_TAIL(&worker->ended, client, link);
}

/* A client may end in its turn, so the next one is noted before. */
static void drain_all(struct worker *worker) {
        struct client *next;

        for (struct client *client = TAILQ_FIRST(&worker->clients); client != NULL; client = next) {
                next = TAILQ_NEXT(client, link);
                client_drain(client);
                turn(worker, client);
        }
}

static void end_all(struct worker *worker) {
        struct client *client;

        while ((client = TAILQ_FIRST(&worker->clients)) != NULL)
                client_end(client, SESSION_TIMEOUT);
}

static void start_draining(struct worker *worker) {
        struct client *client;
        size_t clients = 0;

        if (worker->draining)
                return;
        worker->draining = true;
        worker->deadline = worker->now + worker->options->drain_timeout;
        if (worker->service->turn == NULL) /* who serves them for it drains later, and tells more */
                worker->deadline += KEEPER_EXTRA;
        worker_open_journal(worker);
        TAILQ_FOREACH (client, &worker->clients, link)
                clients++;
        if (clients > 0)
                record_draining(clients);
        drain_all(worker);
}

static void retire(struct worker *worker, const struct pair_message *message) {
        struct client *client;

        worker->retiring = worker->rolling = true;
        worker->call = message->count > 0 ? message->sessions[0] : (struct session){0};
        TAILQ_FOREACH (client, &worker->clients, link)
                client->rolled = false;
}

static void take_client(struct worker *worker, struct pair_message *message) {
        struct session *session = &message->sessions[0];
        struct client *client = client_new(worker, session, TAKE_FD(message->fd));

        if (client == NULL) {
                session->reason = SESSION_ERROR;
                session->ended = clock_usec(CLOCK_MONOTONIC);
                (void)worker_say(worker, PAIR_LEFT, session, 1);
                return;
        }
        if (worker->service->come != NULL && client->state != CLIENT_ENDED)
                worker->service->come(client);
        if (worker->draining)
                client_drain(client);
        turn(worker, client); /* most have said something by now */
}

static int hear(struct worker *worker) {
        struct pair_message message;
        int r = pair_receive(worker->pair, &message);

        worker->progress |= r >= 0;
        switch (r) {
        case 1:
                if (message.type == PAIR_CLIENT)
                        take_client(worker, &message);
                else if (message.type == PAIR_RETIRE)
                        retire(worker, &message);
                break;
        case 0:
                if (!worker->listening)
                        break;
                worker->listening = false;
                worker_watch_pair(worker);
                start_draining(worker);
                break;
        case -ECONNRESET:
                worker->unheard |= pair_is_hung_up(worker->pair);
                break;
        case -EPROTO: /* a newer acceptor; whatever it wants, these are no clients of its */
                worker->retiring = true;
                break;
        default:
                break;
        }
        return r;
}

static void on_pair(struct worker *worker, uint32_t events) {
        int r;

        do
                r = hear(worker);
        while (worker->leaving && (r == 1 || r == -ECONNRESET)); /* edge-triggered then */
        if (events & EPOLLHUP)
                worker_record_told(worker);
}

/* SIGTERM. From here on the acceptor cannot send; what it had sent is read to its end. */
static void stop(struct worker *worker) {
        struct signalfd_siginfo info;

        (void)read(worker->signals, &info, sizeof(info));
        (void)shutdown(worker->pair, SHUT_RD);
        start_draining(worker);
}

/* Whoever leaves before its reports are read takes them along: systemd drops a pair that hangs up.
 */
static bool is_done(struct worker *worker) {
        if (!TAILQ_EMPTY(&worker->clients) || !TAILQ_EMPTY(&worker->ended) || worker->rolling ||
            (worker->listening && !worker->retiring))
                return false;
        if (TAILQ_EMPTY(&worker->told) || pair_is_heard(worker->pair))
                return true;
        if (!worker->leaving) {
                worker->leaving = true;
                worker_watch_pair(worker);
        }
        return false;
}

void worker_look_by(struct worker *worker, uint64_t when) {
        if (when < worker->look)
                worker->look = when;
}

/* Looks at every client, but not more often than a timeout needs, or each LOOK_PAUSE. */
static void expire(struct worker *worker) {
        uint64_t pause = options_least_timeout(worker->options) / LOOKS;
        struct client *next;

        worker->look = UINT64_MAX;
        for (struct client *client = TAILQ_FIRST(&worker->clients); client != NULL; client = next) {
                next = TAILQ_NEXT(client, link);
                worker_look_by(worker, client_expire(client, worker->now));
        }
        if (pause < LOOK_PAUSE)
                pause = LOOK_PAUSE;
        if (worker->look < worker->now + pause)
                worker->look = worker->now + pause;
}

/* Milliseconds to wait at most; -1: as long as it takes. */
static int wait_msec(const struct worker *worker) {
        uint64_t until = worker->look, now, left;

        if (worker->draining && !TAILQ_EMPTY(&worker->clients) && worker->deadline < until)
                until = worker->deadline;
        if (until == UINT64_MAX)
                return -1;
        now = clock_usec(CLOCK_MONOTONIC);
        left = until > now ? until - now : 0;
        if (left > USEC_PER_HOUR)
                left = USEC_PER_HOUR;
        return (int)((left + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

/* The kernel reports what is ready until it is dealt with; where that is not possible for now (a
 * call fails, memory is short), the loop must not take the processor for itself. */
static void breathe(struct worker *worker) {
        static const struct timespec breath = {.tv_nsec = 1000000};

        worker->vain = worker->progress ? 0 : worker->vain + 1;
        if (worker->vain >= VAIN_MAX)
                (void)nanosleep(&breath, NULL);
        worker->progress = false;
}

static void play_round(struct worker *worker) {
        if (worker->service->round != NULL)
                worker->service->round(worker);
}

static void loop(struct worker *worker) {
        struct epoll_event events[EVENTS];

        play_round(worker);
        while (!is_done(worker)) {
                int n = epoll_wait(worker->epoll, events, EVENTS, wait_msec(worker));
                worker->now = clock_usec(CLOCK_MONOTONIC);
                for (int i = 0; i < n; i++)
                        if (events[i].data.ptr == &worker->pair)
                                on_pair(worker, events[i].events);
                        else if (events[i].data.ptr == &worker->signals)
                                stop(worker);
                        else if (events[i].data.ptr != NULL)
                                turn(worker, events[i].data.ptr);
                if (worker->now >= worker->look)
                        expire(worker);
                if (worker->draining && worker->now >= worker->deadline)
                        end_all(worker);
                play_round(worker);
                worker_report(worker);
                worker_call_roll(worker);
                breathe(worker);
        }
}

static int open_signals(void) {
        sigset_t set;

        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGHUP, SIG_IGN);
        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigprocmask(SIG_SETMASK, &set, NULL);
        return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool open_loop(struct worker *worker) {
        struct epoll_event pair = {.events = EPOLLIN, .data.ptr = &worker->pair};
        struct epoll_event signals = {.events = EPOLLIN, .data.ptr = &worker->signals};

        worker->epoll = epoll_create1(EPOLL_CLOEXEC);
        worker->signals = open_signals();
        worker->scratch.data = malloc(WORKER_BUFFER);
        worker->scratch.size = WORKER_BUFFER;
        return worker->epoll >= 0 && worker->signals >= 0 && worker->scratch.data != NULL &&
               epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->pair, &pair) == 0 &&
               epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->signals, &signals) == 0;
}

int worker_run(const struct service *service, const struct options *options, int pair,
               uint64_t epoch) {
        struct worker worker = {.service = service,
                                .options = options,
                                .epoch = epoch,
                                .pair = pair,
                                .signals = -1,
                                .epoll = -1,
                                .listening = true,
                                .look = UINT64_MAX};
        int status = open_loop(&worker) ? EXIT_SUCCESS : errno;

        TAILQ_INIT(&worker.clients);
        TAILQ_INIT(&worker.ended);
        TAILQ_INIT(&worker.told);
        if (status == EXIT_SUCCESS)
                loop(&worker);
        worker_forget_told(&worker);
        record_finish();
        fd_close(&worker.epoll);
        fd_close(&worker.signals);
        fd_close(&worker.pair);
        free(worker.scratch.data);
        return status;
}

/* The kernel, when memory runs out, shall take a worker with its clients before the acceptor. */
static void raise_badness(void) {
        CLEANUP(fd_close) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0)
                (void)write(fd, OOM_SCORE_ADJ, strlen(OOM_SCORE_ADJ));
}

/* After a bare fork(2) close-on-exec does nothing: a copy of a listening socket or of another
 * worker's pair must not stay. */
void worker_become(int pair, int feed) {
        int copy = feed < 0 ? -1 : fcntl(feed, F_DUPFD, WORKER_FEED_FD + 1);

        journal_close();
        record_reset();
        if (dup2(pair, WORKER_PAIR_FD) < 0 || (feed >= 0 && dup2(copy, WORKER_FEED_FD) < 0) ||
            close_range(feed < 0 ? WORKER_FEED_FD : WORKER_FEED_FD + 1, ~0U, 0) < 0)
                exit(errno);
}

_Noreturn void worker_main(const struct service *service, const struct options *options, int pair,
                           int feed, uint64_t epoch) {
        worker_become(pair, feed);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* what is written there is the sink's alone */
        raise_badness();
        /* Not _exit(): leak checkers want to see the end of a worker, too. */
        exit(worker_run(service, options, WORKER_PAIR_FD, epoch));
}
