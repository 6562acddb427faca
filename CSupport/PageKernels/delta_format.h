// SPDX-License-Identifier: Apache-2.0
// What the scalar and the vector delta kernels share: lengths, loads, and the walk over a delta that nobody vouches
// for.
#ifndef PK_DELTA_FORMAT_H
#define PK_DELTA_FORMAT_H

#include "page_kernels.h"

#include <string.h>

static inline uint64_t pk_word(const uint8_t *from) {
  uint64_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

static inline uint8_t *pk_put_length(uint8_t *to, unsigned length) {
  if (length < 0x80) {
    to[0] = (uint8_t)length;
    return to + 1;
  }
  to[0] = (uint8_t)(length | 0x80);
  to[1] = (uint8_t)(length >> 7);
  return to + 2;
}

// Where a walk over a delta stands. `page_at` is the offset in the page of the run that was read last.
struct pk_delta_walk {
  const uint8_t *at, *end;
  unsigned page_at, run;
};

static inline enum pk_delta_fault pk_take_length(struct pk_delta_walk *walk, unsigned *length) {
  if (walk->at == walk->end)
    return PK_DELTA_TRUNCATED;
  unsigned first = *walk->at++;
  if (first < 0x80) {
    *length = first;
    return PK_DELTA_VALID;
  }
  if (walk->at == walk->end)
    return PK_DELTA_TRUNCATED;
  unsigned second = *walk->at++;
  if (second >= 0x80)
    return PK_DELTA_LENGTH;
  *length = (first & 0x7F) | second << 7;
  return PK_DELTA_VALID;
}

// Reads the lengths of the next pair and checks them against what is left of delta and page. On success walk->at is at
// the pair's bytes, which are walk->run many and belong at page_at.
static inline enum pk_delta_fault pk_take_pair(struct pk_delta_walk *walk, bool is_first) {
  unsigned kept, replaced;
  enum pk_delta_fault fault = pk_take_length(walk, &kept);
  if (fault != PK_DELTA_VALID)
    return fault;
  if (kept == 0 && !is_first)
    return PK_DELTA_EMPTY_RUN;
  fault = pk_take_length(walk, &replaced);
  if (fault != PK_DELTA_VALID)
    return fault;
  if (replaced == 0)
    return PK_DELTA_EMPTY_RUN;
  walk->page_at += walk->run + kept;
  walk->run = replaced;
  if (walk->page_at + replaced > PK_PAGE_BYTES)
    return PK_DELTA_PAST_PAGE;
  if ((size_t)(walk->end - walk->at) < replaced)
    return PK_DELTA_TRUNCATED;
  return PK_DELTA_VALID;
}

#endif
