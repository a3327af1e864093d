//===- Judge.h - when a result counts as right ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_REFERENCE_JUDGE_H
#define ATTN_DIALECT_REFERENCE_JUDGE_H

#include "attn/dialect/reference/Numerics.h"

#include <string>

namespace attn::reference {

/// What to fill an output with before it is computed: a NaN that no arithmetic
/// produces, so that an element nobody wrote is told from one that is NaN.
/// `decode` and `round` keep it.
uint32_t poisonBits(Format format);
bool isPoison(double value, Format format);

/// The verdict on one output, and what it rests on. Errors are over the
/// elements whose reference is finite.
struct Judgement {
  bool passed = true;
  double maxError = 0, maxBound = 0;
  double meanError = 0, meanBound = 0;
  /// Lower case, without a full stop; empty if it passed. Names the first
  /// offending element.
  std::string problem;
};

/// Judges o against the f64 reference by the distance of the naive computation
/// from it: maximum error at most `factor` times the naive one + 1e-5, mean
/// error at most 1.25 times + 1e-6 (docs/Spec.md, J1 to J4). `result` holds
/// elements of `format`, all three are row-major of `shape`.
Judgement judgeOutput(const std::vector<double> &result,
                      const std::vector<double> &reference,
                      const std::vector<double> &naive,
                      const std::vector<int64_t> &shape, Format format,
                      double factor = 2);

/// Judges an f32 lse of inputs in `format`: within 1e-3 of the reference for
/// 16-bit inputs, 1e-5 for f32; -inf exactly where the reference is (J3 to J5).
Judgement judgeLse(const std::vector<double> &result,
                   const std::vector<double> &reference,
                   const std::vector<int64_t> &shape, Format format);

/// A line for people: errors, bounds and, if it failed, why.
std::string toText(const Judgement &judgement);

} // namespace attn::reference

#endif // ATTN_DIALECT_REFERENCE_JUDGE_H
