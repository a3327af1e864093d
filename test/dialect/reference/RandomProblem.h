//===- RandomProblem.h - random attention for tests ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_DIALECT_REFERENCE_RANDOMPROBLEM_H
#define ATTN_TEST_DIALECT_REFERENCE_RANDOMPROBLEM_H

#include "attn/dialect/reference/Numerics.h"

#include <cmath>
#include <random>

namespace attn::reference {

struct Shape {
  int64_t batches = 1, queryHeads = 1, kvHeads = 1, queries = 1, keys = 1,
          headSize = 16, valueSize = 16;
};

/// Owns the tensors of a problem: normal values, rounded to `format`, rows of
/// different magnitude. End-aligned.
struct RandomProblem {
  RandomProblem(const Shape &s, Format format, unsigned seed = 1)
      : shape(s), format(format) {
    std::mt19937 engine(seed);
    auto fill = [&](std::vector<double> &values, std::array<int64_t, 4> dims) {
      std::normal_distribution<double> normal;
      values.resize(dims[0] * dims[1] * dims[2] * dims[3]);
      for (size_t n = 0; n < values.size(); ++n)
        values[n] =
            round(normal(engine) * (1 + 0.25 * (n / dims[3] % 5)), format);
      return View::rowMajor(values.data(), dims);
    };
    problem.q = fill(q, {s.batches, s.queryHeads, s.queries, s.headSize});
    problem.k = fill(k, {s.batches, s.kvHeads, s.keys, s.headSize});
    problem.v = fill(v, {s.batches, s.kvHeads, s.keys, s.valueSize});
    problem.scale = 1 / std::sqrt(double(s.headSize));
    problem.offsets.assign(s.batches, s.keys - s.queries);
  }
  RandomProblem(const RandomProblem &) = delete;

  std::vector<int64_t> outShape() const {
    return {shape.batches, shape.queryHeads, shape.queries, shape.valueSize};
  }
  std::vector<int64_t> rowShape() const {
    return {shape.batches, shape.queryHeads, shape.queries};
  }

  Shape shape;
  Format format;
  std::vector<double> q, k, v;
  Problem problem;
};

inline bool causal(int64_t, int64_t p, int64_t j) { return j <= p; }

} // namespace attn::reference

#endif // ATTN_TEST_DIALECT_REFERENCE_RANDOMPROBLEM_H
