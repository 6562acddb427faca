// SPDX-License-Identifier: Apache-2.0
//
// The loop of `scripts/soak kernels`: pairs of pages through the delta kernels of all tiers. C, so that the time goes
// into the kernels.
#ifndef KERNEL_SOAK_H
#define KERNEL_SOAK_H

#include <stdbool.h>
#include <stdint.h>

#define SOAK_BATCH_PAIRS 4096

// The first thing that was wrong.
struct soak_mismatch {
  uint32_t tier;            // The number of a pk_tier.
  uint32_t pair;            // In its batch.
  const char *kind;         // How the page was changed.
  const char *what;         // Which call, and what was wrong with it.
  uint32_t capacity;        // Of that call, if it was an encoder's,
  uint32_t found, expected; // and its result.
  uint8_t *base, *page;     // The caller's: room for a page each, which is set to the two pages.
};

// Takes the first `pair_count` pairs of a batch through all tiers that this CPU has. What the pairs are depends on
// `seed` and `batch` alone. Returns whether everything was as it must be, and otherwise sets *mismatch.
bool soak_batch(uint64_t seed, uint64_t batch, uint32_t pair_count, struct soak_mismatch *mismatch);

#endif
