//===- NumericsTest.cpp - the reference against hand-made cases and laws ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "RandomProblem.h"

#include "llvm/ADT/APFloat.h"
#include "gtest/gtest.h"

#include <fstream>

using namespace attn::reference;

namespace {

const double infinity = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

const llvm::fltSemantics &semanticsOf(Format format) {
  return format == Format::F16    ? llvm::APFloat::IEEEhalf()
         : format == Format::BF16 ? llvm::APFloat::BFloat()
                                  : llvm::APFloat::IEEEsingle();
}

void expectNear(const std::vector<double> &a, const std::vector<double> &b,
                double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t n = 0; n < a.size(); ++n) {
    if (std::isfinite(a[n]) && std::isfinite(b[n]))
      ASSERT_NEAR(a[n], b[n], tolerance) << "at " << n;
    else
      ASSERT_TRUE(a[n] == b[n] || (std::isnan(a[n]) && std::isnan(b[n])))
          << a[n] << " and " << b[n] << " at " << n;
  }
}

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

TEST(Format, DecodesEverySixteenBitPattern) {
  for (Format format : {Format::F16, Format::BF16})
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      llvm::APFloat expected(semanticsOf(format), llvm::APInt(16, bits));
      double value = decode(bits, format);
      if (expected.isNaN()) {
        ASSERT_TRUE(std::isnan(value)) << bits;
        // Encoding makes a NaN quiet and keeps the rest of it.
        uint32_t quiet = format == Format::F16 ? 0x200 : 0x40;
        ASSERT_EQ(encode(value, format), bits | quiet);
        continue;
      }
      bool lost;
      expected.convert(llvm::APFloat::IEEEdouble(),
                       llvm::APFloat::rmNearestTiesToEven, &lost);
      ASSERT_EQ(value, expected.convertToDouble()) << bits;
      ASSERT_EQ(encode(value, format), bits);
    }
}

TEST(Format, RoundsToNearestEven) {
  std::mt19937_64 engine(7);
  for (Format format : {Format::F16, Format::BF16, Format::F32})
    for (int n = 0; n < 20000; ++n) {
      double value =
          std::ldexp(std::uniform_real_distribution<double>(-2, 2)(engine),
                     std::uniform_int_distribution<int>(-160, 140)(engine));
      // Every fourth value is a tie or next to one.
      if (n % 4 == 0)
        value = decode(encode(value, format), format) *
                (1 + std::ldexp(double(n % 3), n % 2 ? -11 : -8));
      llvm::APFloat expected(value);
      bool lost;
      expected.convert(semanticsOf(format), llvm::APFloat::rmNearestTiesToEven,
                       &lost);
      uint32_t bits =
          static_cast<uint32_t>(expected.bitcastToAPInt().getZExtValue());
      ASSERT_EQ(encode(value, format), bits) << value;
      ASSERT_EQ(round(value, format), decode(bits, format)) << value;
    }
  EXPECT_EQ(round(65519.99, Format::F16), 65504);
  EXPECT_EQ(round(65520, Format::F16), infinity);
  EXPECT_EQ(round(-0x1p-25, Format::F16), 0);
  EXPECT_EQ(round(0x1.8p-24, Format::F16), 0x1p-23);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

TEST(Reference, TwoKeysByHand) {
  // Scores 0 and log 3: weights 1/4 and 3/4.
  std::vector<double> q = {2, 0}, k = {0, 5, std::log(3.0) / 2, 7},
                      v = {4, 100, 8, 200};
  Problem problem{View::rowMajor(q.data(), {1, 1, 1, 2}),
                  View::rowMajor(k.data(), {1, 1, 2, 2}),
                  View::rowMajor(v.data(), {1, 1, 2, 2}),
                  1,
                  {1},
                  0,
                  {}};
  Solution solution = evaluate(problem);
  expectNear(solution.o, {7, 175}, 1e-13);
  expectNear(solution.lse, {std::log(4.0)}, 1e-15);
  // Half the scale: weights 1 and sqrt 3.
  problem.scale = 0.5;
  double s = std::sqrt(3.0);
  expectNear(evaluate(problem).o,
             {(4 + 8 * s) / (1 + s), (100 + 200 * s) / (1 + s)}, 1e-12);
}

/// The definition once more, summed in another order and without subtracting
/// the maximum.
TEST(Reference, AgreesWithTheFormula) {
  RandomProblem r({2, 6, 2, 7, 11, 24, 40}, Format::F32);
  r.problem.live = causal;
  r.problem.scale = 0.05;
  Solution solution = evaluate(r.problem);
  const Problem &p = r.problem;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 6; ++h)
      for (int64_t i = 0; i < 7; ++i) {
        long double sum = 0;
        std::vector<long double> row(40);
        for (int64_t j = std::min<int64_t>(11, i + 4 + 1); j-- > 0;) {
          long double s = 0;
          for (int64_t d = 24; d-- > 0;)
            s += (long double)p.q.at(b, h, i, d) * p.k.at(b, h / 3, j, d);
          long double e = std::exp((long double)p.scale * s);
          sum += e;
          for (int64_t d = 0; d < 40; ++d)
            row[d] += e * p.v.at(b, h / 3, j, d);
        }
        int64_t at = (b * 6 + h) * 7 + i;
        ASSERT_NEAR(solution.lse[at], double(std::log(sum)), 1e-12);
        for (int64_t d = 0; d < 40; ++d)
          ASSERT_NEAR(solution.o[at * 40 + d], double(row[d] / sum), 1e-12);
      }
}

