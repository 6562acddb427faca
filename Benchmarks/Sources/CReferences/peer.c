// SPDX-License-Identifier: Apache-2.0
#include "references.h"

// What peers are compiled against; not in the public header, which must not name a path.
#include "../../../perf/peers/peer_kernels.h"

#include <dlfcn.h>
#include <string.h>

// The same types in both headers, or a call goes wrong at run time.
#define SAME_TYPE(member, function)                                                                                    \
  _Static_assert(__builtin_types_compatible_p(__typeof__(((struct ref_peer *)0)->member), __typeof__(&function)),      \
                 #function)
SAME_TYPE(page_is_zero, peer_page_is_zero);
SAME_TYPE(delta_encode, peer_delta_encode);
SAME_TYPE(delta_decode, peer_delta_decode);

// dlsym() returns an object pointer; C has no cast from that to a function pointer, POSIX promises that this works.
static void find(void *library, const char *name, void *function, size_t byte_count) {
  void *symbol = dlsym(library, name);
  memcpy(function, &symbol, byte_count);
}

const char *ref_load_peer(const char *path, struct ref_peer *peer) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL)
    return dlerror();
  find(library, "peer_page_is_zero", &peer->page_is_zero, sizeof peer->page_is_zero);
  find(library, "peer_delta_encode", &peer->delta_encode, sizeof peer->delta_encode);
  find(library, "peer_delta_decode", &peer->delta_decode, sizeof peer->delta_decode);
  if (peer->page_is_zero == NULL && peer->delta_encode == NULL && peer->delta_decode == NULL)
    return "it has none of the functions of perf/peers/peer_kernels.h";
  return NULL;
}
