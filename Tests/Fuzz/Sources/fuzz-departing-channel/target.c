// SPDX-License-Identifier: Apache-2.0
// libFuzzer has the main function and calls this; the driver is Swift.
#include <stddef.h>
#include <stdint.h>

int pageferry_fuzz_departing_channel(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return pageferry_fuzz_departing_channel(data, size); }
