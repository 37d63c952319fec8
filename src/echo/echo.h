/* SPDX-License-Identifier: MIT */
#pragma once

/* What a worker of the echo service does with a client: every line goes back to where it came from.
 */

struct client;

void echo_turn(struct client *client);
