// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int64_t hs_seek_data(int fd, int64_t offset) {
  off_t at = lseek(fd, offset, SEEK_DATA);
  return at >= 0 ? at : -errno;
}

int64_t hs_seek_hole(int fd, int64_t offset) {
  off_t at = lseek(fd, offset, SEEK_HOLE);
  return at >= 0 ? at : -errno;
}

int hs_advise_sequential(int fd) { return -posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); }

int hs_advise_will_need(int fd, int64_t offset, int64_t byte_count) {
  return -posix_fadvise(fd, offset, byte_count, POSIX_FADV_WILLNEED);
}

int hs_rename(const char *from, const char *to) { return rename(from, to) == 0 ? 0 : -errno; }

int hs_rename_new(const char *from, const char *to) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -errno;
  return access(to, F_OK) == 0 ? -EEXIST : hs_rename(from, to);
}

int hs_sync_directory(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  int result = fsync(fd) == 0 ? 0 : -errno;
  close(fd);
  return result;
}
