//===- TileBoundsTest.cpp - against brute force ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <ctime>
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

static std::string str(IntegerSet set) {
  std::string text;
  llvm::raw_string_ostream os(text);
  set.print(os);
  return text;
}

static std::string print(const TileBounds &bounds) {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (const TileInterval &i : bounds.live)
    os << "live " << i.lower << " .. " << i.upper << " if " << str(i.condition)
       << "\n";
  for (const TileInterval &i : bounds.full)
    os << "full " << i.lower << " .. " << i.upper << " if " << str(i.condition)
       << "\n";
  for (IntegerSet set : bounds.filter)
    os << "filter " << str(set) << "\n";
  os << "exact " << bounds.exact << " fullExact " << bounds.fullExact << "\n";
  return text;
}

namespace {

struct Totals {
  int64_t masks = 0, rows = 0, exact = 0, fullExact = 0, filtered = 0;
};

} // namespace

/// Compares `bounds` with brute force for the tile row [p0, p1); `isPairLive(x,
/// y)` takes positions in the row and the tile.
static bool agrees(const TileBounds &bounds, int64_t tile,
                   ArrayRef<int64_t> dims, ArrayRef<int64_t> symbols,
                   llvm::function_ref<bool(int64_t, int64_t)> isPairLive) {
  int64_t p0 = dims[1], p1 = dims[2], n = dims[3];
  int64_t count = (n + tile - 1) / tile;
  VisitedTiles visited = visitTiles(bounds, dims, symbols, count);
  if (visited.outOfRange)
    return false;
  for (int64_t t = 0; t < count; ++t) {
    bool any = false, all = (t + 1) * tile <= n;
    for (int64_t x = p0; x < p1; ++x)
      for (int64_t y = t * tile; y < std::min((t + 1) * tile, n); ++y) {
        bool live = isPairLive(x, y);
        any |= live;
        all &= live;
      }
    if (bounds.exact ? visited.live[t] != any : any && !visited.live[t])
      return false;
    if (bounds.fullExact ? visited.full[t] != all : visited.full[t] && !all)
      return false;
  }
  return true;
}

TEST(TileBounds, RandomMasksAgreeWithBruteForce) {
  constexpr unsigned seed = 20260731;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  Totals keys, queries;
  double worst = 0, total = 0;
  size_t intervals = 0, constraints = 0;
  for (int round = 0; round < 6000; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 3);
    MaskAttr mask = randomMask(context, rng, options);
    bool overKeys = round % 2 == 0;
    const int64_t tiles[] = {1, 2, 3, 4, 5, 8, 16, 7};
    int64_t tile = tiles[pick(0, 7)];
    std::clock_t start = std::clock();
    TileBounds bounds = overKeys ? getKeyTileBounds(mask, tile)
                                 : getQueryTileBounds(mask, tile);
    double ms = 1e3 * (std::clock() - start) / CLOCKS_PER_SEC;
    intervals = std::max(intervals, bounds.live.size());
    constraints = std::max<size_t>(constraints, bounds.filter.size());
    worst = std::max(worst, ms);
    total += ms;
    Totals &totals = overKeys ? keys : queries;
    ++totals.masks;
    totals.exact += bounds.exact;
    totals.fullExact += bounds.fullExact;
    totals.filtered += !bounds.filter.empty();
    for (int row = 0; row < 6; ++row) {
      int64_t n = pick(0, 40), h = pick(0, 4);
      SmallVector<int64_t> symbols{pick(-3, 30), pick(0, 45)};
      symbols.resize(mask.getNumSymbols());
      int64_t p0 = pick(overKeys ? -20 : 0, 40), p1 = p0 + pick(1, 12);
      auto isPairLive = [&](int64_t x, int64_t y) {
        return overKeys ? isLive(mask, symbols, h, x, y)
                        : isLive(mask, symbols, h, y + symbols.back(), x);
      };
      if (!overKeys)
        symbols.push_back(pick(-20, 20));
      ++totals.rows;
      ASSERT_TRUE(agrees(bounds, tile, {h, p0, p1, n}, symbols, isPairLive))
          << "seed " << seed << " round " << round << " mask " << mask.str()
          << " tile " << tile << " h " << h << " p0 " << p0 << " p1 " << p1
          << " n " << n << " symbols " << (symbols.empty() ? 0 : symbols[0])
          << " " << (symbols.size() > 1 ? symbols[1] : 0) << " keys "
          << overKeys << "\n"
          << print(bounds);
    }
  }
  for (auto [name, totals] :
       {std::pair("key", keys), std::pair("query", queries)})
    llvm::outs() << name << " tiles: " << totals.masks << " masks, "
                 << totals.rows << " rows, exact " << totals.exact
                 << ", full exact " << totals.fullExact << ", with a filter "
                 << totals.filtered << ", seed " << seed << "\n";
  llvm::outs() << "derivation: mean " << total / (keys.masks + queries.masks)
               << " ms, slowest " << worst << " ms of CPU time; at most "
               << intervals << " live intervals, " << constraints
               << " filter sets\n";
}

