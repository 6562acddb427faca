// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

int hs_probe_userfaultfd(uint64_t *features) {
  // Faults of the kernel itself need a privilege; user-mode faults are offered to anyone (Linux 5.11).
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  if (fd < 0)
    fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  if (fd < 0)
    return -errno;
  struct uffdio_api api = {.api = UFFD_API};
  int result = ioctl(fd, UFFDIO_API, &api) == 0 ? 0 : -errno;
  close(fd);
  *features = api.features;
  return result;
}

// struct pm_scan_arg of <linux/fs.h> since 6.7; Debian 12's headers are older.
struct scan_arguments {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

int hs_probe_pagemap_scan(void) {
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void *base = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int result = -errno;
  if (base != MAP_FAILED) {
    struct {
      uint64_t start, end, categories;
    } region;
    enum { PAGE_IS_PRESENT_BIT = 1 << 3 };
    struct scan_arguments arguments = {
        .size = sizeof arguments,
        .start = (uintptr_t)base,
        .end = (uintptr_t)base + page,
        .vec = (uintptr_t)&region,
        .vec_len = 1,
        .category_anyof_mask = PAGE_IS_PRESENT_BIT,
        .return_mask = PAGE_IS_PRESENT_BIT,
    };
    result = ioctl(fd, _IOWR('f', 16, struct scan_arguments), &arguments) >= 0 ? 0 : -errno;
    munmap(base, page);
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
