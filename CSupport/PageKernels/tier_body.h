// SPDX-License-Identifier: Apache-2.0
//
// The kernels, written once. An instruction-set file defines the macros below and includes this file:
//
//   PK_TARGET          function attribute that turns the instruction set on
//   PK_TABLE           name of the exported table
//   pk_vector          the register type, PK_VECTOR_BYTES wide (64 must be a multiple)
//   pk_load(p) pk_store(p, v) pk_or(a, b) pk_any(v)
//
// and has hash64 and hash128 from hash_body.h.
//
// No include guard: one inclusion per translation unit by construction.

#include "delta_body.h"
#include "tier_table.h"

enum { PK_BLOCK_BYTES = 256, PK_HEAD_BYTES = 64 };

// 98.8 % of a real guest's non-zero pages have a set bit in their first 64 bytes, so the head decides almost
// always; a page that passes is read on as one ascending stream. Sampling the page's middle and end first
// rejects fewer pages and costs all-zero memory 25 %, because it misleads the hardware prefetcher.
PK_TARGET static inline bool head_is_zero(const uint8_t *page) {
  pk_vector seen = pk_load(page);
  for (size_t at = PK_VECTOR_BYTES; at < PK_HEAD_BYTES; at += PK_VECTOR_BYTES)
    seen = pk_or(seen, pk_load(page + at));
  return !pk_any(seen);
}

PK_TARGET static inline pk_vector block_or(const uint8_t *block) {
  pk_vector even = pk_load(block), odd = pk_load(block + PK_VECTOR_BYTES);
  for (size_t at = 2 * PK_VECTOR_BYTES; at < PK_BLOCK_BYTES; at += 2 * PK_VECTOR_BYTES) {
    even = pk_or(even, pk_load(block + at));
    odd = pk_or(odd, pk_load(block + at + PK_VECTOR_BYTES));
  }
  return pk_or(even, odd);
}

PK_TARGET static bool page_is_zero(const void *page) {
  const uint8_t *bytes = page;
  if (!head_is_zero(bytes))
    return false;
  for (size_t at = 0; at < PK_PAGE_BYTES; at += PK_BLOCK_BYTES)
    if (pk_any(block_or(bytes + at)))
      return false;
  return true;
}

PK_TARGET static uint64_t zero_mask(const void *span, uint64_t wanted) {
  const uint8_t *bytes = span;
  uint64_t zero = 0;
  for (uint64_t left = wanted; left != 0; left &= left - 1) {
    unsigned page = (unsigned)__builtin_ctzll(left);
    zero |= (uint64_t)page_is_zero(bytes + (size_t)page * PK_PAGE_BYTES) << page;
  }
  return zero;
}

PK_TARGET static inline void fill_zero(uint8_t *to, size_t byte_count) {
  for (size_t at = 0; at < byte_count; at++)
    to[at] = 0;
}

// Copies the rest of a page from `at` on, which is a multiple of 64, and asks for the same place of the page that comes
// next: a processor's own prefetching ends with the page. Without it this takes a fifth more time from cold memory. The
// pin keeps the compiler from calling memcpy, which takes half as much again.
PK_TARGET static inline void copy_words(uint8_t *restrict to, const uint8_t *restrict from, const uint8_t *next,
                                        size_t at) {
  for (; at < PK_PAGE_BYTES; at += 64) {
    __builtin_prefetch(next + at);
    pk_vector word[64 / PK_VECTOR_BYTES];
    for (size_t i = 0; i < 64 / PK_VECTOR_BYTES; i++) {
      word[i] = pk_load(from + at + i * PK_VECTOR_BYTES);
      pk_pin(word[i]);
    }
    for (size_t i = 0; i < 64 / PK_VECTOR_BYTES; i++)
      pk_store(to + at + i * PK_VECTOR_BYTES, word[i]);
  }
}

// Copies one page, or reports that it is zero and writes nothing. The block that ends a run of zeros is held in
// registers between the test and the store: were it read again, the guest could have changed it in between.
PK_TARGET static inline bool snapshot_page(uint8_t *restrict to, const uint8_t *restrict from, const uint8_t *next) {
  pk_vector head[PK_HEAD_BYTES / PK_VECTOR_BYTES];
  pk_vector seen = head[0] = pk_load(from);
  for (size_t i = 1; i < PK_HEAD_BYTES / PK_VECTOR_BYTES; i++) {
    head[i] = pk_load(from + i * PK_VECTOR_BYTES);
    seen = pk_or(seen, head[i]);
  }
  size_t at = PK_HEAD_BYTES;
  if (!pk_any(seen)) {
    pk_vector block[PK_HEAD_BYTES / PK_VECTOR_BYTES];
    for (;; at += PK_HEAD_BYTES) {
      if (at == PK_PAGE_BYTES)
        return true;
      seen = block[0] = pk_load(from + at);
      for (size_t i = 1; i < PK_HEAD_BYTES / PK_VECTOR_BYTES; i++) {
        block[i] = pk_load(from + at + i * PK_VECTOR_BYTES);
        seen = pk_or(seen, block[i]);
      }
      if (pk_any(seen))
        break;
    }
    fill_zero(to, at);
    for (size_t i = 0; i < PK_HEAD_BYTES / PK_VECTOR_BYTES; i++)
      pk_store(to + at + i * PK_VECTOR_BYTES, block[i]);
    at += PK_HEAD_BYTES;
  } else {
    for (size_t i = 0; i < PK_HEAD_BYTES / PK_VECTOR_BYTES; i++)
      pk_store(to + i * PK_VECTOR_BYTES, head[i]);
  }
  copy_words(to, from, next, at);
  return false;
}

PK_TARGET static size_t snapshot_span(const void *span, uint64_t wanted, void *staging, uint64_t *zero_mask_out) {
  const uint8_t *from = span;
  uint8_t *to = staging;
  uint64_t zero = 0;
  for (uint64_t left = wanted; left != 0;) {
    unsigned page = (unsigned)__builtin_ctzll(left);
    left &= left - 1;
    unsigned next = left != 0 ? (unsigned)__builtin_ctzll(left) : page;
    if (snapshot_page(to, from + (size_t)page * PK_PAGE_BYTES, from + (size_t)next * PK_PAGE_BYTES))
      zero |= UINT64_C(1) << page;
    else
      to += PK_PAGE_BYTES;
  }
  *zero_mask_out = zero;
  return (size_t)(to - (uint8_t *)staging) / PK_PAGE_BYTES;
}

const struct pk_tier_table PK_TABLE = {
    .page_is_zero = page_is_zero,
    .zero_mask = zero_mask,
    .snapshot_span = snapshot_span,
    .hash64 = hash64,
    .hash128 = hash128,
    .delta_encode = delta_encode,
    .delta_update = delta_update,
    .delta_apply = delta_apply,
};
