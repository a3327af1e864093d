//===- Result.h - Errors as values ------------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// The runtime reports every failure as a value: `Result<T>` is a T or an Error,
// `Status` is nothing or an Error. Messages start in lower case, have no full
// stop, and say what was expected and what was found.

#ifndef ATTN_RUNTIME_CORE_RESULT_H
#define ATTN_RUNTIME_CORE_RESULT_H

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace attn {

/// What kind of thing went wrong. The values are those of `attn_status`.
enum class ErrorCode : int {
  InvalidArgument = 1, ///< the caller passed something that does not fit
  InvalidBundle = 2,   ///< the bundle breaks a rule of its format
  Io = 3,              ///< a file could not be read or written
  Unsupported = 4,     ///< well-formed, but this device or build cannot do it
  Device = 5,          ///< the device or its driver reported a failure
  OutOfMemory = 6,     ///< an allocation failed
  Finding = 7,         ///< the simulator found a defect in the kernel
  Internal = 8,        ///< a defect of this library
};

struct Error {
  ErrorCode code = ErrorCode::Internal;
  std::string message;

  /// The same error with `context` and ": " in front.
  Error in(const std::string &context) const {
    return {code, context + ": " + message};
  }
};

inline Error invalidArgument(std::string message) {
  return {ErrorCode::InvalidArgument, std::move(message)};
}

class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Error error) : failure(std::move(error)) {}
  static Status success() { return {}; }

  bool ok() const { return !failure; }
  explicit operator bool() const { return ok(); }
  const Error &error() const {
    assert(failure && "error() of a success");
    return *failure;
  }

private:
  std::optional<Error> failure;
};

template <typename T>
class [[nodiscard]] Result {
public:
  Result(T value) : state(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state.index() == 0; }
  explicit operator bool() const { return ok(); }
  T &operator*() {
    assert(ok() && "value of a failure");
    return *std::get_if<0>(&state);
  }
  const T &operator*() const {
    assert(ok() && "value of a failure");
    return *std::get_if<0>(&state);
  }
  T *operator->() { return &**this; }
  const T *operator->() const { return &**this; }
  const Error &error() const {
    assert(!ok() && "error() of a success");
    return *std::get_if<1>(&state);
  }

private:
  std::variant<T, Error> state;
};

} // namespace attn

#endif // ATTN_RUNTIME_CORE_RESULT_H
