/* Preloaded into a Drift under test: reads, writes and syncs of chosen files fail. Which ones is asked at each call of the
 * file FAILING_RULES: a line each, an operation (read, write or sync), an error number and a pattern for paths. Each sync that
 * failed leaves a link to the file in FAILING_LOST, because the kernel forgets what it could not write: bytes that were
 * in such a file are durable only after they were written again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int path_of(int fd, char *path) {
  char self[64];
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(self, path, PATH_MAX - 1);
  if (length <= 0 || path[0] != '/') return 0;
  path[length] = '\0';
  return 1;
}

/* Straight to the kernel: these calls must not meet themselves. */
static int failure_of(const char *operation, const char *path) {
  const char *rules = getenv("FAILING_RULES");
  if (rules == NULL) return 0;
  int file = (int)syscall(SYS_openat, AT_FDCWD, rules, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return 0;
  char text[4096];
  long length = syscall(SYS_read, file, text, sizeof text - 1);
  syscall(SYS_close, file);
  if (length <= 0) return 0;
  text[length] = '\0';
  char *rest = text;
  for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
    char name[16], pattern[PATH_MAX];
    int number;
    if (sscanf(line, "%15s %d %4095s", name, &number, pattern) != 3) continue;
    if (strcmp(name, operation) == 0 && fnmatch(pattern, path, 0) == 0) return number;
  }
  return 0;
}

static int fails(const char *operation, int fd) {
  int before = errno;
  char path[PATH_MAX];
  int failure = path_of(fd, path) ? failure_of(operation, path) : 0;
  errno = failure != 0 ? failure : before;
  return failure != 0;
}

/* A further name keeps the inode, so that its number means no other file later. A directory takes none. */
static void keep_lost(int fd) {
  const char *kept = getenv("FAILING_LOST");
  char self[64], name[PATH_MAX];
  struct stat stats;
  if (kept == NULL || fstat(fd, &stats) != 0) return;
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  snprintf(name, sizeof name, "%s/%lu", kept, (unsigned long)stats.st_ino);
  if (linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) != 0 && !S_ISDIR(stats.st_mode) && errno != EEXIST)
    abort();
  errno = EIO;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define FAILING(operation, type, name, parameters, arguments) \
  type name parameters {                                      \
    if (fails(operation, fd)) return -1;                      \
    return REAL(name) arguments;                              \
  }

FAILING("read", ssize_t, read, (int fd, void *to, size_t count), (fd, to, count))
FAILING("read", ssize_t, pread, (int fd, void *to, size_t count, off_t at), (fd, to, count, at))
FAILING("read", ssize_t, pread64, (int fd, void *to, size_t count, off64_t at), (fd, to, count, at))
FAILING("read", ssize_t, preadv, (int fd, const struct iovec *to, int count, off_t at), (fd, to, count, at))
FAILING("read", ssize_t, preadv64, (int fd, const struct iovec *to, int count, off64_t at), (fd, to, count, at))
FAILING("write", ssize_t, write, (int fd, const void *from, size_t count), (fd, from, count))
FAILING("write", ssize_t, pwrite, (int fd, const void *from, size_t count, off_t at), (fd, from, count, at))
FAILING("write", ssize_t, pwrite64, (int fd, const void *from, size_t count, off64_t at), (fd, from, count, at))
FAILING("write", ssize_t, pwritev, (int fd, const struct iovec *from, int count, off_t at), (fd, from, count, at))
FAILING("write", ssize_t, pwritev64, (int fd, const struct iovec *from, int count, off64_t at),
        (fd, from, count, at))

#define FAILING_SYNC(name)                    \
  int name(int fd) {                          \
    if (fails("sync", fd)) {                  \
      keep_lost(fd);                          \
      return -1;                              \
    }                                         \
    return REAL(name)(fd);                    \
  }

FAILING_SYNC(fsync)
FAILING_SYNC(fdatasync)
