/* SPDX-License-Identifier: MIT */
#include "boss.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pair.h"

#define CALL 4711 /* the number of the roll call */

struct boss boss;

int boss_open(bool small) {
        int worker_end, size = 1;

        boss = (struct boss){0};
        CHECK(pair_open(&boss.pair, &worker_end) == 0);
        if (small)
                CHECK(setsockopt(worker_end, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
        return worker_end;
}

static bool may_join(const struct talker *talker) {
        return !talker->joined && talker->fd < 0 && boss.pair >= 0 && !boss.retired &&
               !stage.stopped;
}

static void begin_session(struct talker *talker) {
        talker->session = (struct session){.peer = {.family = AF_UNIX, .number = 7},
                                           .id = ++boss.sessions,
                                           .since = stage.now,
                                           .slot = (uint32_t)(talker - talkers)};
}

void boss_join(struct talker *talker, bool tcp, bool small, bool keep) {
        int fd;

        if (!may_join(talker))
                return;
        fd = talker_connect(talker, tcp, small);
        begin_session(talker);
        talker->joined = pair_send(boss.pair, PAIR_CLIENT, &talker->session, 1, fd) == 0;
        if (!talker->joined)
                talker_close(talker);
        if (keep && talker->joined)
                talker->copy = fd;
        else
                (void)close(fd);
}

/* One whose descriptor gets lost on the way. */
static void join_without_socket(struct talker *talker) {
        if (!may_join(talker))
                return;
        begin_session(talker);
        talker->joined = pair_send(boss.pair, PAIR_CLIENT, &talker->session, 1, -1) == 0;
}

void boss_retire(void) {
        const struct session call = {.id = CALL};

        if (boss.pair < 0 || boss.retired || pair_send(boss.pair, PAIR_RETIRE, &call, 1, -1) < 0)
                return;
        boss.retired = boss.calling = true;
}

static bool send_raw(const void *bytes, size_t n) {
        return boss.pair >= 0 && n > 0 &&
               send(boss.pair, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
}

/* Nothing that may be well-formed: it would need a model of its own. */
static void send_garbage(struct input *script, size_t n) {
        const uint8_t *bytes;
        bool newer;

        n = input_bytes(script, n, &bytes);
        newer = n >= 8 && (bytes[0] != PAIR_VERSION || bytes[1] != 0);
        if (n < 8 || newer || bytes[2] > PAIR_ROLLED)
                boss.retired |= send_raw(bytes, n) && newer;
}

void boss_tell(struct talker *talker, uint8_t what, struct input *script) {
        static const uint16_t newer[] = {PAIR_VERSION + 1, 1, 0, 0};

        switch (what % 8) {
        case 0:
                boss_retire();
                break;
        case 1:
                if (boss.pair >= 0)
                        (void)pair_send(boss.pair, PAIR_PING, NULL, 0, -1);
                break;
        case 2:
                join_without_socket(talker);
                break;
        case 3: /* which only a worker says */
                if (boss.pair >= 0)
                        (void)pair_send(boss.pair, PAIR_LEFT, &talker->session, 1, -1);
                break;
        case 4: /* a worker takes no more clients from who is of another version */
                boss.retired |= send_raw(newer, sizeof(newer));
                break;
        default:
                send_garbage(script, what / 8);
        }
}

void boss_stop(unsigned how) {
        if (stage.stopped)
                return;
        stage.stopped = true;
        stage.stopped_at = stage.now;
        for (size_t i = 0; i < TALKERS; i++)
                talker_note_stop(&talkers[i]);
        if (how % 3 == 0) {
                CHECK(raise(SIGTERM) == 0);
        } else if (how % 3 == 1) {
                CHECK(shutdown(boss.pair, SHUT_WR) == 0);
        } else {
                (void)close(boss.pair);
                boss.pair = -1;
        }
}

static struct talker *talker_of(const struct session *session) {
        struct talker *talker = talkers;

        while (!talker->joined || talker->session.id != session->id) {
                talker++;
                CHECK(talker < talkers + TALKERS);
        }
        CHECK(!talker->left);
        CHECK(memcmp(&session->peer, &talker->session.peer, sizeof(session->peer)) == 0);
        CHECK(session->slot == talker->session.slot);
        CHECK(session->since == talker->session.since);
        return talker;
}

static void heard_roll(const struct session *entry) {
        struct talker *talker = talker_of(entry);

        CHECK(boss.calling && !talker->rolled);
        talker->rolled = true;
}

static void heard_rolled(const struct session *call) {
        CHECK(boss.calling && call->id == CALL);
        boss.calling = false;
        for (size_t i = 0; i < TALKERS; i++)
                CHECK(!talkers[i].joined || talkers[i].rolled || talkers[i].left);
}

static void heard_left(const struct session *report) {
        struct talker *talker = talker_of(report);

        talker_check_report(talker, report);
        talker->left = true;
}

static void heard(const struct pair_message *message) {
        for (size_t i = 0; i < message->count; i++)
                switch (message->type) {
                case PAIR_ROLL:
                        heard_roll(&message->sessions[i]);
                        break;
                case PAIR_ROLLED:
                        heard_rolled(&message->sessions[i]);
                        break;
                default:
                        CHECK(message->type == PAIR_LEFT);
                        heard_left(&message->sessions[i]);
                }
}

void boss_hear(void) {
        struct pair_message message;
        int r = 1;

        while (boss.pair >= 0 && (r == 1 || r == -ECONNRESET)) {
                r = pair_receive(boss.pair, &message);
                if (r == 1)
                        heard(&message);
        }
}

void boss_take_stock(void) {
        bool open = boss.pair >= 0;

        boss_hear();
        CHECK(!open || !boss.calling);
        for (size_t i = 0; i < TALKERS; i++) {
                talker_close_copy(&talkers[i]);
                talker_hear_out(&talkers[i]);
                talker_close(&talkers[i]);
                CHECK(!open || !talkers[i].joined || talkers[i].left);
        }
        if (open)
                (void)close(boss.pair);
}
