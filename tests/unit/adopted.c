/* SPDX-License-Identifier: MIT */
#include "adopted.h"

#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "journald.h"
#include "support.h"

static const struct service service = {.unit = "echo", .program = "echod"};
static const struct options options = {
        .workers = 1, .max_clients = 100, .max_clients_per_source = 4};
struct ledger ledger;
struct crew crew;
int worker[2];

static int inherited[2];

static void ignore(void *userdata) {
        (void)userdata;
}

int open_crew(void **state) {
        ledger = (struct ledger){
                .version = 1, .epoch = 1, .served = 6, .announced = 6, .left = 2, .ended = 2};
        crew = (struct crew){
                .service = &service, .options = &options, .ledger = &ledger, .changed = ignore};
        for (int i = 0; i < 2; i++)
                if (pair_open(&inherited[i], &worker[i]) < 0)
                        return -1;
        return sd_event_new(&crew.event) < 0 || crew_init(&crew, 2) < 0 ? -1
                                                                        : journald_start(state);
}

int close_crew(void **state) {
        crew_free(&crew);
        (void)sd_event_unref(crew.event);
        for (int i = 0; i < 2; i++) {
                fd_close(&worker[i]);
                fd_close(&inherited[i]);
        }
        return journald_stop(state);
}

void adopt(int i) {
        assert_int_equal(crew_adopt(&crew, ADOPTED_PID + i, TAKE_FD(inherited[i]), false), 0);
}

void let_crew_hear(void) {
        while (sd_event_run(crew.event, 0) > 0)
                ;
}

struct session numbered(uint64_t id) {
        struct session session;

        memset(&session, 0, sizeof(session));
        session.peer = (struct peer){
                .family = AF_INET, .port = (uint16_t)(50000 + id), .address = {192, 0, 2, 7}};
        session.id = id;
        session.slot = (uint32_t)id;
        session.since = 1000;
        session.ended = 2000;
        session.lines = 10 + id;
        return session;
}

void say(int i, enum pair_type type, uint64_t first, uint64_t last) {
        struct session sessions[PAIR_BATCH];
        size_t n = 0;

        for (uint64_t id = first; id <= last && id > 0; id++)
                sessions[n++] = numbered(id);
        assert_int_equal(pair_send(worker[i], type, sessions, n, -1), 0);
}

void say_roll(int i, uint64_t first, uint64_t last) {
        const struct session end = {.id = crew.call};

        say(i, PAIR_ROLL, first, last);
        assert_int_equal(pair_send(worker[i], PAIR_ROLLED, &end, 1, -1), 0);
}
