// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
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

void *hs_map_shared(int fd, size_t byte_count) {
  void *base = mmap(NULL, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  return base == MAP_FAILED ? NULL : base;
}

int hs_unmap(void *base, size_t byte_count) { return munmap(base, byte_count) == 0 ? 0 : -errno; }

int hs_advise_huge_pages(void *base, size_t byte_count) {
  return madvise(base, byte_count, MADV_HUGEPAGE) == 0 ? 0 : -errno;
}

int hs_drop_pages(void *base, size_t byte_count) {
  return madvise(base, byte_count, MADV_DONTNEED) == 0 ? 0 : -errno;
}

int hs_populate_write(void *base, size_t byte_count) {
  return madvise(base, byte_count, MADV_POPULATE_WRITE) == 0 ? 0 : -errno;
}

// What lies before each block that hs_allocate() gives: its own mapping's size, or 0 if it is malloc's.
struct block_header {
  _Alignas(64) size_t mapped_byte_count;
};

enum { HUGE_PAGE_BYTES = 2 << 20 };

void *hs_allocate(void *unused, size_t byte_count) {
  (void)unused;
  if (byte_count > SIZE_MAX - sizeof(struct block_header))
    return NULL;
  size_t whole = byte_count + sizeof(struct block_header);
  struct block_header *header;
  if (whole < 2 * HUGE_PAGE_BYTES) {
    header = aligned_alloc(64, (whole + 63) & ~(size_t)63);
    if (header != NULL)
      header->mapped_byte_count = 0;
  } else {
    header = hs_map_anonymous(whole);
    if (header != NULL) {
      hs_advise_huge_pages(header, whole);
      header->mapped_byte_count = whole;
    }
  }
  return header == NULL ? NULL : header + 1;
}

void hs_release(void *unused, void *block) {
  (void)unused;
  if (block == NULL)
    return;
  struct block_header *header = (struct block_header *)block - 1;
  if (header->mapped_byte_count == 0)
    free(header);
  else
    hs_unmap(header, header->mapped_byte_count);
}
