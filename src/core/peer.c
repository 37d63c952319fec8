/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static struct peer peer_of_ipv4(struct in_addr address, in_port_t port) {
        struct peer peer = {.family = AF_INET, .port = ntohs(port)};

        memcpy(peer.address, &address, sizeof(address));
        return peer;
}

static struct peer peer_of_ipv6(const struct sockaddr_in6 *in6) {
        struct peer peer = {
                .family = AF_INET6, .port = ntohs(in6->sin6_port), .number = in6->sin6_scope_id};
        struct in_addr mapped;

        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) { /* RFC 4291, 2.5.5.2 */
                memcpy(&mapped, &in6->sin6_addr.s6_addr[12], sizeof(mapped));
                return peer_of_ipv4(mapped, in6->sin6_port);
        }
        memcpy(peer.address, &in6->sin6_addr, sizeof(in6->sin6_addr));
        return peer;
}

static struct peer peer_of_unix(int fd) {
        struct peer peer = {.family = AF_UNIX};
        struct ucred credentials;
        socklen_t length = sizeof(credentials);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0)
                peer.number = (uint32_t)credentials.pid;
        return peer;
}

struct peer peer_of(const struct sockaddr_storage *address, int fd) {
        switch (address->ss_family) {
        case AF_INET: {
                const struct sockaddr_in *in = (const struct sockaddr_in *)address;
                return peer_of_ipv4(in->sin_addr, in->sin_port);
        }
        case AF_INET6:
                return peer_of_ipv6((const struct sockaddr_in6 *)address);
        default:
                return peer_of_unix(fd);
        }
}

const char *peer_format(const struct peer *peer, char text[static PEER_TEXT_MAX]) {
        char address[INET6_ADDRSTRLEN];

        switch (peer->family) {
        case AF_INET:
                (void)inet_ntop(AF_INET, peer->address, address, sizeof(address));
                (void)snprintf(text, PEER_TEXT_MAX, "%s:%u", address, peer->port);
                break;
        case AF_INET6:
                (void)inet_ntop(AF_INET6, peer->address, address, sizeof(address));
                if (peer->number == 0)
                        (void)snprintf(text, PEER_TEXT_MAX, "[%s]:%u", address, peer->port);
                else
                        (void)snprintf(text, PEER_TEXT_MAX, "[%s%%%" PRIu32 "]:%u", address,
                                       peer->number, peer->port);
                break;
        case AF_UNIX:
                (void)snprintf(text, PEER_TEXT_MAX, "unix:%" PRIu32, peer->number);
                break;
        default:
                (void)snprintf(text, PEER_TEXT_MAX, "unknown");
        }
        return text;
}
