//===- MaskGrid.h - what a picture asks of a mask ---------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_MASK_MASKGRID_H
#define ATTN_TOOLS_MASK_MASKGRID_H

#include "attn/dialect/mask/MaskAnalysis.h"

#include <memory>

namespace mlir::attn {

struct ConcreteAttention;

/// A mask on a grid of queries and keys, counted from 0.
class MaskGrid {
public:
  virtual ~MaskGrid() = default;
  /// The class of queries [i0, i1) by keys [j0, j1), within the grid.
  virtual TileClass classify(int64_t i0, int64_t i1, int64_t j0,
                             int64_t j1) const = 0;
  virtual MaskProblem::TileCounts countTiles(int64_t rowsPerTile,
                                             int64_t keysPerTile) const = 0;
  virtual int64_t countLivePairs() const = 0;
};

/// The mask as a set. `symbols` are the values of s0, s1, ...; query i is at
/// position i + offset.
std::shared_ptr<MaskGrid> makeSetGrid(MaskAttr mask,
                                      llvm::ArrayRef<int64_t> symbols,
                                      int64_t head, int64_t numQueries,
                                      int64_t numKeys, int64_t offset);

/// The most pairs that makePairGrid takes.
constexpr int64_t kMaxPairs = int64_t(1) << 25;

/// One head of one batch pair by pair, with the values of its tensors, which
/// are all known; at most kMaxPairs pairs.
std::shared_ptr<MaskGrid> makePairGrid(const ConcreteAttention &attention,
                                       int64_t batch, int64_t head);

} // namespace mlir::attn

#endif // ATTN_TOOLS_MASK_MASKGRID_H
