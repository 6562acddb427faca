// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 // Linux 5.11
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00) // Linux 6.1
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 // Linux 5.14
#endif

_Static_assert(UFFD_FEATURE_PAGEFAULT_FLAG_WP == HS_UFFD_FEATURE_WP, "the header's numbers are the kernel's");
_Static_assert(UFFD_FEATURE_EVENT_REMOVE == HS_UFFD_FEATURE_EVENT_REMOVE, "the header's numbers are the kernel's");

// What <linux/fs.h> declares since 6.7; Debian 12's headers are older.
struct scan_arguments {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct scan_region {
  uint64_t start, end, categories;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct scan_arguments)
enum { SCAN_WP_MATCHING = 1 << 0, SCAN_CHECK_WPASYNC = 1 << 1 };
enum { PAGE_WRITTEN = 1 << 1, PAGE_ZERO_FRAME = 1 << 5 };
_Static_assert(sizeof(struct scan_arguments) == 96, "struct pm_scan_arg");
_Static_assert(sizeof(struct scan_region) == 24, "struct page_region");
_Static_assert(PAGEMAP_SCAN == 0xc0606610u, "the ioctl's number has the structure's size in it");

enum { PAGE_BYTES = 4096, WORD_PAGES = 64 };

// userfaultfd --------------------------------------------------------------------------------------------

static int open_uffd(int access) {
  if (access != HS_UFFD_DEVICE) {
    int flags = O_CLOEXEC | O_NONBLOCK | (access == HS_UFFD_USER_ONLY ? UFFD_USER_MODE_ONLY : 0);
    int fd = (int)syscall(SYS_userfaultfd, flags);
    return fd >= 0 ? fd : -errno;
  }
  int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0)
    return -errno;
  int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  int result = fd >= 0 ? fd : -errno;
  close(device);
  return result;
}

int hs_uffd_open(int access, uint64_t features, uint64_t *offered) {
  int fd = open_uffd(access);
  if (fd < 0)
    return fd;
  struct uffdio_api api = {.api = UFFD_API, .features = features};
  if (ioctl(fd, UFFDIO_API, &api) != 0) {
    int failure = errno;
    close(fd);
    return -failure;
  }
  *offered = api.features;
  return fd;
}

static struct uffdio_range range_of(uintptr_t start, size_t byte_count) {
  return (struct uffdio_range){.start = start, .len = byte_count};
}

int hs_uffd_register(int uffd, uintptr_t start, size_t byte_count) {
  struct uffdio_register request = {.range = range_of(start, byte_count), .mode = UFFDIO_REGISTER_MODE_WP};
  if (ioctl(uffd, UFFDIO_REGISTER, &request) != 0)
    return -errno;
  return request.ioctls & (UINT64_C(1) << _UFFDIO_WRITEPROTECT) ? 0 : -EOPNOTSUPP;
}

int hs_uffd_write_protect(int uffd, uintptr_t start, size_t byte_count, int mode) {
  struct uffdio_writeprotect request = {.range = range_of(start, byte_count), .mode = (uint64_t)mode};
  return ioctl(uffd, UFFDIO_WRITEPROTECT, &request) == 0 ? 0 : -errno;
}

int hs_uffd_wake(int uffd, uintptr_t start, size_t byte_count) {
  struct uffdio_range request = range_of(start, byte_count);
  return ioctl(uffd, UFFDIO_WAKE, &request) == 0 ? 0 : -errno;
}

int hs_uffd_read(int uffd, struct hs_uffd_event *events, size_t capacity) {
  struct uffd_msg messages[HS_UFFD_EVENTS_MAX];
  if (capacity > HS_UFFD_EVENTS_MAX)
    capacity = HS_UFFD_EVENTS_MAX;
  ssize_t got = read(uffd, messages, capacity * sizeof *messages);
  if (got < 0)
    return -errno;
  int count = 0;
  for (size_t i = 0; i < (size_t)got / sizeof *messages; i++) {
    const struct uffd_msg *message = &messages[i];
    if (message->event == UFFD_EVENT_PAGEFAULT) {
      events[count].start = message->arg.pagefault.address & ~(uint64_t)(PAGE_BYTES - 1);
      events[count++].byte_count = 0;
    } else if (message->event == UFFD_EVENT_REMOVE) {
      events[count].start = message->arg.remove.start;
      events[count++].byte_count = message->arg.remove.end - message->arg.remove.start;
    }
  }
  return count;
}

