/* SPDX-License-Identifier: MIT */
#include "draft.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "roster.h"

static struct shared {
        uint64_t deliveries;
        struct draft drafts[ROSTER_MAX];
} * shared;

static char *texts;
static size_t text_size, text_stride; /* one begins a page, so that it can be given back alone */

/* As a file: what has not been written to is not counted, even where the kernel overcommits nothing
 * (MAP_NORESERVE would be ignored there, see proc(5)). */
static void *share(size_t size) {
        CLEANUP(fd_close) int fd = memfd_create("drafts", MFD_CLOEXEC);
        void *memory = MAP_FAILED;

        if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
                memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return memory == MAP_FAILED ? NULL : memory;
}

int drafts_open(size_t size) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);

        text_size = size;
        text_stride = (size + page - 1) / page * page;
        if (shared == NULL)
                shared = share(sizeof(*shared));
        if (texts == NULL)
                texts = share(text_stride * ROSTER_MAX);
        return shared == NULL || texts == NULL ? -ENOMEM : 0;
}

uint64_t *drafts_deliveries(void) {
        return &shared->deliveries;
}

struct draft *draft_of(const struct session *session) {
        return &shared->drafts[session->slot];
}

char *draft_text(const struct session *session) {
        return texts + session->slot * text_stride;
}

void draft_reset(const struct session *session) {
        struct draft *draft = draft_of(session);

        if (draft->end > 0)
                (void)madvise(draft_text(session), text_stride, MADV_REMOVE);
        *draft = (struct draft){0};
}

bool draft_is_open(const struct draft *draft, uint64_t offset) {
        return draft->start < offset && offset < draft->end;
}

void draft_keep(const struct session *session, uint64_t offset, const char *data, size_t n) {
        struct draft *draft = draft_of(session);
        uint64_t kept;

        if (!draft_is_open(draft, offset)) {
                draft->start = offset; /* first: the line before it is over */
                atomic_signal_fence(memory_order_seq_cst);
                draft->end = UINT64_MAX;
        }
        kept = offset - draft->start;
        if (kept < text_size)
                memcpy(draft_text(session) + kept, data,
                       n < text_size - kept ? n : text_size - kept);
}

void draft_end(const struct session *session, uint64_t end) {
        draft_of(session)->end = end;
}
