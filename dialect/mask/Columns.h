//===- Columns.h - keys at regular places, seen as adjacent ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_COLUMNS_H
#define ATTN_DIALECT_MASK_COLUMNS_H

#include "attn/dialect/Attn.h"

#include <optional>

namespace mlir::attn {

/// The keys j with first <= j mod step < first + count, numbered from 0 in
/// rising order: attn.select_rows.
struct ColumnSet {
  int64_t first, count, step;
  bool operator==(const ColumnSet &other) const {
    return first == other.first && count == other.count && step == other.step;
  }
};

/// A set that holds every live key of `mask`, an intersection of atoms and
/// their complements; none if it would be all keys.
std::optional<ColumnSet> getColumnSet(MaskAttr mask);

/// The pairs (p, j') for which (p, key number j' of the set) is live.
MaskAttr compactColumns(MaskAttr mask, const ColumnSet &columns);

/// Some pairs of a mask, and the set that holds their keys; without one the
/// keys are taken as they are.
struct Segment {
  MaskAttr mask;
  std::optional<ColumnSet> columns;

  /// The mask over the keys that the segment runs on, and how many of the first
  /// `numKeys` keys these are.
  MaskAttr getLocalMask() const {
    return columns ? compactColumns(mask, *columns) : mask;
  }
  int64_t countKeys(int64_t numKeys) const;
};

/// Disjoint segments that `mask` is the union of, at least one, chosen to run
/// few tiles: on `numKeys` keys if they are known, else on many. With
/// `inOrder` the keys stay where they are: one segment.
llvm::SmallVector<Segment, 1> getSegments(MaskAttr mask, int64_t rowsPerTile,
                                          int64_t keysPerTile,
                                          std::optional<int64_t> numKeys,
                                          bool inOrder = false);

/// Whether the keys of the op stay where they are: a score region, or a tensor
/// of the mask, looks at them in their order.
bool keepsKeysInOrder(AttentionOp op);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_COLUMNS_H
