/* SPDX-License-Identifier: MIT */
#include "feed.h"

#include <errno.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "notify.h"

#define FEED_BUFFER (1 << 20) /* or what net.core.wmem_max allows */

/* What the store does not hold is closed with the acceptor, and what is in the queue with it. */
static int store(const struct feed *feed) {
        int r = notify_send("FDSTOREREMOVE=1\nFDNAME=" FEED_IN);

        if (r >= 0)
                r = notify_send("FDSTOREREMOVE=1\nFDNAME=" FEED_OUT);
        if (r >= 0)
                r = notify_store(FEED_IN, feed->in);
        return r < 0 ? r : notify_store(FEED_OUT, feed->out);
}

int feed_open(struct feed *feed) {
        int ends[2], size = FEED_BUFFER;

        if (feed->in >= 0 && feed->out >= 0)
                return 0;
        feed_close(feed); /* half of one that was just being stored: nobody has used it yet */
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;
        feed->in = ends[0];
        feed->out = ends[1];
        (void)setsockopt(feed->in, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        return store(feed);
}

void feed_close(struct feed *feed) {
        fd_close(&feed->in);
        fd_close(&feed->out);
}
