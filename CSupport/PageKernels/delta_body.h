// SPDX-License-Identifier: Apache-2.0
//
// The delta kernels, written once. Beside tier_body.h's macros, an instruction-set file defines
//
//   pk_differ64(a, b)   64-bit mask of the bytes that differ between two arrays of 64 / PK_VECTOR_BYTES vectors
//   pk_pin(v)           makes the compiler hold `v` in a register from here on
//
// Encoding works on a map of the page, a bit per byte, rather than on the bytes: the map is made at memory speed, says
// whether the delta can fit before anything is written, and turns runs into pairs of transitions in it.

#include "delta_format.h"

enum { PK_WORDS = PK_PAGE_BYTES / 64, PK_WORD_VECTORS = 64 / PK_VECTOR_BYTES };

// Where two pages differ.
struct difference {
  uint64_t words;               // Bit w: bytes[w + 1] is not 0.
  uint64_t bytes[PK_WORDS + 1]; // Bit i of bytes[w + 1]: byte 64 w + i differs. bytes[0] is 0.
};

// The two comparing loops; what differs is whether the page is kept.
PK_TARGET static inline __attribute__((always_inline)) void compare(struct difference *found, uint8_t *base,
                                                                    const uint8_t *page, bool is_kept) {
  uint64_t words = 0;
  found->bytes[0] = 0;
#pragma clang loop unroll_count(8)
  for (unsigned word = 0; word < PK_WORDS; word++) {
    pk_vector a[PK_WORD_VECTORS], b[PK_WORD_VECTORS];
    for (unsigned i = 0; i < PK_WORD_VECTORS; i++) {
      a[i] = pk_load(base + word * 64 + i * PK_VECTOR_BYTES);
      b[i] = pk_load(page + word * 64 + i * PK_VECTOR_BYTES);
      if (is_kept)
        pk_pin(b[i]); // What is compared is what is stored: the guest may write in between.
    }
    uint64_t differing = pk_differ64(a, b);
    found->bytes[word + 1] = differing;
    words |= (uint64_t)(differing != 0) << word;
    if (is_kept && differing != 0)
      for (unsigned i = 0; i < PK_WORD_VECTORS; i++)
        pk_store(base + word * 64 + i * PK_VECTOR_BYTES, b[i]);
  }
  found->words = words;
}

// Whether a delta could be as short as `capacity`. Every differing byte travels, and every run takes two lengths; what
// this leaves out are the second bytes of lengths: 32 zruns and 32 nzruns of 128 bytes or more fit into a page, and
// PK_DELTA_ROOM has room for them.
PK_TARGET static inline bool may_fit(const struct difference *found, uint32_t capacity) {
  // At worst every other byte differs: 64 bytes are 32 runs of 3.
  if ((unsigned)__builtin_popcountll(found->words) * 96 <= capacity)
    return true;
  uint64_t size = 0;
#pragma clang loop unroll_count(8)
  for (unsigned word = 0; word < PK_WORDS; word++) {
    uint64_t before = found->bytes[word], differing = found->bytes[word + 1];
    uint64_t starts = differing & ~(differing << 1 | before >> 63);
    size += (uint64_t)__builtin_popcountll(differing) + 2 * (uint64_t)__builtin_popcountll(starts);
  }
  return size <= capacity;
}

// What emitting a run needs and moves on.
struct emission {
  uint8_t *to;         // In the delta.
  const uint8_t *page; // Holds still here.
  unsigned at;         // Where the run before ended.
};

PK_TARGET static inline __attribute__((always_inline)) void emit_run(struct emission *emission, unsigned start,
                                                                     unsigned stop) {
  unsigned kept = start - emission->at, count = stop - start;
  uint8_t *to = emission->to;
  emission->at = stop;
  // Most runs are short: 16 bytes are copied, whatever the run has, and the next run writes over the rest.
  if (__builtin_expect(kept < 0x80 && count <= 16 && start <= PK_PAGE_BYTES - 16, 1)) {
    to[0] = (uint8_t)kept;
    to[1] = (uint8_t)count;
    memcpy(to + 2, emission->page + start, 16);
    emission->to = to + 2 + count;
    return;
  }
  to = pk_put_length(to, kept);
  to = pk_put_length(to, count);
  memcpy(to, emission->page + start, count);
  emission->to = to + count;
}

