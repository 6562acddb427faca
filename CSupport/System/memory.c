// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif

void *hs_map_anonymous(size_t byte_count) {
  void *base = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return base == MAP_FAILED ? NULL : base;
}

int hs_unmap(void *base, size_t byte_count) { return munmap(base, byte_count) == 0 ? 0 : -errno; }

int hs_advise_huge_pages(void *base, size_t byte_count) {
  return madvise(base, byte_count, MADV_HUGEPAGE) == 0 ? 0 : -errno;
}

int hs_populate_write(void *base, size_t byte_count) {
  return madvise(base, byte_count, MADV_POPULATE_WRITE) == 0 ? 0 : -errno;
}

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

int hs_sync_directory(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  int result = fsync(fd) == 0 ? 0 : -errno;
  close(fd);
  return result;
}