TEST(Reference, AddingOneVectorToAllKeysShiftsTheLse) {
  RandomProblem r({1, 2, 2, 5, 9, 16, 16}, Format::F32);
  Solution before = evaluate(r.problem);
  std::vector<double> shift(16);
  for (int64_t d = 0; d < 16; ++d)
    shift[d] = std::sin(double(d));
  for (size_t n = 0; n < r.k.size(); ++n)
    r.k[n] += shift[n % 16];
  Solution after = evaluate(r.problem);
  expectNear(after.o, before.o, 1e-12);
  for (int64_t row = 0; row < 10; ++row) {
    double step = 0;
    for (int64_t d = 0; d < 16; ++d)
      step += r.q[row * 16 + d] * shift[d];
    ASSERT_NEAR(after.lse[row], before.lse[row] + step / 4, 1e-12);
  }
}

TEST(Reference, OrderOfKeysDoesNotMatter) {
  RandomProblem r({1, 1, 1, 4, 13, 16, 32}, Format::F32);
  std::vector<double> k(r.k.size()), v(r.v.size());
  for (int64_t j = 0; j < 13; ++j) {
    std::copy_n(&r.k[j * 16], 16, &k[j * 5 % 13 * 16]);
    std::copy_n(&r.v[j * 32], 32, &v[j * 5 % 13 * 32]);
  }
  Problem permuted = r.problem;
  permuted.k.data = k.data();
  permuted.v.data = v.data();
  Solution a = evaluate(r.problem), b = evaluate(permuted);
  expectNear(a.o, b.o, 1e-12);
  expectNear(a.lse, b.lse, 1e-12);
}

TEST(Reference, GroupedHeadsEqualRepeatedHeads) {
  RandomProblem r({2, 6, 3, 5, 7, 16, 16}, Format::F32);
  r.problem.live = causal;
  // A repeated head is a view with every KV head twice.
  std::vector<double> k, v;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 6; ++h) {
      size_t head = (b * 3 + h / 2) * 7 * 16;
      k.insert(k.end(), &r.k[head], &r.k[head] + 7 * 16);
      v.insert(v.end(), &r.v[head], &r.v[head] + 7 * 16);
    }
  Problem repeated = r.problem;
  repeated.k = View::rowMajor(k.data(), {2, 6, 7, 16});
  repeated.v = View::rowMajor(v.data(), {2, 6, 7, 16});
  expectNear(evaluate(r.problem).o, evaluate(repeated).o, 0);
}

