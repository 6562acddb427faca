// SPDX-License-Identifier: Apache-2.0
// A table per tier, chosen by the caller's argument. Not ifunc: its resolver runs before sanitizers are ready.
#include "delta_format.h"
#include "tier_table.h"

#include <string.h>

static const struct pk_tier_table *table_of(enum pk_tier tier) {
  switch (tier) {
#if defined(__x86_64__)
  case PK_SSE2:
    return &pk_sse2_table;
  case PK_AVX2:
    return &pk_avx2_table;
  case PK_AVX512:
    return &pk_avx512_table;
#elif defined(__aarch64__)
  case PK_NEON:
    return &pk_neon_table;
#endif
  default:
    return &pk_scalar_table;
  }
}

#if defined(__x86_64__)
// Every processor with AVX2 has these; a hypervisor may hide them all the same.
static bool has_bit_counting(void) {
  return __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#endif

bool pk_tier_available(enum pk_tier tier) {
  switch (tier) {
  case PK_SCALAR:
    return true;
#if defined(__x86_64__)
  case PK_SSE2:
    return true; // Part of the x86-64 baseline.
  case PK_AVX2:
    return has_bit_counting() && __builtin_cpu_supports("avx2"); // Asks XGETBV too: the kernel must save the registers.
  case PK_AVX512:
    return has_bit_counting() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#elif defined(__aarch64__)
  case PK_NEON:
    return true; // Part of the AArch64 baseline.
#endif
  default:
    return false;
  }
}

enum pk_tier pk_best_tier(void) {
#if defined(__aarch64__)
  return PK_NEON;
#else
  for (int tier = PK_AVX512; tier > PK_SCALAR; tier--)
    if (pk_tier_available((enum pk_tier)tier))
      return (enum pk_tier)tier;
  return PK_SCALAR;
#endif
}

bool pk_page_is_zero(enum pk_tier tier, const void *page) { return table_of(tier)->page_is_zero(page); }

uint64_t pk_zero_mask(enum pk_tier tier, const void *span, uint64_t wanted) {
  return table_of(tier)->zero_mask(span, wanted);
}

size_t pk_snapshot_span(enum pk_tier tier, const void *span, uint64_t wanted, void *staging, uint64_t *zero_mask) {
  return table_of(tier)->snapshot_span(span, wanted, staging, zero_mask);
}

size_t pk_snapshot_hash_span(enum pk_tier tier, const void *span, uint64_t wanted, uint64_t seed, void *staging,
                             uint64_t *zero_mask, uint64_t *hashes) {
  const struct pk_tier_table *table = table_of(tier);
  size_t copied = table->snapshot_span(span, wanted, staging, zero_mask);
  // The whole span first: hashing each page as soon as it is copied breaks up the stream of reads, and takes a quarter
  // more time than reading the copies again from the second-level cache.
  for (size_t page = 0; page < copied; page++)
    hashes[page] = table->hash64((const uint8_t *)staging + page * PK_PAGE_BYTES, PK_PAGE_BYTES, seed);
  return copied;
}

uint64_t pk_hash64(enum pk_tier tier, const void *bytes, size_t byte_count, uint64_t seed) {
  return table_of(tier)->hash64(bytes, byte_count, seed);
}

void pk_hash128(enum pk_tier tier, const void *bytes, size_t byte_count, uint64_t seed, uint64_t *low, uint64_t *high) {
  table_of(tier)->hash128(bytes, byte_count, seed, low, high);
}

uint32_t pk_delta_encode(enum pk_tier tier, const void *base, const void *page, void *delta, uint32_t capacity) {
  return table_of(tier)->delta_encode(base, page, delta, capacity);
}

uint32_t pk_delta_update(enum pk_tier tier, void *cached, const void *page, void *delta, uint32_t capacity) {
  return table_of(tier)->delta_update(cached, page, delta, capacity);
}

enum pk_delta_fault pk_delta_apply(enum pk_tier tier, const void *delta, size_t byte_count, void *page) {
  return table_of(tier)->delta_apply(delta, byte_count, page);
}

enum pk_delta_fault pk_delta_check(const void *delta, size_t byte_count) {
  struct pk_delta_walk walk = {delta, (const uint8_t *)delta + byte_count, 0, 0};
  for (bool is_first = true; walk.at != walk.end; is_first = false) {
    enum pk_delta_fault fault = pk_take_pair(&walk, is_first);
    if (fault != PK_DELTA_VALID)
      return fault;
    walk.at += walk.run;
  }
  return PK_DELTA_VALID;
}

uint32_t pk_sampled_values(const void *page) {
  const uint8_t *bytes = page;
  // Marks, not counts: a count would make each byte wait for the one before it, where a page repeats itself.
  uint8_t seen[256] = {0};
  for (size_t block = 0; block < PK_PAGE_BYTES; block += 256)
    for (size_t i = 0; i < 16; i++)
      seen[bytes[block + i]] = 1;
  uint32_t values = 0;
  for (size_t i = 0; i < sizeof seen; i++)
    values += seen[i];
  return values;
}

size_t pk_compact_pages(void *pages, size_t page_count, uint64_t keep) {
  uint8_t *bytes = pages;
  size_t kept = 0;
  for (size_t page = 0; page < page_count && page < PK_SPAN_PAGES;) {
    if ((keep >> page & 1) == 0) {
      page++;
      continue;
    }
    size_t end = page + 1; // Move whole runs: one memmove for the pages up to the next gap.
    while (end < page_count && end < PK_SPAN_PAGES && (keep >> end & 1) != 0)
      end++;
    if (kept != page)
      memmove(bytes + kept * PK_PAGE_BYTES, bytes + page * PK_PAGE_BYTES, (end - page) * PK_PAGE_BYTES);
    kept += end - page;
    page = end;
  }
  return kept;
}
