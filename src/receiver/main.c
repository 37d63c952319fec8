/* SPDX-License-Identifier: MIT */
#include "keeper.h"
#include "service.h"
#include "settings.h"
#include "sink.h"

static const struct service receiver = {
        .unit = "receiver",
        .program = PROGRAM,
        .summary = "Takes lines from its clients and writes each to a sink.",
        .options = settings_options,
        .tcp_only = true,
        .come = keeper_come,
        .round = keeper_round,
        .sink = sink_run,
};

int main(int argc, char **argv) {
        return service_run(&receiver, argc, argv);
}
