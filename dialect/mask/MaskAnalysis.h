//===- MaskAnalysis.h - facts derived from a mask's integer set ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_MASKANALYSIS_H
#define ATTN_DIALECT_MASK_MASKANALYSIS_H

#include "attn/dialect/Attn.h"
#include "mlir/IR/AffineMap.h"

#include <memory>
#include <optional>
#include <vector>

namespace mlir::attn {

//===----------------------------------------------------------------------===//
// The predicate: for code in partial tiles
//===----------------------------------------------------------------------===//

/// A Boolean formula over affine constraints. A leaf holds if `expr >= 0` (or
/// `expr == 0`), where `expr` is over the dimensions (h, p, j) and the mask's
/// symbols, and may contain floordiv and mod by constants; or if `atom`, which
/// has tensors, holds.
struct MaskPredicate {
  enum class Kind { True, False, Inequality, Equality, Data, And, Or, Not };
  Kind kind = Kind::True;
  AffineExpr expr;
  std::vector<MaskPredicate> operands;
  MaskAttr atom = {};
};

MaskPredicate getMaskPredicate(MaskAttr mask);

//===----------------------------------------------------------------------===//
// Tile bounds: for loops
//===----------------------------------------------------------------------===//

/// Tiles t with max(lower) <= t < min(upper), provided that `condition` holds;
/// otherwise none. All three are over the dimensions (h, p0, p1, n) and the
/// mask's symbols; what p0, p1 and n are stands with the function that returns
/// it. A condition that always holds is `0 == 0`. No interval leaves [0, ceil(n
/// / tile)).
struct TileInterval {
  AffineMap lower;
  AffineMap upper;
  IntegerSet condition;
};

/// The tiles that a loop must visit. `live` covers every tile with a live pair;
/// `full` holds only tiles whose every pair is live. If `filter` is not empty,
/// a tile of a `live` interval has a live pair only if it lies in one of these
/// sets over (h, p0, p1, n, t) and the symbols. `exact` says that what `live`
/// and `filter` leave has no empty tile. `fullExact` says that no full tile is
/// missing from `full`.
struct TileBounds {
  llvm::SmallVector<TileInterval, 2> live;
  llvm::SmallVector<TileInterval, 2> full;
  llvm::SmallVector<IntegerSet, 2> filter;
  bool exact = true;
  bool fullExact = true;
};

/// Key tiles, `tile` keys each, of the queries at positions p0 <= p < p1 (p0 <
/// p1), of n keys 0 <= j < n, for head h. A tile that reaches past n is never
/// full.
TileBounds getKeyTileBounds(MaskAttr mask, int64_t tile);

/// The same where the mask is known only to lie between two masks: `live`
/// follows from `outer`, `full` from `inner`. `exact` and `fullExact` are said
/// of these.
TileBounds getKeyTileBounds(MaskAttr outer, MaskAttr inner, int64_t tile);

/// Query tiles of the keys p0 <= j < p1: tile t holds the queries t * tile <= i
/// < (t + 1) * tile of n queries, query i at position i + offset, where offset
/// is one symbol more, after the mask's own.
TileBounds getQueryTileBounds(MaskAttr mask, int64_t tile);

//===----------------------------------------------------------------------===//
// The exact procedure: the judge of the above, for reports, diagnostics and
// tests
//===----------------------------------------------------------------------===//

enum class TileClass { Empty, Partial, Full };

/// A mask as a Presburger set with values for its symbols, on a grid of Nq
/// queries at positions offset + i and Nk keys.
class MaskProblem {
public:
  /// `symbols` are the values of s0, s1, ...
  MaskProblem(MaskAttr mask, llvm::ArrayRef<int64_t> symbols, int64_t head,
              int64_t numQueries, int64_t numKeys, int64_t offset);
  ~MaskProblem();

  bool isLive(int64_t query, int64_t key) const;
  /// The class of queries [i0, i1) by keys [j0, j1), clipped to the grid; a
  /// tile without pairs is empty.
  TileClass classify(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const;
  /// Whether some query has no live key.
  bool hasEmptyRow() const;
  bool isEmpty() const;
  /// The number of live pairs, exactly.
  int64_t countLivePairs() const;

  struct TileCounts {
    int64_t total = 0, empty = 0, partial = 0, full = 0;
    /// Pairs in the tiles that are not empty, at full tile size: what the
    /// matrix units execute.
    int64_t executedPairs = 0;
  };
  /// Classes as by `classify`: a tile cut short by the end of the grid is full
  /// if its pairs inside are live. Time and memory do not grow with the grid,
  /// except where residues of three or more moduli meet in one union or
  /// intersection; these may take a look at every tile.
  TileCounts countTiles(int64_t rowsPerTile, int64_t keysPerTile) const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// Whether two masks are the same set for all heads and keys from 0 on, all
/// query positions and all values of the symbols; nullopt if the procedure gave
/// up.
std::optional<bool> isEqual(MaskAttr a, MaskAttr b);
std::optional<bool> isSubset(MaskAttr a, MaskAttr b);
/// An equal mask with fewer parts, if the procedure finds one; else `mask`.
MaskAttr simplify(MaskAttr mask);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_MASKANALYSIS_H
