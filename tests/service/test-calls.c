/* SPDX-License-Identifier: MIT */

/*
 * What a connection and a line cost, in system calls: a guard against losing speed that measures no
 * time. Acceptor and worker are traced (ptrace(2)) while another process is the client. A call that
 * is in no table may be made now and then, by timers, but not for each client or line.
 */

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#include "client.h"
#include "echod.h"
#include "harness.h"
#include "process.h"
#include "systemd.h"

#define ROUNDS 200
#define CALLS_MAX 1024
#define NO_CALL (-1)
#define SPARES 8 /* idle workers that are kept ready */

/* Not every machine has the older ones. */
#ifdef SYS_epoll_wait
#define WAITS                                                                                      \
        { SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, NO_CALL }
#define CALL_POLL SYS_poll
#else
#define WAITS                                                                                      \
        { SYS_epoll_pwait, SYS_epoll_pwait2, NO_CALL }
#define CALL_POLL SYS_ppoll
#endif

struct trace {
        pid_t pid;
        uint64_t began, ended; /* ms */
        unsigned calls[CALLS_MAX];
        uint64_t order[CALLS_MAX]; /* the first of them */
        unsigned n;
};

/* Calls of a kind, and how many of them a round may take. */
struct allowance {
        const char *what;
        unsigned most;
        long calls[4];
};

static void note(struct trace *trace) {
        struct ptrace_syscall_info info;

        assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, trace->pid, sizeof(info), &info) > 0);
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
                return;
        assert_in_range(info.entry.nr, 0, CALLS_MAX - 1);
        trace->calls[info.entry.nr]++;
        if (trace->n < CALLS_MAX)
                trace->order[trace->n] = info.entry.nr;
        trace->n++;
}

/* A stop that is none of a call's is either our own interruption or a signal to be passed on. */
static void go_on(struct trace *trace, int status) {
        long signal = 0;

        assert_true(WIFSTOPPED(status));
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
                note(trace);
        else if (status >> 16 == 0)
                signal = WSTOPSIG(status);
        assert_int_equal(ptrace(PTRACE_SYSCALL, trace->pid, NULL, signal), 0);
}

/* attend() must not be called from here on, since it would take the stops for ends. */
static void trace_begin(struct trace *trace, pid_t pid) {
        int status;

        *trace = (struct trace){.pid = pid, .began = now_msec()};
        assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD), 0);
        assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, __WALL), pid);
        go_on(trace, status);
}

static void trace_end(struct trace *trace) {
        int status;

        trace->ended = now_msec();
        assert_int_equal(ptrace(PTRACE_INTERRUPT, trace->pid, NULL, NULL), 0);
        assert_int_equal(waitpid(trace->pid, &status, __WALL),
                         trace->pid); /* whatever it stops for */
        assert_int_equal(ptrace(PTRACE_DETACH, trace->pid, NULL, NULL), 0);
}

/* Runs the client in a process of its own, and those who serve it until it has ended. */
static void trace_while(struct trace *traces, size_t n, void (*client)(int fd), int fd) {
        pid_t pid = fork(), stopped;
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                (void)alarm(PATIENCE_MSEC / 1000);
                client(fd);
                _exit(0);
        }
        while ((stopped = waitpid(-1, &status, __WALL)) != pid)
                for (size_t i = 0; i < n; i++)
                        if (traces[i].pid == stopped)
                                go_on(&traces[i], status);
        for (size_t i = 0; i < n; i++)
                trace_end(&traces[i]);
        assert_int_equal(status, 0);
}

/* What timers may do meanwhile; less than one call a round, unless a round takes 100 ms. */
static unsigned seldom(const struct trace *trace) {
        return ROUNDS / 8 + (unsigned)(trace->ended - trace->began) / 100;
}

static void expect_calls(const char *who, const struct trace *trace,
                         const struct allowance *allowances) {
        unsigned others = trace->n;

        for (; allowances->what != NULL; allowances++) {
                unsigned count = 0;

                for (const long *call = allowances->calls; *call != NO_CALL; call++)
                        count += trace->calls[*call];
                others -= count;
                if (count > allowances->most * ROUNDS + seldom(trace))
                        fail_at(__FILE__, __LINE__, "%s: %u %s in %d rounds, not %u a round", who,
                                count, allowances->what, ROUNDS, allowances->most);
        }
        if (others <= seldom(trace))
                return;
        for (unsigned i = 0; i < CALLS_MAX; i++)
                if (trace->calls[i] > 0)
                        print_error("# %s: call %u: %u\n", who, i, trace->calls[i]);
        fail_at(__FILE__, __LINE__, "%s: %u other calls in %d rounds", who, others, ROUNDS);
}

/* Clients that are processes: whatever fails ends them with another status. */

static void say_line(int fd) {
        char back[6];

        if (send(fd, "hello\n", 6, 0) != 6 || recv(fd, back, 6, MSG_WAITALL) != 6)
                _exit(1);
}

