// SPDX-License-Identifier: Apache-2.0
#include "references.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { PAGE_BYTES = 4096, LINE_BYTES = 64 };

static uint64_t read_words(const uint8_t *bytes, size_t byte_count) {
  uint64_t seen[8] = {0};
  for (size_t at = 0; at < byte_count; at += sizeof seen)
    for (unsigned i = 0; i < 8; i++) {
      uint64_t word;
      memcpy(&word, bytes + at + i * sizeof word, sizeof word);
      seen[i] |= word;
    }
  return seen[0] | seen[1] | seen[2] | seen[3] | seen[4] | seen[5] | seen[6] | seen[7];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t read_avx2(const uint8_t *bytes, size_t byte_count) {
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (const uint8_t *at = bytes, *end = bytes + byte_count; at != end; at += 256) {
    const __m256i *v = (const __m256i *)at;
    a = _mm256_or_si256(a, _mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)));
    b = _mm256_or_si256(b, _mm256_or_si256(_mm256_loadu_si256(v + 2), _mm256_loadu_si256(v + 3)));
    c = _mm256_or_si256(c, _mm256_or_si256(_mm256_loadu_si256(v + 4), _mm256_loadu_si256(v + 5)));
    d = _mm256_or_si256(d, _mm256_or_si256(_mm256_loadu_si256(v + 6), _mm256_loadu_si256(v + 7)));
  }
  uint64_t words[4];
  _mm256_storeu_si256((__m256i *)words, _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
  return words[0] | words[1] | words[2] | words[3];
}

bool ref_reads_with_avx2(void) { return __builtin_cpu_supports("avx2"); }

uint64_t ref_read(const void *bytes, size_t byte_count) {
  return ref_reads_with_avx2() ? read_avx2(bytes, byte_count) : read_words(bytes, byte_count);
}
#else
bool ref_reads_with_avx2(void) { return false; }

uint64_t ref_read(const void *bytes, size_t byte_count) { return read_words(bytes, byte_count); }
#endif

void ref_copy_pages(void *to, const void *from, size_t page_count) {
  for (size_t at = 0; at < page_count * PAGE_BYTES; at += PAGE_BYTES)
    memcpy((uint8_t *)to + at, (const uint8_t *)from + at, PAGE_BYTES);
}

size_t ref_equal_pages(const void *a, const void *b, size_t page_count) {
  size_t equal = 0;
  for (size_t at = 0; at < page_count * PAGE_BYTES; at += PAGE_BYTES)
    equal += memcmp((const uint8_t *)a + at, (const uint8_t *)b + at, PAGE_BYTES) == 0;
  return equal;
}

size_t ref_zero_pages(const void *pages, size_t page_count) {
  size_t zero = 0;
  for (size_t number = 0; number < page_count; number++) {
    const uint8_t *page = (const uint8_t *)pages + number * PAGE_BYTES;
    uint64_t first;
    memcpy(&first, page, sizeof first);
    zero += first == 0 && memcmp(page, page + sizeof first, PAGE_BYTES - sizeof first) == 0;
  }
  return zero;
}

void ref_evict(const void *bytes, size_t byte_count) {
#if defined(__x86_64__)
  for (size_t at = 0; at < byte_count; at += LINE_BYTES)
    _mm_clflush((const uint8_t *)bytes + at);
  _mm_mfence();
#elif defined(__aarch64__)
  for (size_t at = 0; at < byte_count; at += LINE_BYTES)
    __asm__ volatile("dc civac, %0" : : "r"((const uint8_t *)bytes + at) : "memory");
  __asm__ volatile("dsb sy" : : : "memory");
#else
  (void)bytes, (void)byte_count, (void)LINE_BYTES;
#endif
}
