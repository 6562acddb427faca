// SPDX-License-Identifier: Apache-2.0
// A table per engine, chosen by the caller's argument; and the checks that both need.
#include "engine_table.h"

// Both libraries count in 32 bits, and igzip in places with a sign.
#define BYTES_MAX ((size_t)INT32_MAX)

static const struct de_engine_table *table_of(enum de_engine engine) {
  return engine == DE_ISAL ? &de_isal_table : &de_zlib_table;
}

static bool is_present(enum de_engine engine) { return table_of(engine)->presence() == DE_PRESENT; }

enum de_presence de_engine_presence(enum de_engine engine) { return table_of(engine)->presence(); }

const char *de_engine_version(enum de_engine engine) {
  return is_present(engine) ? table_of(engine)->version() : NULL;
}

struct de_encoder *de_encoder_create(enum de_engine engine, int level) {
  return is_present(engine) ? table_of(engine)->encoder_create(level) : NULL;
}

size_t de_encode(
  struct de_encoder *encoder, const void *source, size_t byte_count, void *destination, size_t capacity) {
  if (byte_count > BYTES_MAX || capacity == 0)
    return 0; // No stream is empty.
  if (byte_count == 0)
    source = ""; // zlib takes NULL for a mistake.
  if (capacity > BYTES_MAX)
    capacity = BYTES_MAX;
  return encoder->table->encode(encoder, source, (uint32_t)byte_count, destination, (uint32_t)capacity);
}

void de_encoder_destroy(struct de_encoder *encoder) { encoder->table->encoder_destroy(encoder); }

struct de_decoder *de_decoder_create(enum de_engine engine) {
  return is_present(engine) ? table_of(engine)->decoder_create() : NULL;
}

bool de_decode(
  struct de_decoder *decoder, const void *source, size_t encoded_byte_count, void *destination, size_t byte_count) {
  if (encoded_byte_count > BYTES_MAX || byte_count > BYTES_MAX || encoded_byte_count == 0)
    return false;
  char nothing;
  if (byte_count == 0)
    destination = &nothing; // As above; nothing is written to it.
  return decoder->table->decode(
    decoder, source, (uint32_t)encoded_byte_count, destination, (uint32_t)byte_count);
}

void de_decoder_destroy(struct de_decoder *decoder) { decoder->table->decoder_destroy(decoder); }
