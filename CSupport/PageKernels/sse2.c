// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <emmintrin.h>

#pragma clang attribute push(__attribute__((target("sse2"))), apply_to = function)
#define XXH_VECTOR XXH_SSE2
#include "hash_body.h"
#pragma clang attribute pop

#define PK_TARGET __attribute__((target("sse2")))
#define PK_TABLE pk_sse2_table
#define PK_VECTOR_BYTES 16
#define pk_vector __m128i
#define pk_load(p) _mm_loadu_si128((const __m128i *)(p))
#define pk_store(p, v) _mm_storeu_si128((__m128i *)(p), (v))
#define pk_or(a, b) _mm_or_si128((a), (b))
#define pk_any(v) (_mm_movemask_epi8(_mm_cmpeq_epi8((v), _mm_setzero_si128())) != 0xFFFF)
#define pk_pin(v) __asm__("" : "+x"(v))
PK_TARGET static inline uint64_t pk_differ64(const __m128i *a, const __m128i *b) {
  uint64_t equal = 0;
  for (unsigned i = 0; i < 4; i++)
    equal |= (uint64_t)(uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(a[i], b[i])) << i * 16;
  return ~equal;
}
#include "tier_body.h"
#else
typedef int pk_no_sse2_here; // A translation unit may not be empty.
#endif
