// SPDX-License-Identifier: Apache-2.0
//
// What another project's kernels must look like to be timed beside ours: these names, these types. Each is optional.
// `build` compiles every peer against this header, so that a wrong type is an error there.
#ifndef PEER_KERNELS_H
#define PEER_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether all 4096 bytes at `page` are zero: 0 for no, anything else for yes.
int peer_page_is_zero(const void *page);

// Encodes what turns `old_page` into `new_page`, as XBZRLE. Returns the delta's length, 0 if the pages are equal, -1 if
// the delta is longer than `capacity`. Writes at most `capacity` bytes at `out`.
int peer_delta_encode(const uint8_t *old_page, const uint8_t *new_page, int page_bytes, uint8_t *out, int capacity);

// Applies an XBZRLE delta to `page`. Returns a number below 0 if it is not one.
int peer_delta_decode(const uint8_t *delta, int delta_bytes, uint8_t *page, int page_bytes);

#ifdef __cplusplus
}
#endif

#endif
