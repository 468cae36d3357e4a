/* What a loss of power leaves: loaded before a program (LD_PRELOAD), it writes down in the folder POWER_LOSS what
   the program has synced, before the sync returns. Of a file: its number and how long it was (F). Of a folder:
   the names in it (D, N …, E). Files that are written in the middle (*.redb) are copied whole, by their number.
   Each entry is one write with a line before it, so that one that a kill cuts short harms no other. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of two that sync a folder, who looked last writes last. A file is synced by one thread at a time. */
static pthread_mutex_t folders = PTHREAD_MUTEX_INITIALIZER;

/* A test on a disk that is not written down proves nothing. */
static void check(int good) {
    if (!good) abort();
}

static void note(const char *home, const char *text, size_t bytes) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/synced", home);
    int journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    check(journal >= 0 && write(journal, text, bytes) == (ssize_t)bytes);
    close(journal);
}

/* The names in a folder as they are before the sync; none when it was removed meanwhile. */
static char *names_of(const char *path, size_t *bytes) {
    char *text = NULL;
    struct dirent *entry;
    DIR *folder = opendir(path);
    if (!folder) return NULL;
    FILE *out = open_memstream(&text, bytes);
    check(out != NULL);
    fprintf(out, "\nD %s\n", path);
    while ((entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) fprintf(out, "N %s\n", entry->d_name);
    fprintf(out, "E\n");
    fclose(out);
    closedir(folder);
    return text;
}

static void copy(const char *home, const char *from, const struct stat *found) {
    char half[PATH_MAX], whole[PATH_MAX], piece[65536];
    off_t at = 0;
    snprintf(whole, sizeof whole, "%s/%llu", home, (unsigned long long)found->st_ino);
    snprintf(half, sizeof half, "%s/%llu.half", home, (unsigned long long)found->st_ino);
    int to = open(half, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int file = open(from, O_RDONLY | O_CLOEXEC);
    check(to >= 0 && file >= 0);
    for (;;) {
        ssize_t count = pread(file, piece, sizeof piece, at);
        check(count >= 0 && write(to, piece, count) == count);
        if (count == 0) break;
        at += count;
    }
    close(file);
    close(to);
    check(rename(half, whole) == 0);
}

static int is_written_in_the_middle(const char *path) {
    size_t length = strlen(path);
    return length > 5 && strcmp(path + length - 5, ".redb") == 0;
}

static int synced_folder(int file, int (*real)(int), const char *home, const char *path) {
    size_t bytes = 0;
    pthread_mutex_lock(&folders);
    char *names = names_of(path, &bytes);
    int outcome = real(file);
    if (outcome == 0 && names) note(home, names, bytes);
    pthread_mutex_unlock(&folders);
    free(names);
    return outcome;
}

static int synced(int file, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *home = getenv("POWER_LOSS");
    char link[64], path[PATH_MAX], line[64];
    struct stat found;
    if (!home || fstat(file, &found) != 0 || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return real(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    check(length > 0);
    path[length] = 0;
    if (S_ISDIR(found.st_mode)) return synced_folder(file, real, home, path);
    int outcome = real(file);
    if (outcome == 0) {
        if (is_written_in_the_middle(path)) copy(home, link, &found);
        snprintf(line, sizeof line, "\nF %llu %lld\n", (unsigned long long)found.st_ino, (long long)found.st_size);
        note(home, line, strlen(line));
    }
    return outcome;
}

int fsync(int file) {
    return synced(file, "fsync");
}

int fdatasync(int file) {
    return synced(file, "fdatasync");
}
