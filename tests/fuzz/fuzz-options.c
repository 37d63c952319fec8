/* SPDX-License-Identifier: MIT */

/*
 * The time parser and the command line. The first byte of the input chooses: what follows is one
 * time, or the words of a command line, which end with a NUL each. The models know the grammar in
 * the manual page, and nothing of getopt_long(3).
 */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "duration.h"
#include "input.h"
#include "options.h"
#include "record.h"
#include "service.h"

#define WORDS_MAX 16
#define UNTOUCHED UINT64_C(0x5ca1ab1e)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

__extension__ typedef unsigned __int128 wide;

static const struct service service = {.unit = "fuzz", .program = "fuzzd", .summary = "Is fuzzed."};

static struct {
        unsigned records;
        char what[512];
} refused;

/* Called in place of record_refused(). */
void __wrap_record_refused(const char *what, const char *advice);
void __wrap_record_refused(const char *what, const char *advice) {
        CHECK(strlen(what) < 256 && advice[0] != '\0');
        for (const char *c = what; *c != '\0'; c++)
                CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
        refused.records++;
        (void)snprintf(refused.what, sizeof(refused.what), "%s", what);
}

/* Reads digits as a number, or as one that is far too large. Returns what comes after them. */
static const char *read_number(const char *text, wide *number) {
        *number = 0;
        for (; *text >= '0' && *text <= '9'; text++)
                if (*number < (wide)1 << 100)
                        *number = *number * 10 + (unsigned)(*text - '0');
        return text;
}

static int expected_duration(const char *text, uint64_t *usec) {
        wide number, limit = (wide)365 * 24 * 3600 * 1000000;
        const char *unit = read_number(text, &number);

        if (unit == text)
                return -EINVAL;
        if (strcmp(unit, "ms") == 0)
                number *= 1000;
        else if (strcmp(unit, "s") == 0 || unit[0] == '\0')
                number *= 1000000;
        else if (strcmp(unit, "min") == 0)
                number *= 60 * 1000000;
        else if (strcmp(unit, "h") == 0)
                number *= (uint64_t)3600 * 1000000;
        else
                return -EINVAL;
        if (number > limit)
                return -EINVAL;
        *usec = (uint64_t)number;
        return 0;
}

static void check_duration(const char *text) {
        uint64_t expected = UNTOUCHED, usec = UNTOUCHED;
        int r = expected_duration(text, &expected);

        CHECK(duration_parse(text, &usec) == r);
        CHECK(usec == expected);
}

enum kind { HELP, NUMBER, TIME, TIMEOUT, LEVEL };

static const struct known {
        const char *name;
        enum kind kind;
        uint64_t most;
        size_t offset; /* in struct options */
} known[] = {
        {"workers", NUMBER, 4096, offsetof(struct options, workers)},
        {"max-clients", NUMBER, 1000000, offsetof(struct options, max_clients)},
        {"max-clients-per-source", NUMBER, 1000000,
         offsetof(struct options, max_clients_per_source)},
        {"drain-timeout", TIME, 0, offsetof(struct options, drain_timeout)},
        {"send-timeout", TIMEOUT, 0, offsetof(struct options, send_timeout)},
        {"idle-timeout", TIMEOUT, 0, offsetof(struct options, idle_timeout)},
        {"log-level", LEVEL, 0, offsetof(struct options, log_level)},
        {"help", HELP, 0, 0},
        {"version", HELP, 0, 0},
};

/* The option of that name, or the only one that begins like that. */
static const struct known *find(const char *word, size_t n) {
        const struct known *found = NULL;
        size_t candidates = 0;

        for (size_t i = 0; i < COUNT(known); i++)
                if (strncmp(known[i].name, word, n) == 0) {
                        if (known[i].name[n] == '\0')
                                return &known[i];
                        found = &known[i];
                        candidates++;
                }
        return candidates == 1 ? found : NULL;
}

static int set_level(const char *value, int *level) {
        static const char *const levels[] = {"emerg",   "alert",  "crit", "err",
                                             "warning", "notice", "info", "debug"};

        for (size_t i = 0; i < COUNT(levels); i++)
                if (strcmp(value, levels[i]) == 0) {
                        *level = (int)i;
                        return 1;
                }
        return -EINVAL;
}

