/* SPDX-License-Identifier: MIT */
#include "roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for `size` slots at least; the free list runs through the new ones. */
static int grow(struct roster *roster, uint32_t size) {
        uint32_t wanted = roster->size > 0 ? roster->size : 1;
        struct session *slots;

        while (wanted < size)
                wanted *= 2;
        if (wanted > ROSTER_MAX)
                return -ENOMEM;
        slots = reallocarray(roster->slots, wanted, sizeof(*slots));
        if (slots == NULL)
                return -ENOMEM;
        memset(slots + roster->size, 0, (wanted - roster->size) * sizeof(*slots));
        for (uint32_t i = wanted; i-- > roster->size;) {
                slots[i].slot = roster->free;
                roster->free = i;
        }
        roster->slots = slots;
        roster->size = wanted;
        return 0;
}

int roster_add(struct roster *roster, struct session *session) {
        uint32_t slot;
        int r;

        if (roster->count == roster->size) {
                r = grow(roster, roster->size + 1);
                if (r < 0)
                        return r;
        }
        slot = roster->free;
        roster->free = roster->slots[slot].slot;
        session->slot = slot;
        roster->slots[slot] = *session;
        roster->count++;
        return 0;
}

int roster_enter(struct roster *roster, const struct session *session) {
        int r;

        if (session->id == 0 || session->slot >= ROSTER_MAX)
                return -EINVAL;
        if (session->slot >= roster->size) {
                r = grow(roster, session->slot + 1);
                if (r < 0)
                        return r;
        }
        if (roster->slots[session->slot].id != 0)
                return -EINVAL;
        roster->slots[session->slot] = *session;
        roster->count++;
        return 0;
}

struct session *roster_find(const struct roster *roster, uint32_t slot, uint64_t id) {
        if (id == 0 || slot >= roster->size || roster->slots[slot].id != id)
                return NULL;
        return &roster->slots[slot];
}

void roster_remove(struct roster *roster, struct session *session) {
        uint32_t slot = (uint32_t)(session - roster->slots);

        *session = (struct session){.slot = roster->free};
        roster->free = slot;
        roster->count--;
}

void roster_free(struct roster *roster) {
        free(roster->slots);
        *roster = (struct roster){0};
}
