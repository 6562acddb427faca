// SPDX-License-Identifier: Apache-2.0
//
// Page kernels: the loops that touch every byte of guest memory.
//
// Contract, for every function here:
// - The instruction set is an argument. The caller passes a tier for which pk_tier_available() said yes;
//   PK_SCALAR is always available and is the oracle that every other tier must agree with, bit for bit.
// - No allocation, no global state, no errno, no policy. A kernel reads and writes the ranges named in its
//   comment and nothing else.
// - Guest memory may be written by the guest while a kernel reads it. A kernel that copies decides on the
//   bytes that it stores, never on a second look at the source, so what it reports is true of what it stored.
#ifndef PAGE_KERNELS_H
#define PAGE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PK_PAGE_BYTES 4096
#define PK_SPAN_PAGES 64

// Best first is the reverse of this order within one architecture.
enum pk_tier {
  PK_SCALAR = 0,
  PK_SSE2 = 1,
  PK_AVX2 = 2,
  PK_AVX512 = 3, // AVX-512F and BW
  PK_NEON = 4,
};
#define PK_TIER_COUNT 5

// Whether this CPU, under this operating system, can run `tier`.
bool pk_tier_available(enum pk_tier tier);

// The widest tier that pk_tier_available() allows.
enum pk_tier pk_best_tier(void);

// Whether all PK_PAGE_BYTES bytes at `page` are zero. Reads at most that page; stops at the first 256-byte
// block that holds a set bit. `page` needs no alignment.
bool pk_page_is_zero(enum pk_tier tier, const void *page);

// The pages of a span that are all zero: bit i of the result is set if bit i of `wanted` is set and page i at
// `span` is zero. Reads only pages whose bit is set in `wanted`.
uint64_t pk_zero_mask(enum pk_tier tier, const void *span, uint64_t wanted);

// Copies the pages of `wanted` that are not zero from `span` to `staging`, packed in ascending order, and sets
// *zero_mask to those that are zero (a subset of `wanted`). Returns the number of pages copied, which is
// popcount(wanted) - popcount(*zero_mask).
// `staging` must have room for popcount(wanted) pages and must not overlap the span.
// What `staging` holds past the copied pages is unspecified.
size_t pk_snapshot_span(enum pk_tier tier, const void *span, uint64_t wanted, void *staging, uint64_t *zero_mask);

// XXH3-64 of `byte_count` bytes, without a seed (xxHash 0.8). Reads exactly those bytes; all tiers agree.
uint64_t pk_hash64(enum pk_tier tier, const void *bytes, size_t byte_count);

// XXH3-128 of `byte_count` bytes under `seed`: its low and high 64 bits.
void pk_hash128(enum pk_tier tier, const void *bytes, size_t byte_count, uint64_t seed, uint64_t *low, uint64_t *high);

// Drops pages from a packed run, in place: of `page_count` (at most 64) pages at `pages`, those whose bit is
// set in `keep` move to the front, in order. Returns how many were kept. Reads and writes only those pages.
size_t pk_compact_pages(void *pages, size_t page_count, uint64_t keep);

#endif
