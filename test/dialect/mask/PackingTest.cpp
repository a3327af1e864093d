//===- PackingTest.cpp - residue classes of masks ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "attn/dialect/mask/Packing.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <ctime>
#include <gtest/gtest.h>
#include <numeric>
#include <set>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

static int64_t floorMod(int64_t a, int64_t b) { return (a % b + b) % b; }

TEST(Packing, FindsTheModulus) {
  const std::pair<const char *, int64_t> cases[] = {
      {"all", 1},
      {"causal & window<s0, 0>", 1},
      {"stride<6>", 6},
      {"stride<1>", 1},
      {"dilated<5, s0, 4>", 4},
      {"causal & stride<128>", 128},
      {"stride<4> & stride<6>", 12},
      {"stride<4> | stride<6>", 2},
      {"stride<4> | stride<9>", 1},
      {"strided<16>", 1},
      {"fixed<16, 2>", 1},
      {"same_block<4>", 1},
      {"heads<0, 2> & stride<4> | heads<2, 4> & dilated<3, 3, 8>", 4},
      {"heads<0, 2> & causal | heads<2, 4> & stride<8>", 1},
      {"keys<3, s0> & queries<5, 90> & stride<10>", 10},
      {"!(!stride<9>)", 9},
      {"!stride<9>", 1},
      {"affine_set<(h, i, j) : ((i - j) mod 4 == 0)>", 4},
      {"affine_set<(h, i, j) : ((2 * i - 2 * j) mod 8 == 0)>", 4},
      {"affine_set<(h, i, j) : (i mod 6 - j mod 6 == 0)>", 6},
      {"affine_set<(h, i, j) : ((i - j) floordiv 7 * 7 - i + j == 0)>", 7},
      {"affine_set<(h, i, j)[n] : ((i - j) mod 4 - 1 >= 0, n - j >= 0)>(s0)",
       1},
      {"summary<8, 1> & affine_set<(h, i, j) : (i mod 8 == 7)>", 8},
      {"same_block<4> & summary<4, 1> & affine_set<(h, i, j) : (i mod 4 == 3)>",
       4},
  };
  MLIRContext context;
  for (auto [text, modulus] : cases)
    EXPECT_EQ(getResidueModulus(parseMask(context, text)), modulus) << text;
}

TEST(Packing, ClassesOfKnownMasks) {
  struct Case {
    const char *text;
    int64_t modulus;
    const char *result;
  };
  const Case cases[] = {
      {"dilated<256, 255, 4>", 4, "window<256, 255>"},
      {"dilated<256, 256, 8>", 4, "dilated<256, 256, 2>"},
      {"dilated<7, 9, 4>", 8, "window<3, 4>"},
      {"dilated<s0, 9, 4>", 4, "window<s0, 9>"},
      {"causal & stride<128>", 128, "causal"},
      {"causal & stride<128>", 32, "causal & stride<4>"},
      {"stride<4> & window<13, -6>", 4, "window<3, -2>"},
      {"stride<4> & same_block<12>", 4, "same_block<3>"},
      {"heads<0, 2> & stride<4> | heads<2, 4> & stride<8>", 4,
       "heads<0, 2> | heads<2, 4> & stride<2>"},
  };
  MLIRContext context;
  for (const Case &c : cases)
    EXPECT_EQ(getResidueClass(parseMask(context, c.text), c.modulus,
                              MaskBound::symbol(7))
                  .str(),
              parseMask(context, c.result).str())
        << c.text;
}

TEST(Packing, HeadsThatSeeDifferentMasks) {
  MLIRContext context;
  auto split = [&](const char *text, int64_t numHeads) {
    std::string result;
    for (const HeadRange &range :
         splitByHeads(parseMask(context, text), numHeads))
      result += llvm::formatv("{0}-{1}: {2}; ", range.first, range.last,
                              range.mask.str());
    return result;
  };
  EXPECT_EQ(split("heads<0, 4> & window<s0, 0> | heads<4, 8> & stride<16>", 8),
            "0-4: window<s0, 0>; 4-8: stride<16>; ");
  EXPECT_EQ(split("causal & (window<9, 9> | !heads<2, inf>)", 6),
            "0-2: causal; 2-6: window<9, 0>; ");
  EXPECT_EQ(split("causal & heads<0, 4> | causal & heads<4, 9>", 6),
            "0-6: causal; ");
  EXPECT_EQ(split("heads<1, 3> & causal", 6),
            "0-1: !all; 1-3: causal; 3-6: !all; ");
  EXPECT_EQ(split("causal", 3), "0-3: causal; ");
  EXPECT_EQ(split("heads<0, s0> & causal", 6), "");
  EXPECT_EQ(split("affine_set<(h, i, j) : (h - 2 >= 0)>", 6), "");

  constexpr unsigned seed = 77;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  int several = 0;
  for (int round = 0; round < 300; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 3);
    MaskAttr mask = randomMask(context, rng, options);
    int64_t numHeads = pick(1, 6), next = 0;
    if (round % 2) {
      MaskAttr some = MaskAttr::getAtom(
          &context, MaskKind::Heads,
          {MaskBound::constant(pick(0, 2)), MaskBound::constant(pick(2, 6))});
      mask = MaskAttr::getOr(
          {MaskAttr::getAnd({some, mask}),
           MaskAttr::getAnd(
               {MaskAttr::getNot(some), randomMask(context, rng, options)})});
    }
    SmallVector<HeadRange, 1> ranges = splitByHeads(mask, numHeads);
    several += ranges.size() > 1;
    for (const HeadRange &range : ranges) {
      ASSERT_EQ(range.first, next);
      next = range.last;
      ASSERT_FALSE(range.mask.dependsOnHead());
      for (int64_t h = range.first; h < range.last; ++h)
        for (int sample = 0; sample < 100; ++sample) {
          int64_t symbols[] = {pick(-3, 30), pick(0, 45)};
          int64_t p = pick(-20, 60), j = pick(0, 60);
          ASSERT_EQ(isLive(range.mask, symbols, h, p, j),
                    isLive(mask, symbols, h, p, j))
              << mask.str() << " for head " << h << " is " << range.mask.str();
        }
    }
    ASSERT_TRUE(ranges.empty() || next == numHeads);
  }
  EXPECT_GT(several, 20);
}

