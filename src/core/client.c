/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "clock.h"
#include "worker.h"

/* Closing alone would not do: epoll follows the open file, of which the acceptor may still have a
 * copy for a moment, and would report a client that is no more. */
static void release(struct client *client) {
        if (client->fd >= 0)
                (void)epoll_ctl(client->worker->epoll, EPOLL_CTL_DEL, client->fd, NULL);
        fd_close(&client->fd);
        free(client->own);
        client->own = NULL;
}

void client_free(struct client *client) {
        release(client);
        free(client);
}

void client_end(struct client *client, enum session_reason reason) {
        client->session.reason = reason;
        client->session.ended = clock_usec(CLOCK_MONOTONIC);
        client->state = CLIENT_ENDED;
        release(client);
        client->worker->progress = true;
        worker_ended(client->worker, client);
}

/* After how long without progress it may have timed out, us; 0: never, as nobody here would see
 * any. What the kernel took may still be owed to a client that is read from. */
static uint64_t client_patience(const struct client *client) {
        const struct options *options = client->worker->options;

        if (client->worker->service->turn == NULL)
                return 0;
        return client->events == EPOLLOUT ? options->send_timeout : options_least_timeout(options);
}

static void client_time(struct client *client) {
        uint64_t patience = client_patience(client);

        if (patience > 0)
                worker_look_by(client->worker, client->worker->now + patience);
}

struct client *client_new(struct worker *worker, const struct session *session, int fd) {
        CLEANUP(fd_close) int owned = fd;
        struct client *client = malloc(sizeof(*client));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};

        if (client == NULL)
                return NULL;
        *client = (struct client){.worker = worker,
                                  .fd = TAKE_FD(owned),
                                  .events = EPOLLIN,
                                  .active = worker->now,
                                  .session = *session};
        client_time(client);
        TAILQ_INSERT_TAIL(&worker->clients, client, link);
        if (worker->service->turn != NULL &&
            epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                client_end(client, SESSION_ERROR);
        return client;
}

/* A broken connection is the client's doing; anything else is ours. */
static enum session_reason reason_of(int error) {
        bool broken = error == ECONNRESET || error == EPIPE || error == ETIMEDOUT ||
                      error == EHOSTUNREACH || error == ENETUNREACH || error == ECONNABORTED;

        return broken ? SESSION_RESET : SESSION_ERROR;
}

static bool is_transient(int error) {
        return error == EAGAIN || error == EINTR;
}

bool client_is_read(const struct client *client) {
        return client->events == EPOLLIN &&
               (client->state == CLIENT_OPEN || client->state == CLIENT_DRAINING);
}

size_t client_receive(struct client *client, void *data, size_t n) {
        bool draining = client->state == CLIENT_DRAINING;
        ssize_t received;

        if (draining && n > client->quota)
                n = client->quota;
        received = recv(client->fd, data, n, MSG_DONTWAIT);
        if (received < 0) {
                if (!is_transient(errno))
                        client_end(client, reason_of(errno));
                return 0;
        }
        client->closed = received == 0;
        client->active = client->worker->now;
        client->worker->progress = true;
        client->session.received += (uint64_t)received;
        if (draining)
                client->quota -= (uint32_t)received;
        if (client->closed || (draining && client->quota == 0))
                client->state = CLIENT_FINISHING;
        return (size_t)received;
}

ssize_t client_peek(struct client *client, void *data, size_t n) {
        ssize_t peeked = recv(client->fd, data, n, MSG_PEEK | MSG_DONTWAIT);

        if (peeked >= 0 || is_transient(errno))
                return peeked;
        client->session.reason = reason_of(errno);
        return 0;
}

void client_drop(struct client *client, size_t n) {
        ssize_t dropped = recv(client->fd, NULL, n, MSG_TRUNC | MSG_DONTWAIT); /* tcp(7): no copy */

        if (dropped <= 0)
                return;
        client->active = client->worker->now;
        client->worker->progress = true;
        client->session.received += (uint64_t)dropped;
        if (client->state == CLIENT_DRAINING)
                client->quota -= (uint32_t)dropped;
}

