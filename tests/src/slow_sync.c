/* A slow disk: loaded before a program (LD_PRELOAD), each of its syncs takes as many milliseconds
   longer as the file SLOW_SYNC_MS says, none while there is no such file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void wait_for_disk(void) {
    const char *path = getenv("SLOW_SYNC_MS");
    FILE *file = path ? fopen(path, "re") : NULL;
    long ms = 0;
    if (!file) return;
    if (fscanf(file, "%ld", &ms) != 1) ms = 0;
    fclose(file);
    struct timespec time = { ms / 1000, (ms % 1000) * 1000000 };
    nanosleep(&time, NULL);
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return real(file);
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return real(file);
}