/// The classes of a grid hold each live pair once, and nothing else.
TEST(Packing, BijectionOfLivePairs) {
  constexpr unsigned seed = 31;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  unsigned proven = 0, pairs = 0;
  const int rounds = getRounds(1500);
  for (int round = 0; round < rounds; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 3);
    MaskAttr mask = randomMask(context, rng, options);
    int64_t stride = pick(2, 12);
    // Half of the masks have classes because they say so.
    if (round % 2)
      mask = MaskAttr::getAnd(
          {mask, MaskAttr::getAtom(&context, MaskKind::Stride,
                                   MaskBound::constant(stride))});
    int64_t found = getResidueModulus(mask);
    if (round % 2)
      ASSERT_EQ(found % stride, 0) << mask.str() << " with " << found;
    proven += found > 1;
    // The substitution is right for every modulus; only the pairs outside the
    // classes are lost.
    int64_t modulus = found > 1 && pick(0, 3) ? found : pick(1, 11);
    if (found > 1 && modulus == found && pick(0, 2) == 0)
      modulus = std::gcd(found, pick(1, 64));
    unsigned number = std::max(2u, mask.getNumSymbols());
    bool constant = pick(0, 3) == 0;
    int64_t numQueries = pick(0, 45), numKeys = pick(0, 45),
            offset = pick(-50, 50), head = pick(0, 4);
    SmallVector<int64_t> symbols = {pick(-3, 30), pick(0, 45)};
    symbols.resize(number + 1);
    MaskAttr general =
        getResidueClass(mask, modulus, MaskBound::symbol(number));
    std::set<std::pair<int64_t, int64_t>> covered;
    for (int64_t index = 0; index < modulus; ++index) {
      ResidueGrid grid =
          getResidueGrid(modulus, index, numQueries, numKeys, offset);
      ASSERT_TRUE(0 <= grid.residue && grid.residue < modulus);
      symbols[number] = grid.residue;
      MaskAttr one = constant
                         ? getResidueClass(mask, modulus,
                                           MaskBound::constant(grid.residue))
                         : general;
      for (int64_t i = 0; i < grid.numQueries; ++i)
        for (int64_t j = 0; j < grid.numKeys; ++j) {
          int64_t query = index + modulus * i, key = grid.residue + modulus * j;
          ASSERT_LT(query, numQueries);
          ASSERT_LT(key, numKeys);
          ASSERT_TRUE(covered.insert({query, key}).second);
          ASSERT_EQ(isLive(one, symbols, head, i + grid.offset, j),
                    isLive(mask, symbols, head, query + offset, key))
              << mask.str() << " by " << modulus << " is " << one.str()
              << " at query " << query << " key " << key << " offset " << offset
              << " head " << head << " seed " << seed << " round " << round;
        }
    }
    for (int64_t i = 0; i < numQueries; ++i)
      for (int64_t j = 0; j < numKeys; ++j) {
        ASSERT_EQ(covered.count({i, j}) == 1,
                  floorMod(i + offset - j, modulus) == 0);
        bool live = isLive(mask, symbols, head, i + offset, j);
        pairs += live;
        if (found % modulus == 0)
          ASSERT_TRUE(!live || covered.count({i, j}))
              << mask.str() << " has not the modulus " << found;
      }
  }
  llvm::outs() << rounds << " masks, " << proven << " with classes, " << pairs
               << " live pairs, seed " << seed << "\n";
  EXPECT_GT(proven, unsigned(rounds) / 2);
}

