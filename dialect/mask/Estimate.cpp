//===- Estimate.cpp - see Estimate.h --------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/Estimate.h"

#include "attn/dialect/mask/MaskAnalysis.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace mlir::attn;
using llvm::divideCeilSigned;
using llvm::divideFloorSigned;

namespace {
/// Values for the dimensions and symbols of affine expressions.
struct Point {
  SmallVector<int64_t, 5> dims, symbols;

  int64_t evaluate(AffineExpr expr) const {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      return constant.getValue();
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      return dims[dim.getPosition()];
    if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
      return symbols[symbol.getPosition()];
    auto binary = cast<AffineBinaryOpExpr>(expr);
    int64_t x = evaluate(binary.getLHS()), y = evaluate(binary.getRHS());
    switch (expr.getKind()) {
    case AffineExprKind::Add:
      return x + y;
    case AffineExprKind::Mul:
      return x * y;
    case AffineExprKind::FloorDiv:
      return divideFloorSigned(x, y);
    case AffineExprKind::CeilDiv:
      return divideCeilSigned(x, y);
    default:
      return x - y * divideFloorSigned(x, y);
    }
  }

  bool isIn(IntegerSet set) const {
    for (auto [index, expr] : llvm::enumerate(set.getConstraints())) {
      int64_t value = evaluate(expr);
      if (set.isEq(index) ? value != 0 : value < 0)
        return false;
    }
    return true;
  }
};
} // namespace

int64_t mlir::attn::estimateTiles(MaskAttr mask, const EstimateGrid &grid) {
  constexpr int64_t maxSamples = 8, symbol = 256;
  TileBounds bounds = getKeyTileBounds(mask, grid.keysPerTile);
  int64_t numTiles = divideCeilSigned(grid.numQueries, grid.rowsPerTile);
  int64_t numKeyTiles = divideCeilSigned(grid.numKeys, grid.keysPerTile);
  int64_t numSamples = std::min(numTiles, maxSamples), visited = 0;
  for (int64_t sample = 0; sample < numSamples; ++sample) {
    int64_t tile = (2 * sample + 1) * numTiles / (2 * numSamples);
    int64_t first = tile * grid.rowsPerTile,
            last = std::min(first + grid.rowsPerTile, grid.numQueries);
    Point point{{0, first + grid.offset, last + grid.offset, grid.numKeys},
                SmallVector<int64_t, 5>(mask.getNumSymbols(), symbol)};
    std::vector<bool> isVisited(numKeyTiles);
    for (const TileInterval &interval : bounds.live) {
      if (!point.isIn(interval.condition))
        continue;
      int64_t lower = 0, upper = numKeyTiles;
      for (AffineExpr bound : interval.lower.getResults())
        lower = std::max(lower, point.evaluate(bound));
      for (AffineExpr bound : interval.upper.getResults())
        upper = std::min(upper, point.evaluate(bound));
      for (int64_t t = lower; t < upper; ++t)
        isVisited[t] = true;
    }
    Point inTile = point;
    inTile.dims.push_back(0);
    for (int64_t t = 0; t < numKeyTiles; ++t) {
      if (!isVisited[t])
        continue;
      inTile.dims.back() = t;
      visited += bounds.filter.empty() ||
                 llvm::any_of(bounds.filter,
                              [&](IntegerSet set) { return inTile.isIn(set); });
    }
  }
  return numSamples == 0 ? 0 : divideCeilSigned(visited * numTiles, numSamples);
}
