/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "echod.h"
#include "harness.h"

#define TEXT_SIZE (1 << 20)
#define ROUND_MAX 6000
#define EVENTS 256
#define PATIENCE_USEC (LOAD_PATIENCE_SEC * 1000000ULL)
#define SOURCES 65536 /* addresses from 127.1.0.0 on, so that no port of theirs is ever short */

enum manner { TALKER, VISITOR, RESETTER };

struct caller {
        enum manner manner;
        int fd;        /* -1: not on the line */
        bool answered; /* since it called */
        bool parting;  /* it has said all, and waits for the end */
        const char *text;
        size_t length, sent, heard;
        uint64_t began; /* us */
        uint64_t rests; /* until then, us; 0: it does not */
};

static struct {
        struct load *load;
        struct sockaddr_in service;
        struct caller *callers;
        unsigned n, present;
        uint64_t calls, visits_begun;
        int epoll;
        uint64_t now; /* us */
        char text[TEXT_SIZE];
        uint32_t line_end[TEXT_SIZE]; /* the place behind the first newline from here on */
        uint32_t lines_before[TEXT_SIZE + 1];
} world;

static uint64_t now_usec(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Random bytes, in lines of every length. */
static void write_text(void) {
        size_t left = 0;

        for (size_t i = 0; i < TEXT_SIZE; i++, left--) {
                world.text[i] = left == 0 || i == TEXT_SIZE - 1 ? '\n' : (char)rand();
                if (left == 0)
                        left = 1 + (size_t)rand() % (rand() % 8 == 0 ? 3000 : 100);
                world.lines_before[i + 1] = world.lines_before[i] + (world.text[i] == '\n');
        }
        for (size_t i = TEXT_SIZE; i-- > 0;)
                world.line_end[i] = world.text[i] == '\n' ? (uint32_t)i + 1 : world.line_end[i + 1];
}

static void choose_text(struct caller *caller) {
        unsigned most = world.load->plan.round > 0 ? world.load->plan.round : ROUND_MAX;
        size_t first = (size_t)rand() % (TEXT_SIZE - 2 * most - 4096);
        size_t n = caller->manner == TALKER ? (size_t)rand() % most : 0;

        caller->text = world.text + first;
        caller->length = world.line_end[first + n] - first;
        caller->sent = caller->heard = 0;
        caller->began = world.now;
}

/* Log-linear: 16 steps for each power of two. */
static unsigned slowness_of(uint64_t usec) {
        unsigned shift = usec < 16 ? 0 : 59U - (unsigned)__builtin_clzll(usec);

        return 16 * shift + (unsigned)(usec >> shift);
}

static uint64_t usec_of(unsigned slowness) {
        return slowness < 32 ? slowness : (uint64_t)(16 + slowness % 16) << (slowness / 16 - 1);
}

static bool is_through(const struct caller *caller) {
        const struct load *load = world.load;

        return load->leaving || (caller->manner != TALKER && load->plan.visits > 0 &&
                                 world.visits_begun >= load->plan.visits);
}

static void hang_up(struct caller *caller) {
        (void)close(caller->fd);
        caller->fd = -1;
        world.present--;
}

static void call(struct caller *caller);

/* The connection has ended; talkers and visitors alike call again. */
static void call_again(struct caller *caller) {
        hang_up(caller);
        if (is_through(caller))
                return;
        if (world.load->plan.rest == 0) {
                call(caller);
                return;
        }
        caller->rests = world.now + world.load->plan.rest;
        world.present++; /* it has not left for good */
}

static void note(struct caller *caller, _Atomic uint64_t *what) {
        (*what)++;
        call_again(caller);
}

static void call(struct caller *caller) {
        struct sockaddr_in source = {.sin_family = AF_INET};
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = caller};
        int on = 1;

        source.sin_addr.s_addr = htonl(0x7f010000 + (uint32_t)(world.calls++ % SOURCES));
        world.visits_begun += caller->manner != TALKER;
        world.present++;
        caller->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        caller->rests = 0;
        caller->answered = caller->parting = false;
        choose_text(caller);
        (void)setsockopt(caller->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        (void)setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (bind(caller->fd, (struct sockaddr *)&source, sizeof(source)) < 0 ||
            (connect(caller->fd, (struct sockaddr *)&world.service, sizeof(world.service)) < 0 &&
             errno != EINPROGRESS) ||
            epoll_ctl(world.epoll, EPOLL_CTL_ADD, caller->fd, &event) < 0) {
                world.load->refused++; /* and is not tried again: nobody is to be refused */
                hang_up(caller);
        }
}

static void reset(struct caller *caller) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};

        (void)setsockopt(caller->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        world.load->resets++;
        call_again(caller);
}

static void part(struct caller *caller) {
        (void)shutdown(caller->fd, SHUT_WR);
        caller->parting = true;
}

static void finish_round(struct caller *caller) {
        struct load *load = world.load;
        size_t first = (size_t)(caller->text - world.text);

        if (caller->manner == TALKER) {
                load->connected += !caller->answered;
                load->rounds++;
                load->lines +=
                        world.lines_before[first + caller->length] - world.lines_before[first];
                load->slowness[slowness_of(now_usec() - caller->began)]++;
        }
        caller->answered = true;
        if (caller->manner == RESETTER)
                reset(caller);
        else if (caller->manner == VISITOR || is_through(caller))
                part(caller);
        else if (load->plan.rest > 0)
                caller->rests = world.now + load->plan.rest;
        else
                choose_text(caller);
}

static void lose(struct caller *caller, int error) {
        if (caller->parting)
                note(caller, &world.load->broken);
        else if (error == ECONNREFUSED || error == ETIMEDOUT)
                note(caller, &world.load->refused);
        else
                note(caller, &world.load->cut);
}

