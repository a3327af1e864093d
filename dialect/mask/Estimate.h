//===- Estimate.h - about how many tiles a mask runs ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_ESTIMATE_H
#define ATTN_DIALECT_MASK_ESTIMATE_H

#include "attn/dialect/Attn.h"

namespace mlir::attn {

/// What an estimate is for: a grid of queries at positions offset + i and keys,
/// and the sizes of a tile.
struct EstimateGrid {
  int64_t numQueries, numKeys, offset;
  int64_t rowsPerTile, keysPerTile;
};

/// The length that stands for one that the types leave open.
constexpr int64_t modelLength = 16384;

/// About how many tiles the loops of head 0 visit: a few tiles of queries are
/// looked at. Symbols are taken to be 256.
int64_t estimateTiles(MaskAttr mask, const EstimateGrid &grid);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_ESTIMATE_H
