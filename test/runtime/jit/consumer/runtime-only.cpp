//===- runtime-only.cpp - libattn.so from C++, without the compiler -------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/attn.h"

#include <cstdio>

int main() {
  attn_device *device = nullptr;
  if (ATTN_CHECK_ABI() || attn_device_open("sim", nullptr, &device)) {
    std::fprintf(stderr, "%s\n", attn_error_message());
    return 1;
  }
  attn_device_close(device);
  std::puts("runtime only: ok");
  return 0;
}
