// SPDX-License-Identifier: Apache-2.0
#define ZLIB_CONST
#include "engine_table.h"

#include <stdlib.h>
#include <zlib.h>

#define RAW_WINDOW_BITS (-15) // 32 KiB; negative: neither header nor checksum, a frame has its own.
#define MEMORY_LEVEL 8        // zlib's default.

struct zlib_encoder {
  struct de_encoder base;
  z_stream stream;
};

struct zlib_decoder {
  struct de_decoder base;
  z_stream stream;
};

static enum de_presence presence(void) { return DE_PRESENT; }

static struct de_encoder *encoder_create(int level) {
  if (level < 1 || level > 9)
    return NULL;
  struct zlib_encoder *encoder = calloc(1, sizeof *encoder);
  if (encoder == NULL)
    return NULL;
  encoder->base.table = &de_zlib_table;
  int result =
    deflateInit2(&encoder->stream, level, Z_DEFLATED, RAW_WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
  if (result != Z_OK) {
    free(encoder);
    return NULL;
  }
  return &encoder->base;
}

static size_t encode(
  struct de_encoder *base, const void *source, uint32_t byte_count, void *destination, uint32_t capacity) {
  z_stream *stream = &((struct zlib_encoder *)base)->stream;
  if (deflateReset(stream) != Z_OK)
    return 0;
  stream->next_in = source;
  stream->avail_in = byte_count;
  stream->next_out = destination;
  stream->avail_out = capacity;
  // One call does it all, or the stream does not fit.
  return deflate(stream, Z_FINISH) == Z_STREAM_END ? stream->total_out : 0;
}

static void encoder_destroy(struct de_encoder *base) {
  struct zlib_encoder *encoder = (struct zlib_encoder *)base;
  (void)deflateEnd(&encoder->stream); // Says whether a frame was cut short, which is no news.
  free(encoder);
}

static struct de_decoder *decoder_create(void) {
  struct zlib_decoder *decoder = calloc(1, sizeof *decoder);
  if (decoder == NULL)
    return NULL;
  decoder->base.table = &de_zlib_table;
  if (inflateInit2(&decoder->stream, RAW_WINDOW_BITS) != Z_OK) {
    free(decoder);
    return NULL;
  }
  return &decoder->base;
}

static bool decode(
  struct de_decoder *base, const void *source, uint32_t encoded_byte_count, void *destination, uint32_t byte_count) {
  z_stream *stream = &((struct zlib_decoder *)base)->stream;
  if (inflateReset(stream) != Z_OK)
    return false;
  stream->next_in = source;
  stream->avail_in = encoded_byte_count;
  stream->next_out = destination;
  stream->avail_out = byte_count;
  // Z_FINISH: all the output is wanted at once, so that zlib keeps no window of its own.
  return inflate(stream, Z_FINISH) == Z_STREAM_END && stream->avail_in == 0 && stream->avail_out == 0;
}

static void decoder_destroy(struct de_decoder *base) {
  struct zlib_decoder *decoder = (struct zlib_decoder *)base;
  (void)inflateEnd(&decoder->stream);
  free(decoder);
}

const struct de_engine_table de_zlib_table = {
  .presence = presence,
  .version = zlibVersion,
  .encoder_create = encoder_create,
  .encode = encode,
  .encoder_destroy = encoder_destroy,
  .decoder_create = decoder_create,
  .decode = decode,
  .decoder_destroy = decoder_destroy,
};
