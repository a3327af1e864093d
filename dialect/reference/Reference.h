//===- Reference.h - a function of attention ops, evaluated ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_REFERENCE_REFERENCE_H
#define ATTN_DIALECT_REFERENCE_REFERENCE_H

#include "attn/dialect/reference/Judge.h"
#include "attn/dialect/reference/Numerics.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"

#include <optional>
#include <vector>

namespace mlir {
class Type;
namespace func {
class FuncOp;
} // namespace func
} // namespace mlir

namespace mlir::attn::reference {

using ::attn::reference::Format;
using ::attn::reference::Judgement;

/// A row-major tensor of any element type, or, without dimensions, a scalar.
/// Integers must be below 2^53.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<double> values;
};

/// One result of a function. `naive` comes from the naive computation at every
/// op, intermediates rounded to their element type. An lse is judged by its own
/// rule: `isLse`. `inputFormat` is the element type of the q that it came from.
struct Output {
  Tensor exact, naive;
  Format format = Format::F32;
  Format inputFormat = Format::F32;
  bool isLse = false;
  /// How many times the naive computation's largest error is allowed (J1).
  double maxFactor = 2;
};

/// The element type as a format; none for other types.
std::optional<Format> getFormat(Type elementType);

/// Runs `function` on `inputs`, in argument order: attention in f64 straight
/// from the definition, scalar arithmetic by the folds of its ops. Dynamic
/// dimensions are those of the inputs; float inputs are rounded to their
/// element type first. Reports, at its location, any op that is neither, any
/// constraint of docs/Spec.md that a run-time size or value breaks (R1 to R7),
/// and inputs that do not match the arguments.
FailureOr<std::vector<Output>> evaluateFunction(func::FuncOp function,
                                                ArrayRef<Tensor> inputs);

/// Judges what a device computed for one output, by the rule for its kind.
Judgement judge(const Tensor &result, const Output &output);

} // namespace mlir::attn::reference

#endif // ATTN_DIALECT_REFERENCE_REFERENCE_H