TEST(TileBounds, StandardMasks) {
  struct Standard {
    const char *mask;
    unsigned live, full, filter;
  };
  const Standard masks[] = {
      {"all", 1, 1, 0},
      {"!all", 0, 0, 0},
      {"causal", 1, 1, 0},
      {"window<s0, s1>", 1, 1, 0},
      {"window<500, 500>", 1, 1, 0},
      {"causal & window<1000, 0>", 1, 1, 0},
      {"causal & window<s0, 0>", 1, 1, 0},
      {"longformer<256, 16>", 3, 2, 0},
      {"longformer<s0, s1>", 3, 3, 0},
      {"streaming<4, 1024>", 2, 2, 0},
      {"streaming<s0, s1>", 2, 2, 0},
      {"prefix<1000>", 2, 2, 0},
      {"prefix<s0>", 2, 2, 0},
      {"causal & keys<s0, inf>", 1, 1, 0},
      {"queries<100, s0> & keys<0, s1>", 1, 1, 0},
      {"heads<0, 4> & window<s0, 0> | heads<4, 8> & causal", 2, 2, 0},
      {"heads<0, 4> & causal | heads<4, inf>", 2, 2, 0},
      {"!window<5, 9>", 2, 2, 0},
      {"chunked<512>", 1, 1, 0},
      {"chunked<100>", 1, 0, 0},
      {"same_block<512>", 1, 1, 0},
      {"same_block<1000>", 1, 1, 0},
      {"strided<128>", 2, 1, 0},
      {"fixed<128, 8>", 2, 1, 0},
      {"dilated<256, 256, 4>", 1, 0, 0},
      {"dilated<256, 256, 8>", 1, 0, 0},
      {"causal & stride<128>", 1, 0, 0},
      {"causal & stride<100>", 1, 0, 0},
      {"causal & stride<200>", 1, 0, 1},
      {"dilated<256, 256, 3>", 1, 0, 0},
      {"dilated<20, 20, 300>", 1, 0, 1},
      {"summary<100, 3>", 1, 0, 0},
      {"summary<512, 128>", 1, 0, 1},
      {"heads<0, 4> & strided<128> | heads<4, 8> & fixed<128, 8>", 4, 2, 0},
  };
  MLIRContext context;
  for (const Standard &standard : masks) {
    MaskAttr mask = parseMask(context, standard.mask);
    auto start = std::chrono::steady_clock::now();
    TileBounds bounds = getKeyTileBounds(mask, 128);
    double ms = std::chrono::duration<double, std::milli>(
                    std::chrono::steady_clock::now() - start)
                    .count();
    unsigned constraints = 0;
    for (IntegerSet set : bounds.filter)
      constraints += set.getNumConstraints();
    llvm::outs() << llvm::formatv(
        "{0,-58} live {1} full {2} filter {3} ({4} constraints) exact {5} full "
        "exact {6} {7:f2} ms\n",
        standard.mask, bounds.live.size(), bounds.full.size(),
        bounds.filter.size(), constraints, bounds.exact, bounds.fullExact, ms);
    EXPECT_TRUE(bounds.exact) << standard.mask;
    EXPECT_EQ(bounds.live.size(), standard.live) << standard.mask << "\n"
                                                 << print(bounds);
    EXPECT_EQ(bounds.full.size(), standard.full) << standard.mask << "\n"
                                                 << print(bounds);
    EXPECT_EQ(bounds.filter.size(), standard.filter) << standard.mask << "\n"
                                                     << print(bounds);
    TileBounds queries = getQueryTileBounds(mask, 128);
    EXPECT_TRUE(queries.exact) << standard.mask << "\n" << print(queries);
  }
}

