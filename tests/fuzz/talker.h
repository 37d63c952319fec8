/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The scripted clients of fuzz-worker, and what is known of each: all that it has said, how much of
 * that has come back, and so what may and what must happen to it. talker.c acts, talker-checks.c
 * judges.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "session.h"

#define TALKERS 8
#define TALK_MAX (192 << 10)

/* What all of them have in common. */
struct stage {
        uint64_t now;        /* us; the only clock there is */
        uint64_t idle;       /* timeouts, us; 0: none */
        uint64_t send;       /* ... */
        uint64_t drain;      /* ... */
        bool stopped;        /* the worker has been told to drain */
        uint64_t stopped_at; /* us */
};

struct talker {
        int fd;   /* its end; -1: it is not there */
        int copy; /* of the worker's end, which an acceptor may hold for a while; or -1 */
        bool tcp;
        bool joined;      /* handed over to the worker */
        bool shut;        /* has closed its side */
        bool gone;        /* has closed altogether: nothing is owed to it any more */
        bool over;        /* has seen the end of its echo */
        size_t said;      /* bytes that the kernel took */
        size_t heard;     /* bytes that came back */
        size_t owed;      /* bytes that must come back when the worker has been told to drain */
        bool moved;       /* bytes that the worker knows of, since it was last found calm */
        uint64_t touched; /* us; when it last said or heard something */
        uint64_t calm;    /* us; when it had last moved bytes and was owed nothing after it */
        bool rolled, left;
        struct session session;
        char words[TALK_MAX];
};

extern struct stage stage;
extern struct talker talkers[TALKERS];

/* To be called once, before the first connection. */
void talker_prepare(void);

/* Makes a connection. Returns the worker's end, which is the caller's. */
int talker_connect(struct talker *talker, bool tcp, bool small);

/* A line ends after each `length` bytes; 0: none does. */
void talker_say(struct talker *talker, size_t n, size_t length);
void talker_say_words(struct talker *talker, const uint8_t *words, size_t n);
void talker_say_urgently(struct talker *talker);

/* Reads up to n bytes, and checks that they are its own, and may come already. */
void talker_hear(struct talker *talker, size_t n);

/* The worker has left: waits for the end, and reads all that comes before it. */
void talker_hear_out(struct talker *talker);

void talker_shut(struct talker *talker);
void talker_close(struct talker *talker);
void talker_reset(struct talker *talker);
void talker_close_copy(struct talker *talker);

/* The worker is told to drain: what has arrived by now is owed. */
void talker_note_stop(struct talker *talker);

/* The worker has nothing to do: whether all that must have happened has, as far as can be told.
 * False: not yet, or never. */
bool talker_is_content(struct talker *talker);

void talker_check_report(const struct talker *talker, const struct session *report);

/* For talker.c: */
void talker_check_echo(const struct talker *talker, const char *echo, size_t n);
void talker_check_end(const struct talker *talker);

/* Whether the worker still holds lines that it could not send, if that can be told. */
bool talker_is_owed(const struct talker *talker);

/* False: the worker may have ended it, and with a copy of its connection about, it would not know.
 */
bool talker_is_served(const struct talker *talker);
