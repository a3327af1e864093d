//===- MaskProblemTest.cpp - against brute force ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "attn/dialect/mask/GridFormula.h"
#include "attn/dialect/mask/MaskSet.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <ctime>
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

TEST(MaskProblem, RandomMasksAgreeWithBruteForce) {
  constexpr unsigned seed = 7;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  int64_t tiles = 0, pairs = 0;
  for (int round = 0; round < 6000; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 3);
    MaskAttr mask = randomMask(context, rng, options);
    bool large = round % 10 == 0;
    int64_t nq = pick(0, large ? 200 : 50), nk = pick(0, large ? 150 : 50),
            offset = pick(-20, 20), h = pick(0, 4);
    SmallVector<int64_t> symbols{pick(-3, 30), pick(0, 45)};
    symbols.resize(mask.getNumSymbols());
    std::vector<std::vector<bool>> live(nq, std::vector<bool>(nk));
    int64_t count = 0;
    bool emptyRow = false;
    MaskProblem problem(mask, symbols, h, nq, nk, offset);
    std::string where = "seed " + std::to_string(seed) + " round " +
                        std::to_string(round) + " mask " + mask.str() + " h " +
                        std::to_string(h) + " nq " + std::to_string(nq) +
                        " nk " + std::to_string(nk) + " offset " +
                        std::to_string(offset);
    for (int64_t i = 0; i < nq; ++i) {
      int64_t inRow = 0;
      for (int64_t j = 0; j < nk; ++j) {
        live[i][j] = isLive(mask, symbols, h, i + offset, j);
        inRow += live[i][j];
        if (!large)
          ASSERT_EQ(problem.isLive(i, j), live[i][j])
              << where << " at " << i << ", " << j;
      }
      count += inRow;
      emptyRow |= inRow == 0;
    }
    pairs += nq * nk;
    ASSERT_EQ(problem.countLivePairs(), count) << where;
    ASSERT_EQ(problem.hasEmptyRow(), emptyRow) << where;
    ASSERT_EQ(problem.isEmpty(), count == 0) << where;
    int64_t rows = pick(1, 9), keys = pick(1, 9);
    MaskProblem::TileCounts expected;
    for (int64_t i0 = 0; i0 < nq; i0 += rows)
      for (int64_t j0 = 0; j0 < nk; j0 += keys) {
        bool any = false, all = true;
        for (int64_t i = i0; i < std::min(i0 + rows, nq); ++i)
          for (int64_t j = j0; j < std::min(j0 + keys, nk); ++j) {
            any |= live[i][j];
            all &= live[i][j];
          }
        TileClass c = !any  ? TileClass::Empty
                      : all ? TileClass::Full
                            : TileClass::Partial;
        ASSERT_EQ(problem.classify(i0, i0 + rows, j0, j0 + keys), c)
            << where << " tile " << i0 << ", " << j0;
        ++expected.total;
        ++(c == TileClass::Empty  ? expected.empty
           : c == TileClass::Full ? expected.full
                                  : expected.partial);
      }
    tiles += expected.total;
    MaskProblem::TileCounts counts = problem.countTiles(rows, keys);
    ASSERT_EQ(counts.total, expected.total) << where;
    ASSERT_EQ(counts.empty, expected.empty) << where;
    ASSERT_EQ(counts.full, expected.full) << where;
    ASSERT_EQ(counts.partial, expected.partial) << where;
    ASSERT_EQ(counts.executedPairs,
              (expected.full + expected.partial) * rows * keys)
        << where;
  }
  llvm::outs() << "6000 masks, " << pairs << " pairs, " << tiles
               << " tiles, seed " << seed << "\n";
}

