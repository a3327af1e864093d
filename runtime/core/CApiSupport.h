//===- CApiSupport.h - What the C APIs share --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Nothing here is exported: each library that has a C API has its own last
// error.

#ifndef ATTN_RUNTIME_CORE_CAPISUPPORT_H
#define ATTN_RUNTIME_CORE_CAPISUPPORT_H

#include "attn/runtime/attn.h"
#include "attn/runtime/core/Result.h"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

namespace attn::capi {

static_assert(int(ErrorCode::InvalidArgument) == ATTN_INVALID_ARGUMENT);
static_assert(int(ErrorCode::InvalidBundle) == ATTN_INVALID_BUNDLE);
static_assert(int(ErrorCode::Io) == ATTN_IO);
static_assert(int(ErrorCode::Unsupported) == ATTN_UNSUPPORTED);
static_assert(int(ErrorCode::Device) == ATTN_DEVICE);
static_assert(int(ErrorCode::OutOfMemory) == ATTN_OUT_OF_MEMORY);
static_assert(int(ErrorCode::Finding) == ATTN_FINDING);
static_assert(int(ErrorCode::Internal) == ATTN_INTERNAL);

/// The calling thread's.
inline std::string &lastError() {
  static thread_local std::string text;
  return text;
}

/// Runs `fn` and turns its Status and anything it throws into a status code.
template <typename Fn>
attn_status guarded(Fn fn) noexcept {
  try {
    try {
      Status status = fn();
      if (status)
        return ATTN_OK;
      lastError() = status.error().message;
      return static_cast<attn_status>(status.error().code);
    } catch (const std::bad_alloc &) {
      lastError() = "out of memory";
      return ATTN_OUT_OF_MEMORY;
    } catch (const std::exception &exception) {
      lastError() = std::string("internal error: ") + exception.what();
      return ATTN_INTERNAL;
    }
  } catch (...) { // not even the message could be stored
    return ATTN_INTERNAL;
  }
}

inline Error isNull(const std::string &what) {
  return invalidArgument("'" + what + "' is NULL");
}

/// A copy of `text` that std::free frees.
inline char *copyText(const std::string &text) {
  auto *copy = static_cast<char *>(std::malloc(text.size() + 1));
  if (!copy)
    throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

} // namespace attn::capi

#endif // ATTN_RUNTIME_CORE_CAPISUPPORT_H
