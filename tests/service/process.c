/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echod.h"
#include "harness.h"

#define SOCKETS_MAX 2048

static FILE *proc_open(pid_t pid, const char *name) {
        char path[64];

        (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
        return fopen(path, "re");
}

size_t process_children(pid_t pid, pid_t children[static PROCESSES_MAX]) {
        char name[32];
        FILE *file;
        size_t n = 0;
        int child;

        (void)snprintf(name, sizeof(name), "task/%d/children", (int)pid);
        file = proc_open(pid, name);
        if (file == NULL)
                return 0;
        while (n < PROCESSES_MAX && fscanf(file, "%d", &child) == 1)
                children[n++] = child;
        (void)fclose(file);
        return n;
}

static size_t add_workers(pid_t parent, pid_t *pids, size_t n) {
        pid_t children[PROCESSES_MAX];
        size_t n_children = process_children(parent, children);

        for (size_t i = 0; i < n_children && n < PROCESSES_MAX; i++) {
                char state = process_state(children[i]);

                if (children[i] != echod_pid() && state != 'Z' && state != 0)
                        pids[n++] = children[i];
        }
        return n;
}

size_t workers(pid_t pids[static PROCESSES_MAX]) {
        return add_workers(getpid(), pids, add_workers(echod_pid(), pids, 0));
}

size_t worker_count(void) {
        pid_t pids[PROCESSES_MAX];

        return workers(pids);
}

/* The fields of /proc/PID/stat after the name, which may hold anything. */
static bool read_stat(pid_t pid, char *stat, size_t size) {
        FILE *file = proc_open(pid, "stat");
        char line[1024], *after = NULL;

        if (file == NULL)
                return false;
        if (fgets(line, sizeof(line), file) != NULL)
                after = strrchr(line, ')');
        (void)fclose(file);
        if (after == NULL)
                return false;
        (void)snprintf(stat, size, "%s", after + 2);
        return true;
}

char process_state(pid_t pid) {
        char stat[1024];

        return read_stat(pid, stat, sizeof(stat)) ? stat[0] : 0;
}

uint64_t process_ticks(pid_t pid) {
        uint64_t user, system;
        char stat[1024];

        if (!read_stat(pid, stat, sizeof(stat)) ||
            sscanf(stat, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
                   &system) != 2)
                return 0;
        return user + system;
}

static uint64_t status(pid_t pid, const char *key, int base) {
        FILE *file = proc_open(pid, "status");
        uint64_t value = 0;
        char line[256];

        if (file == NULL)
                return 0;
        while (fgets(line, sizeof(line), file) != NULL)
                if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
                        value = strtoull(line + strlen(key) + 1, NULL, base);
        (void)fclose(file);
        return value;
}

uint64_t process_number(pid_t pid, const char *key) {
        return status(pid, key, 10);
}

uint64_t process_mask(pid_t pid, const char *key) {
        return status(pid, key, 16);
}

/* Calls f with what each of its descriptors is a link to; stops when f returns false. */
static size_t each_descriptor(pid_t pid, bool (*f)(const char *target, void *data), void *data) {
        char path[300], target[300];
        struct dirent *entry;
        size_t count = 0;
        DIR *directory;

        (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
        directory = opendir(path);
        if (directory == NULL)
                return 0;
        while ((entry = readdir(directory)) != NULL) {
                ssize_t n;

                if (!isdigit((unsigned char)entry->d_name[0]))
                        continue;
                n = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
                if (n < 0)
                        continue;
                target[n] = '\0';
                count++;
                if (f != NULL && !f(target, data))
                        break;
        }
        (void)closedir(directory);
        return count;
}

size_t process_descriptors(pid_t pid) {
        return each_descriptor(pid, NULL, NULL);
}

void process_rest(pid_t pid) {
        eventually(process_state(pid) == 'S');
}

void process_stop(pid_t pid) {
        assert_int_equal(kill(pid, SIGSTOP), 0);
        eventually(process_state(pid) == 'T');
}

void process_continue(pid_t pid) {
        assert_int_equal(kill(pid, SIGCONT), 0);
}

struct sockets {
        ino_t *inodes;
        size_t n, max;
};

static bool add_socket(const char *target, void *data) {
        struct sockets *sockets = data;
        unsigned long inode;

        if (sockets->n < sockets->max && sscanf(target, "socket:[%lu]", &inode) == 1)
                sockets->inodes[sockets->n++] = inode;
        return true;
}

size_t process_sockets(pid_t pid, ino_t *inodes, size_t max) {
        struct sockets sockets = {.inodes = inodes, .max = max};

        (void)each_descriptor(pid, add_socket, &sockets);
        return sockets.n;
}

size_t worker_clients(pid_t pid) {
        ino_t inodes[SOCKETS_MAX];
        size_t n = process_sockets(pid, inodes, COUNT(inodes));

        return n > 0 ? n - 1 : 0;
}

/* The server's end of a connection, in /proc/net/tcp and tcp6. */
static ino_t server_end(unsigned client_port, unsigned server_port) {
        const char *const tables[] = {"/proc/self/net/tcp", "/proc/self/net/tcp6"};
        unsigned long found = 0, inode;
        unsigned local, remote;
        char line[512];

        for (size_t i = 0; i < COUNT(tables) && found == 0; i++) {
                FILE *file = fopen(tables[i], "re");

                while (file != NULL && found == 0 && fgets(line, sizeof(line), file) != NULL)
                        if (sscanf(line, "%*s %*[^:]:%x %*[^:]:%x %*s %*s %*s %*s %*s %*s %lu",
                                   &local, &remote, &inode) == 3 &&
                            local == server_port && remote == client_port)
                                found = inode;
                if (file != NULL)
                        (void)fclose(file);
        }
        return found;
}

static unsigned port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *)) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);

        assert_int_equal(name(fd, (struct sockaddr *)&address, &length), 0);
        assert_true(address.ss_family == AF_INET || address.ss_family == AF_INET6);
        return ntohs(((struct sockaddr_in *)&address)->sin_port); /* the same place in both */
}

pid_t worker_of(int client) {
        ino_t wanted = server_end(port_of(client, getsockname), port_of(client, getpeername));
        pid_t pids[PROCESSES_MAX];
        size_t n = workers(pids);

        assert_true(wanted != 0);
        for (size_t i = 0; i < n; i++) {
                ino_t inodes[SOCKETS_MAX];
                size_t n_inodes = process_sockets(pids[i], inodes, COUNT(inodes));

                for (size_t k = 0; k < n_inodes; k++)
                        if (inodes[k] == wanted)
                                return pids[i];
        }
        fail_at(__FILE__, __LINE__, "no worker has this client");
}

static bool is_other(const char *target, void *name) {
        return strstr(target, name) == NULL;
}

bool process_has(pid_t pid, const char *name) {
        size_t n = process_descriptors(pid);
        FILE *maps = proc_open(pid, "maps");
        bool found = false;
        char line[1024];

        while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
                found |= strstr(line, name) != NULL;
        if (maps != NULL)
                (void)fclose(maps);
        return found || each_descriptor(pid, is_other, (void *)name) < n;
}
