/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "journal.h"

#define STUCK_SECONDS 25

static struct {
        int own; /* the real stderr */
        int memory;
        char text[1 << 20];
} captured = {.own = -1, .memory = -1};

int end_when_stuck(void **state) {
        (void)state;
        (void)alarm(STUCK_SECONDS);
        return 0;
}

size_t descriptors(void) {
        DIR *directory = opendir("/proc/self/fd");
        size_t n = 0;

        if (directory == NULL)
                return 0;
        while (readdir(directory) != NULL)
                n++;
        (void)closedir(directory);
        return n - 3; /* ".", ".." and the directory itself */
}

uint64_t random_next(uint64_t *state) {
        uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

size_t random_below(uint64_t *state, size_t bound) {
        return (size_t)(random_next(state) % bound);
}

int in_child(int (*f)(void *argument), void *argument) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                (void)alarm(STUCK_SECONDS); /* fork(2) does not inherit it */
                _exit(f(argument));
        }
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void *shared_memory(size_t size) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        assert_true(memory != MAP_FAILED);
        return memory;
}

int stderr_capture(void **state) {
        (void)state;
        (void)fflush(stderr);
        captured.own = dup(STDERR_FILENO);
        captured.memory = memfd_create("stderr", MFD_CLOEXEC);
        if (captured.own < 0 || captured.memory < 0 || dup2(captured.memory, STDERR_FILENO) < 0)
                return -1;
        (void)unsetenv("JOURNAL_STREAM");
        journal_open("echod", LOG_INFO);
        return 0;
}

int stderr_release(void **state) {
        (void)state;
        journal_close();
        (void)dup2(captured.own, STDERR_FILENO);
        (void)close(captured.own);
        (void)close(captured.memory);
        captured.own = captured.memory = -1;
        return 0;
}

const char *stderr_text(void) {
        ssize_t n = pread(captured.memory, captured.text, sizeof(captured.text) - 1, 0);

        assert_true(n >= 0);
        captured.text[n] = '\0';
        assert_int_equal(ftruncate(captured.memory, 0), 0);
        assert_int_equal(lseek(captured.memory, 0, SEEK_SET), 0); /* shared with stderr */
        return captured.text;
}
