// SPDX-License-Identifier: Apache-2.0
//
// Deflate engines: raw deflate (RFC 1951), a whole buffer at a time, by zlib, or by igzip of Intel's ISA-L, which is
// several times as fast and need not be there.
//
// Contract, for every function here:
// - The engine is an argument; which one serves which level is the caller's policy. DE_ZLIB is always present.
// - ISA-L is looked for once per process, on the first question about it, and then stays. Any thread may ask.
// - An encoder or decoder works for one thread at a time. A call leaves nothing behind for the next, however it ended.
// - Only the create functions allocate, except that zlib takes 32 KiB for a decoder when it first refuses a frame.
// - A range is read or written only within the byte count given with it. An address may be NULL if its count is 0.
//   Source and destination do not overlap.
#ifndef DEFLATE_ENGINES_H
#define DEFLATE_ENGINES_H

#include <stdbool.h>
#include <stddef.h>

enum de_engine {
  DE_ZLIB = 0,
  DE_ISAL = 1,
};

enum de_presence {
  DE_PRESENT = 0,
  DE_NOT_INSTALLED = 1, // The loader does not find libisal.so.2, or it lacks what is needed.
  DE_NOT_BUILT_IN = 2,  // ISA-L's header was not there when this was compiled.
};

// Whether `engine` can be used, or why not.
enum de_presence de_engine_presence(enum de_engine engine);

// Version of the library in use, such as "1.2.13", valid for ever; NULL if the engine is not present.
const char *de_engine_version(enum de_engine engine);

struct de_encoder;
struct de_decoder;

// An encoder at `level`: 1 to 9 for DE_ZLIB, 0 to 3 for DE_ISAL. NULL if the engine is not present, has no such
// level, or memory ran out.
struct de_encoder *de_encoder_create(enum de_engine engine, int level);

// Encodes `byte_count` bytes at `source` as one complete stream of at most `capacity` bytes at `destination`.
// Returns the stream's length, or 0 if it does not fit, or `byte_count` is 2 GiB or more; what `destination` holds
// is then unspecified. The source must not change meanwhile.
size_t de_encode(
  struct de_encoder *encoder, const void *source, size_t byte_count, void *destination, size_t capacity);

void de_encoder_destroy(struct de_encoder *encoder);

// A decoder. NULL if the engine is not present, or memory ran out.
struct de_decoder *de_decoder_create(enum de_engine engine);

// Decodes the stream of `encoded_byte_count` bytes at `source`, which may be anything, to `byte_count` bytes at
// `destination`. Returns whether the source is one complete stream, with nothing after it, that decodes to exactly
// that many bytes. If not, what `destination` holds is unspecified.
bool de_decode(
  struct de_decoder *decoder, const void *source, size_t encoded_byte_count, void *destination, size_t byte_count);

void de_decoder_destroy(struct de_decoder *decoder);

#endif
