// SPDX-License-Identifier: Apache-2.0
#include "kernel_soak.h"
#include "page_pairs.h"

enum {
  LONGEST_DELTA = PK_PAGE_BYTES / 2 * 3, // Every other byte, three bytes each.
  MARGIN = 64,
  UNTOUCHED = 0xa5,
};

// A buffer that begins at any of 64 bytes, with a margin on both sides.
struct page_room {
  uint8_t bytes[MARGIN + 64 + PK_PAGE_BYTES + MARGIN];
};
struct delta_room {
  uint8_t bytes[MARGIN + 64 + LONGEST_DELTA + PK_DELTA_ROOM + MARGIN];
};

struct soak {
  struct page_room rooms[4];
  struct delta_room delta_rooms[2];
  uint8_t *base, *page, *cached, *target; // The pair; the update's cache and the decoder's page begin as the base.
  uint8_t *reference, *delta;             // What the scalar tier makes with room enough; what is under test.
  uint32_t length;                        // Of the reference.
  struct soak_mismatch *mismatch;
};

static bool is_untouched(const uint8_t *margin) {
  for (unsigned i = 0; i < MARGIN; i++)
    if (margin[i] != UNTOUCHED)
      return false;
  return true;
}

// What an encoder must return for this room.
static uint32_t expected_result(const struct soak *soak, uint32_t capacity) {
  return soak->length <= capacity ? soak->length : PK_DELTA_OVERFLOW;
}

static bool fails(struct soak *soak, const char *what, uint32_t capacity, uint32_t found) {
  soak->mismatch->what = what;
  soak->mismatch->capacity = capacity;
  soak->mismatch->found = found;
  soak->mismatch->expected = expected_result(soak, capacity);
  return false;
}

typedef uint32_t (*encoder)(enum pk_tier tier, const void *base, const void *page, void *delta, uint32_t capacity);

static uint32_t update(enum pk_tier tier, const void *base, const void *page, void *delta, uint32_t capacity) {
  return pk_delta_update(tier, (void *)(uintptr_t)base, page, delta, capacity);
}

static bool encodes(struct soak *soak, enum pk_tier tier, encoder encode, const uint8_t *base, uint32_t capacity) {
  memset(soak->delta + capacity + PK_DELTA_ROOM, UNTOUCHED, MARGIN);
  uint32_t found = encode(tier, base, soak->page, soak->delta, capacity);
  bool is_update = encode == update;
  if (found != expected_result(soak, capacity))
    return fails(soak, is_update ? "update: another result" : "encode: another result", capacity, found);
  if (found != PK_DELTA_OVERFLOW && memcmp(soak->delta, soak->reference, found) != 0)
    return fails(soak, is_update ? "update: another delta" : "encode: another delta", capacity, found);
  if (!is_untouched(soak->delta - MARGIN) || !is_untouched(soak->delta + capacity + PK_DELTA_ROOM))
    return fails(soak, is_update ? "update: written outside" : "encode: written outside", capacity, found);
  return true;
}

static uint32_t choose_capacity(const struct soak *soak, uint64_t *state) {
  uint32_t capacity;
  switch (below(state, 4)) {
  case 0:
    capacity = soak->length;
    break;
  case 1:
    capacity = soak->length - (soak->length > 0);
    break;
  case 2:
    capacity = below(state, soak->length + 300);
    break;
  default:
    capacity = LONGEST_DELTA;
  }
  return capacity <= LONGEST_DELTA ? capacity : LONGEST_DELTA;
}

// Leaves cached and target as they were.
static bool tier_holds(struct soak *soak, enum pk_tier tier, uint64_t state) {
  if (!encodes(soak, tier, pk_delta_encode, soak->base, choose_capacity(soak, &state)))
    return false;
  uint32_t capacity = choose_capacity(soak, &state);
  if (!encodes(soak, tier, update, soak->cached, capacity))
    return false;
  if (memcmp(soak->cached, soak->page, PK_PAGE_BYTES) != 0)
    return fails(soak, "update: the copy is not the page", capacity, soak->length);
  if (pk_delta_apply(tier, soak->reference, soak->length, soak->target) != PK_DELTA_VALID)
    return fails(soak, "apply: refused", LONGEST_DELTA, soak->length);
  if (memcmp(soak->target, soak->page, PK_PAGE_BYTES) != 0)
    return fails(soak, "apply: another page", LONGEST_DELTA, soak->length);
  if (!is_untouched(soak->cached - MARGIN) || !is_untouched(soak->cached + PK_PAGE_BYTES) ||
      !is_untouched(soak->target - MARGIN) || !is_untouched(soak->target + PK_PAGE_BYTES))
    return fails(soak, "update or apply: written outside", capacity, soak->length);
  memcpy(soak->cached, soak->base, PK_PAGE_BYTES);
  memcpy(soak->target, soak->base, PK_PAGE_BYTES);
  return true;
}

