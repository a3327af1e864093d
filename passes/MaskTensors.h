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
///
/// Documents bound the keys by symbols, found before the loops. Tables of
/// blocks say for each tile whether some of its pairs, and whether all of them,
/// are listed; bits whether some are set, or not set. A `blocks` or a `bits`
/// that stands in the mask, and one that stands under a complement, is a
/// *literal*, which for a given tile holds or does not.
class MaskTensors {
public:
  /// Builds what holds for all key tiles, before the loops over them.
  MaskTensors(ImplicitLocOpBuilder &builder, OnlineAttentionOp op,
              int64_t tile);

  /// Why the mask cannot be compiled for tiles of this size; empty if it can.
  std::string findProblem() const;

  /// Masks without tensors between which the mask lies for the rows of this
  /// tile, with literal i as bit i of `assignment` says; and the values of
  /// their symbols.
  MaskAttr getOuter(unsigned assignment) const;
  MaskAttr getInner(unsigned assignment) const;
  ArrayRef<Value> getSymbols() const { return symbols; }

  unsigned getNumLiterals() const { return literals.size(); }
  /// Whether a literal may make a tile full.
  bool decideFull() const;
  /// Whether literal `number` holds for some pair, and for all pairs, of a
  /// tile, and the first tile after it for which it may hold, if it does not;
  /// null where nothing is known of that.
  struct TileClass {
    Value some, all, next;
  };
  /// For every literal, of tile `number`, an index.
  SmallVector<TileClass, 2> buildClasses(Value number);

  /// The mask of one tile of keys, whose tensors are the vectors that
  /// `buildTile` makes.
  MaskAttr getTileMask() const { return tileMask; }
  /// The vectors for the keys from `first`, an index, on. `inBounds`: all of
  /// them exist.
  SmallVector<Value> buildTile(Value first, bool inBounds);

private:
  /// A part of the mask that a table decides.
  struct Literal {
    MaskAttr atom;
    bool negated;
  };
  /// What is computed once for an atom.
  struct Prepared {
    /// Masks of the keys that have pairs, and that have all pairs.
    MaskAttr some, all;
    /// Of documents: the ids of the rows. Of blocks: the first and the last row
    /// of the table that the tile meets, and the tile's first query.
    Value ids, firstRow, lastRow, firstQuery;
  };

  Prepared prepareDocuments(MaskAttr atom);
  Prepared prepareBlocks(MaskAttr atom);
  MaskAttr getHull(unsigned assignment, bool isOuter) const;
  Value clampTile(Value number);
  TileClass classifyBlocks(unsigned atom, Value number);
  TileClass classifyBits(unsigned atom, Value number, bool negated);
  Value buildDocuments(unsigned atom, Value first, bool inBounds);
  Value buildBlocks(unsigned atom, Value first);
  Value buildBits(unsigned atom, Value first, bool inBounds);
  Value loadRow(Value rows, Value number);

  Value index(int64_t value);
  Value tensorOf(unsigned atom, unsigned place);
  bool isOneBlock(MaskAttr atom) const;

  ImplicitLocOpBuilder &builder;
  OnlineAttentionOp op;
  int64_t rows, tile;
  MaskAttr mask, tileMask;
  SmallVector<Value> symbols;
  SmallVector<MaskAttr, 2> atoms;
  SmallVector<Prepared, 2> prepared;
  SmallVector<Literal, 2> literals;
};

} // namespace mlir::attn

#endif // ATTN_PASSES_MASKTENSORS_H
