/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "clock.h"
#include "duration.h"
#include "journal.h"
#include "record.h"
#include "service.h"

uint64_t options_least_timeout(const struct options *options) {
        bool idle = options->idle_timeout > 0 && options->idle_timeout < options->send_timeout;

        return idle ? options->idle_timeout : options->send_timeout;
}

int options_number(const char *value, unsigned long most, unsigned *number) {
        char *rest;
        unsigned long n = strtoul(value, &rest, 10);

        if (!isdigit((unsigned char)*value) || *rest != '\0' || n < 1 || n > most)
                return -EINVAL;
        *number = (unsigned)n;
        return 0;
}

static int parse_workers(struct options *options, const char *value) {
        return options_number(value, WORKERS_MAX, &options->workers);
}

static int parse_max_clients(struct options *options, const char *value) {
        return options_number(value, CLIENTS_MAX, &options->max_clients);
}

static int parse_max_clients_per_source(struct options *options, const char *value) {
        return options_number(value, CLIENTS_MAX, &options->max_clients_per_source);
}

static int parse_drain_timeout(struct options *options, const char *value) {
        return duration_parse(value, &options->drain_timeout);
}

/* A timeout of nothing would be over before anybody could do anything. */
static int parse_timeout(const char *value, uint64_t *usec) {
        return duration_parse(value, usec) < 0 || *usec == 0 ? -EINVAL : 0;
}

static int parse_send_timeout(struct options *options, const char *value) {
        return parse_timeout(value, &options->send_timeout);
}

static int parse_idle_timeout(struct options *options, const char *value) {
        return parse_timeout(value, &options->idle_timeout);
}

static int parse_log_level(struct options *options, const char *value) {
        static const char *const names[] = {"emerg",   "alert",  "crit", "err",
                                            "warning", "notice", "info", "debug"};

        for (int i = LOG_EMERG; i <= LOG_DEBUG; i++)
                if (strcmp(value, names[i]) == 0) {
                        options->log_level = i;
                        return 0;
                }
        return -EINVAL;
}

static const struct option_row common[] = {
        {"workers", "N", "serve in at most N processes (1 to 4096; default 64)",
         "write a number from 1 to 4096", parse_workers},
        {"max-clients", "N", "accept no more while there are N clients (default 16384)",
         "write a number from 1 to 1000000", parse_max_clients},
        {"max-clients-per-source", "N", "refuse more from one IPv4 address or IPv6 /64",
         "write a number from 1 to 1000000", parse_max_clients_per_source},
        {"idle-timeout", "TIME", "close a client that is silent for that long (default: never)",
         "write a time like 500ms, 30s, 5min or 1h", parse_idle_timeout},
        {"send-timeout", "TIME", "... that takes nothing of what it is owed (default 5min)",
         "write a time like 500ms, 30s, 5min or 1h", parse_send_timeout},
        {"drain-timeout", "TIME", "give clients that long when stopped (default 10s)",
         "write a time like 500ms, 30s, 5min or 1h", parse_drain_timeout},
        {"log-level", "LEVEL", "leave out less urgent records (default info)",
         "write emerg, alert, crit, err, warning, notice, info or debug", parse_log_level},
        {"help", NULL, "show this text and exit", NULL, NULL},
        {"version", NULL, "show the version and exit", NULL, NULL},
};

#define N_COMMON (sizeof(common) / sizeof(common[0]))
#define OPTIONS_MAX 31 /* below every short option */

/* The service's own rows come first. NULL: there are no more. */
static const struct option_row *row_at(const struct service *service, size_t i) {
        const struct option_row *own = service->options;

        for (; own != NULL && own->name != NULL; own++)
                if (i-- == 0)
                        return own;
        return i < N_COMMON ? &common[i] : NULL;
}

static void show_help(const struct service *service) {
        const struct option_row *row;
        char left[32];

        printf("Usage: %s [OPTION]...\n%s\n\n", service->program, service->summary);
        for (size_t i = 0; (row = row_at(service, i)) != NULL; i++) {
                (void)snprintf(left, sizeof(left), "--%s%s%s", row->name,
                               row->argument != NULL ? "=" : "",
                               row->argument != NULL ? row->argument : "");
                printf("  %-28s %s\n", left, row->meaning);
        }
        printf("\nIt is started by systemd: systemctl start %s.socket. See %s(8).\n", service->unit,
               service->program);
}

static int refuse(const char *option, const char *value, const char *advice) {
        char what[256];

        (void)snprintf(what, sizeof(what), value != NULL ? "Bad option %s=%s" : "Bad option %s",
                       option, value);
        record_refused(journal_printable(what), advice);
        return -EINVAL;
}

static int apply(struct options *options, const struct option_row *row, const char *value) {
        char name[32];

        if (row->parse(options, value) == 0)
                return 1;
        (void)snprintf(name, sizeof(name), "--%s", row->name);
        return refuse(name, value, row->expected);
}

/* Whatever getopt_long(3) stumbled over: optopt holds a short option, argv the rest. */
static int refuse_word(int result, const char *word) {
        bool short_option = optopt > OPTIONS_MAX; /* below are the val of long ones */
        char letter[] = {'-', (char)optopt, '\0'};

        if (result == ':')
                return refuse(word, NULL, "it needs a value: write OPTION=VALUE");
        return refuse(short_option ? letter : word, NULL,
                      "there is no such option, or it takes no value; see --help");
}

int options_parse(struct options *options, const struct service *service, int argc, char **argv) {
        struct option words[OPTIONS_MAX + 1] = {0};
        const struct option_row *row;
        int c, r = 1;

        *options = (struct options){
                .workers = 64,
                .max_clients = 16384,
                .drain_timeout = 10 * USEC_PER_SEC,
                .send_timeout = 5 * USEC_PER_MINUTE,
                .log_level = LOG_INFO,
        };
        for (size_t i = 0; i < OPTIONS_MAX && (row = row_at(service, i)) != NULL; i++)
                words[i] = (struct option){
                        row->name, row->argument != NULL ? required_argument : no_argument, NULL,
                        (int)i + 1}; /* each its own, or an ambiguous abbreviation passes */

        opterr = 0;
        optind = 0; /* so that a test can parse more than once */
        while (r == 1 && (c = getopt_long(argc, argv, ":", words, NULL)) != -1) {
                if (c == '?' || c == ':')
                        return refuse_word(c, argv[optind - 1]);
                row = row_at(service, (size_t)c - 1);
                assert(row != NULL);
                if (row->parse != NULL) {
                        r = apply(options, row, optarg);
                } else if (strcmp(row->name, "help") == 0) {
                        show_help(service);
                        return 0;
                } else {
                        printf("%s %s\n", service->program, VERSION);
                        return 0;
                }
        }
        if (r == 1 && optind < argc)
                return refuse(argv[optind], NULL, "it takes options only; see --help");
        return r;
}
