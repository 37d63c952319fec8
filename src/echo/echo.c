/* SPDX-License-Identifier: MIT */
#include "echo.h"

#include <stdlib.h>

#include "client.h"
#include "lines.h"
#include "worker.h"

static void read_lines(struct client *client, struct lines *lines) {
        char *room;
        size_t n = lines_room(lines, &room);

        n = client_receive(client, room, n);
        if (n > 0)
                client->session.lines += lines_push(lines, n);
}

static void write_lines(struct client *client, struct lines *lines) {
        const char *ready;
        size_t n = lines_ready(lines, &ready);

        n = n > 0 ? client_send(client, ready, n) : 0;
        if (n > 0) /* or the connection may have broken, and taken them along */
                lines_pop(lines, n);
}

/* What is left of its turn stays with the client, so that the next one finds the scratch empty. */
static void keep(struct client *client, struct lines *lines) {
        if (lines_held(lines) == 0) {
                free(client->own);
                client->own = NULL;
        } else if (client->own == NULL) {
                client->own = malloc(sizeof(*lines) + lines->size);
                if (client->own == NULL) {
                        client_end(client, SESSION_ERROR);
                        lines_clear(lines);
                        return;
                }
                *client->own =
                        (struct lines){.data = (char *)(client->own + 1), .size = lines->size};
                lines_move(client->own, lines);
        }
}

/* At most one read and one write a turn, so that nobody waits long for theirs. */
void echo_turn(struct client *client) {
        struct lines *scratch = &client->worker->scratch;
        struct lines *lines = client->own != NULL ? client->own : scratch;
        const char *ready;

        if (client_is_read(client))
                read_lines(client, lines);
        if (client->state == CLIENT_FINISHING)
                lines_finish(lines);
        if (client->state != CLIENT_ENDED)
                write_lines(client, lines);
        if (client->state != CLIENT_ENDED)
                client_wait_writable(client, lines_ready(lines, &ready) > 0);
        if (client->state == CLIENT_ENDED) { /* and its own lines are gone */
                lines_clear(scratch);
                return;
        }
        keep(client, lines);
        if (client->state == CLIENT_FINISHING && client->own == NULL)
                client_finish(client);
}