TEST(TileBounds, Forms) {
  MLIRContext context;
  EXPECT_EQ(print(getKeyTileBounds(parseMask(context, "causal"), 64)),
            "live (d0, d1, d2, d3) -> (0) .. (d0, d1, d2, d3) -> (d3 ceildiv "
            "64, d2 ceildiv 64) if (d0, d1, d2, d3) : (0 == 0)\n"
            "full (d0, d1, d2, d3) -> (0) .. (d0, d1, d2, d3) -> ((d3 - 63) "
            "ceildiv 64, (d1 - 62) ceildiv 64) if "
            "(d0, d1, d2, d3) : (0 == 0)\n"
            "exact 1 fullExact 1\n");
  EXPECT_EQ(print(getKeyTileBounds(parseMask(context, "window<s0, 0>"), 64)),
            "live (d0, d1, d2, d3)[s0] -> (0, (d1 - s0) floordiv 64) .. (d0, "
            "d1, d2, d3)[s0] -> (d3 ceildiv 64, d2 ceildiv 64) if "
            "(d0, d1, d2, d3)[s0] : (s0 >= 0, -d1 + d3 + s0 - 1 >= 0)\n"
            "full (d0, d1, d2, d3)[s0] -> (0, (d2 - s0 + 62) floordiv 64) .. "
            "(d0, d1, d2, d3)[s0] -> ((d3 - 63) ceildiv 64, "
            "(d1 - 62) ceildiv 64) if (d0, d1, d2, d3)[s0] : (0 == 0)\n"
            "exact 1 fullExact 1\n");
}

/// Compares the bounds of one mask with brute force over many rows of tiles.
static bool agreesEverywhere(MaskAttr mask, const TileBounds &bounds,
                             int64_t tile) {
  SmallVector<int64_t> symbols{9, 5};
  symbols.resize(mask.getNumSymbols());
  for (int64_t n : {0, 5, 23, 24, 37})
    for (int64_t p0 = -9; p0 < 45; p0 += 3)
      for (int64_t rows : {1, 7})
        if (!agrees(bounds, tile, {0, p0, p0 + rows, n}, symbols,
                    [&](int64_t x, int64_t y) {
                      return isLive(mask, symbols, 0, x, y);
                    }))
          return false;
  return true;
}

TEST(TileBounds, EveryShiftedBoundIsCaught) {
  MLIRContext context;
  unsigned mutants = 0;
  for (const char *text :
       {"causal", "window<s0, s1>", "window<11, 0>", "streaming<3, 9>",
        "prefix<10>", "longformer<5, 4>", "keys<4, 18> & causal",
        "same_block<7>", "!window<5, 9>"}) {
    MaskAttr mask = parseMask(context, text);
    const TileBounds bounds = getKeyTileBounds(mask, 4);
    ASSERT_TRUE(bounds.exact) << text;
    ASSERT_TRUE(agreesEverywhere(mask, bounds, 4)) << text << "\n"
                                                   << print(bounds);
    // All intervals of a list move together: they overlap, and one may hide
    // what another loses.
    auto mutate = [&](SmallVector<TileInterval, 2> TileBounds::*list,
                      AffineMap TileInterval::*side, int64_t shift) {
      TileBounds mutant = bounds;
      for (TileInterval &interval : mutant.*list) {
        AffineMap &map = interval.*side;
        SmallVector<AffineExpr> results;
        for (AffineExpr e : map.getResults())
          results.push_back(e + shift);
        map = AffineMap::get(map.getNumDims(), map.getNumSymbols(), results,
                             &context);
      }
      EXPECT_FALSE(agreesEverywhere(mask, mutant, 4))
          << text << " shift " << shift << "\n"
          << print(mutant);
      ++mutants;
    };
    for (int64_t shift : {-1, 1}) {
      mutate(&TileBounds::live, &TileInterval::lower, shift);
      mutate(&TileBounds::live, &TileInterval::upper, shift);
      if (bounds.fullExact) {
        mutate(&TileBounds::full, &TileInterval::lower, shift);
        mutate(&TileBounds::full, &TileInterval::upper, shift);
      }
    }
  }
  llvm::outs() << mutants << " mutants, all caught\n";
}
