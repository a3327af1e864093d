//===- Compiler.h - Source text to a bundle ---------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// The one place where the runtime meets MLIR. What it needs of MLIR stays in
// the source file, so that embedders compile without its headers.

#ifndef ATTN_RUNTIME_JIT_COMPILER_H
#define ATTN_RUNTIME_JIT_COMPILER_H

#include "attn/runtime/core/Bundle.h"
#include "attn/runtime/core/Device.h"

#include <memory>

namespace attn {

/// A parsed and verified function in a context of its own: sources may be
/// parsed and compiled on any number of threads, each source on one at a time.
class ParsedSource {
public:
  /// Reads `text` and finds the public function of that name; an empty name
  /// stands for the only one. The error holds every diagnostic, each with line
  /// and column, the line itself and a mark under the place.
  static Result<std::unique_ptr<ParsedSource>>
  parse(const std::string &text, const std::string &function);
  ~ParsedSource();

  /// The function as the compiler prints it: the same for sources that differ
  /// in layout, comments, names of values or other functions.
  const std::string &canonicalText() const;

  /// Compiles for `target`. Errors as in `parse`.
  Result<Bundle> compile(const std::string &target);

private:
  struct Impl;
  explicit ParsedSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

/// What code for this device is compiled for.
Result<std::string> targetOf(const Device &device);
/// The same for a device called `name` whose own target is known.
Result<std::string> targetFor(const std::string &deviceTarget,
                              const std::string &name);

/// The compiler's version and what tells two builds of it apart; empty if this
/// build cannot be told from others.
std::string compilerIdentity();

} // namespace attn

#endif // ATTN_RUNTIME_JIT_COMPILER_H
