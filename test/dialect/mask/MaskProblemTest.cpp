//===- MaskProblemTest.cpp - classes and counts against brute force ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

TEST(MaskProblem, RandomMasksAgreeWithBruteForce) {
  constexpr unsigned seed = 7;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng); };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  int64_t tiles = 0, pairs = 0;
  for (int round = 0; round < 3000; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 3);
    MaskAttr mask = randomMask(context, rng, options);
    bool large = round % 10 == 0;
    int64_t nq = pick(0, large ? 200 : 50), nk = pick(0, large ? 150 : 50), offset = pick(-20, 20), h = pick(0, 4);
    SmallVector<int64_t> symbols{pick(-3, 30), pick(0, 45)};
    symbols.resize(mask.getNumSymbols());
    std::vector<std::vector<bool>> live(nq, std::vector<bool>(nk));
    int64_t count = 0;
    bool emptyRow = false;
    MaskProblem problem(mask, symbols, h, nq, nk, offset);
    std::string where = "seed " + std::to_string(seed) + " round " + std::to_string(round) + " mask " + mask.str() +
                        " h " + std::to_string(h) + " nq " + std::to_string(nq) + " nk " + std::to_string(nk) +
                        " offset " + std::to_string(offset);
    for (int64_t i = 0; i < nq; ++i) {
      int64_t inRow = 0;
      for (int64_t j = 0; j < nk; ++j) {
        live[i][j] = isLive(mask, symbols, h, i + offset, j);
        inRow += live[i][j];
        if (!large)
          ASSERT_EQ(problem.isLive(i, j), live[i][j]) << where << " at " << i << ", " << j;
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
        TileClass c = !any ? TileClass::Empty : all ? TileClass::Full : TileClass::Partial;
        ASSERT_EQ(problem.classify(i0, i0 + rows, j0, j0 + keys), c) << where << " tile " << i0 << ", " << j0;
        ++expected.total;
        ++(c == TileClass::Empty ? expected.empty : c == TileClass::Full ? expected.full : expected.partial);
      }
    tiles += expected.total;
    MaskProblem::TileCounts counts = problem.countTiles(rows, keys);
    ASSERT_EQ(counts.total, expected.total) << where;
    ASSERT_EQ(counts.empty, expected.empty) << where;
    ASSERT_EQ(counts.full, expected.full) << where;
    ASSERT_EQ(counts.partial, expected.partial) << where;
    ASSERT_EQ(counts.executedPairs, (expected.full + expected.partial) * rows * keys) << where;
  }
  llvm::outs() << "3000 masks, " << pairs << " pairs, " << tiles << " tiles, seed " << seed << "\n";
}

TEST(MaskProblem, LongSequences) {
  MLIRContext context;
  for (const char *text :
       {"causal", "window<4096, 0> & causal", "longformer<256, 16>", "streaming<4, 1024>", "prefix<1000>", "chunked<512>",
        "same_block<100>", "strided<128>", "fixed<128, 8>", "dilated<256, 256, 4>", "dilated<256, 256, 8>",
        "dilated<100, 0, 3>", "causal & stride<128>", "causal & stride<100>", "summary<100, 3>", "!window<5, 9>"}) {
    MaskAttr mask = parseMask(context, text);
    for (int64_t size : {16384, 1048576}) {
      auto start = std::chrono::steady_clock::now();
      auto lap = [&] {
        auto now = std::chrono::steady_clock::now();
        double ms = std::chrono::duration<double, std::milli>(now - start).count();
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
      llvm::outs() << llvm::formatv("{0,-26} S {1,7}: setup {2:f2} ms, pairs {3:f2} ms, tiles {4:f2} ms, rows {5:f2} ms; {6} pairs, {7} tiles executed, {8} full, empty row {9}\n", text,
                                    size, setup, count, tile, lap(), pairs, tiles.full + tiles.partial, tiles.full, emptyRow);
    }
  }
}