static void hear_end(struct caller *caller) {
        if (!caller->parting) {
                note(caller, &world.load->cut);
                return;
        }
        world.load->visits += caller->manner == VISITOR;
        call_again(caller);
}

/* Returns whether there may be more to say or to hear. */
static bool speak(struct caller *caller) {
        ssize_t n;

        if (caller->parting || caller->sent == caller->length)
                return true;
        n = send(caller->fd, caller->text + caller->sent, caller->length - caller->sent,
                 MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
                lose(caller, errno);
                return false;
        }
        caller->sent += n > 0 ? (size_t)n : 0;
        return true;
}

static bool take_answer(struct caller *caller) {
        static char answer[1 << 18];
        ssize_t n = recv(caller->fd, answer, sizeof(answer), 0);
        size_t owed = caller->sent - caller->heard;

        if (n < 0) {
                if (errno != EAGAIN)
                        lose(caller, errno);
                return false;
        }
        if (n == 0) {
                hear_end(caller);
                return false;
        }
        if ((size_t)n > owed || memcmp(answer, caller->text + caller->heard, (size_t)n) != 0) {
                note(caller, &world.load->wrong);
                return false;
        }
        caller->heard += (size_t)n;
        if (caller->heard == caller->length)
                finish_round(caller);
        return caller->fd >= 0;
}

static void advance(struct caller *caller, uint32_t events) {
        size_t kind = (size_t)(caller - world.callers) % 3;

        if (caller->manner == RESETTER && kind < 2 && (events & EPOLLOUT) != 0) {
                if (kind == 0 || speak(caller))
                        reset(caller);
                return;
        }
        while (caller->fd >= 0 && speak(caller) && take_answer(caller))
                ;
}

static void wake(struct caller *caller) {
        caller->rests = 0;
        if (caller->fd < 0) {
                world.present--;
                if (!is_through(caller))
                        call(caller);
        } else if (is_through(caller)) {
                part(caller);
        } else {
                choose_text(caller);
                advance(caller, 0);
        }
}

static void wake_rested(void) {
        for (unsigned i = 0; i < world.n; i++)
                if (world.callers[i].rests != 0 && world.now >= world.callers[i].rests)
                        wake(&world.callers[i]);
}

static void look_for_late(void) {
        for (unsigned i = 0; i < world.n; i++) {
                struct caller *caller = &world.callers[i];

                if (caller->fd >= 0 && world.now - caller->began > PATIENCE_USEC)
                        note(caller, &world.load->late);
        }
}

static void run(void) {
        struct epoll_event events[EVENTS];
        uint64_t look = 0;

        for (unsigned i = 0; i < world.n; i++)
                call(&world.callers[i]);
        while (world.present > 0) {
                int n = epoll_wait(world.epoll, events, EVENTS,
                                   world.load->plan.rest > 0 ? 1 : 100);

                world.now = now_usec();
                for (int i = 0; i < n; i++) {
                        struct caller *caller = events[i].data.ptr;

                        if (caller->fd >= 0)
                                advance(caller, events[i].events);
                }
                wake_rested();
                if (world.now >= look) {
                        look_for_late();
                        look = world.now + 1000000;
                }
        }
}

static _Noreturn void load_main(struct load *load) {
        const struct load_plan *plan = &load->plan;
        struct sockaddr_in *service = &world.service;
        socklen_t length = sizeof(*service);

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getsockname(listening(), (struct sockaddr *)service, &length) < 0 ||
            close_range(STDERR_FILENO + 1, ~0U, 0) < 0) /* a copy of a pair would keep it alive */
                _exit(1);
        world.load = load;
        world.now = now_usec();
        world.n = plan->talkers + plan->visitors + plan->resetters;
        world.callers = calloc(world.n, sizeof(*world.callers));
        world.epoll = epoll_create1(EPOLL_CLOEXEC);
        if (world.callers == NULL || world.epoll < 0)
                _exit(1);
        for (unsigned i = 0; i < world.n; i++)
                world.callers[i] =
                        (struct caller){.manner = i < plan->talkers                    ? TALKER
                                                  : i < plan->talkers + plan->visitors ? VISITOR
                                                                                       : RESETTER,
                                        .fd = -1};
        write_text();
        run();
        load->over = true;
        _exit(0);
}

struct load *load_start(const struct load_plan *plan) {
        struct load *load = mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pid_t pid;

        assert_true(load != MAP_FAILED);
        load->plan = *plan;
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                load_main(load);
        load->pid = pid; /* the child's own 0 would be in the same place */
        eventually(load->connected >= plan->talkers || load->over);
        return load;
}

bool load_goes_on(struct load *load) {
        bool alive = kill(load->pid, 0) == 0;

        assert_true(alive || load->over);
        assert_int_equal(load->late, 0);
        (void)attend(-1, 0, 1);
        return !load->over;
}

void load_wait(struct load *load) {
        while (load_goes_on(load))
                ;
}

void load_end(struct load *load) {
        load->leaving = true;
        load_wait(load);
}

void load_free(struct load *load) {
        (void)munmap(load, sizeof(*load));
}

void load_time(struct load *load) {
        for (size_t i = 0; i < COUNT(load->slowness); i++)
                load->slowness[i] = 0;
}

uint64_t load_percentile(const struct load *load, unsigned percent) {
        uint64_t all = 0, fewer = 0;
        unsigned i = 0;

        for (size_t k = 0; k < COUNT(load->slowness); k++)
                all += load->slowness[k];
        while (i < COUNT(load->slowness) - 1 && (fewer += load->slowness[i]) * 100 < all * percent)
                i++;
        return usec_of(i);
}
