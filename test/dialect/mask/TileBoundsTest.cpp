//===- TileBoundsTest.cpp - loop bounds against brute force ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
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
    os << "live " << i.lower << " .. " << i.upper << " if " << str(i.condition) << "\n";
  for (const TileInterval &i : bounds.full)
    os << "full " << i.lower << " .. " << i.upper << " if " << str(i.condition) << "\n";
  for (IntegerSet set : bounds.filter)
    os << "filter " << str(set) << "\n";
  os << "exact " << bounds.exact << " fullExact " << bounds.fullExact << "\n";
  return text;
}

TEST(TileBounds, Show) {
  MLIRContext context;
  for (const char *text : {"causal", "window<100, 0> & causal", "window<s0, s1>", "window<256,256> | global<16>", "causal & (keys<0,4>|window<1000,0>)",
                           "causal|keys<0,s0>", "same_block<128>", "causal&same_block<100>", "causal & (window<128,0>|stride<128>)", "causal&(same_block<128>|summary<128,8>)",
                           "dilated<256,256,4>", "dilated<256,256,3>", "summary<100,3>", "heads<0,4>&window<s0,0>|heads<4,8>&stride<128>", "!window<5,9>", "queries<3,9>&keys<2,s0>"}) {
    auto start = std::chrono::steady_clock::now();
    TileBounds bounds = getKeyTileBounds(parseMask(context, text), 128);
    double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    llvm::outs() << "== " << text << " " << ms << " ms\n" << print(bounds);
  }
}

namespace {

/// What brute force says about the tiles of one row of tiles.
struct TileRow {
  std::vector<bool> live, full;
};

struct Totals {
  int64_t masks = 0, rows = 0, exact = 0, fullExact = 0, filtered = 0;
};

} // namespace

/// Compares `bounds` with brute force for the tile row [p0, p1); `isPairLive(x, y)` takes positions in the row and the tile.
static bool agrees(const TileBounds &bounds, int64_t tile, ArrayRef<int64_t> dims, ArrayRef<int64_t> symbols,
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
  auto pick = [&](int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng); };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  Totals keys, queries;
  double worst = 0, total = 0;
  for (int round = 0; round < 3000; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 3);
    MaskAttr mask = randomMask(context, rng, options);
    bool overKeys = round % 2 == 0;
    const int64_t tiles[] = {1, 2, 3, 4, 5, 8, 16, 7};
    int64_t tile = tiles[pick(0, 7)];
    auto start = std::chrono::steady_clock::now();
    TileBounds bounds = overKeys ? getKeyTileBounds(mask, tile) : getQueryTileBounds(mask, tile);
    double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    worst = std::max(worst, ms);
    total += ms;
    if (ms > 15) llvm::outs() << ms << " " << overKeys << " " << tile << " live " << bounds.live.size() << " full " << bounds.full.size() << " filter " << bounds.filter.size() << " " << mask.str() << "\n";
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
        return overKeys ? isLive(mask, symbols, h, x, y) : isLive(mask, symbols, h, y + symbols.back(), x);
      };
      if (!overKeys)
        symbols.push_back(pick(-20, 20));
      ++totals.rows;
      ASSERT_TRUE(agrees(bounds, tile, {h, p0, p1, n}, symbols, isPairLive))
          << "seed " << seed << " round " << round << " mask " << mask.str() << " tile " << tile << " h " << h << " p0 " << p0
          << " p1 " << p1 << " n " << n << " symbols " << (symbols.empty() ? 0 : symbols[0]) << " "
          << (symbols.size() > 1 ? symbols[1] : 0) << " keys " << overKeys << "\n" << print(bounds);
    }
  }
  for (auto [name, totals] : {std::pair("key", keys), std::pair("query", queries)})
    llvm::outs() << name << " tiles: " << totals.masks << " masks, " << totals.rows << " rows, exact " << totals.exact
                 << ", full exact " << totals.fullExact << ", with a filter " << totals.filtered << ", seed " << seed << "\n";
  llvm::outs() << "derivation: mean " << total / (keys.masks + queries.masks) << " ms, slowest " << worst << " ms\n";
}
