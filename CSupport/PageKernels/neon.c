// SPDX-License-Identifier: Apache-2.0
#if defined(__aarch64__)
#include <arm_neon.h>

#define XXH_VECTOR XXH_NEON
#include "hash_body.h"

#define PK_TARGET
#define PK_TABLE pk_neon_table
#define PK_VECTOR_BYTES 16
#define pk_vector uint8x16_t
#define pk_load(p) vld1q_u8((const uint8_t *)(p))
#define pk_store(p, v) vst1q_u8((uint8_t *)(p), (v))
#define pk_or(a, b) vorrq_u8((a), (b))
#define pk_any(v) (vmaxvq_u32(vreinterpretq_u32_u8(v)) != 0)
#define pk_pin(v) __asm__("" : "+w"(v))
// Each byte that is equal keeps the bit of its place in a group of eight; three pairwise additions gather eight bits to
// a byte.
static inline uint64_t pk_differ64(const uint8x16_t *a, const uint8x16_t *b) {
  const uint8x16_t places = vreinterpretq_u8_u64(vdupq_n_u64(UINT64_C(0x8040201008040201)));
  uint8x16_t equal[4];
  for (unsigned i = 0; i < 4; i++)
    equal[i] = vandq_u8(vceqq_u8(a[i], b[i]), places);
  uint8x16_t sum = vpaddq_u8(vpaddq_u8(equal[0], equal[1]), vpaddq_u8(equal[2], equal[3]));
  sum = vpaddq_u8(sum, sum);
  return ~vgetq_lane_u64(vreinterpretq_u64_u8(sum), 0);
}
#include "tier_body.h"
#else
typedef int pk_no_neon_here; // A translation unit may not be empty.
#endif
