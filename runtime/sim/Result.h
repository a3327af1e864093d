//===- Result.h - a value or a located error -------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_RESULT_H
#define ATTN_RUNTIME_SIM_RESULT_H

#include <string>
#include <utility>
#include <variant>

namespace attn::sim {

/// What went wrong, and where in the PTX text (line and column count from 1; 0
/// means "no place").
struct Error {
  std::string message;
  unsigned line = 0;
  unsigned column = 0;

  /// `name:line:column: error: message`, without the parts that are unknown.
  std::string render(const std::string &name) const;
};

/// Either a value or an Error.
template <typename T>
class Result {
public:
  Result(T value) : state(std::move(value)) {}
  Result(Error error) : state(std::move(error)) {}

  explicit operator bool() const { return state.index() == 0; }
  T &operator*() { return std::get<0>(state); }
  const T &operator*() const { return std::get<0>(state); }
  T *operator->() { return &std::get<0>(state); }
  const T *operator->() const { return &std::get<0>(state); }
  const Error &error() const { return std::get<1>(state); }

private:
  std::variant<T, Error> state;
};

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_RESULT_H
