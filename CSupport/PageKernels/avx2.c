// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define XXH_VECTOR XXH_AVX2
#include "hash_body.h"
#pragma clang attribute pop

#define PK_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define PK_TABLE pk_avx2_table
#define PK_VECTOR_BYTES 32
#define pk_vector __m256i
#define pk_load(p) _mm256_loadu_si256((const __m256i *)(p))
#define pk_store(p, v) _mm256_storeu_si256((__m256i *)(p), (v))
#define pk_or(a, b) _mm256_or_si256((a), (b))
#define pk_any(v) (!_mm256_testz_si256((v), (v)))
#define pk_pin(v) __asm__("" : "+x"(v))
PK_TARGET static inline uint64_t pk_differ64(const __m256i *a, const __m256i *b) {
  uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a[0], b[0]));
  uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a[1], b[1]));
  return ~((uint64_t)high << 32 | low);
}
#include "tier_body.h"
#else
typedef int pk_no_avx2_here; // A translation unit may not be empty.
#endif
