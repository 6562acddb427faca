// SPDX-License-Identifier: Apache-2.0
// What each engine's file exports to engines.c.
#ifndef DE_ENGINE_TABLE_H
#define DE_ENGINE_TABLE_H

#include "deflate_engines.h"

#include <stdint.h>

// First member of every engine's own encoder and decoder.
struct de_encoder {
  const struct de_engine_table *table;
};
struct de_decoder {
  const struct de_engine_table *table;
};

// As in deflate_engines.h, with addresses that are never NULL, and counts of less than 2 GiB.
struct de_engine_table {
  enum de_presence (*presence)(void);
  // The rest is called only if the engine is present.
  const char *(*version)(void);
  struct de_encoder *(*encoder_create)(int level);
  size_t (*encode)(
    struct de_encoder *encoder, const void *source, uint32_t byte_count, void *destination, uint32_t capacity);
  void (*encoder_destroy)(struct de_encoder *encoder);
  struct de_decoder *(*decoder_create)(void);
  bool (*decode)(
    struct de_decoder *decoder, const void *source, uint32_t encoded_byte_count, void *destination,
    uint32_t byte_count);
  void (*decoder_destroy)(struct de_decoder *decoder);
};

extern const struct de_engine_table de_zlib_table;
extern const struct de_engine_table de_isal_table;

#endif
