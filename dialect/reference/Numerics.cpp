//===- Numerics.cpp - see Numerics.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/Numerics.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace attn::reference {

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

namespace {

struct Layout {
  int exponentBits, mantissaBits;
  int bias() const { return (1 << (exponentBits - 1)) - 1; }
  uint32_t infinity() const {
    return ((1u << exponentBits) - 1) << mantissaBits;
  }
};

Layout layoutOf(Format format) {
  switch (format) {
  case Format::F16:
    return {5, 10};
  case Format::BF16:
    return {8, 7};
  case Format::F32:
    break;
  }
  return {8, 23};
}

uint64_t toBits(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

double fromBits(uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

} // namespace

double round(double value, Format format) {
  if (!std::isfinite(value) || value == 0)
    return value;
  Layout layout = layoutOf(format);
  // `value` lies in [2^exponent, 2^(exponent+1)), where elements are `ulp`
  // apart, or below the least normal number.
  int exponent = std::max(static_cast<int>(toBits(value) >> 52 & 0x7FF) - 1023,
                          1 - layout.bias());
  double ulp = std::ldexp(1.0, exponent - layout.mantissaBits);
  double rounded = std::nearbyint(value / ulp) * ulp;
  double limit = std::ldexp(1.0, layout.bias() + 1);
  return std::fabs(rounded) < limit
             ? rounded
             : std::copysign(std::numeric_limits<double>::infinity(), value);
}

double decode(uint32_t bits, Format format) {
  Layout layout = layoutOf(format);
  uint32_t magnitude =
      bits & ((1u << (layout.exponentBits + layout.mantissaBits)) - 1);
  uint64_t sign =
      uint64_t(bits >> (layout.exponentBits + layout.mantissaBits) & 1) << 63;
  uint32_t mantissa = magnitude & ((1u << layout.mantissaBits) - 1);
  int exponent = static_cast<int>(magnitude >> layout.mantissaBits);
  if (magnitude >= layout.infinity())
    return fromBits(sign | uint64_t(0x7FF) << 52 |
                    uint64_t(mantissa) << (52 - layout.mantissaBits));
  double value =
      exponent == 0
          ? std::ldexp(double(mantissa),
                       1 - layout.bias() - layout.mantissaBits)
          : std::ldexp(double(mantissa | 1u << layout.mantissaBits),
                       exponent - layout.bias() - layout.mantissaBits);
  return sign ? -value : value;
}

uint32_t encode(double value, Format format) {
  Layout layout = layoutOf(format);
  uint32_t sign = static_cast<uint32_t>(toBits(value) >> 63)
                  << (layout.exponentBits + layout.mantissaBits);
  if (std::isnan(value)) {
    uint32_t payload =
        static_cast<uint32_t>((toBits(value) & ((uint64_t(1) << 52) - 1)) >>
                              (52 - layout.mantissaBits));
    return sign | layout.infinity() | payload | 1u << (layout.mantissaBits - 1);
  }
  double magnitude = std::fabs(round(value, format));
  if (std::isinf(magnitude))
    return sign | layout.infinity();
  if (magnitude == 0)
    return sign;
  int exponent = std::max(std::ilogb(magnitude), 1 - layout.bias());
  // The implicit leading one of a normal number carries into the exponent
  // field.
  uint32_t mantissa = static_cast<uint32_t>(
      std::ldexp(magnitude, layout.mantissaBits - exponent));
  return sign | ((static_cast<uint32_t>(exponent + layout.bias() - 1)
                  << layout.mantissaBits) +
                 mantissa);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

View View::rowMajor(const double *data, std::array<int64_t, 4> shape) {
  View view{data, shape, {}};
  int64_t stride = 1;
  for (int d = 3; d >= 0; --d) {
    view.strides[d] = stride;
    stride *= shape[d];
  }
  return view;
}

namespace {

/// The rows of one head, packed.
template <typename Real>
std::vector<Real> packHead(const View &view, int64_t b, int64_t h) {
  std::vector<Real> rows;
  rows.reserve(view.shape[2] * view.shape[3]);
  for (int64_t i = 0; i < view.shape[2]; ++i)
    for (int64_t d = 0; d < view.shape[3]; ++d)
      rows.push_back(static_cast<Real>(view.at(b, h, i, d)));
  return rows;
}

/// Four partial sums, so that the additions need not wait for each other.
template <typename Real>
Real dot(const Real *a, const Real *b, int64_t size) {
  Real sums[4] = {};
  int64_t d = 0;
  for (; d + 4 <= size; d += 4)
    for (int n = 0; n < 4; ++n)
      sums[n] += a[d + n] * b[d + n];
  for (; d < size; ++d)
    sums[0] += a[d] * b[d];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// The definition, with all arithmetic in `Real`. `roundWeight` is applied to
/// the softmax weights, `roundOutput` to the output.
template <typename Real, typename RoundWeight, typename RoundOutput>
Solution solve(const Problem &problem, RoundWeight roundWeight,
               RoundOutput roundOutput) {
  const auto [numBatches, numQueryHeads, numQueries, headSize] =
      problem.q.shape;
  const auto [kvBatches, numKvHeads, numKeys, valueSize] = problem.v.shape;
  (void)kvBatches;

  Solution solution;
  solution.o.reserve(numBatches * numQueryHeads * numQueries * valueSize);
  solution.lse.reserve(numBatches * numQueryHeads * numQueries);
  for (int64_t b = 0; b < numBatches; ++b) {
    for (int64_t h = 0; h < numQueryHeads; ++h) {
      const int64_t kvHead = h / (numQueryHeads / numKvHeads);
      const std::vector<Real> q = packHead<Real>(problem.q, b, h);
      const std::vector<Real> k = packHead<Real>(problem.k, b, kvHead);
      const std::vector<Real> v = packHead<Real>(problem.v, b, kvHead);

      for (int64_t i = 0; i < numQueries; ++i) {
        const int64_t position = i + problem.offsets[b];
        std::vector<int64_t> liveKeys;
        for (int64_t j = 0; j < numKeys; ++j)
          if ((!problem.live ||
               problem.live(problem.firstHead + h, position, j)) &&
              (!problem.livePair || problem.livePair(b, h, i, j)))
            liveKeys.push_back(j);
        // What the op continues from counts as one more key, of this score.
        const Real none = -std::numeric_limits<Real>::infinity();
        const Real init =
            problem.initLse.data
                ? static_cast<Real>(problem.initLse.at(b, h, i, 0))
                : none;
        const bool hasInit = init != none;

        // 1. scores
        std::vector<Real> scores;
        for (int64_t j : liveKeys) {
          Real score = static_cast<Real>(problem.scale) *
                       dot(&q[i * headSize], &k[j * headSize], headSize);
          if (problem.score)
            score = static_cast<Real>(problem.score(score, b, h, i, j));
          scores.push_back(score);
        }

        // 2. softmax; a sink is a score without a value
        const Real sink =
            problem.sinks.empty() ? none : static_cast<Real>(problem.sinks[h]);
        Real max = std::fmax(sink, init);
        for (Real score : scores)
          max = std::fmax(max, score);
        // Without a score above -inf all weights are 0.
        const Real base = max == none ? 0 : max;
        const Real initWeight = hasInit ? std::exp(init - base) : Real(0);
        Real sum = std::exp(sink - base) + initWeight;
        std::vector<Real> weights;
        for (Real score : scores) {
          weights.push_back(std::exp(score - base));
          sum += weights.back();
        }
        for (Real &weight : weights)
          weight = static_cast<Real>(roundWeight(sum == 0 ? 0 : weight / sum));

        // 3. weighted sum
        std::vector<Real> row(valueSize);
        if (hasInit)
          for (int64_t d = 0; d < valueSize; ++d)
            row[d] = initWeight / sum *
                     static_cast<Real>(problem.initO.at(b, h, i, d));
        for (size_t n = 0; n < liveKeys.size(); ++n)
          for (int64_t d = 0; d < valueSize; ++d)
            row[d] += weights[n] * v[liveKeys[n] * valueSize + d];
        for (Real value : row)
          solution.o.push_back(roundOutput(value));
        solution.lse.push_back(max + std::log(sum));
      }
    }
  }
  return solution;
}

} // namespace

Solution evaluate(const Problem &problem) {
  auto keep = [](double value) { return value; };
  return solve<double>(problem, keep, keep);
}

Solution evaluateNaive(const Problem &problem, Format format, Format output) {
  return solve<float>(
      problem, [&](double value) { return round(value, format); },
      [&](double value) { return round(value, output); });
}

} // namespace attn::reference
