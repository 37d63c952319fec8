/* SPDX-License-Identifier: MIT */
#include "buffer.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "client.h"
#include "delivery.h"
#include "draft.h"
#include "settings.h"
#include "worker.h"

static struct {
        uint32_t pass; /* 0: not opened yet. Who finds the feed full in pass N is served in N + 1,
                          so that nobody overtakes those who wait already */
        bool blocked;  /* somebody waits */
} buffer;

/* Bytes in the receive queue, and a FIN, even one that was read already. An empty queue may have an
 * error instead, which is told once. */
static unsigned look_at_queue(struct client *client) {
        union {
                struct cmsghdr header;
                char space[256]; /* a socket unit may ask for more, as by Timestamping= */
        } control;
        char first;
        struct iovec part = {&first, 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        unsigned n = 0;

        if (recvmsg(client->fd, &message, MSG_PEEK | MSG_DONTWAIT) < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        client->session.reason = SESSION_RESET;
                return 0;
        }
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c))
                if (c->cmsg_level == IPPROTO_TCP && c->cmsg_type == TCP_CM_INQ)
                        memcpy(&n, CMSG_DATA(c), sizeof(n));
        return n;
}

/* How much of the client's stream was dropped before: what came, less what is in the queue. The
 * kernel counts the FIN among both (SIOCINQ does not, nor does it tell whether there was one). */
static uint64_t stream_offset(struct client *client) {
        struct tcp_info info = {0};
        socklen_t length = sizeof(info);
        uint64_t before;
        unsigned n;
        int on = 1;

        (void)setsockopt(client->fd, IPPROTO_TCP, TCP_INQ, &on, sizeof(on));
        do { /* until nothing has come in between; the window is full before long */
                before = info.tcpi_bytes_received;
                n = look_at_queue(client);
                (void)getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &info, &length);
        } while (info.tcpi_bytes_received != before);
        return info.tcpi_bytes_received - n;
}

static void come(struct client *client) {
        client->session.received = stream_offset(client);
        client->session.lines = draft_of(&client->session)->lines;
}

/* The feed is full: the client is read again when there is room. */
static void await_feed(struct client *client) {
        struct epoll_event room = {.events = EPOLLOUT | EPOLLONESHOT};

        if (client->waiting == 0) {
                client->waiting = buffer.pass + 1;
                client_watch(client, EPOLLET); /* an error is told once */
        }
        buffer.blocked = true;
        (void)epoll_ctl(client->worker->epoll, EPOLL_CTL_MOD, WORKER_FEED_FD, &room);
}

/* Of a line that began in the draft, or of lines in the queue; offset is where they begin. Returns
 * whether it is in the feed. */
static bool deliver(struct client *client, uint64_t offset, uint64_t cut_from, bool tail,
                    struct iovec draft, struct iovec queue) {
        struct delivery delivery = {.version = DELIVERY_VERSION,
                                    .peer = client->session.peer,
                                    .epoch = client->worker->epoch,
                                    .id = client->session.id,
                                    .offset = offset,
                                    .length = cut_from};
        struct iovec parts[] = {{&delivery, sizeof(delivery)}, draft, queue};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};

        delivery.flags = (uint16_t)((cut_from > 0 ? DELIVERY_CUT : 0) | (tail ? DELIVERY_TAIL : 0));
        if (sendmsg(WORKER_FEED_FD, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
                await_feed(client);
                return false;
        }
        (*drafts_deliveries())++;
        return true;
}

/* Counts the lines in n bytes at `offset`, but for those that the last Buffer had counted. */
static void count_lines(struct client *client, uint64_t offset, const char *data, size_t n) {
        struct draft *draft = draft_of(&client->session);

        for (size_t i = draft->counted > offset ? (size_t)(draft->counted - offset) : 0; i < n; i++)
                client->session.lines += data[i] == '\n';
        draft->lines = client->session.lines;
        if (draft->counted < offset + n)
                draft->counted = offset + n;
}

/* The rest of the line in the draft, and what comes after it; or all of it, if it is the last one.
 */
static size_t finish_line(struct client *client, const char *data, size_t n, bool last) {
        const struct session *session = &client->session;
        uint64_t start = draft_of(session)->start, begun = session->received - start, cut_from = 0;
        const char *newline = memchr(data, '\n', n);
        size_t rest = newline != NULL ? (size_t)(newline - data) + 1 : n;
        struct iovec draft = {(void *)draft_text(session), begun}, queue = {(void *)data, rest};

        if (newline == NULL && !last) {
                draft_keep(session, session->received, data, n);
                return n;
        }
        if (begun + rest > settings.line_max + 2) { /* with a CR and the newline */
                cut_from = begun + rest - (newline != NULL);
                if (begun > settings.line_max)
                        draft.iov_len = settings.line_max;
                queue.iov_len = settings.line_max - draft.iov_len;
        }
        if (!deliver(client, start, cut_from, newline == NULL, draft, queue))
                return 0;
        count_lines(client, session->received, data, rest);
        draft_end(session, session->received + rest);
        return rest;
}