// Writes the delta. `page` holds still here.
PK_TARGET static inline uint32_t emit(const struct difference *found, const uint8_t *page, uint8_t *delta,
                                      uint32_t capacity) {
  if (found->words == 0)
    return PK_DELTA_UNCHANGED;
  if (!may_fit(found, capacity))
    return PK_DELTA_OVERFLOW;
  struct emission emission = {delta, page, 0};
  unsigned start = 0;
  for (uint64_t left = found->words; left != 0; left &= left - 1) {
    unsigned word = (unsigned)__builtin_ctzll(left), base = word * 64;
    uint64_t differing = found->bytes[word + 1], is_open = found->bytes[word] >> 63;
    // Bit i: byte i is unlike byte i - 1 in being different. So starts and stops of runs take turns.
    uint64_t transitions = differing ^ (differing << 1 | is_open);
    if (is_open != 0 && transitions != 0) {
      emit_run(&emission, start, base + (unsigned)__builtin_ctzll(transitions));
      transitions &= transitions - 1;
    }
    while (transitions != 0) {
      start = base + (unsigned)__builtin_ctzll(transitions);
      transitions &= transitions - 1;
      if (transitions == 0)
        break; // It stops in a later word.
      emit_run(&emission, start, base + (unsigned)__builtin_ctzll(transitions));
      transitions &= transitions - 1;
    }
    // A run that fills the word's last byte stops here, unless the next word goes on with it or says that it does not.
    if (differing >> 63 != 0 && (word == PK_WORDS - 1 || found->bytes[word + 2] == 0))
      emit_run(&emission, start, base + 64);
  }
  uint32_t length = (uint32_t)(emission.to - delta);
  return length <= capacity ? length : PK_DELTA_OVERFLOW;
}

PK_TARGET static uint32_t delta_encode(const void *base, const void *page, void *delta, uint32_t capacity) {
  struct difference found;
  compare(&found, (uint8_t *)(uintptr_t)base, page, false);
  return emit(&found, page, delta, capacity);
}

PK_TARGET static uint32_t delta_update(void *cached, const void *page, void *delta, uint32_t capacity) {
  struct difference found;
  compare(&found, cached, page, true);
  return emit(&found, cached, delta, capacity);
}

// Copies exactly `count` bytes, at least 1, with as few branches as their number allows.
PK_TARGET static inline void copy_exactly(uint8_t *to, const uint8_t *from, unsigned count) {
  if (count >= PK_VECTOR_BYTES) {
    unsigned at = 0;
    for (; at + PK_VECTOR_BYTES <= count; at += PK_VECTOR_BYTES)
      pk_store(to + at, pk_load(from + at));
    pk_store(to + count - PK_VECTOR_BYTES, pk_load(from + count - PK_VECTOR_BYTES));
    return;
  }
  // Two copies of a power of two that overlap in the middle.
  for (; count >= 16;) {
    memcpy(to, from, 16);
    unsigned tail = count - 16;
    to += tail < 16 ? tail : 16, from += tail < 16 ? tail : 16;
    if (tail == 0)
      return;
    count = tail < 16 ? 16 : tail;
    if (tail < 16) {
      memcpy(to, from, 16);
      return;
    }
  }
  if (count >= 8) {
    uint64_t first = pk_word(from), last = pk_word(from + count - 8);
    memcpy(to, &first, 8);
    memcpy(to + count - 8, &last, 8);
  } else if (count >= 4) {
    uint32_t first, last;
    memcpy(&first, from, 4), memcpy(&last, from + count - 4, 4);
    memcpy(to, &first, 4), memcpy(to + count - 4, &last, 4);
  } else {
    to[0] = from[0];
    if (count > 1) {
      to[count / 2] = from[count / 2];
      to[count - 1] = from[count - 1];
    }
  }
}

// Runs of one byte and of eight, which programs write most, are told apart by branches: not to copy them faster, but
// because a processor that predicts the branch need not wait for the length before it reads the next pair.
PK_TARGET static enum pk_delta_fault delta_apply(const void *delta, size_t byte_count, void *page) {
  const uint8_t *from = delta, *end = from + byte_count;
  uint8_t *base = page;
  unsigned at = 0;
  while (from != end) {
    unsigned kept = from[0], count = end - from >= 2 ? from[1] : 0;
    unsigned start = at + kept;
    // Anything unusual, and anything wrong, goes the long way.
    if (__builtin_expect((kept | count) < 0x80 && count != 0 && (kept != 0 || at == 0) &&
                             start + count <= PK_PAGE_BYTES && end - from >= 2 + (ptrdiff_t)count, 1)) {
      if (count == 1) {
        base[start] = from[2];
        at = start + 1, from += 3;
        __asm__ volatile(""); // Keeps the compiler from merging this with the general case.
      } else if (count == 8) {
        memcpy(base + start, from + 2, 8);
        at = start + 8, from += 10;
        __asm__ volatile("");
      } else {
        copy_exactly(base + start, from + 2, count);
        at = start + count, from += 2 + count;
      }
      continue;
    }
    struct pk_delta_walk walk = {from, end, at, 0};
    enum pk_delta_fault fault = pk_take_pair(&walk, from == delta);
    if (fault != PK_DELTA_VALID)
      return fault;
    copy_exactly(base + walk.page_at, walk.at, walk.run);
    at = walk.page_at + walk.run, from = walk.at + walk.run;
  }
  return PK_DELTA_VALID;
}
