// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

int hs_probe_pagemap_scan(void) {
  int fd = hs_pagemap_open();
  if (fd < 0)
    return fd;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void *base = hs_map_anonymous(page);
  int result = -errno;
  if (base != NULL) {
    uint64_t words[16] = {0}; // Pages of 64 KiB count as sixteen.
    result = hs_pagemap_zero_frames(fd, (uintptr_t)base, page / 4096, words);
    hs_unmap(base, page);
  }
  close(fd);
  return result;
}

int hs_probe_populate_write(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void *base = hs_map_anonymous(page);
  if (base == NULL)
    return -errno;
  int result = hs_populate_write(base, page);
  hs_unmap(base, page);
  return result;
}

int64_t hs_memory_lock_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
    return 0;
  return limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
}
