//===- Sha256.h - SHA-256 of a byte string ----------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Written out here rather than linked: libcrypto would be this library's only
// heavy run-time dependency, for seventy lines with published test vectors.
// The hash guards against mixed-up and damaged files, not against an adversary
// (a bundle is trusted code).

#ifndef ATTN_RUNTIME_CORE_SHA256_H
#define ATTN_RUNTIME_CORE_SHA256_H

#include <string>
#include <string_view>

namespace attn {

/// FIPS 180-4 SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_SHA256_H
