//===- Numerics.h - attention straight from its definition ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_REFERENCE_NUMERICS_H
#define ATTN_DIALECT_REFERENCE_NUMERICS_H

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

// Neither LLVM nor MLIR in here: the runtime may use it too.
namespace attn::reference {

/// The element types of attention. Every value of each is a double exactly, so
/// tensors are held as doubles.
enum class Format : uint8_t { F16, BF16, F32 };

/// `value` rounded to nearest, ties to even; what is too large becomes
/// infinite, NaN stays NaN.
double round(double value, Format format);
/// The element with these bits; a NaN keeps its payload.
double decode(uint32_t bits, Format format);
/// The bits of `round(value, format)`; a NaN keeps the upper part of its
/// payload.
uint32_t encode(double value, Format format);

/// A rank-4 tensor somewhere in memory, strides in elements.
struct View {
  const double *data = nullptr;
  std::array<int64_t, 4> shape = {};
  std::array<int64_t, 4> strides = {};

  static View rowMajor(const double *data, std::array<int64_t, 4> shape);
  double at(int64_t b, int64_t h, int64_t i, int64_t d) const {
    return data[b * strides[0] + h * strides[1] + i * strides[2] +
                d * strides[3]];
  }
};

/// One attention, as docs/Spec.md states it. q is B x Hq x Nq x D, k is B x Hkv
/// x Nk x D, v is B x Hkv x Nk x Dv; the caller has checked that they agree.
struct Problem {
  View q, k, v;
  double scale = 1;
  /// Query i of batch b has position i + offsets[b].
  std::vector<int64_t> offsets;
  /// The number of the first query head, as the mask sees it.
  int64_t firstHead = 0;
  /// Whether the mask holds (head, query position, key position); empty for
  /// `all`.
  std::function<bool(int64_t head, int64_t p, int64_t j)> live;
  /// A result over other keys to continue from, B x Hq x Nq x Dv and B x Hq x
  /// Nq x 1; without data there is none.
  View initO = {}, initLse = {};
  /// The score of the pair (query i, key j) of head h, counted from 0, from the
  /// scaled product; empty for that itself.
  std::function<double(double score, int64_t b, int64_t h, int64_t i,
                       int64_t j)>
      score = {};
  /// A logit for each query head that is in the denominator alone; or empty.
  std::vector<double> sinks = {};
  /// The same for a mask with tensors, of (batch, head, query, key) counted
  /// from 0; then `live` is empty.
  std::function<bool(int64_t b, int64_t h, int64_t i, int64_t j)> livePair = {};
};

/// Row-major B x Hq x Nq x Dv and B x Hq x Nq.
struct Solution {
  std::vector<double> o, lse;
};

/// Everything in f64.
Solution evaluate(const Problem &problem);

/// The plain three-step computation in `format`: scores in f32; softmax in f32,
/// its weights rounded to `format`; weighted sum in f32, rounded to `output`.
/// Its distance from `evaluate` is the yardstick of every tolerance.
Solution evaluateNaive(const Problem &problem, Format format, Format output);
inline Solution evaluateNaive(const Problem &problem, Format format) {
  return evaluateNaive(problem, format, format);
}

} // namespace attn::reference

#endif // ATTN_DIALECT_REFERENCE_NUMERICS_H
