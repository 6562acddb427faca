// For ZSTD_create?Ctx_advanced(), which the shared library has always exported.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