/// MLIR's set operations on small expressions: the judge.
TEST(MaskProblem, ClassesAgreeWithPresburgerSets) {
  constexpr unsigned seed = 21;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  unsigned counts[3] = {};
  for (int round = 0; round < 300; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 2);
    options.numSymbols = 0;
    options.sets = false;
    MaskAttr mask = randomMask(context, rng, options);
    int64_t size = 60, offset = pick(-20, 20), h = pick(0, 4);
    MaskProblem problem(mask, {}, h, size, size, offset);
    presburger::PresburgerSet live = getMaskSet(mask, 0),
                              dead = getMaskSet(MaskAttr::getNot(mask), 0);
    for (int box = 0; box < 4; ++box) {
      int64_t i0 = pick(0, size - 1), i1 = i0 + pick(1, 16),
              j0 = pick(0, size - 1), j1 = j0 + pick(1, 16);
      presburger::IntegerPolyhedron points(
          presburger::PresburgerSpace::getSetSpace(3));
      points.addBound(presburger::BoundType::EQ, 0, h);
      points.addBound(presburger::BoundType::LB, 1, i0 + offset);
      points.addBound(presburger::BoundType::UB, 1,
                      std::min(i1, size) - 1 + offset);
      points.addBound(presburger::BoundType::LB, 2, j0);
      points.addBound(presburger::BoundType::UB, 2, std::min(j1, size) - 1);
      presburger::PresburgerSet tile(points);
      TileClass expected =
          live.intersect(tile).isIntegerEmpty()   ? TileClass::Empty
          : dead.intersect(tile).isIntegerEmpty() ? TileClass::Full
                                                  : TileClass::Partial;
      ASSERT_EQ(problem.classify(i0, i1, j0, j1), expected)
          << "seed " << seed << " round " << round << " mask " << mask.str()
          << " box " << i0 << ", " << i1 << ", " << j0 << ", " << j1
          << " offset " << offset << " head " << h;
      ++counts[unsigned(expected)];
    }
  }
  llvm::outs() << counts[0] << " empty, " << counts[1] << " partial, "
               << counts[2] << " full boxes, seed " << seed << "\n";
}

/// Sizes at which counting takes its shortcuts, against the sum over single
/// rows, which are counted one by one.
TEST(MaskProblem, LongGridsAgreeWithTheirRows) {
  constexpr unsigned seed = 13;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  for (int round = 0; round < 250; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 2);
    options.size = pick(0, 1) ? 60 : 900;
    MaskAttr mask = randomMask(context, rng, options);
    int64_t nq = pick(1000, 3000), nk = pick(1000, 3000),
            offset = pick(-500, 500), h = pick(0, 4);
    SmallVector<int64_t> symbols{pick(-3, 500), pick(0, 2000)};
    symbols.resize(mask.getNumSymbols());
    std::string where = "seed " + std::to_string(seed) + " round " +
                        std::to_string(round) + " mask " + mask.str() + " h " +
                        std::to_string(h) + " nq " + std::to_string(nq) +
                        " nk " + std::to_string(nk) + " offset " +
                        std::to_string(offset);
    MaskProblem problem(mask, symbols, h, nq, nk, offset);
    auto values = llvm::map_to_vector(
        symbols, [](int64_t value) { return MaskBound::constant(value); });
    LinearSpace space(0);
    unsigned row = space.addVariable(), column = space.addVariable();
    GridFormula rows(space, row, column);
    LinearExpr dims[] = {LinearExpr(h),
                         space.add(space.variable(row), LinearExpr(offset)),
                         space.variable(column)};
    rows.setRoot(
        rows.addPredicate(getMaskPredicate(mask.replaceSymbols(values)), dims));
    int64_t total = 0;
    bool emptyRow = false;
    for (int64_t i = 0; i < nq; ++i) {
      int64_t count = rows.countInRow(i, 0, nk);
      total += count;
      emptyRow |= count == 0;
      if (i % 251 == 0) {
        int64_t expected = 0;
        for (int64_t j = 0; j < nk; ++j)
          expected += isLive(mask, symbols, h, i + offset, j);
        ASSERT_EQ(count, expected) << where << " row " << i;
      }
    }
    ASSERT_EQ(problem.countLivePairs(), total) << where;
    ASSERT_EQ(problem.hasEmptyRow(), emptyRow) << where;
    MaskProblem::TileCounts counts = problem.countTiles(16, 8);
    int64_t classes[3] = {};
    for (int64_t i = 0; i < nq; i += 16)
      for (int64_t j = 0; j < nk; j += 8)
        ++classes[unsigned(problem.classify(i, i + 16, j, j + 8))];
    ASSERT_EQ(counts.empty, classes[unsigned(TileClass::Empty)]) << where;
    ASSERT_EQ(counts.partial, classes[unsigned(TileClass::Partial)]) << where;
    ASSERT_EQ(counts.full, classes[unsigned(TileClass::Full)]) << where;
  }
}

