/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "clock.h"
#include "notify.h"

#define LEDGER_VERSION 1

void ledger_share(struct ledger *ledger, bool shared) {
        (void)madvise(ledger, sizeof(*ledger), shared ? MADV_DOFORK : MADV_DONTFORK);
}

static struct ledger *map(int fd) {
        struct ledger *ledger =
                mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (ledger == MAP_FAILED)
                return NULL;
        ledger_share(ledger, false); /* no business of a worker's */
        return ledger;
}

static struct ledger *inherit(int fd) {
        struct stat st;
        struct ledger *ledger;

        if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(*ledger))
                return NULL; /* touching pages past the end of the file would raise SIGBUS */
        ledger = map(fd);
        if (ledger != NULL && ledger->version != LEDGER_VERSION) {
                ledger_close(ledger);
                return NULL;
        }
        return ledger;
}

struct ledger *ledger_open(int inherited) {
        struct ledger *ledger = inherited >= 0 ? inherit(inherited) : NULL;
        CLEANUP(fd_close) int fd = -1;

        if (ledger != NULL)
                return ledger;
        fd = memfd_create(LEDGER_NAME, MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, sizeof(*ledger)) < 0)
                return NULL;
        ledger = map(fd);
        if (ledger == NULL)
                return NULL;
        ledger->version = LEDGER_VERSION;
        ledger->epoch = clock_usec(CLOCK_REALTIME);
        (void)notify_send("FDSTOREREMOVE=1\nFDNAME=" LEDGER_NAME); /* one that could not be read */
        (void)notify_store(LEDGER_NAME, fd); /* without it, counting begins anew after a crash */
        return ledger;
}

void ledger_close(struct ledger *ledger) {
        (void)munmap(ledger, sizeof(*ledger));
}
