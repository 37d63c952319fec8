/* SPDX-License-Identifier: MIT */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "cleanup.h"
#include "clock.h"
#include "ledger.h"
#include "record.h"

static int refuse(int fd, const char *what, const char *advice) {
        char text[64];

        (void)snprintf(text, sizeof(text), "Descriptor %d is %s", fd, what);
        record_refused(text, advice);
        return -ENOTCONN;
}

static int socket_option(int fd, int option) {
        int value = 0;
        socklen_t length = sizeof(value);

        return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -errno;
}

static int check(int fd, bool tcp_only) {
        int type = socket_option(fd, SO_TYPE);
        int family = socket_option(fd, SO_DOMAIN);

        if (type == -ENOTSOCK)
                return refuse(fd, "no socket", "pass listening sockets only; see echod(8)");
        if (type == SOCK_DGRAM)
                return refuse(fd, "a datagram socket",
                              "write ListenStream= in the socket unit, not ListenDatagram=");
        if (type != SOCK_STREAM)
                return refuse(fd, "no stream socket", "write ListenStream= in the socket unit");
        if (socket_option(fd, SO_ACCEPTCONN) != 1)
                return refuse(fd, "a connected socket",
                              "is Accept=yes set in the socket unit? It must be Accept=no");
        if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
                return refuse(fd, "of an unknown address family", "use IPv4, IPv6 or AF_UNIX");
        if (family == AF_UNIX && tcp_only) {
                record_refused("A UNIX socket cannot be served", "write a port in ListenStream=");
                return -ENOTCONN;
        }
        return 0;
}

static int prepare(int fd) {
        int flags = fcntl(fd, F_GETFL), on = 1;

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* not on AF_UNIX */
        return 0;
}

static int take_listener(struct inheritance *inheritance, const struct service *service, int fd) {
        int r;

        if (inheritance->n_listeners == LISTENERS_MAX)
                return refuse(fd, "one too many", "pass at most 64 listening sockets");
        r = check(fd, service->tcp_only);
        if (r < 0)
                return r;
        r = prepare(fd);
        if (r < 0) {
                record_fault("Cannot prepare a listening socket", r);
                return r;
        }
        inheritance->listeners[inheritance->n_listeners++] = fd;
        return 0;
}

static bool take_worker(struct inheritance *inheritance, int fd, const char *name,
                        const char *prefix, bool sink) {
        const size_t n = strlen(prefix);

        if (strncmp(name, prefix, n) != 0)
                return false;
        inheritance->workers[inheritance->n_workers++] = (struct stored_worker){
                .pid = (pid_t)strtol(name + n, NULL, 10),
                .pair = fd,
                .sink = sink,
        };
        inheritance->n_sinks += sink;
        return true;
}

static int take(struct inheritance *inheritance, const struct service *service, int fd,
                const char *name) {
        if (strcmp(name, LEDGER_NAME) == 0)
                inheritance->ledger = fd;
        else if (strcmp(name, LISTENER_CLIENT_NAME) == 0)
                inheritance->client = fd;
        else if (strcmp(name, FEED_IN) == 0)
                inheritance->feed.in = fd;
        else if (strcmp(name, FEED_OUT) == 0)
                inheritance->feed.out = fd;
        else if (!take_worker(inheritance, fd, name, LISTENER_WORKER_NAME, false) &&
                 !take_worker(inheritance, fd, name, LISTENER_SINK_NAME, true))
                return take_listener(inheritance, service, fd);
        return 0;
}

static void names_free(char **names) {
        for (char **name = names; name != NULL && *name != NULL; name++)
                free(*name);
        free(names);
}

int inheritance_take(struct inheritance *inheritance, const struct service *service) {
        char advice[128], **names = NULL;
        int n = sd_listen_fds_with_names(1, &names), r = 0;

        *inheritance = (struct inheritance){.ledger = -1, .client = -1, .feed = {-1, -1}};
        if (n > 0)
                inheritance->workers = calloc((size_t)n, sizeof(*inheritance->workers));
        if (n < 0 || (n > 0 && inheritance->workers == NULL)) {
                r = n < 0 ? n : -ENOMEM;
                record_fault("Cannot take over the passed descriptors", r);
        }
        for (int i = 0; i < n && r == 0; i++)
                r = take(inheritance, service, SD_LISTEN_FDS_START + i, names[i]);
        names_free(names);

        if (r == 0 && inheritance->n_listeners == 0) {
                (void)snprintf(advice, sizeof(advice), "start %s.socket, not the program",
                               service->unit);
                record_refused("No listening socket was passed", advice);
                r = -ENOTCONN;
        }
        return r;
}

void inheritance_free(struct inheritance *inheritance) {
        for (size_t i = 0; i < inheritance->n_listeners; i++)
                fd_close(&inheritance->listeners[i]);
        fd_close(&inheritance->ledger);
        fd_close(&inheritance->client);
        feed_close(&inheritance->feed);
        free(inheritance->workers);
}

static struct session begin(int fd, const struct sockaddr_storage *address) {
        return (struct session){.peer = peer_of(address, fd), .since = clock_usec(CLOCK_MONOTONIC)};
}

int listener_accept(int listener, struct session *session) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof(address);
        int on = 1;
        int fd = accept4(listener, (struct sockaddr *)&address, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
                return -errno;
        /* Would be inherited from the listening socket, but not by those who were there before us.
         */
        (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
        *session = begin(fd, &address);
        return fd;
}

struct session listener_resume(int fd) {
        struct sockaddr_storage address = {0};
        socklen_t length = sizeof(address);

        (void)getpeername(fd, (struct sockaddr *)&address, &length);
        return begin(fd, &address);
}

const char *listener_format(int fd, char *text, size_t size) {
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_un un;
                struct sockaddr_storage storage;
        } address = {0};
        socklen_t length = sizeof(address);

        (void)getsockname(fd, &address.any, &length);
        if (address.any.sa_family == AF_INET)
                (void)snprintf(text, size, "port %u", ntohs(address.in.sin_port));
        else if (address.any.sa_family == AF_INET6)
                (void)snprintf(text, size, "port %u", ntohs(address.in6.sin6_port));
        else if (address.un.sun_path[0] == '\0') /* abstract, unix(7) */
                (void)snprintf(text, size, "@%s", address.un.sun_path + 1);
        else
                (void)snprintf(text, size, "%s", address.un.sun_path);
        return text;
}
