//===- HostProblem.h - attention on the CPU, judged -------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_CODEGEN_HOST_HOSTPROBLEM_H
#define ATTN_TEST_CODEGEN_HOST_HOSTPROBLEM_H

#include "attn/test/support/Elements.h"
#include "attn/test/support/Random.h"

#include "mlir/IR/MLIRContext.h"

#include <memory>
#include <string>
#include <vector>

namespace mlir {
class ModuleOp;
} // namespace mlir

namespace attn {
struct Bundle;
} // namespace attn

namespace attn::test {

struct HostProblem {
  std::string element = "f32", mask, alignment, scale, cpu;
  int64_t batches = 1, kvHeads = 1, groups = 1, queries = 1, keys = 1,
          headSize = 16, valueSize = 16, symbol = 0;
  int64_t qTile = 0, kvTile = 0;
  bool lse = false;
  /// Which extents are dynamic: batches, heads, queries, keys.
  bool dynamic[4] = {};
  Layout layout[4] = {};
  /// Whether some values are infinite or NaN.
  bool special = false;
  /// Whether one element of the result is made wrong before it is judged.
  bool corruptResult = false;
  std::vector<int64_t> threads = {1};

  static HostProblem random(Random &random);
  /// Draws the extents that the types leave open, and the symbol, anew. False
  /// if the types leave no length open.
  bool redraw(Random &random);
  std::string source() const;
  std::string describe() const;
};

/// Compiles and runs problems on the device `host`.
class HostRunner {
public:
  HostRunner();
  ~HostRunner();
  /// What went wrong, or nothing. The results for all numbers of threads must
  /// agree in every bit. Compiles, and runs the problem and `others`, which
  /// differ in what the types leave open.
  std::string run(const HostProblem &problem, Random &random,
                  const std::vector<HostProblem> &others = {});
  mlir::MLIRContext &getContext() { return *context; }

private:
  std::string execute(const HostProblem &problem, Random &random,
                      mlir::ModuleOp module, const attn::Bundle &bundle);

  std::unique_ptr<mlir::MLIRContext> context;
};

} // namespace attn::test

#endif // ATTN_TEST_CODEGEN_HOST_HOSTPROBLEM_H