int hs_wait_readable(int first, int second) {
  struct pollfd polled[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
  if (poll(polled, 2, -1) < 0)
    return -errno;
  return (polled[0].revents != 0 ? 1 : 0) | (polled[1].revents != 0 ? 2 : 0);
}

int hs_replace_descriptor(int from, int to) {
  for (;;) {
    if (dup3(from, to, O_CLOEXEC) >= 0)
      return 0;
    if (errno != EINTR && errno != EBUSY)
      return -errno;
  }
}

// Page tables --------------------------------------------------------------------------------------------

int hs_pagemap_open(void) {
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

// ORs pages first to end - 1 into the bitmap.
static void add_pages(uint64_t *words, size_t first, size_t end) {
  while (first < end) {
    size_t bit = first % WORD_PAGES;
    size_t count = end - first < WORD_PAGES - bit ? end - first : WORD_PAGES - bit;
    uint64_t ones = count == WORD_PAGES ? UINT64_MAX : (UINT64_C(1) << count) - 1;
    words[first / WORD_PAGES] |= ones << bit;
    first += count;
  }
}

static int scan(int pagemap, uintptr_t start, size_t page_count, uint64_t flags, uint64_t category, uint64_t *words) {
  // Not more: when a call finds over 512 regions, walk_end may come back before the last of them (seen on 6.18).
  // Whatever comes twice is ORed twice.
  struct scan_region regions[256];
  const uint64_t end = start + (uint64_t)page_count * PAGE_BYTES;
  uint64_t at = start;
  while (at < end) {
    struct scan_arguments arguments = {
        .size = sizeof arguments,
        .flags = flags,
        .start = at,
        .end = end,
        .vec = (uintptr_t)regions,
        .vec_len = sizeof regions / sizeof *regions,
        .category_mask = category,
        .return_mask = category,
    };
    int found = ioctl(pagemap, PAGEMAP_SCAN, &arguments);
    if (found < 0)
      return -errno;
    for (int i = 0; i < found; i++) {
      uint64_t stop = regions[i].end < end ? regions[i].end : end;
      if (regions[i].start >= start)
        add_pages(words, (regions[i].start - start) / PAGE_BYTES, (stop - start) / PAGE_BYTES);
    }
    if (arguments.walk_end <= at)
      return -EIO; // A huge page of hugetlbfs that the range has only a part of cannot be protected.
    at = arguments.walk_end;
  }
  return 0;
}

int hs_pagemap_written(int pagemap, uintptr_t start, size_t page_count, int rearm, uint64_t *words) {
  return scan(pagemap, start, page_count, rearm ? SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC : 0, PAGE_WRITTEN, words);
}

int hs_pagemap_zero_frames(int pagemap, uintptr_t start, size_t page_count, uint64_t *words) {
  return scan(pagemap, start, page_count, 0, PAGE_ZERO_FRAME, words);
}

int hs_resident_pages(uintptr_t start, size_t page_count, uint64_t *words) {
  unsigned char resident[4096];
  for (size_t done = 0; done < page_count;) {
    size_t count = page_count - done < sizeof resident ? page_count - done : sizeof resident;
    if (mincore((void *)(start + done * PAGE_BYTES), count * PAGE_BYTES, resident) != 0)
      return -errno;
    for (size_t i = 0; i < count; i++)
      words[(done + i) / WORD_PAGES] |= (uint64_t)(resident[i] & 1) << ((done + i) % WORD_PAGES);
    done += count;
  }
  return 0;
}

int hs_populate_read(uintptr_t start, size_t byte_count) {
  if (madvise((void *)start, byte_count, MADV_POPULATE_READ) == 0)
    return 0;
  if (errno != EINVAL)
    return -errno;
  for (size_t offset = 0; offset < byte_count; offset += PAGE_BYTES)
    (void)*(const volatile unsigned char *)(start + offset);
  return 0;
}