static void call_once(int unused) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        (void)unused;
        if (getsockname(listening(), (struct sockaddr *)&address, &length) < 0 ||
            connect(fd, (struct sockaddr *)&address, length) < 0)
                _exit(1);
        say_line(fd);
        (void)close(fd);
}

static void call_often(int unused) {
        for (int i = 0; i < ROUNDS; i++)
                call_once(unused);
}

static void say_often(int fd) {
        for (int i = 0; i < ROUNDS; i++)
                say_line(fd);
}

/* One worker that always has a client: nobody is hired, nobody leaves. */
static int start_one(struct trace *traces) {
        int client;

        echod_start("--workers=1", NULL);
        client = client_new();
        echo(client, "the first\n");
        (void)fcntl(client, F_SETFL, 0); /* it is going to wait */
        process_rest(echod_pid());
        trace_begin(&traces[1], worker_of(client));
        trace_begin(&traces[0], echod_pid());
        return client;
}

static void line_costs_a_wait_a_receive_and_a_send(void **state) {
        static const struct allowance acceptor[] = {{0}};
        static const struct allowance worker[] = {
                {"waits", 1, WAITS},
                {"receives", 1, {SYS_recvfrom, NO_CALL}},
                {"sends", 1, {SYS_sendto, NO_CALL}},
                {0},
        };
        static struct trace traces[2];

        (void)state;
        LEAVE_OUT_UNDER_VALGRIND();
        trace_while(traces, 2, say_often, start_one(traces));
        assert_int_equal(traces[1].calls[SYS_sendto], ROUNDS);
        expect_calls("worker", &traces[1], worker);
        expect_calls("acceptor", &traces[0], acceptor);
}

static void connection_costs_no_more_calls_than_these(void **state) {
        static const struct allowance acceptor[] = {
                {"waits", 2, WAITS},
                {"accepts", 1, {SYS_accept4, NO_CALL}},
                {"options", 1, {SYS_setsockopt, NO_CALL}},
                {"hand-overs", 1, {SYS_sendmsg, NO_CALL}},
                {"closes", 1, {SYS_close, NO_CALL}},
                {"reports peeked", 1, {SYS_recvmsg, NO_CALL}},
                {"reports dropped", 1, {SYS_recvfrom, NO_CALL}},
                {"records, each after a poll", 4, {SYS_write, CALL_POLL, NO_CALL}},
                {0},
        };
        static const struct allowance worker[] = {
                {"waits", 2, WAITS},
                {"hand-overs", 1, {SYS_recvmsg, NO_CALL}},
                {"changes of what is waited for", 2, {SYS_epoll_ctl, NO_CALL}},
                {"receives", 2, {SYS_recvfrom, NO_CALL}}, /* the line, and the end */
                {"sends", 1, {SYS_sendto, NO_CALL}},
                {"closes", 1, {SYS_close, NO_CALL}},
                {"looks whether reports were read", 2, {SYS_ioctl, CALL_POLL, NO_CALL}},
                {"reports", 1, {SYS_sendmsg, NO_CALL}},
                {0},
        };
        static struct trace traces[2];
        int seconds = PATIENCE_MSEC / 1000;

        (void)state;
        LEAVE_OUT_UNDER_VALGRIND();
        (void)start_one(traces);
        /* Who has said nothing yet is not accepted, or the line would take another wait. */
        assert_int_equal(
                setsockopt(listening(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)),
                0);
        trace_while(traces, 2, call_often, -1);
        assert_int_equal(traces[0].calls[SYS_accept4], ROUNDS);
        expect_calls("acceptor", &traces[0], acceptor);
        expect_calls("worker", &traces[1], worker);
}

static bool is_fork(uint64_t call) {
#ifdef SYS_fork
        if (call == SYS_fork || call == SYS_vfork)
                return true;
#endif
        return call == SYS_clone || call == SYS_clone3;
}

static void client_waits_for_no_fork(void **state) {
        static struct trace trace;
        unsigned i = 0;

        (void)state;
        LEAVE_OUT_UNDER_VALGRIND();
        echod_start("--workers=64", NULL);
        eventually(worker_count() == SPARES);
        process_rest(echod_pid());
        trace_begin(&trace, echod_pid());
        trace_while(&trace, 1, call_once, -1);
        while (i < trace.n && trace.order[i] != SYS_accept4)
                i++;
        for (; i < trace.n && trace.order[i] != SYS_sendmsg; i++)
                assert_false(is_fork(trace.order[i]));
        assert_true(i < trace.n);
}

static const struct CMUnitTest tests[] = {
        CASE(line_costs_a_wait_a_receive_and_a_send),
        CASE(connection_costs_no_more_calls_than_these),
        CASE(client_waits_for_no_fork),
};

int main(void) {
        return cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}
