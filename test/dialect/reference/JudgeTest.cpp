//===- JudgeTest.cpp - the verdict accepts what is right and can fail ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "RandomProblem.h"

#include "attn/dialect/reference/Judge.h"
#include "gtest/gtest.h"

using namespace attn::reference;

namespace {

const double infinity = std::numeric_limits<double>::infinity();

/// What a kernel computes: online softmax in base 2 over tiles of keys, weights
/// rounded before they are normalised. `roundSum` is applied to every partial
/// result.
template <typename RoundSum>
Solution solveOnline(const Problem &problem, Format format, int64_t tile,
                     RoundSum roundSum) {
  Solution solution;
  const auto [batches, heads, queries, headSize] = problem.q.shape;
  const auto [kvBatches, kvHeads, keys, valueSize] = problem.v.shape;
  (void)kvBatches;
  const float factor = static_cast<float>(problem.scale * 1.4426950408889634);
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < queries; ++i) {
        int64_t kv = h / (heads / kvHeads);
        float max = -INFINITY, sum = 0;
        std::vector<float> acc(valueSize);
        for (int64_t j0 = 0; j0 < keys; j0 += tile) {
          std::vector<float> scores;
          float newMax = max;
          for (int64_t j = j0; j < std::min(keys, j0 + tile); ++j) {
            float s = 0;
            for (int64_t d = 0; d < headSize; ++d)
              s = roundSum(s + float(problem.q.at(b, h, i, d)) *
                                   float(problem.k.at(b, kv, j, d)));
            bool live =
                !problem.live || problem.live(h, i + problem.offsets[b], j);
            scores.push_back(live ? s : -INFINITY);
            newMax = std::fmax(newMax, scores.back() * factor);
          }
          float safe = newMax == -INFINITY ? 0 : newMax;
          float alpha = std::exp2(max - safe);
          sum *= alpha;
          for (float &value : acc)
            value *= alpha;
          for (size_t n = 0; n < scores.size(); ++n) {
            float weight = std::exp2(scores[n] * factor - safe);
            sum += weight;
            if (weight != 0)
              for (int64_t d = 0; d < valueSize; ++d)
                acc[d] = roundSum(acc[d] +
                                  float(round(weight, format)) *
                                      float(problem.v.at(b, kv, j0 + n, d)));
          }
          max = newMax;
        }
        for (float value : acc)
          solution.o.push_back(sum == 0 ? 0 : round(value / sum, format));
        solution.lse.push_back(
            sum == 0 ? -infinity
                     : float((max + std::log2(sum)) * 0.6931471805599453f));
      }
  return solution;
}

Solution solveOnline(const Problem &problem, Format format, int64_t tile) {
  return solveOnline(problem, format, tile, [](float value) { return value; });
}

bool rejects(const Judgement &judgement, const char *label) {
  return !judgement.passed &&
         judgement.problem.find(label) != std::string::npos;
}

class Judging : public testing::TestWithParam<Format> {
protected:
  Judging() : r({2, 4, 2, 37, 53, 32, 40}, GetParam()) {
    r.problem.live = [](int64_t, int64_t p, int64_t j) {
      return j <= p && j >= p - 20;
    };
    exact = evaluate(r.problem);
    naive = evaluateNaive(r.problem, r.format);
    right = solveOnline(r.problem, r.format, 16);
  }
  Judgement output(const std::vector<double> &o) const {
    return judgeOutput(o, exact.o, naive.o, r.outShape(), r.format);
  }
  Judgement lse(const std::vector<double> &values) const {
    return judgeLse(values, exact.lse, r.rowShape(), r.format);
  }
  /// What a wrong kernel writes.
  Solution mutated(Problem problem) const {
    return solveOnline(problem, r.format, 16);
  }

  RandomProblem r;
  Solution exact, naive, right;
};

INSTANTIATE_TEST_SUITE_P(Formats, Judging,
                         testing::Values(Format::F16, Format::BF16),
                         [](const auto &info) {
                           return info.param == Format::F16 ? "f16" : "bf16";
                         });

TEST_P(Judging, AcceptsARightResult) {
  for (int64_t tile : {1, 16, 64}) {
    Solution solution = solveOnline(r.problem, r.format, tile);
    Judgement o = output(solution.o);
    EXPECT_TRUE(o.passed) << toText(o);
    EXPECT_GT(o.maxError, 0);
    EXPECT_LT(o.meanError, o.maxError);
    Judgement l = lse(solution.lse);
    EXPECT_TRUE(l.passed) << toText(l);
  }
  EXPECT_TRUE(output(naive.o).passed);
  EXPECT_TRUE(output(exact.o).passed);
}

