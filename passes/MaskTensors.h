//===- MaskTensors.h - tile bounds and predicates from a mask's tensors ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_MASKTENSORS_H
#define ATTN_PASSES_MASKTENSORS_H

#include "attn/dialect/Attn.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn {

/// What the tensors of an online attention's mask say of its key tiles, as
/// code. Everything is built at the builder's insertion point.
class MaskTensors {
public:
  /// Builds what holds for all key tiles, before the loops over them.
  MaskTensors(ImplicitLocOpBuilder &builder, OnlineAttentionOp op,
              int64_t tile);

  /// Masks without tensors between which the mask lies for the rows of this
  /// tile, and the values of their symbols.
  MaskAttr getOuter() const { return outer; }
  MaskAttr getInner() const { return inner; }
  ArrayRef<Value> getSymbols() const { return symbols; }

  /// The mask of one tile of keys, whose tensors are the vectors that
  /// `buildTile` makes.
  MaskAttr getTileMask() const { return tileMask; }
  /// The vectors for the keys from `first`, an index, on. `inBounds`: all of
  /// them exist.
  SmallVector<Value> buildTile(Value first, bool inBounds);

private:
  void bindDocuments(MaskAttr atom);

  ImplicitLocOpBuilder &builder;
  OnlineAttentionOp op;
  int64_t rows, tile;
  MaskAttr outer, inner, tileMask;
  SmallVector<Value> symbols;
  SmallVector<MaskAttr, 2> atoms;
  /// For each atom: what every tile of keys is compared with.
  SmallVector<Value, 2> rowValues;
  /// The keys between which an atom has pairs, and has all pairs, as masks.
  SmallVector<std::pair<MaskAttr, MaskAttr>, 2> hulls;
};

} // namespace mlir::attn

#endif // ATTN_PASSES_MASKTENSORS_H
