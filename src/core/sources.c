/* SPDX-License-Identifier: MIT */
#include "sources.h"

#include <endian.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct source {
        uint64_t key;
        uint32_t clients;
};

/* Of tsearch(3). */
static int compare(const void *a, const void *b) {
        const struct source *left = a, *right = b;

        return (left->key > right->key) - (left->key < right->key);
}

/* An IPv4 address cannot be taken for a prefix: 0:1::/32 is reserved (RFC 4291, 2.4). */
static bool key_of(const struct peer *peer, uint64_t *key) {
        uint64_t network;
        uint32_t ipv4;

        memcpy(&network, peer->address, sizeof(network));
        memcpy(&ipv4, peer->address, sizeof(ipv4));
        *key = peer->family == AF_INET ? UINT64_C(1) << 32 | ipv4 : be64toh(network);
        return peer->family == AF_INET || peer->family == AF_INET6;
}

static struct source *find(const struct sources *sources, const struct peer *peer) {
        struct source wanted, **found;

        if (!key_of(peer, &wanted.key))
                return NULL;
        found = tfind(&wanted, &sources->tree, compare);
        return found != NULL ? *found : NULL;
}

uint32_t sources_count(const struct sources *sources, const struct peer *peer) {
        const struct source *source = find(sources, peer);

        return source != NULL ? source->clients : 0;
}

void sources_add(struct sources *sources, const struct peer *peer) {
        struct source wanted = {0}, *own, **entry;

        if (!key_of(peer, &wanted.key))
                return;
        entry = tsearch(&wanted, &sources->tree, compare);
        if (entry == NULL)
                return;
        if (*entry == &wanted) { /* a new one, which needs memory of its own */
                own = malloc(sizeof(*own));
                if (own == NULL) {
                        (void)tdelete(&wanted, &sources->tree, compare);
                        return;
                }
                *own = wanted;
                *entry = own;
        }
        (*entry)->clients++;
}

void sources_remove(struct sources *sources, const struct peer *peer) {
        struct source *source = find(sources, peer);

        if (source == NULL || --source->clients > 0)
                return;
        (void)tdelete(source, &sources->tree, compare);
        free(source);
}

void sources_free(struct sources *sources) {
        tdestroy(sources->tree, free);
        sources->tree = NULL;
}
