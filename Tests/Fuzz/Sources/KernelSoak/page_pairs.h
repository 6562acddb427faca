// SPDX-License-Identifier: Apache-2.0
// Pages, and what programs and chance do to them.
#ifndef PAGE_PAIRS_H
#define PAGE_PAIRS_H

#include <page_kernels.h>
#include <string.h>

// SplitMix64 (Steele, Lea, Flood 2014).
static inline uint64_t next_random(uint64_t *state) {
  uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
  mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
  return mixed ^ mixed >> 31;
}

// A number below `bound`, which is at most 2^32.
static inline uint32_t below(uint64_t *state, uint32_t bound) {
  return (uint32_t)((next_random(state) >> 32) * bound >> 32);
}

static inline void fill_random(uint64_t *state, uint8_t *bytes, uint32_t count) {
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word = next_random(state);
    memcpy(bytes, &word, 8);
  }
  uint64_t word = next_random(state);
  memcpy(bytes, &word, count);
}

// What a batch starts from: zeros, random bytes, or words that repeat.
static inline void make_base(uint64_t *state, uint8_t *base) {
  memset(base, 0, PK_PAGE_BYTES);
  uint32_t kind = below(state, 3);
  if (kind == 1)
    fill_random(state, base, PK_PAGE_BYTES);
  else if (kind == 2)
    for (uint32_t at = 0, period = 8 + below(state, 100); at < PK_PAGE_BYTES; at++)
      base[at] = (uint8_t)(at % period * 37);
}

enum change {
  CHANGE_NONE,
  CHANGE_BYTE,
  CHANGE_BYTES,
  CHANGE_WORDS,
  CHANGE_COUNTERS,
  CHANGE_EDGES,
  CHANGE_BLOCKS,
  CHANGE_MORE_BYTES,
  CHANGE_RUNS,
  CHANGE_LONG_RUNS,
  CHANGE_MOST_BYTES,
  CHANGE_ALTERNATING,
  CHANGE_ALL,
  CHANGE_COUNT
};

static const struct {
  const char *name;
  uint32_t share; // Of 64. What costs much to encode comes seldom.
} changes[CHANGE_COUNT] = {
    [CHANGE_NONE] = {"nothing", 2},
    [CHANGE_BYTE] = {"one byte", 9},
    [CHANGE_BYTES] = {"a few bytes", 12},
    [CHANGE_WORDS] = {"words", 10},
    [CHANGE_COUNTERS] = {"counters", 9},
    [CHANGE_EDGES] = {"runs at the edges of words", 6},
    [CHANGE_BLOCKS] = {"blocks", 5},
    [CHANGE_MORE_BYTES] = {"some bytes", 4},
    [CHANGE_RUNS] = {"runs", 3},
    [CHANGE_LONG_RUNS] = {"long runs", 1},
    [CHANGE_MOST_BYTES] = {"many bytes", 1},
    [CHANGE_ALTERNATING] = {"every other byte", 1},
    [CHANGE_ALL] = {"random", 1},
};

static inline enum change choose_change(uint64_t *state) {
  uint32_t left = below(state, 64);
  for (int change = 0; change < CHANGE_COUNT; change++) {
    if (left < changes[change].share)
      return (enum change)change;
    left -= changes[change].share;
  }
  return CHANGE_ALL;
}

static inline void scatter(uint64_t *state, uint8_t *page, uint32_t count) {
  for (; count > 0; count--) {
    uint64_t random = next_random(state);
    page[random >> 32 & (PK_PAGE_BYTES - 1)] ^= (uint8_t)random; // Now and then by 0.
  }
}

static inline void invert(uint8_t *page, uint32_t from, uint32_t to) {
  for (uint32_t at = from; at < to && at < PK_PAGE_BYTES; at++)
    page[at] = (uint8_t)~page[at];
}

static inline void turns(uint64_t *state, uint8_t *page, uint32_t longest) {
  for (uint32_t at = below(state, PK_PAGE_BYTES); at < PK_PAGE_BYTES;) {
    uint32_t end = at + 1 + below(state, longest);
    invert(page, at, end);
    at = end + 1 + below(state, longest);
  }
}

static inline void apply_change(uint64_t *state, uint8_t *page, enum change change) {
  switch (change) {
  case CHANGE_NONE:
  case CHANGE_COUNT:
    break;
  case CHANGE_BYTE:
    scatter(state, page, 1);
    break;
  case CHANGE_BYTES:
    scatter(state, page, 2 + below(state, 15));
    break;
  case CHANGE_MORE_BYTES:
    scatter(state, page, 17 + below(state, 112));
    break;
  case CHANGE_MOST_BYTES:
    scatter(state, page, 129 + below(state, 4000));
    break;
  case CHANGE_WORDS:
    for (uint32_t count = 1 + below(state, 8); count > 0; count--)
      fill_random(state, page + 8 * below(state, PK_PAGE_BYTES / 8), 8);
    break;
  case CHANGE_COUNTERS:
    for (uint32_t count = 1 + below(state, 16); count > 0; count--) {
      uint8_t *at = page + 8 * below(state, PK_PAGE_BYTES / 8);
      uint64_t value;
      memcpy(&value, at, 8);
      value += 1 + below(state, 1000);
      memcpy(at, &value, 8);
    }
    break;
  case CHANGE_EDGES:
    for (uint32_t count = 1 + below(state, 4); count > 0; count--) {
      uint32_t edge = 64 * (1 + below(state, PK_PAGE_BYTES / 64)), before = 1 + below(state, 64);
      invert(page, edge - before, edge + below(state, 4) * below(state, 64));
    }
    break;
  case CHANGE_BLOCKS:
    for (uint32_t count = 1 + below(state, 3); count > 0; count--) {
      uint32_t length = 16 + below(state, 500);
      fill_random(state, page + below(state, PK_PAGE_BYTES - length + 1), length);
    }
    break;
  case CHANGE_RUNS:
    turns(state, page, 1 + below(state, 40));
    break;
  case CHANGE_LONG_RUNS:
    turns(state, page, 100 + below(state, 400));
    break;
  case CHANGE_ALTERNATING:
    for (uint32_t at = below(state, PK_PAGE_BYTES); at < PK_PAGE_BYTES; at += 2)
      page[at] ^= 0x80;
    break;
  case CHANGE_ALL:
    fill_random(state, page, PK_PAGE_BYTES);
    break;
  }
}

#endif
