//===- Trial.h - a function compiled, run on a device and judged *- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_SUPPORT_TRIAL_H
#define ATTN_TEST_SUPPORT_TRIAL_H

#include "attn/dialect/reference/Reference.h"
#include "attn/runtime/core/Tensor.h"

#include "mlir/IR/MLIRContext.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace attn {
struct Bundle;
class Status;
} // namespace attn

namespace attn::test {

/// One argument of the function.
struct Argument {
  ElementType element = ElementType::F32;
  /// A tensor, or an index: no dimensions and one value.
  mlir::attn::reference::Tensor value;
  /// Those of a tensor; empty for row-major.
  std::vector<int64_t> strides = {};
  bool isIndex = false;

  static Argument index(int64_t value) {
    return {ElementType::Index, {{}, {double(value)}}, {}, true};
  }
};

/// A function @f and how it is run.
struct Trial {
  std::string source;
  std::vector<Argument> arguments;
  /// A target of attn-opt, `host` being this machine's CPU.
  std::string target;
  std::string device = "sim", deviceOptions = {};
  /// Those of the first result; empty for row-major.
  std::vector<int64_t> resultStrides = {};
  /// What the reference evaluates if it is not `source`.
  std::string expectedSource = {};
  /// Changes arguments on the device alone: a fault that must be found.
  std::function<void(std::vector<Argument> &)> spoil = {};
};

/// Compiles and runs trials.
class TrialRunner {
public:
  TrialRunner();
  ~TrialRunner();

  /// What went wrong, or nothing. Memory around the tensors is poisoned with
  /// NaN, and results are NaN at first.
  std::string run(const Trial &trial);

  /// How many remarks of the compiler contained `text` so far.
  int64_t countRemarks(const std::string &text) const;

private:
  Status execute(const Trial &trial, Bundle bundle,
                 const std::vector<mlir::attn::reference::Output> &expected);

  std::unique_ptr<mlir::MLIRContext> context;
  std::vector<std::string> remarks;
};

} // namespace attn::test

#endif // ATTN_TEST_SUPPORT_TRIAL_H
