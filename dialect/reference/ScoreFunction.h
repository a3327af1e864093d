//===- ScoreFunction.h - a score region as a function ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_REFERENCE_SCOREFUNCTION_H
#define ATTN_DIALECT_REFERENCE_SCOREFUNCTION_H

#include "attn/dialect/Attn.h"

#include <array>
#include <functional>
#include <vector>

namespace mlir::attn::reference {

/// What the score region of an op computes for one pair, op by op.
class ScoreFunction {
public:
  /// Reports an op of the region that it cannot evaluate.
  static FailureOr<ScoreFunction> compile(AttentionOp op);

  bool isEmpty() const { return slots == 0; }
  /// Whether the region has a math.tanh.
  bool hasTanh() const { return tanh; }

  /// A tensor over (b, h, i, j), with stride 0 where it is broadcast, or an
  /// integer.
  struct Input {
    const double *data = nullptr;
    std::array<int64_t, 4> strides = {};
    int64_t integer = 0;
  };
  /// The new score of the pair. `element` indexes the inputs, `position` is
  /// what the region sees as batch, head, query and key. Every float is rounded
  /// to f32 if `single`.
  double evaluate(double score, const std::array<int64_t, 4> &element,
                  const std::array<int64_t, 4> &position,
                  const std::vector<Input> &inputs, bool single) const;

private:
  struct Slot {
    double real = 0;
    int64_t integer = 0;
  };
  struct Step {
    std::function<Slot(const Slot *x)> apply;
    std::array<unsigned, 3> operands = {};
    unsigned result = 0;
    unsigned numOperands = 0;
    /// Of an integer result; 0 for a float.
    unsigned width = 0;
  };
  static std::function<Slot(const Slot *x)> getFunction(Operation *op);

  std::vector<Step> steps;
  unsigned slots = 0, result = 0;
  bool tanh = false;
};

} // namespace mlir::attn::reference

#endif // ATTN_DIALECT_REFERENCE_SCOREFUNCTION_H