/* n bytes at the queue's head, or behind what is delivered already. Returns how many are done with;
 * 0: the feed is full. With `last`, no more will come. */
static size_t begin_lines(struct client *client, uint64_t offset, const char *data, size_t n,
                          bool last) {
        const char *newline = memrchr(data, '\n', n);
        size_t whole = newline != NULL ? (size_t)(newline - data) + 1 : n;

        if (newline == NULL && !last) {
                draft_keep(&client->session, offset, data, n);
                return n;
        }
        if (!deliver(client, offset, 0, newline == NULL, (struct iovec){0},
                     (struct iovec){(void *)data, whole}))
                return 0;
        count_lines(client, offset, data, whole);
        return whole;
}

static size_t process(struct client *client, const char *data, size_t n, bool last) {
        size_t done = 0, more = 1;

        /* The draft has room for one line: nothing is begun before this one is dropped. */
        if (draft_is_open(draft_of(&client->session), client->session.received))
                return finish_line(client, data, n, last);
        /* If a Buffer has died that kept a beginning: it did not drop it, all of it is in data. */
        draft_end(&client->session, client->session.received);
        for (; done < n && more > 0; done += more)
                more = begin_lines(client, client->session.received + done, data + done, n - done,
                                   last);
        return done;
}

static void take_turn(struct client *client) {
        struct lines *scratch = &client->worker->scratch;
        bool draining = client->state == CLIENT_DRAINING;
        size_t most = draining && client->quota < scratch->size ? client->quota : scratch->size;
        bool reads = client->state != CLIENT_FINISHING;
        ssize_t n = reads ? client_peek(client, scratch->data, most) : 0;
        bool last = n == 0 || (draining && (size_t)n == client->quota);
        size_t done;

        if (n < 0)
                return;
        done = process(client, scratch->data, (size_t)n, last);
        if (done > 0)
                client_drop(client, done);
        client->closed |= reads && n == 0;
        if (client->waiting == 0 && (n == 0 || (draining && client->quota == 0)))
                client_finish(client);
}

/* Nobody overtakes those who wait for the feed. */
static void turn(struct client *client) {
        if (buffer.blocked)
                await_feed(client);
        else
                take_turn(client);
}

/* What was begun goes into the feed first; while that is full, more may come. */
static void expire(struct client *client) {
        if (buffer.blocked) {
                turn(client);
                return;
        }
        client->session.reason = SESSION_TIMEOUT;
        client->closed = true;
        client->state = CLIENT_FINISHING;
        take_turn(client);
        if (client->waiting == 0 || client->state == CLIENT_ENDED)
                return;
        client->session.reason = SESSION_EOF;
        client->closed = false;
        client->state = CLIENT_OPEN;
}

/* Gives all that wait for this pass a turn. Returns false when the feed is full again. */
static bool serve_waiting(struct worker *worker) {
        struct client *next;

        for (struct client *client = TAILQ_FIRST(&worker->clients); client != NULL; client = next) {
                uint32_t waited = client->waiting;

                next = TAILQ_NEXT(client, link);
                if (waited == 0 || waited > buffer.pass)
                        continue;
                client->waiting = 0;
                take_turn(client);
                if (client->state == CLIENT_ENDED)
                        continue;
                if (client->waiting != 0) {
                        client->waiting = waited;
                        return false;
                }
                client_watch(client, EPOLLIN);
        }
        return true;
}

static void serve_feed(struct worker *worker) {
        struct client *client;

        while (buffer.blocked && serve_waiting(worker)) {
                buffer.pass++;
                buffer.blocked = false;
                TAILQ_FOREACH (client, &worker->clients, link)
                        buffer.blocked |= client->waiting != 0;
        }
}

static void open_feed(struct worker *worker) {
        struct epoll_event feed = {.events = EPOLLONESHOT}; /* not yet */
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigprocmask(SIG_SETMASK, &set, NULL); /* SIGTERM just ends it, like any other death */
        if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, WORKER_FEED_FD, &feed) < 0)
                exit(EXIT_FAILURE);
        buffer.pass = 1;
}

static void play_round(struct worker *worker) {
        if (buffer.pass == 0)
                open_feed(worker);
        serve_feed(worker);
}

_Noreturn void buffer_main(struct worker *keeper, int pair) {
        static struct service service;
        static struct options options;

        service = (struct service){.program = keeper->service->program,
                                   .turn = turn,
                                   .come = come,
                                   .expire = expire,
                                   .round = play_round};
        options = *keeper->options;
        options.log_level = -1; /* its keeper writes the records */
        worker_main(&service, &options, pair, WORKER_FEED_FD, keeper->epoch);
}
