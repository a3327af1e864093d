//===- MaskDataTest.cpp - hulls of masks with tensors, against brute force ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "attn/dialect/mask/MaskData.h"
#include "mlir/IR/MLIRContext.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

namespace {

using Ids = std::vector<int64_t>;

/// A random mask around the atoms of `data`.
MaskAttr randomOpenMask(MLIRContext &context, std::mt19937 &rng,
                        ArrayRef<MaskAttr> data, int depth) {
  auto pick = [&](int n) { return int(rng() % unsigned(n)); };
  auto sub = [&] { return randomOpenMask(context, rng, data, depth - 1); };
  if (depth == 0 || pick(4) == 0) {
    if (pick(2))
      return data[pick(int(data.size()))];
    RandomMaskOptions options;
    options.depth = 1;
    return randomMask(context, rng, options);
  }
  switch (pick(3)) {
  case 0:
    return MaskAttr::getAnd({sub(), sub()});
  case 1:
    return MaskAttr::getOr({sub(), sub()});
  default:
    return MaskAttr::getNot(sub());
  }
}

/// Whether a pair of the mask is live; `data` says it of the atoms.
bool isPairLive(MaskAttr mask, ArrayRef<int64_t> symbols, int64_t h, int64_t p,
                int64_t j, llvm::function_ref<bool(MaskAttr)> data) {
  auto holds = [&](MaskAttr operand) {
    return isPairLive(operand, symbols, h, p, j, data);
  };
  if (!getData(mask).empty())
    return data(mask);
  if (mask.getKind() == MaskKind::And)
    return llvm::all_of(mask.getOperands(), holds);
  if (mask.getKind() == MaskKind::Or)
    return llvm::any_of(mask.getOperands(), holds);
  if (mask.getKind() == MaskKind::Not)
    return !holds(mask.getOperands()[0]);
  return isLive(mask, symbols, h, p, j);
}

int64_t lowerBound(const Ids &ids, int64_t id) {
  return std::lower_bound(ids.begin(), ids.end(), id) - ids.begin();
}
int64_t upperBound(const Ids &ids, int64_t id) {
  return std::upper_bound(ids.begin(), ids.end(), id) - ids.begin();
}

} // namespace

/// The bounds that a kernel computes from two searches of the first and of the
/// last row of a tile: they leave out no live tile, and call full only what is.
TEST(MaskData, HullsOfDocumentsAndLengthsAgreeWithBruteForce) {
  std::mt19937 rng(20261120);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  MaskAttr documents = parseMask(context, "documents(t0, t1)"),
           lengths = parseMask(context, "lengths(t2)");
  int64_t skipped = 0, full = 0;
  for (int round = 0; round < 2000; ++round) {
    MaskAttr mask =
        randomOpenMask(context, rng, {documents, lengths}, int(pick(0, 3)));
    unsigned numSymbols = 2;
    SmallVector<unsigned> tensors;
    MaskAttr bound = bindLengths(mask, numSymbols, tensors);
    unsigned first = numSymbols + tensors.size();
    auto getHull = [&](bool isOuter) {
      return replaceData(bound, [&](MaskAttr, bool negated) {
        unsigned from = first + (isOuter == negated ? 2 : 0);
        return MaskAttr::getAtom(
            &context, MaskKind::Keys,
            {MaskBound::symbol(from), MaskBound::symbol(from + 1)});
      });
    };
    const int64_t tiles[] = {1, 2, 3, 4, 5, 8, 16, 7};
    int64_t tile = tiles[pick(0, 7)];
    TileBounds bounds = getKeyTileBounds(getHull(true), getHull(false), tile);
    for (int row = 0; row < 4; ++row) {
      int64_t n = pick(0, 40), numQueries = pick(1, 30), h = pick(0, 4),
              offset = pick(-10, 20), length = pick(0, n),
              count = pick(1, 1) + pick(0, 6);
      Ids queries, keys;
      for (int64_t i = 0; i < numQueries; ++i)
        queries.push_back(pick(-count, count));
      for (int64_t j = 0; j < n; ++j)
        keys.push_back(pick(-count, count));
      std::sort(queries.begin(), queries.end());
      std::sort(keys.begin(), keys.end());
      int64_t i0 = pick(0, numQueries - 1),
              i1 = std::min(numQueries, i0 + pick(1, 12));
      SmallVector<int64_t> symbols{pick(-3, 30), pick(0, 45)};
      symbols.append(tensors.size(), length);
      symbols.append(
          {lowerBound(keys, queries[i0]), upperBound(keys, queries[i1 - 1]),
           lowerBound(keys, queries[i1 - 1]), upperBound(keys, queries[i0])});
      int64_t numTiles = (n + tile - 1) / tile;
      VisitedTiles visited = visitTiles(
          bounds, {h, i0 + offset, i1 + offset, n}, symbols, numTiles);
      ASSERT_FALSE(visited.outOfRange) << mask.str();
      for (int64_t t = 0; t < numTiles; ++t) {
        bool any = false, all = (t + 1) * tile <= n;
        for (int64_t i = i0; i < i1; ++i)
          for (int64_t j = t * tile; j < std::min((t + 1) * tile, n); ++j) {
            bool live =
                isPairLive(mask, symbols, h, i + offset, j, [&](MaskAttr atom) {
                  return atom == documents ? queries[i] == keys[j] : j < length;
                });
            any |= live;
            all &= live;
          }
        ASSERT_TRUE(visited.live[t] || !any)
            << mask.str() << " leaves out tile " << t;
        ASSERT_TRUE(!visited.full[t] || all)
            << mask.str() << " calls tile " << t << " full";
        skipped += !visited.live[t];
        full += visited.full[t];
      }
    }
  }
  // Bounds that admit everything would pass too.
  EXPECT_GT(skipped, 15000);
  EXPECT_GT(full, 4000);
}