TEST(Reference, StorageOrderIsAView) {
  RandomProblem r({2, 3, 3, 4, 5, 16, 16}, Format::F32);
  Solution expected = evaluate(r.problem);
  std::vector<double> q(r.q.size());
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 3; ++h)
      for (int64_t i = 0; i < 4; ++i)
        for (int64_t d = 0; d < 16; ++d)
          q[((b * 4 + i) * 3 + h) * 16 + d] = r.problem.q.at(b, h, i, d);
  r.problem.q = {q.data(), {2, 3, 4, 16}, {4 * 3 * 16, 16, 3 * 16, 1}};
  expectNear(evaluate(r.problem).o, expected.o, 0);
}

/// Which keys a query sees, read off the values: key j has value 2^j and all
/// scores are equal.
std::vector<int64_t> liveKeys(int64_t queries, int64_t keys,
                              std::vector<int64_t> offsets) {
  int64_t batches = offsets.size();
  std::vector<double> q(batches * queries), k(batches * keys),
      v(batches * keys);
  for (size_t n = 0; n < v.size(); ++n)
    v[n] = std::ldexp(1.0, n % keys);
  Problem problem{View::rowMajor(q.data(), {batches, 1, queries, 1}),
                  View::rowMajor(k.data(), {batches, 1, keys, 1}),
                  View::rowMajor(v.data(), {batches, 1, keys, 1}),
                  1,
                  offsets,
                  0,
                  causal};
  Solution solution = evaluate(problem);
  std::vector<int64_t> sets;
  for (size_t n = 0; n < solution.o.size(); ++n)
    sets.push_back(
        std::isinf(solution.lse[n])
            ? 0
            : std::lround(solution.o[n] * std::exp(solution.lse[n])));
  return sets;
}

TEST(Reference, CausalAlignsAtTheEnd) {
  // The two examples that FlashAttention documents: 2 queries and 5 keys, 5
  // queries and 2 keys.
  EXPECT_EQ(liveKeys(2, 5, {3}), (std::vector<int64_t>{0b01111, 0b11111}));
  EXPECT_EQ(liveKeys(5, 2, {-3}), (std::vector<int64_t>{0, 0, 0, 0b01, 0b11}));
  // Aligned at the start, and with an offset for each batch.
  EXPECT_EQ(liveKeys(2, 5, {0}), (std::vector<int64_t>{0b00001, 0b00011}));
  EXPECT_EQ(liveKeys(2, 5, {1, -1}),
            (std::vector<int64_t>{0b00011, 0b00111, 0, 0b00001}));
}

TEST(Reference, TheMaskSeesTheNumberOfTheHead) {
  RandomProblem r({1, 4, 2, 3, 8, 16, 16}, Format::F32);
  r.problem.firstHead = 5;
  r.problem.live = [](int64_t h, int64_t, int64_t j) { return j == h - 4; };
  Solution solution = evaluate(r.problem);
  for (int64_t h = 0; h < 4; ++h)
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t d = 0; d < 16; ++d)
        ASSERT_EQ(solution.o[(h * 3 + i) * 16 + d],
                  r.problem.v.at(0, h / 2, h + 1, d));
}

TEST(Reference, RowsWithoutKeysAreZero) {
  RandomProblem r({1, 1, 1, 6, 4, 16, 16}, Format::F16);
  r.problem.live = causal; // positions -2 .. 3
  for (const Solution &solution :
       {evaluate(r.problem), evaluateNaive(r.problem, Format::F16)}) {
    for (int64_t i = 0; i < 6; ++i) {
      EXPECT_EQ(solution.lse[i] == -infinity, i < 2);
      for (int64_t d = 0; d < 16; ++d)
        EXPECT_EQ(solution.o[i * 16 + d] == 0, i < 2);
    }
  }
}

TEST(Reference, EmptyDimensions) {
  RandomProblem noKeys({2, 3, 1, 4, 0, 16, 24}, Format::F16);
  Solution solution = evaluate(noKeys.problem);
  EXPECT_EQ(solution.o, std::vector<double>(2 * 3 * 4 * 24, 0.0));
  EXPECT_EQ(solution.lse, std::vector<double>(2 * 3 * 4, -infinity));
  for (Shape shape :
       {Shape{2, 3, 1, 0, 5, 16, 16}, Shape{0, 3, 1, 4, 5, 16, 16}}) {
    RandomProblem empty(shape, Format::F16);
    EXPECT_TRUE(evaluate(empty.problem).o.empty());
    EXPECT_TRUE(evaluateNaive(empty.problem, Format::F16).lse.empty());
  }
}