TEST_P(Judging, RejectsAMaskThatIsOffByOne) {
  Problem problem = r.problem;
  problem.live = [](int64_t, int64_t p, int64_t j) {
    return j <= p + 1 && j >= p - 20;
  };
  EXPECT_FALSE(output(mutated(problem).o).passed);
  EXPECT_FALSE(lse(mutated(problem).lse).passed);
  problem.live = [](int64_t, int64_t p, int64_t j) {
    return j <= p && j > p - 20;
  };
  EXPECT_FALSE(output(mutated(problem).o).passed);
  EXPECT_FALSE(lse(mutated(problem).lse).passed);
}

/// A dead pair in place of a live one: in bf16 the output alone may hide it,
/// the lse does not.
TEST_P(Judging, RejectsOneWrongPair) {
  Problem problem = r.problem;
  problem.live = [](int64_t h, int64_t p, int64_t j) {
    return j <= p && j >= p - 20 && (h != 3 || p != 40 || j != 38);
  };
  EXPECT_FALSE(lse(mutated(problem).lse).passed);
}

TEST_P(Judging, RejectsTheWrongAlignment) {
  Problem problem = r.problem;
  problem.offsets.assign(2, 0);
  EXPECT_FALSE(output(mutated(problem).o).passed);
}

TEST_P(Judging, RejectsAMissingScale) {
  Problem problem = r.problem;
  problem.scale = 1;
  EXPECT_TRUE(rejects(output(mutated(problem).o), "(J1)"));
  EXPECT_TRUE(rejects(lse(mutated(problem).lse), "(J5)"));
}

TEST_P(Judging, RejectsAnLseInBaseTwo) {
  for (double &value : right.lse)
    value *= 1.4426950408889634;
  EXPECT_FALSE(lse(right.lse).passed);
}

TEST_P(Judging, RejectsOneNaN) {
  right.o[1234] = std::numeric_limits<double>::quiet_NaN();
  Judgement judgement = output(right.o);
  EXPECT_FALSE(judgement.passed);
  // 1234 = (0 * 37 + 30) * 40 + 34.
  EXPECT_NE(judgement.problem.find("at [0, 0, 30, 34], found nan (J4)"),
            std::string::npos)
      << judgement.problem;
}

TEST_P(Judging, RejectsAMissingNaN) {
  exact.o[5] = naive.o[5] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(output(right.o).passed);
  right.o[5] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(output(right.o).passed);
}

TEST_P(Judging, RejectsAnUnwrittenElement) {
  right.o[77] = decode(poisonBits(r.format), r.format);
  Judgement judgement = output(right.o);
  EXPECT_FALSE(judgement.passed);
  EXPECT_NE(judgement.problem.find("[0, 0, 1, 37] was not written"),
            std::string::npos)
      << judgement.problem;
  // Even where the reference is NaN.
  exact.o[77] = naive.o[77] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(rejects(output(right.o), "(J3)"));
  right.lse[9] = decode(poisonBits(Format::F32), Format::F32);
  EXPECT_FALSE(lse(right.lse).passed);
}

TEST_P(Judging, RejectsSwappedHeads) {
  std::swap_ranges(right.o.begin(), right.o.begin() + 37 * 40,
                   right.o.begin() + 37 * 40);
  EXPECT_FALSE(output(right.o).passed);
  // Query heads that read KV head h mod Hkv in place of h / group.
  Problem problem = r.problem;
  std::vector<double> q(r.q);
  for (int64_t b = 0; b < 2; ++b)
    std::swap_ranges(&q[(b * 4 + 1) * 37 * 32], &q[(b * 4 + 2) * 37 * 32],
                     &q[(b * 4 + 2) * 37 * 32]);
  problem.q.data = q.data();
  Solution solution = mutated(problem);
  for (int64_t b = 0; b < 2; ++b)
    std::swap_ranges(&solution.o[(b * 4 + 1) * 37 * 40],
                     &solution.o[(b * 4 + 2) * 37 * 40],
                     &solution.o[(b * 4 + 2) * 37 * 40]);
  EXPECT_FALSE(output(solution.o).passed);
}

