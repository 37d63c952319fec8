/* SPDX-License-Identifier: MIT */
#include "roster.h"

#include <errno.h>
#include <stdlib.h>

/* Makes the slots up to this one. */
static int reach(struct roster *roster, uint32_t slot) {
        uint32_t wanted = roster->size > 0 ? roster->size : 1;
        struct roster_entry *slots;

        if (slot >= ROSTER_MAX)
                return -ENOMEM;
        while (wanted <= slot)
                wanted *= 2;
        if (wanted > roster->size) {
                slots = reallocarray(roster->slots, wanted, sizeof(*slots));
                if (slots == NULL)
                        return -ENOMEM;
                roster->slots = slots;
                roster->size = wanted;
        }
        while (roster->used <= slot)
                roster->slots[roster->used++] = (struct roster_entry){0};
        return 0;
}

static void fill(struct roster *roster, const struct session *session) {
        roster->slots[session->slot] = (struct roster_entry){
                .peer = session->peer, .id = session->id, .since = session->since};
        roster->count++;
}

int roster_add(struct roster *roster, struct session *session) {
        if (roster->count == roster->used) {
                int r = reach(roster, roster->used);

                if (r < 0)
                        return r;
                session->slot = roster->used - 1;
        } else {
                session->slot = roster->free;
                roster->free = (uint32_t)roster->slots[roster->free].since;
        }
        fill(roster, session);
        return 0;
}

int roster_enter(struct roster *roster, const struct session *session) {
        int r;

        if (session->id == 0 || session->slot >= ROSTER_MAX)
                return -EINVAL;
        r = reach(roster, session->slot);
        if (r < 0)
                return r;
        if (roster->slots[session->slot].id != 0)
                return -EINVAL;
        fill(roster, session);
        return 0;
}

struct roster_entry *roster_find(const struct roster *roster, uint32_t slot, uint64_t id) {
        if (id == 0 || slot >= roster->used || roster->slots[slot].id != id)
                return NULL;
        return &roster->slots[slot];
}

void roster_remove(struct roster *roster, struct roster_entry *entry) {
        *entry = (struct roster_entry){.since = roster->free};
        roster->free = (uint32_t)(entry - roster->slots);
        roster->count--;
}

void roster_free(struct roster *roster) {
        free(roster->slots);
        *roster = (struct roster){0};
}
