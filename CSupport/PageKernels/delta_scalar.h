// SPDX-License-Identifier: Apache-2.0
// Deltas, eight bytes at a time: the oracle of the vector tiers, and what runs where there is none.
#include "delta_format.h"

// The first offset from `at` on where the pages differ.
static inline unsigned end_of_equal(const uint8_t *a, const uint8_t *b, unsigned at) {
  for (; at + 8 <= PK_PAGE_BYTES; at += 8) {
    uint64_t differing = pk_word(a + at) ^ pk_word(b + at);
    if (differing != 0)
      return at + (unsigned)__builtin_ctzll(differing) / 8;
  }
  while (at < PK_PAGE_BYTES && a[at] == b[at])
    at++;
  return at;
}

// The first offset from `at` on where they do not.
static inline unsigned end_of_different(const uint8_t *a, const uint8_t *b, unsigned at) {
  const uint64_t low = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
  for (; at + 8 <= PK_PAGE_BYTES; at += 8) {
    uint64_t differing = pk_word(a + at) ^ pk_word(b + at);
    // The lowest set bit is that of the lowest zero byte; higher ones may be wrong.
    uint64_t equal = (differing - low) & ~differing & high;
    if (equal != 0)
      return at + (unsigned)__builtin_ctzll(equal) / 8;
  }
  while (at < PK_PAGE_BYTES && a[at] != b[at])
    at++;
  return at;
}

static uint32_t delta_encode(const void *base, const void *page, void *delta, uint32_t capacity) {
  uint8_t *to = delta;
  const uint8_t *end = to + capacity;
  for (unsigned at = 0;;) {
    unsigned start = end_of_equal(base, page, at);
    if (start == PK_PAGE_BYTES)
      return (uint32_t)(to - (uint8_t *)delta);
    unsigned stop = end_of_different(base, page, start);
    unsigned kept = start - at, replaced = stop - start;
    if ((size_t)(end - to) < (size_t)1 + (kept >= 0x80) + 1 + (replaced >= 0x80) + replaced)
      return PK_DELTA_OVERFLOW;
    to = pk_put_length(to, kept);
    to = pk_put_length(to, replaced);
    memcpy(to, (const uint8_t *)page + start, replaced);
    to += replaced;
    at = stop;
  }
}

// The page is copied first: the guest may change it, and the delta has to lead to what is in the cache.
static uint32_t delta_update(void *cached, const void *page, void *delta, uint32_t capacity) {
  uint8_t snapshot[PK_PAGE_BYTES];
  memcpy(snapshot, page, sizeof snapshot);
  uint32_t length = delta_encode(cached, snapshot, delta, capacity);
  memcpy(cached, snapshot, sizeof snapshot);
  return length;
}

static enum pk_delta_fault delta_apply(const void *delta, size_t byte_count, void *page) {
  struct pk_delta_walk walk = {delta, (const uint8_t *)delta + byte_count, 0, 0};
  for (bool is_first = true; walk.at != walk.end; is_first = false) {
    enum pk_delta_fault fault = pk_take_pair(&walk, is_first);
    if (fault != PK_DELTA_VALID)
      return fault;
    memcpy((uint8_t *)page + walk.page_at, walk.at, walk.run);
    walk.at += walk.run;
  }
  return PK_DELTA_VALID;
}
