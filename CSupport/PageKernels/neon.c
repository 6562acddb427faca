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
#include "tier_body.h"
#else
typedef int pk_no_neon_here; // A translation unit may not be empty.
#endif
