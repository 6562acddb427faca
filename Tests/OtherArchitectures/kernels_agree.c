// SPDX-License-Identifier: Apache-2.0
// Every kernel of a tier against the scalar oracle, on pages from a seed: `kernels_agree TIER [PAIRS]`. Without Swift, so
// that it can be built for a processor that is only emulated here; see scripts/check-neon.
#include "page_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = PK_PAGE_BYTES, UNTOUCHED = 0xEE };

static uint64_t state = 7;

// SplitMix64.
static uint64_t next(void) {
  uint64_t mixed = state += UINT64_C(0x9E3779B97F4A7C15);
  mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
  return mixed ^ mixed >> 31;
}

static uint8_t other(uint8_t byte) { return byte ^ (uint8_t)(1 + next() % 255); }

static void change(uint8_t *page) {
  unsigned kind = next() % 8, start = next() % PAGE, end = start + next() % (PAGE - start);
  switch (kind) {
  case 0: // Nothing.
    break;
  case 1: // A byte.
    page[start] = other(page[start]);
    break;
  case 2: // A run.
    for (unsigned i = start; i < end; i++)
      page[i] = other(page[i]);
    break;
  case 3: // Counters.
    for (unsigned i = 0; i < 32; i++)
      page[next() % (PAGE / 8) * 8]++;
    break;
  case 4: // Scattered bytes, sparse or dense.
  case 5:
    for (unsigned i = 0; i < PAGE; i++)
      if (next() % (kind == 4 ? 100 : 4) == 0)
        page[i] = other(page[i]);
    break;
  case 6: // Every second byte.
    for (unsigned i = start % 2; i < PAGE; i += 2)
      page[i] = other(page[i]);
    break;
  default: // Everything.
    for (unsigned i = 0; i < PAGE; i++)
      page[i] = (uint8_t)next();
  }
}

static const char *deltas(enum pk_tier tier, const uint8_t *base, const uint8_t *page) {
  static uint8_t expected[PAGE + PK_DELTA_ROOM], found[PAGE + PK_DELTA_ROOM + 1], copy[PAGE], oracle[PAGE];
  uint32_t capacity = next() % 2 ? PAGE : next() % PAGE;
  uint32_t length = pk_delta_encode(PK_SCALAR, base, page, expected, capacity);
  memset(found, UNTOUCHED, sizeof found);
  if (pk_delta_encode(tier, base, page, found, capacity) != length)
    return "encode: another length";
  if (found[capacity + PK_DELTA_ROOM] != UNTOUCHED)
    return "encode: wrote too far";
  if (length != PK_DELTA_OVERFLOW && memcmp(expected, found, length) != 0)
    return "encode: another delta";
  memcpy(copy, base, PAGE);
  if (pk_delta_update(tier, copy, page, found, capacity) != length || memcmp(copy, page, PAGE) != 0)
    return "update: another result";
  if (length == PK_DELTA_OVERFLOW)
    return NULL;
  memcpy(copy, base, PAGE);
  if (pk_delta_apply(tier, expected, length, copy) != PK_DELTA_VALID || memcmp(copy, page, PAGE) != 0)
    return "apply: another page";
  if (length == 0)
    return NULL;
  expected[next() % length] = (uint8_t)next();
  memcpy(copy, base, PAGE);
  memcpy(oracle, base, PAGE);
  enum pk_delta_fault fault = pk_delta_apply(PK_SCALAR, expected, length, oracle);
  if (pk_delta_apply(tier, expected, length, copy) != fault || memcmp(copy, oracle, PAGE) != 0)
    return "apply: another verdict on a damaged delta";
  return NULL;
}

static const char *hashes(enum pk_tier tier, const uint8_t *page) {
  uint64_t seed = next(), low[2], high[2];
  size_t length = next() % (PAGE + 1);
  if (pk_hash64(tier, page, length, seed) != pk_hash64(PK_SCALAR, page, length, seed))
    return "hash64: another hash";
  pk_hash128(tier, page, PAGE, seed, &low[0], &high[0]);
  pk_hash128(PK_SCALAR, page, PAGE, seed, &low[1], &high[1]);
  return low[0] != low[1] || high[0] != high[1] ? "hash128: another hash" : NULL;
}

static const char *spans(enum pk_tier tier) {
  static uint8_t span[PK_SPAN_PAGES * PAGE], found[PK_SPAN_PAGES * PAGE], expected[PK_SPAN_PAGES * PAGE];
  memset(span, 0, sizeof span);
  for (unsigned page = 0; page < PK_SPAN_PAGES; page++)
    if (next() % 2)
      span[page * PAGE + next() % PAGE] = (uint8_t)(1 + next() % 255);
  uint64_t wanted = next(), zero[2], hash[2][PK_SPAN_PAGES];
  if (pk_zero_mask(tier, span, wanted) != pk_zero_mask(PK_SCALAR, span, wanted))
    return "zero mask: another mask";
  size_t count = pk_snapshot_hash_span(tier, span, wanted, 5, found, &zero[0], hash[0]);
  if (count != pk_snapshot_hash_span(PK_SCALAR, span, wanted, 5, expected, &zero[1], hash[1]) || zero[0] != zero[1] ||
      memcmp(found, expected, count * PAGE) != 0 || memcmp(hash[0], hash[1], count * sizeof hash[0][0]) != 0)
    return "snapshot: another result";
  return NULL;
}

int main(int count, char **arguments) {
  enum pk_tier tier = count > 1 ? (enum pk_tier)atoi(arguments[1]) : pk_best_tier();
  long pairs = count > 2 ? atol(arguments[2]) : 100000;
  if (!pk_tier_available(tier)) {
    fprintf(stderr, "tier %d is not available on this processor\n", (int)tier);
    return 2;
  }
  static uint8_t room[2][PAGE + 64];
  for (long pair = 0; pair < pairs; pair++) {
    uint8_t *base = room[0] + next() % 64, *page = room[1] + next() % 64;
    for (unsigned i = 0; i < PAGE; i += 8) {
      uint64_t word = pair % 3 ? next() : 0;
      memcpy(base + i, &word, sizeof word);
    }
    memcpy(page, base, PAGE);
    change(page);
    if (next() % 4 == 0)
      change(page);
    const char *wrong = deltas(tier, base, page);
    wrong = wrong ? wrong : hashes(tier, page);
    if (!wrong && pk_page_is_zero(tier, page) != pk_page_is_zero(PK_SCALAR, page))
      wrong = "page is zero: another answer";
    if (!wrong && pair % 200 == 0)
      wrong = spans(tier);
    if (wrong) {
      printf("tier %d, pair %ld: %s\n", (int)tier, pair, wrong);
      return 1;
    }
  }
  printf("%ld pairs, tier %d: identical to scalar\n", pairs, (int)tier);
  return 0;
}
