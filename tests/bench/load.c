/* SPDX-License-Identifier: MIT */

/*
 * Load for an echo server on 127.0.0.1. Usage: load MODE PORT CLIENTS SECONDS [SIZE [HELD]]
 *
 *      rate      connect, echo one line, close: CLIENTS at a time; a round is all three
 *      pingpong  CLIENTS stay connected, and each sends a line when its last one has come back
 *      bulk      CLIENTS send as fast as they can, and read all back; a round is one line
 *      idle      CLIENTS connect, echo one line, say "ready", and stay until stdin ends
 *
 * Every byte that comes back is compared. SIZE is that of a line with its newline (default 64).
 * HELD clients more are connected before, and do nothing. The sources go round in 127.0.0.0/8,
 * since from each of them only so many connections can be in TIME_WAIT.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define EVENTS 256
#define SOURCES 200
#define WAVE 64             /* that connect at once where connecting is not what is measured */
#define STREAM (256 * 1024) /* bytes of lines, of which bulk sends whatever comes next */
#define PATIENCE_MSEC 10000

struct client {
        int fd;
        uint64_t began;          /* us; its round */
        uint64_t sent, received; /* bytes of this round; of all with bulk */
};

static struct {
        in_port_t port;
        size_t clients, held, size;
        int epoll;
        uint64_t end; /* us */
        char *stream; /* STREAM bytes of lines, twice */
} load;

static void watch(struct client *client, int operation, uint32_t events) {
        struct epoll_event event = {.events = events, .data.ptr = client};

        if (epoll_ctl(load.epoll, operation, client->fd, &event) < 0)
                fail("epoll_ctl");
}

static void dial(struct client *client) {
        static uint32_t source;
        struct sockaddr_in address = {.sin_family = AF_INET};
        int on = 1;

        *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
                                  .began = measure_now()};
        if (client->fd < 0)
                fail("socket");
        (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (++source % SOURCES << 8));
        if (bind(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                fail("bind");
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = load.port;
        if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
            errno != EINPROGRESS)
                fail("connect");
}

/* Sends the next n bytes, or as many as are taken now. */
static void send_some(struct client *client, size_t n) {
        ssize_t sent = send(client->fd, load.stream + client->sent % STREAM, n, MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN)
                fail("send");
        if (sent > 0)
                client->sent += (uint64_t)sent;
}

/* A line fits into the buffer of a socket that is empty. */
static void send_line(struct client *client) {
        send_some(client, load.size);
        if (client->sent != load.size)
                fail("send");
}

static void receive(struct client *client) {
        static char data[STREAM];
        ssize_t n = recv(client->fd, data, sizeof(data), 0);

        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0)
                fail("recv");
        if (memcmp(data, load.stream + client->received % STREAM, (size_t)n) != 0)
                fail("what came back");
        client->received += (uint64_t)n;
}

/* Speaks as soon as it is connected, which on loopback is at once unless the backlog is full. */
static void call(struct client *client) {
        dial(client);
        send_some(client, load.size);
        watch(client, EPOLL_CTL_ADD, client->sent > 0 ? EPOLLIN : EPOLLOUT);
}

/* Each of these is a client's turn; it returns false when the client is done. */

static bool turn_rate(struct client *client, uint32_t events) {
        if (events & EPOLLOUT) {
                send_line(client);
                watch(client, EPOLL_CTL_MOD, EPOLLIN);
                return true;
        }
        receive(client);
        if (client->received < load.size)
                return true;
        (void)close(client->fd);
        measure_round(client->began);
        if (measure_now() >= load.end)
                return false;
        call(client);
        return true;
}

static bool turn_pingpong(struct client *client, uint32_t events) {
        (void)events;
        receive(client);
        if (client->received < load.size)
                return true;
        measure_round(client->began);
        *client = (struct client){.fd = client->fd, .began = measure_now()};
        if (client->began >= load.end)
                return false;
        send_line(client);
        return true;
}

static bool turn_bulk(struct client *client, uint32_t events) {
        if (measure_now() >= load.end) {
                measure_count(client->received / load.size);
                watch(client, EPOLL_CTL_DEL, 0);
                return false;
        }
        if (events & EPOLLOUT)
                send_some(client, STREAM);
        if (events & EPOLLIN)
                receive(client);
        return true;
}