static int set(struct options *options, const struct known *option, const char *value) {
        char *field = (char *)options + option->offset;
        wide number;
        uint64_t usec;
        unsigned small;
        int level;

        switch (option->kind) {
        case NUMBER:
                if (value[0] == '\0' || *read_number(value, &number) != '\0' || number < 1 ||
                    number > option->most)
                        return -EINVAL;
                small = (unsigned)number;
                memcpy(field, &small, sizeof(small));
                return 1;
        case TIME:
        case TIMEOUT:
                if (expected_duration(value, &usec) < 0 || (option->kind == TIMEOUT && usec == 0))
                        return -EINVAL;
                memcpy(field, &usec, sizeof(usec));
                return 1;
        default:
                if (set_level(value, &level) < 0)
                        return -EINVAL;
                memcpy(field, &level, sizeof(level));
                return 1;
        }
}

/* One option, at *i, which moves on if the value is a word of its own. */
static int take(struct options *options, int argc, char **argv, int *i) {
        const char *name = argv[*i] + 2, *equals = strchr(name, '=');
        size_t n = equals != NULL ? (size_t)(equals - name) : strlen(name);
        const struct known *option = find(name, n);

        if (argv[*i][1] != '-' || option == NULL)
                return -EINVAL;
        if (option->kind == HELP)
                return equals == NULL ? 0 : -EINVAL;
        if (equals != NULL)
                return set(options, option, equals + 1);
        if (*i + 1 == argc)
                return -EINVAL;
        (*i)++;
        return set(options, option, argv[*i]);
}

/* Options may stand after other words, which are refused in the end. */
static int expected_options(struct options *options, int argc, char **argv) {
        int r = 1, others = 0;

        *options = (struct options){.workers = 64,
                                    .max_clients = 16384,
                                    .drain_timeout = 10000000,
                                    .send_timeout = 300000000,
                                    .log_level = 6};
        for (int i = 1; i < argc && r == 1; i++)
                if (strcmp(argv[i], "--") == 0) {
                        others += argc - i - 1;
                        break;
                } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
                        r = take(options, argc, argv, &i);
                } else {
                        others++;
                }
        return r == 1 && others > 0 ? -EINVAL : r;
}

static bool same(const struct options *a, const struct options *b) {
        return a->workers == b->workers && a->max_clients == b->max_clients &&
               a->max_clients_per_source == b->max_clients_per_source &&
               a->drain_timeout == b->drain_timeout && a->send_timeout == b->send_timeout &&
               a->idle_timeout == b->idle_timeout && a->log_level == b->log_level;
}

/* --help and --version write to nowhere. */
static int parse_quietly(struct options *options, int argc, char **argv) {
        static FILE *nowhere;
        FILE *own = stdout;
        int r;

        if (nowhere == NULL)
                nowhere = fopen("/dev/null", "w");
        CHECK(nowhere != NULL);
        stdout = nowhere;
        r = options_parse(options, &service, argc, argv);
        stdout = own;
        return r;
}

static void check_options(char *words, size_t size) {
        char program[] = "fuzzd", *argv[WORDS_MAX + 2] = {program};
        struct options options, expected;
        int argc = 1, r;

        for (char *word = words; word < words + size && argc <= WORDS_MAX; word += strlen(word) + 1)
                argv[argc++] = word;
        r = expected_options(&expected, argc, argv);

        refused.records = 0;
        CHECK(parse_quietly(&options, argc, argv) == r);
        CHECK(refused.records == (r < 0));
        if (r < 0)
                CHECK(strncmp(refused.what, "Bad option ", strlen("Bad option ")) == 0);
        if (r == 1)
                CHECK(same(&options, &expected));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text;

        if (size == 0)
                return 0;
        text = malloc(size);
        CHECK(text != NULL);
        memcpy(text, data + 1, size - 1);
        text[size - 1] = '\0';
        if (data[0] == 't')
                check_duration(text);
        else
                check_options(text, size - 1);
        free(text);
        return 0;
}
