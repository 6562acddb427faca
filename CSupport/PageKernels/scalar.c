// SPDX-License-Identifier: Apache-2.0
// The oracle, deliberately not the shared body: bytes and libc only, obviously right.
#include "tier_table.h"

#define XXH_VECTOR XXH_SCALAR
#include "hash_body.h"

#include "delta_scalar.h"

#include <string.h>

static bool page_is_zero(const void *page) {
  const uint8_t *bytes = page;
  for (size_t at = 0; at < PK_PAGE_BYTES; at++)
    if (bytes[at] != 0)
      return false;
  return true;
}

static uint64_t zero_mask(const void *span, uint64_t wanted) {
  uint64_t zero = 0;
  for (unsigned page = 0; page < PK_SPAN_PAGES; page++)
    if ((wanted >> page & 1) != 0 && page_is_zero((const uint8_t *)span + (size_t)page * PK_PAGE_BYTES))
      zero |= UINT64_C(1) << page;
  return zero;
}

static size_t snapshot_span(const void *span, uint64_t wanted, void *staging, uint64_t *zero_mask_out) {
  uint8_t *to = staging;
  *zero_mask_out = 0;
  size_t copied = 0;
  for (unsigned page = 0; page < PK_SPAN_PAGES; page++) {
    if ((wanted >> page & 1) == 0)
      continue;
    // The slot after the last copied page is this page's to use: copy first, so that the test sees the bytes
    // that were stored, and give the slot back if they are zero.
    memcpy(to, (const uint8_t *)span + (size_t)page * PK_PAGE_BYTES, PK_PAGE_BYTES);
    if (page_is_zero(to)) {
      *zero_mask_out |= UINT64_C(1) << page;
    } else {
      to += PK_PAGE_BYTES;
      copied++;
    }
  }
  return copied;
}

const struct pk_tier_table pk_scalar_table = {
    .page_is_zero = page_is_zero,
    .zero_mask = zero_mask,
    .snapshot_span = snapshot_span,
    .hash64 = hash64,
    .hash128 = hash128,
    .delta_encode = delta_encode,
    .delta_update = delta_update,
    .delta_apply = delta_apply,
};