size_t client_send(struct client *client, const void *data, size_t n) {
        ssize_t sent = send(client->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0) {
                if (!is_transient(errno))
                        client_end(client, reason_of(errno));
                return 0;
        }
        client->active = client->worker->now;
        client->worker->progress = true;
        client->session.sent += (uint64_t)sent;
        return (size_t)sent;
}

static int unsent(const struct client *client) {
        int bytes = 0;

        (void)ioctl(client->fd, SIOCOUTQ, &bytes);
        return bytes;
}

void client_watch(struct client *client, uint32_t events) {
        struct epoll_event event = {.events = events, .data.ptr = client};

        client->events = events;
        if (epoll_ctl(client->worker->epoll, EPOLL_CTL_MOD, client->fd, &event) < 0)
                client_end(client, SESSION_ERROR);
}

void client_wait_writable(struct client *client, bool writable) {
        uint32_t events = writable ? EPOLLOUT : EPOLLIN;

        if (client->events == events)
                return;
        client_watch(client, events);
        if (client->state == CLIENT_ENDED)
                return;
        client->unsent = unsent(client);
        client_time(client);
}

/* A large send buffer may take long to be writable again, or empty: that it shrinks is progress.
 * Who is owed nothing at all is silent, unless it has not been heard yet; and it may be silent
 * where there is no timeout for that. Returns how long it may go on so. */
static uint64_t look_at(struct client *client, uint64_t now) {
        const struct options *options = client->worker->options;
        int left = unsent(client), unread = 0;
        bool owed = left > 0 || client->events == EPOLLOUT;

        if (client->events == EPOLLIN)
                (void)ioctl(client->fd, FIONREAD, &unread);
        if (unread > 0 || (left != client->unsent && owed) || (!owed && options->idle_timeout == 0))
                client->active = now;
        client->unsent = left;
        return owed || options->idle_timeout == 0 ? options->send_timeout : options->idle_timeout;
}

uint64_t client_expire(struct client *client, uint64_t now) {
        uint64_t patience = client_patience(client), limit;

        if (patience == 0 || client->state == CLIENT_LINGERING)
                return UINT64_MAX;
        if (client->waiting != 0) /* that is not its fault */
                client->active = now;
        if (now - client->active < patience)
                return client->active + patience;
        limit = look_at(client, now);
        if (now - client->active < limit)
                return client->active + limit < now + patience ? client->active + limit
                                                               : now + patience;
        if (client->worker->service->expire != NULL)
                client->worker->service->expire(client);
        else
                client_end(client, SESSION_TIMEOUT);
        return client->state == CLIENT_OPEN ? now + patience : UINT64_MAX;
}

void client_finish(struct client *client) {
        if (client->closed) {
                client_end(client, client->session.reason); /* SESSION_EOF unless it broke */
                return;
        }
        client->state = CLIENT_LINGERING;
        client_wait_writable(client, false);
        (void)shutdown(client->fd, SHUT_WR);
}

void client_drain(struct client *client) {
        int queued = 0;

        if (client->state != CLIENT_OPEN)
                return;
        if (ioctl(client->fd, FIONREAD, &queued) < 0 || queued <= 0) {
                client->state = CLIENT_FINISHING;
                return;
        }
        client->state = CLIENT_DRAINING;
        client->quota = (uint32_t)queued;
}

void client_discard(struct client *client) {
        struct lines *scratch = &client->worker->scratch;
        ssize_t n = recv(client->fd, scratch->data, scratch->size, MSG_DONTWAIT);

        client->worker->progress |= n > 0;
        if (n == 0 || (n < 0 && !is_transient(errno)))
                client_end(client, SESSION_DRAIN);
}
