// SPDX-License-Identifier: Apache-2.0
// igzip of ISA-L, loaded at run time: a host without it still decodes every frame, by zlib.
#define _GNU_SOURCE // dladdr
#include "engine_table.h"

#if __has_include(<isa-l/igzip_lib.h>)
#include <isa-l/igzip_lib.h>

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The releases since 2.24 (to 2.32 as yet) lay out the structures of its header alike.
#define LIBRARY "libisal.so.2"

// What is used of the library. Written once, before anyone reads it.
static struct {
  bool is_loaded;
  char version[16];
  __typeof__(isal_deflate_stateless_init) *deflate_stateless_init;
  __typeof__(isal_deflate_stateless) *deflate_stateless;
  __typeof__(isal_inflate_init) *inflate_init;
  __typeof__(isal_inflate_reset) *inflate_reset;
  __typeof__(isal_inflate_stateless) *inflate_stateless;
} library;

// ISA-L has no function that tells its version; its file's full name ends with it: libisal.so.2.0.30 is 2.30.
static void find_version(void) {
  Dl_info info;
  char path[PATH_MAX];
  unsigned minor;
  const char *name = NULL;
  if (dladdr((void *)library.deflate_stateless, &info) != 0 && realpath(info.dli_fname, path) != NULL)
    name = strstr(path, LIBRARY ".0.");
  if (name != NULL && sscanf(name, LIBRARY ".0.%4u", &minor) == 1)
    snprintf(library.version, sizeof library.version, "2.%u", minor);
  else
    snprintf(library.version, sizeof library.version, "2");
}

static void load(void) {
  void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL)
    return;
  library.deflate_stateless_init = dlsym(handle, "isal_deflate_stateless_init");
  library.deflate_stateless = dlsym(handle, "isal_deflate_stateless");
  library.inflate_init = dlsym(handle, "isal_inflate_init");
  library.inflate_reset = dlsym(handle, "isal_inflate_reset");
  library.inflate_stateless = dlsym(handle, "isal_inflate_stateless");
  if (library.deflate_stateless_init == NULL || library.deflate_stateless == NULL || library.inflate_init == NULL
      || library.inflate_reset == NULL || library.inflate_stateless == NULL) {
    dlclose(handle);
    return;
  }
  find_version();
  library.is_loaded = true;
}

static enum de_presence presence(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  return library.is_loaded ? DE_PRESENT : DE_NOT_INSTALLED;
}

static const char *version(void) { return library.version; }

struct isal_encoder {
  struct de_encoder base;
  uint32_t level;
  uint32_t level_buffer_byte_count;
  struct isal_zstream stream;
  _Alignas(16) uint8_t level_buffer[]; // As malloc() would align it, from which igzip expects it.
};

struct isal_decoder {
  struct de_decoder base;
  struct inflate_state state;
};

static struct de_encoder *encoder_create(int level) {
  static const uint32_t level_buffer_byte_counts[] = {
    ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT};
  if (level < ISAL_DEF_MIN_LEVEL || level > ISAL_DEF_MAX_LEVEL)
    return NULL;
  uint32_t level_buffer_byte_count = level_buffer_byte_counts[level];
  // Zeroed: deflate_stateless_init() leaves alone what it takes for unused, such as hist_bits.
  struct isal_encoder *encoder = calloc(1, sizeof *encoder + level_buffer_byte_count);
  if (encoder == NULL)
    return NULL;
  encoder->base.table = &de_isal_table;
  encoder->level = (uint32_t)level;
  encoder->level_buffer_byte_count = level_buffer_byte_count;
  return &encoder->base;
}

static size_t encode(
  struct de_encoder *base, const void *source, uint32_t byte_count, void *destination, uint32_t capacity) {
  struct isal_encoder *encoder = (struct isal_encoder *)base;
  struct isal_zstream *stream = &encoder->stream;
  library.deflate_stateless_init(stream); // Forgets the counts, and the level with them.
  stream->level = encoder->level;
  stream->level_buf = encoder->level_buffer;
  stream->level_buf_size = encoder->level_buffer_byte_count;
  stream->next_in = (uint8_t *)source; // Not const, but only read.
  stream->avail_in = byte_count;
  stream->next_out = destination;
  stream->avail_out = capacity;
  stream->end_of_stream = 1;
  return library.deflate_stateless(stream) == COMP_OK ? stream->total_out : 0;
}

static void encoder_destroy(struct de_encoder *base) { free(base); }

static struct de_decoder *decoder_create(void) {
  struct isal_decoder *decoder = calloc(1, sizeof *decoder);
  if (decoder == NULL)
    return NULL;
  decoder->base.table = &de_isal_table;
  library.inflate_init(&decoder->state);
  return &decoder->base;
}

static bool decode(
  struct de_decoder *base, const void *source, uint32_t encoded_byte_count, void *destination, uint32_t byte_count) {
  struct inflate_state *state = &((struct isal_decoder *)base)->state;
  library.inflate_reset(state);
  state->next_in = (uint8_t *)source; // Not const, but only read.
  state->avail_in = encoded_byte_count;
  state->next_out = destination;
  state->avail_out = byte_count;
  // Stateless: it writes to the destination alone, and looks back no further than its start.
  return library.inflate_stateless(state) == ISAL_DECOMP_OK && state->block_state == ISAL_BLOCK_FINISH
         && state->avail_in == 0 && state->avail_out == 0;
}

static void decoder_destroy(struct de_decoder *base) { free(base); }

const struct de_engine_table de_isal_table = {
  .presence = presence,
  .version = version,
  .encoder_create = encoder_create,
  .encode = encode,
  .encoder_destroy = encoder_destroy,
  .decoder_create = decoder_create,
  .decode = decode,
  .decoder_destroy = decoder_destroy,
};
#else
static enum de_presence presence(void) { return DE_NOT_BUILT_IN; }

const struct de_engine_table de_isal_table = {.presence = presence};
#endif
