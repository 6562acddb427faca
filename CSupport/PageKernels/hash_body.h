// SPDX-License-Identifier: Apache-2.0
//
// XXH3 from its own header, compiled for one instruction set. The including file defines XXH_VECTOR, and sets the
// target by a pragma around this inclusion, since the functions of xxhash.h cannot carry an attribute each.
// The library in Debian is built for the baseline: 230 ns a page where AVX2 takes 90.

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t hash64(const void *bytes, size_t byte_count, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, byte_count, seed);
}

static void hash128(const void *bytes, size_t byte_count, uint64_t seed, uint64_t *low, uint64_t *high) {
  XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, byte_count, seed);
  *low = hash.low64;
  *high = hash.high64;
}
