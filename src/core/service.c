/* SPDX-License-Identifier: MIT */
#include "service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "acceptor.h"
#include "cleanup.h"
#include "clock.h"
#include "journal.h"
#include "ledger.h"
#include "listener.h"
#include "notify.h"
#include "options.h"
#include "record.h"
#include "roster.h"

#define EXIT_USAGE 2
#define OWN_FILES 16
#define FAILURES_MAX 1000

/* systemd starts a service that failed again at once, for ever; a mistake in its configuration is
 * not worth more than twelve attempts (and records) a minute. */
#define PAUSE_SECONDS 5

static int misconfigured(int status) {
        if (getenv("NOTIFY_SOCKET") != NULL)
                (void)sleep(PAUSE_SECONDS); /* SIGTERM ends it, so a restart need not wait */
        return status;
}

static void block_signals(void) {
        sigset_t set;

        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Not sd_event_set_watchdog(3), which waits when systemd does not read. */
static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
        const uint64_t *period = userdata;

        (void)usec;
        (void)notify_send("WATCHDOG=1");
        (void)sd_event_source_set_time(source, clock_usec(CLOCK_MONOTONIC) + *period / 3);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int add_watchdog(sd_event *event) {
        static uint64_t period;
        int r = sd_watchdog_enabled(0, &period);

        return r <= 0 ? r
                      : sd_event_add_time(event, NULL, CLOCK_MONOTONIC, 0, 0, on_watchdog, &period);
}

/* sd_event_loop(3) ends with the first call that fails; the service does not, unless nothing works
 * any more. */
static int loop(struct acceptor *acceptor) {
        sd_event *event = acceptor->event;
        static const struct timespec breath = {.tv_nsec = 10000000};
        int r = 0, failures = 0;

        while (sd_event_get_state(event) != SD_EVENT_FINISHED && failures < FAILURES_MAX) {
                r = sd_event_run(event, UINT64_MAX);
                failures = r < 0 ? failures + 1 : 0;
                if (r < 0) {
                        record_fault("Cannot wait for events", r);
                        (void)nanosleep(&breath, NULL);
                        acceptor_tick(acceptor);
                }
        }
        return failures == 0 ? 0 : r;
}

/* Until here everything can still fail; from here on the service serves until it is told to stop.
 */
static int serve(struct acceptor *acceptor) {
        int r = sd_event_new(&acceptor->event);

        if (r >= 0) {
                acceptor->crew.event = acceptor->event;
                r = add_watchdog(acceptor->event);
        }
        if (r >= 0)
                r = acceptor_start(acceptor);
        if (r >= 0)
                r = loop(acceptor);
        else
                record_fault("Cannot start", r);
        acceptor_free(acceptor);
        sd_event_unref(acceptor->event);
        return r;
}

static int run(const struct service *service, const struct options *options) {
        struct inheritance inherited;
        struct acceptor acceptor = {
                .inherited = &inherited,
                .waiting = -1,
                .crew = {.service = service, .options = options, .feed = &inherited.feed},
        };
        int r = inheritance_take(&inherited, service);

        if (r < 0) {
                inheritance_free(&inherited);
                return r == -ENOTCONN ? misconfigured(EXIT_FAILURE) : EXIT_FAILURE;
        }
        r = notify_open();
        acceptor.crew.keeping = r > 0;
        if (r >= 0 && service->sink != NULL)
                r = feed_open(&inherited.feed);
        acceptor.crew.ledger = r < 0 ? NULL : ledger_open(inherited.ledger);
        if (acceptor.crew.ledger == NULL) {
                r = r < 0 ? r : -errno;
                record_fault("Cannot reach systemd, or open what it keeps", r);
        } else {
                block_signals();
                r = serve(&acceptor);
                ledger_close(acceptor.crew.ledger);
        }
        inheritance_free(&inherited);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A worker is to have a descriptor for each of them, and some for itself, and they must fit into
 * its roster. */
static void limit_clients(struct options *options) {
        struct rlimit files;
        unsigned long long possible = ROSTER_MAX;

        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < ROSTER_MAX + OWN_FILES)
                possible = files.rlim_cur > OWN_FILES ? files.rlim_cur - OWN_FILES : 1;
        possible *= options->workers;
        if (options->max_clients <= possible)
                return;
        record_limit(options->max_clients, (unsigned)possible);
        options->max_clients = (unsigned)possible;
}

int service_run(const struct service *service, int argc, char **argv) {
        struct options options;
        int r;

        journal_open(service->program, LOG_INFO);
        r = options_parse(&options, service, argc, argv);
        if (r == 0)
                return EXIT_SUCCESS;
        if (r < 0)
                return misconfigured(EXIT_USAGE);
        journal_open(service->program, options.log_level);
        limit_clients(&options);
        return run(service, &options);
}