/// Where every document of the keys is one of the queries the live tiles are
/// exact.
TEST(MaskData, DocumentsVisitNoDeadTile) {
  std::mt19937 rng(7);
  MLIRContext context;
  MaskAttr outer = parseMask(context, "causal & keys<s0, s1>"),
           inner = parseMask(context, "causal & keys<s2, s3>");
  for (int round = 0; round < 300; ++round) {
    int64_t n = 1 + int64_t(rng() % 60), tile = 1 + int64_t(rng() % 9),
            rows = 1 + int64_t(rng() % 9);
    Ids ids;
    for (int64_t i = 0; i < n; ++i)
      ids.push_back(int64_t(rng() % 5));
    std::sort(ids.begin(), ids.end());
    TileBounds bounds = getKeyTileBounds(outer, inner, tile);
    for (int64_t i0 = 0; i0 < n; i0 += rows) {
      int64_t i1 = std::min(n, i0 + rows), numTiles = (n + tile - 1) / tile;
      int64_t symbols[] = {
          lowerBound(ids, ids[i0]), upperBound(ids, ids[i1 - 1]),
          lowerBound(ids, ids[i1 - 1]), upperBound(ids, ids[i0])};
      VisitedTiles visited =
          visitTiles(bounds, {0, i0, i1, n}, symbols, numTiles);
      for (int64_t t = 0; t < numTiles; ++t) {
        bool any = false, all = (t + 1) * tile <= n;
        for (int64_t i = i0; i < i1; ++i)
          for (int64_t j = t * tile; j < std::min(n, (t + 1) * tile); ++j) {
            bool live = j <= i && ids[i] == ids[j];
            any |= live;
            all &= live;
          }
        EXPECT_EQ(visited.live[t], any);
        EXPECT_EQ(visited.full[t], all);
      }
    }
  }
}

TEST(MaskData, ContentsAreJudged) {
  MLIRContext context;
  MaskExtents extents{1, 1, 4, 6};
  auto check = [&](StringRef atom, ArrayRef<DataTensor> tensors) {
    return findDataError(parseMask(context, atom), tensors, extents)
        .value_or("");
  };
  auto ends = [](const std::string &text, StringRef label) {
    return StringRef(text).ends_with(label);
  };
  EXPECT_EQ(check("lengths(t0)", {{{1}, {6}}}), "");
  EXPECT_TRUE(ends(check("lengths(t0)", {{{1}, {7}}}), "(R10)"));
  EXPECT_TRUE(ends(check("lengths(t0)", {{{1}, {-1}}}), "(R10)"));
  DataTensor four{{1, 4}, {-1, 0, 0, 5}}, six{{1, 6}, {0, 0, 1, 2, 2, 9}};
  EXPECT_EQ(check("documents(t0, t1)", {four, six}), "");
  DataTensor unsorted{{1, 6}, {0, 0, 3, 2, 2, 9}};
  EXPECT_TRUE(ends(check("documents(t0, t1)", {four, unsorted}), "(R11)"));
  DataTensor rows{{3}, {0, 2, 3}}, columns{{3}, {0, 2, 1}};
  EXPECT_EQ(check("blocks<2, 2>(t0, t1)", {rows, columns}), "");
  EXPECT_TRUE(ends(check("blocks<2, 2>(t0, t1)", {{{3}, {0, 2, 1}}, columns}),
                   "(R12)"));
  EXPECT_TRUE(ends(check("blocks<2, 2>(t0, t1)", {{{3}, {0, 2, 4}}, columns}),
                   "(R12)"));
  EXPECT_TRUE(
      ends(check("blocks<2, 2>(t0, t1)", {rows, {{3}, {0, 0, 1}}}), "(R13)"));
  EXPECT_TRUE(
      ends(check("blocks<2, 2>(t0, t1)", {rows, {{3}, {0, 3, 1}}}), "(R13)"));
}