TEST(MaskProblem, LargeNumbers) {
  MLIRContext context;
  const int64_t n = 3000000000; // past 2^31
  auto problem = [&](const char *text, int64_t offset = 0) {
    return MaskProblem(parseMask(context, text), {}, 0, n, n, offset);
  };
  const int64_t triangle = n / 2 * (n + 1);
  EXPECT_EQ(problem("causal").countLivePairs(), triangle);
  EXPECT_EQ(problem("window<1099511627776, 0>").countLivePairs(), triangle);
  EXPECT_EQ(problem("causal & dilated<1099511627776, 5, 1099511627776>")
                .countLivePairs(),
            n);
  EXPECT_EQ(problem("causal & stride<1099511627776>").countLivePairs(), n);
  EXPECT_EQ(problem("causal & same_block<1099511627776>").countLivePairs(),
            triangle);
  EXPECT_EQ(problem("keys<1099511627775, 1099511627776>").countLivePairs(), 0);
  EXPECT_EQ(problem("causal & keys<2999999999, inf>").countLivePairs(), 1);
  EXPECT_EQ(problem("causal & window<0, 0>", n - 1).countLivePairs(), 1);
  EXPECT_EQ(problem("summary<1099511627776, 1>").countLivePairs(), 0);
  MaskProblem::TileCounts tiles = problem("causal").countTiles(128, 128);
  EXPECT_EQ(tiles.partial, 23437500);
  EXPECT_EQ(tiles.full, int64_t(23437500) * 23437499 / 2);
  MaskProblem symbolic(parseMask(context, "dilated<s0, s1, 1099511627776>"),
                       {int64_t(1) << 40, -(int64_t(1) << 40)}, 0, 99, 99, 0);
  EXPECT_EQ(symbolic.countLivePairs(), 0);
  EXPECT_EQ(symbolic.classify(0, 9, 0, 9), TileClass::Empty);
}

TEST(MaskProblem, LongSequences) {
  struct Named {
    const char *mask;
    int64_t executed, full; // 128 x 128 tiles at 16384
  };
  const Named masks[] = {
      {"causal", 8256, 8128},
      {"causal & window<4096, 0>", 3696, 3472},
      {"longformer<256, 16>", 884, 382},
      {"streaming<4, 1024>", 1235, 868},
      {"prefix<1000>", 8284, 8156},
      {"chunked<512>", 320, 192},
      {"chunked<8192>", 4160, 4032},
      {"same_block<100>", 372, 0},
      {"strided<128>", 8256, 0},
      {"fixed<128, 8>", 8256, 0},
      {"fixed<2048, 32>", 1536, 960},
      {"dilated<256, 256, 4>", 2104, 0},
      {"dilated<256, 256, 8>", 3952, 0},
      {"dilated<100, 0, 3>", 506, 0},
      {"causal & stride<128>", 8256, 0},
      {"causal & stride<100>", 8256, 0},
      {"causal & stride<4096>", 320, 0},
      {"summary<100, 3>", 16384, 0},
      {"!window<5, 9>", 16384, 16002},
      {"heads<0, 4> & strided<128> | heads<4, 8> & fixed<128, 8>", 8256, 0},
  };
  MLIRContext context;
  for (const Named &named : masks) {
    MaskAttr mask = parseMask(context, named.mask);
    for (int64_t size : {16384, 1048576}) {
      std::clock_t start = std::clock();
      auto lap = [&] {
        std::clock_t now = std::clock();
        double ms = 1e3 * (now - start) / CLOCKS_PER_SEC;
        start = now;
        return ms;
      };
      MaskProblem problem(mask, {}, 0, size, size, 0);
      double setup = lap();
      int64_t pairs = problem.countLivePairs();
      double count = lap();
      MaskProblem::TileCounts tiles = problem.countTiles(128, 128);
      double tile = lap();
      bool emptyRow = problem.hasEmptyRow();
      double rows = lap();
      llvm::outs() << llvm::formatv(
          "{0,-56} S {1,7}: {2:f2} ms (setup {3:f2}, pairs {4:f2}, tiles "
          "{5:f2}, rows {6:f2}); {7} tiles executed, {8} "
          "full, {9:f1} % useful, empty row {10}\n",
          named.mask, size, setup + count + tile + rows, setup, count, tile,
          rows, tiles.full + tiles.partial, tiles.full,
          100.0 * pairs / tiles.executedPairs, emptyRow);
      EXPECT_FALSE(emptyRow && mask.getKind() != MaskKind::Summary)
          << named.mask;
      EXPECT_LT(setup + count + tile + rows, 50) << named.mask;
      if (size == 16384) {
        EXPECT_EQ(tiles.full + tiles.partial, named.executed) << named.mask;
        EXPECT_EQ(tiles.full, named.full) << named.mask;
      }
    }
  }
}
