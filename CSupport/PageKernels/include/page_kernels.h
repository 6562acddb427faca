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

// As pk_snapshot_span, and sets hashes[i] to the XXH3-64 under `seed` of the i-th copied page, of the bytes that were
// stored. `hashes` must have room for popcount(wanted). Guest memory is read once: the hash sees the copy, which is
// still in the second-level cache.
size_t pk_snapshot_hash_span(enum pk_tier tier, const void *span, uint64_t wanted, uint64_t seed, void *staging,
                             uint64_t *zero_mask, uint64_t *hashes);

// XXH3-64 of `byte_count` bytes under `seed` (xxHash 0.8; seed 0 is the hash without one). Reads exactly those bytes;
// all tiers agree.
uint64_t pk_hash64(enum pk_tier tier, const void *bytes, size_t byte_count, uint64_t seed);

// XXH3-128 of `byte_count` bytes under `seed`: its low and high 64 bits.
void pk_hash128(enum pk_tier tier, const void *bytes, size_t byte_count, uint64_t seed, uint64_t *low, uint64_t *high);

// Deltas: XBZRLE as QEMU publishes it (docs/devel/migration, migration/xbzrle.c). A delta is a sequence of
//
//   zrun   uleb128   bytes that keep what the page had; 0 only at the start
//   nzrun  uleb128   bytes that are replaced, at least 1
//   nzrun bytes
//
// and what follows the last pair keeps what it had. A length takes one byte below 128, two otherwise (a page has 4096
// bytes). The encoder writes maximal runs, so that there is exactly one delta between two pages; all tiers agree.
enum {
  PK_DELTA_ROOM = 128,            // Bytes behind `capacity` that an encoder may use as scratch.
  PK_DELTA_UNCHANGED = 0,         // The length of the delta between equal pages.
  PK_DELTA_OVERFLOW = 0xFFFFFFFF, // The delta is longer than `capacity`.
};

// Encodes what turns the page at `base` into the page at `page`; neither may change meanwhile. Returns the delta's
// length, PK_DELTA_UNCHANGED or PK_DELTA_OVERFLOW. Writes at most `capacity` + PK_DELTA_ROOM bytes at `delta`, which
// overlaps neither page; after PK_DELTA_OVERFLOW their content is unspecified. Pages that cannot fit are given up
// before anything is encoded.
uint32_t pk_delta_encode(enum pk_tier tier, const void *base, const void *page, void *delta, uint32_t capacity);

// The same for a page that the guest may be writing to, fused with its snapshot: `cached` holds the base before the
// call, and afterwards a copy of the page, taken in one pass, which the delta leads to exactly. The copy is complete
// whatever is returned. `cached`, `page` and `delta` do not overlap.
uint32_t pk_delta_update(enum pk_tier tier, void *cached, const void *page, void *delta, uint32_t capacity);

// What is wrong with a delta.
enum pk_delta_fault {
  PK_DELTA_VALID = 0,
  PK_DELTA_TRUNCATED = 1,  // It ends inside a length, or before the bytes that a length announces.
  PK_DELTA_LENGTH = 2,     // A length takes more than two bytes.
  PK_DELTA_EMPTY_RUN = 3,  // A run of no bytes: a zrun after the first pair, or any nzrun.
  PK_DELTA_PAST_PAGE = 4,  // The runs lead past the end of the page.
};

// Whether the `byte_count` bytes at `delta`, which may be anything, are a delta. Reads only them.
enum pk_delta_fault pk_delta_check(const void *delta, size_t byte_count);

// Applies a delta, which may be anything, to the page at `page`. Reads only the delta, writes only that page; stops at
// the first fault, with the runs before it applied: check first where that would matter.
enum pk_delta_fault pk_delta_apply(enum pk_tier tier, const void *delta, size_t byte_count, void *page);

// How many different values 256 bytes of a page have: 16 from the start of each 256-byte block. About 162 in random
// bytes. Reads at most that page.
uint32_t pk_sampled_values(const void *page);

// Drops pages from a packed run, in place: of `page_count` (at most 64) pages at `pages`, those whose bit is
// set in `keep` move to the front, in order. Returns how many were kept. Reads and writes only those pages.
size_t pk_compact_pages(void *pages, size_t page_count, uint64_t keep);

#endif