TEST_P(Judging, RejectsATransposedLayout) {
  std::vector<double> transposed;
  for (int64_t head = 0; head < 8; ++head)
    for (int64_t d = 0; d < 40; ++d)
      for (int64_t i = 0; i < 37; ++i)
        transposed.push_back(right.o[(head * 37 + i) * 40 + d]);
  EXPECT_FALSE(output(transposed).passed);
}

TEST_P(Judging, RejectsSumsInTheElementType) {
  Solution solution = solveOnline(r.problem, r.format, 16, [&](float value) {
    return float(round(value, r.format));
  });
  Judgement judgement = output(solution.o);
  EXPECT_FALSE(judgement.passed) << toText(judgement);
}

TEST_P(Judging, RejectsASmallErrorEverywhere) {
  // Below the bound of the maximum: only the mean shows it.
  Judgement judgement = output(right.o);
  double step = judgement.maxBound / 3;
  for (size_t n = 0; n < right.o.size(); ++n)
    right.o[n] = round(exact.o[n], r.format) + (n % 2 ? step : -step);
  judgement = output(right.o);
  EXPECT_FALSE(judgement.passed);
  EXPECT_NE(judgement.problem.find("(J2)"), std::string::npos)
      << toText(judgement);
}

TEST_P(Judging, RejectsTheWrongSize) {
  right.o.pop_back();
  EXPECT_TRUE(rejects(output(right.o), "(J3)"));
}

TEST_P(Judging, RowsWithoutKeys) {
  RandomProblem s({1, 1, 1, 9, 4, 16, 16}, GetParam());
  s.problem.live = causal;
  Solution reference = evaluate(s.problem),
           plain = evaluateNaive(s.problem, s.format);
  Solution solution = solveOnline(s.problem, s.format, 16);
  auto passes = [&] {
    return judgeOutput(solution.o, reference.o, plain.o, s.outShape(), s.format)
               .passed &&
           judgeLse(solution.lse, reference.lse, s.rowShape(), s.format).passed;
  };
  EXPECT_TRUE(passes());
  for (double wrong : {infinity, -1e30, 0.0}) {
    Solution saved = solution;
    solution.lse[0] = wrong;
    EXPECT_FALSE(passes()) << wrong;
    solution = saved;
  }
  solution.lse[8] = -infinity; // a live row
  EXPECT_FALSE(passes());
}

TEST(Judge, NoBoundNoVerdict) {
  std::vector<double> one = {1}, overflowed = {infinity};
  Judgement judgement = judgeOutput(one, one, overflowed, {1}, Format::F16);
  EXPECT_FALSE(judgement.passed);
}

TEST(Judge, EmptyTensorsPass) {
  EXPECT_TRUE(judgeOutput({}, {}, {}, {2, 3, 0, 16}, Format::F16).passed);
  EXPECT_TRUE(judgeLse({}, {}, {2, 3, 0}, Format::F16).passed);
}

TEST(Judge, BoundsAreThoseOfTheSpec) {
  // Errors of the naive computation: 0.01 and 0.03.
  std::vector<double> exact = {1, 1}, naive = {1.01, 0.97};
  Judgement judgement = judgeOutput(exact, exact, naive, {2}, Format::F32);
  EXPECT_NEAR(judgement.maxBound, 2 * 0.03 + 1e-5, 1e-12);
  EXPECT_NEAR(judgement.meanBound, 1.25 * 0.02 + 1e-6, 1e-12);
  EXPECT_FALSE(judgeOutput({1.051, 1}, exact, naive, {2}, Format::F32)
                   .passed); // mean 0.0255
  EXPECT_FALSE(judgeOutput({1.061, 1, 1, 1}, {1, 1, 1, 1},
                           {1.01, 0.97, 1.01, 0.97}, {4}, Format::F32)
                   .passed);
  EXPECT_TRUE(judgeOutput({1.049, 1}, exact, naive, {2}, Format::F32).passed);
  EXPECT_TRUE(judgeLse({1.0009}, {1}, {1}, Format::BF16).passed);
  EXPECT_FALSE(judgeLse({1.0011}, {1}, {1}, Format::BF16).passed);
  EXPECT_TRUE(judgeLse({1.000009}, {1}, {1}, Format::F32).passed);
  EXPECT_FALSE(judgeLse({1.000011}, {1}, {1}, Format::F32).passed);
}

} // namespace