TEST(Reference, NaNReachesExactlyTheLiveRows) {
  for (char tensor : {'q', 'k', 'v'}) {
    RandomProblem r({1, 2, 2, 6, 6, 16, 16}, Format::F16);
    r.problem.live = causal;
    std::vector<double> &values = tensor == 'q'   ? r.q
                                  : tensor == 'k' ? r.k
                                                  : r.v;
    values[(1 * 6 + 3) * 16 + 2] = nan; // head 1, row 3, element 2
    for (const Solution &solution :
         {evaluate(r.problem), evaluateNaive(r.problem, Format::F16)})
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t i = 0; i < 6; ++i) {
          bool reached = h == 1 && (tensor == 'q' ? i == 3 : i >= 3);
          EXPECT_EQ(std::isnan(solution.lse[h * 6 + i]),
                    reached && tensor != 'v');
          for (int64_t d = 0; d < 16; ++d)
            EXPECT_EQ(std::isnan(solution.o[(h * 6 + i) * 16 + d]),
                      reached && (tensor != 'v' || d == 2))
                << tensor << " " << h << " " << i << " " << d;
        }
  }
}

TEST(Reference, LargeScoresDoNotOverflow) {
  RandomProblem r({1, 1, 1, 3, 5, 16, 16}, Format::F16);
  r.problem.scale = 1000;
  Solution solution = evaluate(r.problem);
  for (double value : solution.o)
    EXPECT_TRUE(std::isfinite(value));
  r.problem.scale = -1000;
  for (double value : evaluate(r.problem).lse)
    EXPECT_TRUE(std::isfinite(value));
}

/// An .npy file of 1 x 12 x 220 x 32 float16 values.
std::vector<double> readMiniLM(const std::string &name) {
  std::ifstream file(ATTN_TEST_DATA "/minilm/" + name, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  constexpr size_t size = 12 * 220 * 32;
  EXPECT_GT(bytes.size(), 2 * size) << name;
  std::vector<double> values;
  for (size_t n = bytes.size() - 2 * size; n + 1 < bytes.size(); n += 2)
    values.push_back(
        decode(uint8_t(bytes[n]) | uint8_t(bytes[n + 1]) << 8, Format::F16));
  return values;
}

/// What a model computed with other code: within the rounding of the files to
/// f16.
TEST(Reference, AgreesWithMiniLM) {
  std::vector<double> q = readMiniLM("q.npy"), k = readMiniLM("k.npy"),
                      v = readMiniLM("v.npy");
  auto view = [](const std::vector<double> &values) {
    return View::rowMajor(values.data(), {1, 12, 220, 32});
  };
  Problem problem{view(q), view(k), view(v), 1 / std::sqrt(32.0), {0}, 0, {}};
  std::vector<double> expected = readMiniLM("o.npy");
  expectNear(evaluate(problem).o, expected, 1.5e-3);
  expectNear(evaluateNaive(problem, Format::F16).o, expected, 3e-3);
}

TEST(Naive, ErrorIsThatOfTheElementType) {
  RandomProblem r({1, 2, 1, 33, 70, 64, 64}, Format::BF16);
  r.problem.live = causal;
  Solution exact = evaluate(r.problem);
  double previous = 0;
  for (auto [format, least, most] : {std::tuple(Format::F32, 1e-9, 1e-5),
                                     std::tuple(Format::F16, 1e-4, 5e-3),
                                     std::tuple(Format::BF16, 1e-3, 5e-2)}) {
    Solution naive = evaluateNaive(r.problem, format);
    double error = 0;
    for (size_t n = 0; n < exact.o.size(); ++n) {
      error = std::max(error, std::fabs(naive.o[n] - exact.o[n]));
      ASSERT_EQ(naive.o[n], round(naive.o[n], format));
    }
    EXPECT_GT(error, least);
    EXPECT_LT(error, most);
    EXPECT_GT(error, previous);
    previous = error;
    expectNear(naive.lse, exact.lse, 1e-5);
  }
}

} // namespace
