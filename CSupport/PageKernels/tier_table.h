// SPDX-License-Identifier: Apache-2.0
// What each instruction-set file exports to dispatch.c.
#ifndef PK_TIER_TABLE_H
#define PK_TIER_TABLE_H

#include "page_kernels.h"

struct pk_tier_table {
  bool (*page_is_zero)(const void *page);
  uint64_t (*zero_mask)(const void *span, uint64_t wanted);
  size_t (*snapshot_span)(const void *span, uint64_t wanted, void *staging, uint64_t *zero_mask);
  uint64_t (*hash64)(const void *bytes, size_t byte_count, uint64_t seed);
  void (*hash128)(const void *bytes, size_t byte_count, uint64_t seed, uint64_t *low, uint64_t *high);
  uint32_t (*delta_encode)(const void *base, const void *page, void *delta, uint32_t capacity);
  uint32_t (*delta_update)(void *cached, const void *page, void *delta, uint32_t capacity);
  enum pk_delta_fault (*delta_apply)(const void *delta, size_t byte_count, void *page);
};

extern const struct pk_tier_table pk_scalar_table;
#if defined(__x86_64__)
extern const struct pk_tier_table pk_sse2_table;
extern const struct pk_tier_table pk_avx2_table;
extern const struct pk_tier_table pk_avx512_table;
#elif defined(__aarch64__)
extern const struct pk_tier_table pk_neon_table;
#endif

#endif
