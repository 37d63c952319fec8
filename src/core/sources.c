/* SPDX-License-Identifier: MIT */
#include "sources.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int sources_init(struct sources *sources, uint32_t most) {
        uint32_t size = 2;

        while (size < 2 * most) /* at most half full, so that searches are short, and end */
                size *= 2;
        sources->entries = calloc(size, sizeof(*sources->entries));
        if (sources->entries == NULL)
                return -ENOMEM;
        sources->mask = size - 1;
        (void)!getrandom(&sources->seed, sizeof(sources->seed), GRND_NONBLOCK);
        return 0;
}

void sources_free(struct sources *sources) {
        free(sources->entries);
        *sources = (struct sources){0};
}

/* An IPv4 address cannot be taken for a prefix: 0:1::/32 is reserved (RFC 4291, 2.4). */
static bool key_of(const struct sources *sources, const struct peer *peer, uint64_t *key) {
        uint32_t ipv4;

        if (sources->entries == NULL)
                return false;
        if (peer->family == AF_INET) {
                memcpy(&ipv4, peer->address, sizeof(ipv4));
                *key = UINT64_C(1) << 32 | ipv4;
        } else {
                memcpy(key, peer->address, sizeof(*key));
                *key = be64toh(*key);
        }
        return peer->family == AF_INET || peer->family == AF_INET6;
}

/* The product's bits depend on those of the key that are not higher: what tells apart the networks
 * of one site is in the lowest. */
static uint32_t place_of(const struct sources *sources, uint64_t key) {
        uint64_t mixed = (key ^ sources->seed) * UINT64_C(0x9e3779b97f4a7c15);

        return (uint32_t)(mixed >> 32) & sources->mask;
}

/* The entry of the key, or the free one where it would be. */
static struct source *find(const struct sources *sources, uint64_t key) {
        uint32_t place = place_of(sources, key);

        while (sources->entries[place].clients > 0 && sources->entries[place].key != key)
                place = (place + 1) & sources->mask;
        return &sources->entries[place];
}

uint32_t sources_count(const struct sources *sources, const struct peer *peer) {
        uint64_t key;

        return key_of(sources, peer, &key) ? find(sources, key)->clients : 0;
}

void sources_add(struct sources *sources, const struct peer *peer) {
        struct source *source;
        uint64_t key;

        if (!key_of(sources, peer, &key))
                return;
        source = find(sources, key);
        if (source->clients == 0) {
                if (sources->used > sources->mask / 2)
                        return;
                sources->used++;
                source->key = key;
        }
        source->clients++;
}

/* Fills the gap with what was pushed past it, so that every search still ends at a free entry. */
static void close_gap(struct sources *sources, uint32_t gap) {
        uint32_t mask = sources->mask;

        for (uint32_t i = (gap + 1) & mask; sources->entries[i].clients > 0; i = (i + 1) & mask) {
                uint32_t home = place_of(sources, sources->entries[i].key);

                if (((i - home) & mask) < ((i - gap) & mask))
                        continue; /* its home lies after the gap */
                sources->entries[gap] = sources->entries[i];
                sources->entries[i].clients = 0;
                gap = i;
        }
}

void sources_remove(struct sources *sources, const struct peer *peer) {
        struct source *source;
        uint64_t key;

        if (!key_of(sources, peer, &key))
                return;
        source = find(sources, key);
        if (source->clients == 0 || --source->clients > 0)
                return;
        sources->used--;
        close_gap(sources, (uint32_t)(source - sources->entries));
}
