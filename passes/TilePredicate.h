//===- TilePredicate.h - which pairs of a tile are live, as vector code ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_TILEPREDICATE_H
#define ATTN_PASSES_TILEPREDICATE_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn {

struct MaskPredicate;

/// Where a tile of `rows` queries by `columns` keys lies.
struct TilePosition {
  int64_t rows;
  int64_t columns;
  /// Row i is query i mod `queries`: the rows are those of several heads.
  int64_t queries;
  /// The query head, the position of the first row, the position of the first
  /// key.
  Value head, row, column;
  /// The values of the mask's symbols, and its tensors: vectors of i1.
  ValueRange symbols, data;
  /// Keys from here on are dead; null if the tile cannot reach that far.
  Value numKeys;
};

/// Builds vector<rows x columns x i1>, true where a pair is live; null if all
/// of them always are. Counts in `numWide` the constraints whose values do not
/// fit 32 bits. Fails, without a diagnostic, on an expression that is not
/// affine up to floordiv and mod by positive constants.
FailureOr<Value> buildTilePredicate(ImplicitLocOpBuilder &builder,
                                    const MaskPredicate &predicate,
                                    const TilePosition &position,
                                    int64_t &numWide);

} // namespace mlir::attn

#endif // ATTN_PASSES_TILEPREDICATE_H
