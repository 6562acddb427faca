// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw"))), apply_to = function)
#define XXH_VECTOR XXH_AVX512
#include "hash_body.h"
#pragma clang attribute pop

#define PK_TARGET __attribute__((target("avx512f,avx512bw,bmi,bmi2,popcnt")))
#define PK_TABLE pk_avx512_table
#define PK_VECTOR_BYTES 64
#define pk_vector __m512i
#define pk_load(p) _mm512_loadu_si512((const void *)(p))
#define pk_store(p, v) _mm512_storeu_si512((void *)(p), (v))
#define pk_or(a, b) _mm512_or_si512((a), (b))
#define pk_any(v) (_mm512_test_epi64_mask((v), (v)) != 0)
#define pk_pin(v) __asm__("" : "+v"(v))
PK_TARGET static inline uint64_t pk_differ64(const __m512i *a, const __m512i *b) {
  return _mm512_cmpneq_epi8_mask(a[0], b[0]);
}
#include "tier_body.h"
#else
typedef int pk_no_avx512_here; // A translation unit may not be empty.
#endif