// A delta that went wrong on its way: all tiers must say the same of it, and leave the same page. Nothing to do for
// long ones, which cost most.
static bool refuses_alike(struct soak *soak, uint64_t state) {
  uint32_t length = soak->length;
  if (length == 0 || length > 1024)
    return true;
  memcpy(soak->delta, soak->reference, length);
  length -= below(&state, 4) == 0 ? below(&state, length) : 0;
  for (uint32_t count = below(&state, 4); count > 0; count--) {
    uint64_t random = next_random(&state);
    soak->delta[below(&state, length)] ^= (uint8_t)(1 << (random & 7) | (random >> 8 & random >> 16 & 0xff));
  }
  enum pk_delta_fault fault = pk_delta_check(soak->delta, length);
  for (int tier = 0; tier < PK_TIER_COUNT; tier++) {
    if (!pk_tier_available((enum pk_tier)tier))
      continue;
    soak->mismatch->tier = (uint32_t)tier;
    uint8_t *page = tier == PK_SCALAR ? soak->cached : soak->target;
    if (pk_delta_apply((enum pk_tier)tier, soak->delta, length, page) != fault)
      return fails(soak, "apply of a damaged delta: not what check says", LONGEST_DELTA, length);
    if (memcmp(page, soak->cached, PK_PAGE_BYTES) != 0)
      return fails(soak, "apply of a damaged delta: another page than scalar", LONGEST_DELTA, length);
    if (!is_untouched(page - MARGIN) || !is_untouched(page + PK_PAGE_BYTES))
      return fails(soak, "apply of a damaged delta: written outside", LONGEST_DELTA, length);
    memcpy(soak->target, soak->base, PK_PAGE_BYTES);
  }
  memcpy(soak->cached, soak->base, PK_PAGE_BYTES);
  return true;
}

static bool pair_holds(struct soak *soak, uint64_t random) {
  struct soak_mismatch *mismatch = soak->mismatch;
  mismatch->tier = PK_SCALAR;
  soak->length = pk_delta_encode(PK_SCALAR, soak->base, soak->page, soak->reference, LONGEST_DELTA);
  if (soak->length > LONGEST_DELTA || (soak->length == 0) != (memcmp(soak->base, soak->page, PK_PAGE_BYTES) == 0))
    return fails(soak, "encode: an impossible result", LONGEST_DELTA, soak->length);
  if (pk_delta_check(soak->reference, soak->length) != PK_DELTA_VALID)
    return fails(soak, "check: refused", LONGEST_DELTA, soak->length);
  for (int tier = 0; tier < PK_TIER_COUNT; tier++) {
    mismatch->tier = (uint32_t)tier;
    if (pk_tier_available((enum pk_tier)tier) && !tier_holds(soak, (enum pk_tier)tier, random + (uint64_t)tier))
      return false;
  }
  return refuses_alike(soak, random - 1);
}

bool soak_batch(uint64_t seed, uint64_t batch, uint32_t pair_count, struct soak_mismatch *mismatch) {
  uint64_t state = seed;
  state = next_random(&state) ^ batch;
  state = next_random(&state);
  struct soak soak = {.mismatch = mismatch};
  memset(soak.rooms, UNTOUCHED, sizeof soak.rooms);
  memset(soak.delta_rooms, UNTOUCHED, sizeof soak.delta_rooms);
  uint8_t **pages[] = {&soak.base, &soak.page, &soak.cached, &soak.target};
  for (unsigned i = 0; i < 4; i++)
    *pages[i] = soak.rooms[i].bytes + MARGIN + below(&state, 64);
  soak.reference = soak.delta_rooms[0].bytes + MARGIN + below(&state, 64);
  soak.delta = soak.delta_rooms[1].bytes + MARGIN + below(&state, 64);

  make_base(&state, soak.base);
  for (unsigned i = 1; i < 4; i++)
    memcpy(*pages[i], soak.base, PK_PAGE_BYTES);
  for (uint32_t pair = 0; pair < pair_count; pair++) {
    enum change change = choose_change(&state);
    apply_change(&state, soak.page, change);
    if (!pair_holds(&soak, next_random(&state))) {
      mismatch->pair = pair;
      mismatch->kind = changes[change].name;
      memcpy(mismatch->base, soak.base, PK_PAGE_BYTES);
      memcpy(mismatch->page, soak.page, PK_PAGE_BYTES);
      return false;
    }
    memcpy(soak.page, soak.base, PK_PAGE_BYTES);
  }
  return true;
}
