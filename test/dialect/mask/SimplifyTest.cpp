//===- SimplifyTest.cpp - inclusion and equality ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "attn/dialect/mask/MaskSet.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

TEST(Simplify, Identities) {
  const std::pair<const char *, const char *> cases[] = {
      {"causal & window<inf, 0>", "causal"},
      {"window<inf, 0>", "causal"},
      {"window<inf, inf>", "all"},
      {"all & window<s0, s1>", "window<s0, s1>"},
      {"all | causal", "all"},
      {"!all | causal", "causal"},
      {"causal & causal", "causal"},
      {"causal | causal & window<s0, 3>", "causal"},
      {"causal & (causal | keys<0, s0>)", "causal"},
      {"causal & window<s0, 0>", "window<s0, 0>"},
      {"causal & window<5, 3>", "window<5, 0>"},
      {"window<4, 9> & window<7, 2>", "window<4, 2>"},
      {"keys<0, 20> & keys<8, inf>", "keys<8, 20>"},
      {"keys<0, 8> & keys<8, inf>", "!all"},
      {"keys<0, inf>", "all"},
      {"heads<0, inf> & causal", "causal"},
      {"keys<3, 3> | causal", "causal"},
      {"!!causal", "causal"},
      {"!!!causal", "!causal"},
      {"causal & !causal", "!all"},
      {"causal | !causal", "all"},
      {"!!all", "all"},
      {"stride<1>", "all"},
      {"stride<4> & stride<8>", "stride<8>"},
      {"stride<4> | stride<8>", "stride<4>"},
      {"stride<2> & stride<3> & stride<6>", "stride<6>"},
      {"dilated<3, 4, 1>", "window<3, 4>"},
      {"dilated<inf, inf, 5>", "stride<5>"},
      {"dilated<3, 3, 5> & stride<5>", "dilated<3, 3, 5>"},
      {"summary<8, 8>", "all"},
      {"summary<8, 0> | causal", "causal"},
      {"same_block<4> & same_block<8>", "same_block<4>"},
      {"same_block<8> & window<7, 7>", "same_block<8>"},
      {"same_block<8> & keys<0, 8> & queries<8, inf>", "!all"},
      {"window<5, 0> | window<0, 5> | window<5, 5>", "window<5, 5>"},
      {"window<5, 0> | window<0, 5>", "window<5, 0> | window<0, 5>"},
      {"causal & affine_set<(h, i, j) : (i - j >= 0)>", "causal"},
      {"affine_set<(h, i, j) : (i * 2 - j * 2 == 1)>", "!all"},
      {"global<16> | keys<0, 16>", "global<16>"},
      {"strided<128>", "causal & (window<128, 0> | stride<128>)"},
      {"longformer<256, 16>", "window<256, 256> | global<16>"},
      {"queries<-5, 9> & queries<0, inf>", "queries<0, 9>"},
  };
  MLIRContext context;
  for (auto [text, expected] : cases) {
    MaskAttr mask = parseMask(context, text);
    EXPECT_EQ(simplify(mask).str(), expected) << text;
    EXPECT_EQ(isEqual(mask, parseMask(context, expected)), std::optional(true))
        << text;
  }
}

static unsigned countParts(MaskAttr mask) {
  unsigned count = 1;
  for (MaskAttr operand : mask.getOperands())
    count += countParts(operand);
  return count;
}

TEST(Simplify, RandomMasksKeepTheirMeaning) {
  constexpr unsigned seed = 99;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  unsigned smaller = 0, subsets = 0, strict = 0, unknown = 0;
  double worst = 0;
  constexpr int rounds = 1200;
  for (int round = 0; round < rounds; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 3);
    MaskAttr mask = randomMask(context, rng, options);
    auto start = std::chrono::steady_clock::now();
    MaskAttr simple = simplify(mask);
    worst = std::max(worst, std::chrono::duration<double, std::milli>(
                                std::chrono::steady_clock::now() - start)
                                .count());
    options.depth = 1;
    MaskAttr other = randomMask(context, rng, options);
    std::optional<bool> subset = isSubset(mask, other);
    smaller += countParts(simple) < countParts(mask);
    unknown += !subset;
    ASSERT_LE(countParts(simple), std::max(2u, countParts(mask)));
    ASSERT_LE(simple.getNumSymbols(), mask.getNumSymbols());
    bool escapes = false;
    for (int64_t sample = 0; sample < 400; ++sample) {
      int64_t symbols[] = {pick(-3, 30), pick(0, 45)};
      int64_t h = pick(0, 4), p = pick(-20, 60), j = pick(0, 60);
      bool live = isLive(mask, symbols, h, p, j);
      ASSERT_EQ(isLive(simple, symbols, h, p, j), live)
          << "seed " << seed << " round " << round << " " << mask.str()
          << " became " << simple.str() << " at " << h << ", " << p << ", " << j
          << " symbols " << symbols[0] << ", " << symbols[1];
      escapes |= live && !isLive(other, symbols, h, p, j);
    }
    if (subset) {
      ASSERT_FALSE(*subset && escapes)
          << mask.str() << " is not inside " << other.str();
      subsets += *subset;
      strict += !*subset;
    }
  }
  llvm::outs() << rounds << " masks, " << smaller << " became smaller, slowest "
               << worst << " ms; inclusions: " << subsets << " hold, " << strict
               << " do not, " << unknown << " undecided; seed " << seed << "\n";
  EXPECT_LT(unknown, rounds / 10);
}

/// MLIR's set operations on small expressions: the judge.
TEST(Simplify, InclusionAgreesWithPresburgerSets) {
  constexpr unsigned seed = 5;
  std::mt19937 rng(seed);
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  unsigned compared = 0, hold = 0;
  for (int round = 0; round < 400; ++round) {
    RandomMaskOptions options;
    options.depth = 1;
    options.sets = round % 4 == 0;
    MaskAttr a = randomMask(context, rng, options),
             b = randomMask(context, rng, options);
    if (round % 2 == 0)
      a = MaskAttr::getAnd({a, b});
    std::optional<bool> subset = isSubset(a, b);
    if (!subset)
      continue;
    presburger::IntegerPolyhedron domain(
        presburger::PresburgerSpace::getSetSpace(3, 2));
    domain.addInequality(ArrayRef<int64_t>{1, 0, 0, 0, 0, 0});
    domain.addInequality(ArrayRef<int64_t>{0, 0, 1, 0, 0, 0});
    presburger::PresburgerSet difference =
        getMaskSet(MaskAttr::getAnd({a, MaskAttr::getNot(b)}), 2);
    ASSERT_EQ(difference.intersect(presburger::PresburgerSet(domain))
                  .isIntegerEmpty(),
              *subset)
        << a.str() << " in " << b.str();
    ++compared;
    hold += *subset;
  }
  llvm::outs() << compared << " inclusions compared, " << hold << " hold, seed "
               << seed << "\n";
  EXPECT_GT(compared, 350u);
}
