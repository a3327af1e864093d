//===- TileInterpreter.h - runs tile programs, slowly and plainly ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_PASSES_TILEINTERPRETER_H
#define ATTN_TEST_PASSES_TILEINTERPRETER_H

#include "mlir/IR/BuiltinOps.h"

#include <memory>
#include <string>
#include <vector>

namespace mlir::attn::test {

/// A strided view of a buffer. Numbers of every type are kept as double.
struct View {
  std::shared_ptr<std::vector<double>> buffer;
  int64_t offset = 0;
  std::vector<int64_t> sizes, strides;
  /// First, count and step of the rows that attn.select_rows keeps, if any.
  std::vector<int64_t> selection = {};

  double &at(llvm::ArrayRef<int64_t> indices) const;
  /// Row-major over a new buffer filled with `fill`; `gap` extra elements, also
  /// `fill`, after each row.
  static View make(llvm::ArrayRef<int64_t> sizes, double fill, int64_t gap = 0);
};

/// What a value of the IR holds: a view, or numbers in row-major order (one for
/// a scalar).
struct Datum {
  View view;
  std::vector<double> real;
  std::vector<int64_t> integer;
};

/// Executes the level after `attn-outline`, and what `attn-lower-tiles` makes
/// of it.
class TileInterpreter {
public:
  explicit TileInterpreter(mlir::ModuleOp module) : module(module) {}

  /// Runs a function on memrefs and index values. False on an op it does not
  /// know or an access out of bounds; then `error` says which.
  bool run(llvm::StringRef function, std::vector<Datum> arguments);

  std::string error;
  /// Executed second products (P V), with and without a mask.
  int64_t maskedProducts = 0, plainProducts = 0;

private:
  struct Frame;
  mlir::ModuleOp module;
};

} // namespace mlir::attn::test

#endif // ATTN_TEST_PASSES_TILEINTERPRETER_H
