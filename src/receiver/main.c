/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/socket.h>

#include "keeper.h"
#include "record.h"
#include "service.h"
#include "settings.h"
#include "sink.h"

/* tcp(7): only of a TCP connection can a Buffer look at what came before it takes it. */
static int check(int listener) {
        int family = 0;
        socklen_t length = sizeof(family);

        if (getsockopt(listener, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0 || family != AF_UNIX)
                return 0;
        record_refused("A UNIX socket cannot be served", "write a port in ListenStream=");
        return -EINVAL;
}

static const struct service receiver = {
        .unit = "receiver",
        .program = PROGRAM,
        .summary = "Takes lines from its clients and writes each to a sink.",
        .options = settings_options,
        .come = keeper_come,
        .round = keeper_round,
        .check = check,
        .sink = sink_run,
};

int main(int argc, char **argv) {
        return service_run(&receiver, argc, argv);
}