TEST(Packing, CountsTilesOfEveryClass) {
  constexpr unsigned seed = 8;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  const char *masks[] = {"dilated<9, 5, 4>", "causal & stride<8>",
                         "stride<6> & keys<5, s0>",
                         "stride<4> & same_block<10> | dilated<2, 2, 8>"};
  for (int round = 0; round < 120; ++round) {
    MaskAttr mask = parseMask(context, masks[round % 4]);
    int64_t found = getResidueModulus(mask);
    int64_t modulus = round % 3 ? found : found / 2;
    int64_t numQueries = pick(1, 70), numKeys = pick(1, 70),
            offset = pick(-40, 40), rows = pick(1, 9), keys = pick(1, 9),
            symbols[] = {pick(0, 60)};
    int64_t live = 0, full = 0, total = 0;
    for (int64_t r = 0; r < modulus; ++r)
      for (int64_t i0 = r; i0 < numQueries; i0 += rows * modulus)
        for (int64_t j0 = floorMod(r + offset, modulus); j0 < numKeys;
             j0 += keys * modulus) {
          int64_t some = 0, all = 0;
          for (int64_t i = i0; i < std::min(numQueries, i0 + rows * modulus);
               i += modulus)
            for (int64_t j = j0; j < std::min(numKeys, j0 + keys * modulus);
                 j += modulus) {
              ++all;
              some += isLive(mask, symbols, 0, i + offset, j);
            }
          ++total;
          live += some > 0;
          full += some == all;
        }
    MaskProblem::TileCounts counts = countPackedTiles(
        mask, modulus, symbols, 0, numQueries, numKeys, offset, rows, keys);
    ASSERT_EQ(counts.total, total) << mask.str() << " round " << round;
    ASSERT_EQ(counts.partial + counts.full, live)
        << mask.str() << " round " << round;
    ASSERT_EQ(counts.full, full) << mask.str() << " round " << round;
    ASSERT_EQ(counts.executedPairs, live * rows * keys);
  }
}

TEST(Packing, ChoosesClassesThatFillTiles) {
  auto choose = [](int64_t modulus, std::optional<int64_t> queries,
                   std::optional<int64_t> keys) {
    return chooseModulus(modulus, {queries, keys, 128, 64});
  };
  EXPECT_EQ(choose(4, 16384, 16384), 4);
  EXPECT_EQ(choose(128, 16384, 16384), 128);
  EXPECT_EQ(choose(128, std::nullopt, std::nullopt), 128);
  // Classes of 16 rows would waste most of a tile.
  EXPECT_EQ(choose(128, 2048, 2048), 16);
  EXPECT_EQ(choose(128, 100, 60), 1);
  EXPECT_EQ(choose(7, 100, 300), 1);
  // One query belongs to one class and reads only its keys.
  EXPECT_EQ(choose(128, 1, 16384), 128);
  EXPECT_LE(choose(int64_t(1) << 40, std::nullopt, std::nullopt), 4096);
}

/// What the README and the report say of packing, printed by `make bench`.
TEST(Packing, LongSequences) {
  struct Named {
    const char *mask;
    int64_t before, after, limit; // 128 x 128 tiles at 16384
  };
  const Named masks[] = {
      {"dilated<256, 256, 4>", 2104, 616, 650},
      {"dilated<256, 256, 8>", 3952, 592, 620},
      {"causal & stride<128>", 8256, 128, 135},
      {"causal & dilated<256, 0, 4> & keys<100, 9000>", 639, 216, 220},
      {"affine_set<(h, i, j) : ((i - j) mod 4 == 0, i - j + 1024 >= 0, "
       "j - i + 1024 >= 0)>",
       2104, 616, 650},
  };
  MLIRContext context;
  for (const Named &named : masks) {
    MaskAttr mask = parseMask(context, named.mask);
    for (int64_t size : {16384, 1048576}) {
      std::clock_t start = std::clock();
      int64_t modulus =
          chooseModulus(getResidueModulus(mask), {size, size, 128, 128});
      MaskProblem::TileCounts packed =
          countPackedTiles(mask, modulus, {}, 0, size, size, 0, 128, 128);
      double ms = 1e3 * (std::clock() - start) / CLOCKS_PER_SEC;
      MaskProblem problem(mask, {}, 0, size, size, 0);
      MaskProblem::TileCounts tiles = problem.countTiles(128, 128);
      int64_t before = tiles.full + tiles.partial,
              after = packed.full + packed.partial;
      double pairs = problem.countLivePairs();
      llvm::outs() << llvm::formatv(
          "{0,-56} S {1,7}: {2} tiles, {3:f1} % useful; as {4} classes {5} "
          "tiles, {6:f1} % useful; {7:f2} ms\n",
          named.mask, size, before, 100 * pairs / tiles.executedPairs, modulus,
          after, 100 * pairs / packed.executedPairs, ms);
      EXPECT_LT(ms, 50) << named.mask;
      if (size == 16384) {
        EXPECT_EQ(before, named.before) << named.mask;
        EXPECT_EQ(after, named.after) << named.mask;
        EXPECT_LE(after, named.limit) << named.mask;
      }
    }
  }
}
