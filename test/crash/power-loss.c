/* Preloaded into a Drift under test: keeps beside the data what a power cut would leave of them. A file's bytes are those
 * that the last fsync or fdatasync that returned found in it, a directory's names likewise. Nothing else survives. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void put(int to, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(to, bytes, length);
    if (written <= 0) abort();
    bytes += written;
    length -= (size_t)written;
  }
}

/* Reads through the caller's own descriptor: closing another one of a database file would drop SQLite's locks. */
static void copy_file(int fd, const char *self, int to) {
  char buffer[65536];
  int readable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
  int from = readable ? fd : open(self, O_RDONLY | O_CLOEXEC);
  if (from < 0) abort();
  off_t at = 0;
  for (;;) {
    ssize_t got = pread(from, buffer, sizeof buffer, at);
    if (got < 0) abort();
    if (got == 0) break;
    put(to, buffer, (size_t)got);
    at += got;
  }
  if (!readable) close(from);
}

static void copy_names(const char *self, int to) {
  DIR *directory = opendir(self);
  if (directory == NULL) abort();
  char line[NAME_MAX + 64];
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    int length = snprintf(line, sizeof line, "%lu %s %s\n", (unsigned long)entry->d_ino,
                          entry->d_type == DT_DIR ? "directory" : "file", entry->d_name);
    put(to, line, (size_t)length);
  }
  closedir(directory);
}

static int sync_and_keep(int fd, const char *name) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  const char *root = getenv("POWER_ROOT");
  const char *kept = getenv("POWER_KEPT");
  char self[64], path[PATH_MAX], waiting[PATH_MAX], final[PATH_MAX];
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(self, path, sizeof path - 1);
  struct stat stats;
  if (root == NULL || kept == NULL || length < 0 || fstat(fd, &stats) != 0) return real(fd);
  path[length] = '\0';
  if (strncmp(path, root, strlen(root)) != 0) return real(fd);

  /* One sync at a time over all processes: an older copy never comes after a newer one. */
  snprintf(waiting, sizeof waiting, "%s/lock", kept);
  int lock = open(waiting, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX) != 0) abort();
  int is_directory = S_ISDIR(stats.st_mode);
  snprintf(final, sizeof final, "%s/%lu", kept, (unsigned long)stats.st_ino);
  snprintf(waiting, sizeof waiting, "%s/waiting-%d-%ld", kept, getpid(), (long)syscall(SYS_gettid));
  int to = open(waiting, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (to < 0) abort();
  if (is_directory) copy_names(self, to);
  else copy_file(fd, self, to);
  close(to);
  int result = real(fd);
  if (result == 0 && rename(waiting, final) != 0) abort();
  close(lock);
  return result;
}

int fsync(int fd) { return sync_and_keep(fd, "fsync"); }
int fdatasync(int fd) { return sync_and_keep(fd, "fdatasync"); }
