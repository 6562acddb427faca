// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif

void *hs_map_anonymous(size_t byte_count) {
  void *base = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return base == MAP_FAILED ? NULL : base;
}

void *hs_map_memfd(size_t byte_count) {
  int fd = memfd_create("guest", MFD_CLOEXEC);
  if (fd < 0)
    return NULL;
  void *base = MAP_FAILED;
  if (ftruncate(fd, (off_t)byte_count) == 0)
    base = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  int failure = errno;
  close(fd);
  errno = failure;
  return base == MAP_FAILED ? NULL : base;
}

int hs_unmap(void *base, size_t byte_count) { return munmap(base, byte_count) == 0 ? 0 : -errno; }

int hs_advise_huge_pages(void *base, size_t byte_count) {
  return madvise(base, byte_count, MADV_HUGEPAGE) == 0 ? 0 : -errno;
}

int hs_populate_write(void *base, size_t byte_count) {
  return madvise(base, byte_count, MADV_POPULATE_WRITE) == 0 ? 0 : -errno;
}