static void serve(bool (*turn)(struct client *client, uint32_t events)) {
        struct epoll_event events[EVENTS];
        size_t clients = load.clients;

        while (clients > 0) {
                int n = epoll_wait(load.epoll, events, EVENTS, PATIENCE_MSEC);

                if (n == 0)
                        fail("no answer");
                for (int i = 0; i < n; i++)
                        clients -= !turn(events[i].data.ptr, events[i].events);
        }
}

static void wait_for(struct client *client, short events) {
        struct pollfd polled = {.fd = client->fd, .events = events};

        if (poll(&polled, 1, PATIENCE_MSEC) != 1)
                fail("no answer");
}

/* They connect, and each gets a line back: from then on it is served. */
static void connect_all(struct client *clients, size_t n) {
        for (size_t first = 0; first < n; first += WAVE) {
                size_t end = first + WAVE < n ? first + WAVE : n;

                for (size_t i = first; i < end; i++) {
                        dial(&clients[i]);
                        wait_for(&clients[i], POLLOUT);
                        send_line(&clients[i]);
                }
                for (size_t i = first; i < end; i++)
                        while (clients[i].received < load.size) {
                                wait_for(&clients[i], POLLIN);
                                receive(&clients[i]);
                        }
        }
}

static void rate(struct client *clients) {
        for (size_t i = 0; i < load.clients; i++)
                call(&clients[i]);
        serve(turn_rate);
}

static void pingpong(struct client *clients) {
        for (size_t i = 0; i < load.clients; i++) {
                clients[i] = (struct client){.fd = clients[i].fd, .began = measure_now()};
                watch(&clients[i], EPOLL_CTL_ADD, EPOLLIN);
                send_line(&clients[i]);
        }
        serve(turn_pingpong);
}

static void bulk(struct client *clients) {
        for (size_t i = 0; i < load.clients; i++) {
                clients[i] = (struct client){.fd = clients[i].fd};
                watch(&clients[i], EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
        }
        serve(turn_bulk);
}

static void idle(struct client *clients) {
        (void)clients;
        puts("ready");
        (void)fflush(stdout);
        (void)getchar();
}

static const struct mode {
        const char *name;
        bool connected; /* its clients are, before it begins */
        void (*run)(struct client *clients);
} modes[] = {
        {"rate", false, rate},
        {"pingpong", true, pingpong},
        {"bulk", true, bulk},
        {"idle", true, idle},
};

static void run(const struct mode *mode, double seconds) {
        struct client *clients = calloc(load.clients + load.held + 1, sizeof(*clients));
        uint64_t began;

        if (clients == NULL)
                fail("memory");
        connect_all(clients + load.clients, load.held);
        if (mode->connected)
                connect_all(clients, load.clients);
        began = measure_now();
        load.end = began + (uint64_t)(seconds * 1e6);
        mode->run(clients);
        measure_print((double)(measure_now() - began) / 1e6);
}

static void prepare(void) {
        struct rlimit files;

        if (load.size == 0 || STREAM % load.size != 0)
                fail("SIZE must divide 262144");
        load.epoll = epoll_create1(EPOLL_CLOEXEC);
        load.stream = malloc(2 * (size_t)STREAM);
        if (load.epoll < 0 || load.stream == NULL || getrlimit(RLIMIT_NOFILE, &files) < 0)
                fail("start");
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        /* No two lines in a row are the same, so that one that is lost or moved is noticed. */
        for (size_t i = 0; i < 2 * STREAM; i++)
                load.stream[i] =
                        (i + 1) % load.size == 0 ? '\n' : (char)('!' + i % STREAM / load.size % 90);
}

int main(int argc, char **argv) {
        if (argc < 5)
                fail("usage: load MODE PORT CLIENTS SECONDS [SIZE [HELD]]");
        load.port = htons((in_port_t)atoi(argv[2]));
        load.clients = (size_t)atol(argv[3]);
        load.size = argc > 5 ? (size_t)atol(argv[5]) : 64;
        load.held = argc > 6 ? (size_t)atol(argv[6]) : 0;
        prepare();
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
                if (strcmp(argv[1], modes[i].name) == 0) {
                        run(&modes[i], atof(argv[4]));
                        return EXIT_SUCCESS;
                }
        fail("no such MODE");
}
