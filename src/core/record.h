/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Every record that the services write to the journal about their clients and workers: wording,
 * MESSAGE_ID and fields stand here and nowhere else. Records about single clients are held to
 * RECORD_CLIENTS_MAX a minute, so that a flood of clients cannot fill the journal; what is past
 * that is counted, and the count is told.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "session.h"

#define RECORD_LISTENING "0ea11234fcd447418f275cc567604684"
#define RECORD_CONNECTED "db5ecb4a3dc444069d1dc7f197a9c9f9"
#define RECORD_LEFT "8445c97c11644d289510d8512981846a"
#define RECORD_WORKER_LOST "452f6f97c05c42fc9a3ff4cb3cf4a146"
#define RECORD_SINK_LOST "aaa0024d18714abeb46170c6504199b9"
#define RECORD_STUCK "51eecf09241741a2be663e1ff03e947b"
#define RECORD_ADOPTED "6ec90e482cb24e9c97d9fccd9687aba0"
#define RECORD_DRAINING "91262a39010845419a7dfdfe1d1a6b7e"
#define RECORD_REFUSED "a811e0fd13674813aac67e08b0cbc7e5"
#define RECORD_HELD_BACK "93dd0ecb6d4d4bd497a5933053aa09ed"
#define RECORD_LOST_UNSEEN "98f86082826844f89cb2e1c0fa9cd108"
#define RECORD_FULL "09595461b48147e99bd2cabee242b1ab"
#define RECORD_TURNED_AWAY "3e37e2ffe57f41e9a6ba9c4ba2b6bcce"
#define RECORD_LIMIT "48d83eba7e3f4914a60874ac9aa4796b"
#define RECORD_FAULT "5ed04abd0df94274ae0422d20886afcd"

#define RECORD_CLIENTS_MAX 5000

void record_listening(const char *where);
void record_connected(const struct session *session, uint64_t epoch);
void record_left(const struct session *session, uint64_t epoch);
void record_worker_lost(pid_t pid, const char *how, size_t clients);
void record_sink_lost(pid_t pid, const char *how);
void record_stuck(const char *what, pid_t pid); /* "Worker" */
void record_lost_unseen(uint64_t clients);
void record_adopted(size_t workers, size_t clients);
void record_draining(size_t clients);

/* A limit has taken effect: no more clients are accepted (at most one record a minute), or one was
 * turned away (a client record). */
void record_full(size_t clients);
void record_turned_away(const struct peer *peer, unsigned limit);

/* --max-clients is more than the descriptors allow. */
void record_limit(unsigned wanted, unsigned possible);

/* Something that the service cannot start with. advice says what to do about it. */
void record_refused(const char *what, const char *advice);

/* A system call failed (error is a negative errno); the service goes on. At most one a second is
 * written, whatever fails. */
void record_fault(const char *what, int error);

/* To be called each second or so. Returns whether there is a reason to call again. */
bool record_tick(void);

/* In a child: forgets what its parent has counted. */
void record_reset(void);

/* Tells what was held back so far and writes what waits: nobody will be there to do it later. */
void record_finish(void);
