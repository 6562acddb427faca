// SPDX-License-Identifier: Apache-2.0
//
// What the kernels are compared with: the plain loops over memory that nothing can be much faster than, and functions
// of a library that is loaded at run time. Ranges are whole pages of 4096 bytes.
#ifndef REFERENCES_H
#define REFERENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Loads every byte, and does next to nothing with it: the OR of all 64-bit words. With AVX2 where the processor has it,
// which ref_reads_with_avx2() tells.
uint64_t ref_read(const void *bytes, size_t byte_count);
bool ref_reads_with_avx2(void);

// memcpy, a call for each page.
void ref_copy_pages(void *to, const void *from, size_t page_count);

// memcmp, a call for each page; returns how many are equal.
size_t ref_equal_pages(const void *a, const void *b, size_t page_count);

// How many pages are zero, by memcmp of each page with itself, 8 bytes on.
size_t ref_zero_pages(const void *pages, size_t page_count);

// Writes the range back to memory and drops it from every cache, where the architecture lets a program do that.
void ref_evict(const void *bytes, size_t byte_count);

// The functions of a peer; NULL for those that it does not have. perf/peers/peer_kernels.h says what each does.
struct ref_peer {
  int (*page_is_zero)(const void *page);
  int (*delta_encode)(const uint8_t *old_page, const uint8_t *new_page, int page_bytes, uint8_t *out, int capacity);
  int (*delta_decode)(const uint8_t *delta, int delta_bytes, uint8_t *page, int page_bytes);
};

// Loads the shared library at `path` for the rest of the process's life. Returns NULL, or why it could not.
const char *ref_load_peer(const char *path, struct ref_peer *peer);

#endif
