/* SPDX-License-Identifier: MIT */
#include "echo.h"
#include "service.h"

static const struct service echo = {
        .unit = "echo",
        .program = "echod",
        .summary = "Sends every line back to the client that it came from.",
        .turn = echo_turn,
};

int main(int argc, char **argv) {
        return service_run(&echo, argc, argv);
}
