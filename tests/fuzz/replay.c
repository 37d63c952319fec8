/* SPDX-License-Identifier: MIT */

/*
 * Runs a fuzz target over the files of its corpus, without libFuzzer: one test case. A target that
 * finds something aborts; the file that was last named is then the one.
 */

#include <dirent.h>
#include <string.h>

#include "input.h"

#define INPUT_MAX (1 << 20)

static void replay(const uint8_t *input, size_t n) {
        uint8_t *exact = malloc(n + (n == 0)); /* so that a read past the end is noticed */

        CHECK(exact != NULL);
        memcpy(exact, input, n);
        CHECK(LLVMFuzzerTestOneInput(exact, n) == 0);
        free(exact);
}

static void replay_file(const char *directory, const char *name) {
        static uint8_t input[INPUT_MAX];
        char path[4096];
        FILE *file;
        size_t n;

        (void)printf("# %s\n", name);
        (void)fflush(stdout);
        (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
        file = fopen(path, "rb");
        CHECK(file != NULL);
        n = fread(input, 1, sizeof(input), file);
        CHECK(ferror(file) == 0);
        (void)fclose(file);
        replay(input, n);
}

static int is_visible(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

int main(int argc, char **argv) {
        struct dirent **entries;
        int n;

        CHECK(argc == 2);
        n = scandir(argv[1], &entries, is_visible, alphasort);
        CHECK(n > 0);
        (void)printf("1..1\n");
        replay((const uint8_t *)"", 0);
        for (int i = 0; i < n; i++) {
                replay_file(argv[1], entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
        (void)printf("ok 1 - corpus_of_%d_inputs_finds_nothing\n", n);
        return 0;
}
