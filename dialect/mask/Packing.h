//===- Packing.h - residue classes of a mask ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_PACKING_H
#define ATTN_DIALECT_MASK_PACKING_H

#include "attn/dialect/mask/MaskAnalysis.h"

namespace mlir::attn {

/// A number d such that every live pair has (p - j) mod d = 0, the largest that
/// the procedure proves; 1 if it proves none.
int64_t getResidueModulus(MaskAttr mask);

/// The pairs (p', j') for which (modulus * p' + residue, modulus * j' +
/// residue) is live, as a mask. `residue` is in [0, modulus), a constant or a
/// symbol; the result uses it only where the residue matters.
MaskAttr getResidueClass(MaskAttr mask, int64_t modulus, MaskBound residue);

/// The dense problem of the queries i with i mod modulus = `index`: they are i
/// = index + modulus * i', their keys j = residue + modulus * j', and query i'
/// has position i' + offset.
struct ResidueGrid {
  int64_t numQueries, numKeys, offset, residue;
};
ResidueGrid getResidueGrid(int64_t modulus, int64_t index, int64_t numQueries,
                           int64_t numKeys, int64_t offset);

/// Lengths, where they are known, and the sizes of a tile.
struct PackingShape {
  std::optional<int64_t> numQueries, numKeys;
  int64_t rowsPerTile, keysPerTile;
};

/// The divisor of `modulus` whose classes, each seen as a dense problem, have
/// the fewest tiles; the smallest of several. Unknown lengths count as long.
int64_t chooseModulus(int64_t modulus, const PackingShape &shape);

/// The mask of the heads first <= h < last, which tell no difference between
/// themselves.
struct HeadRange {
  int64_t first, last;
  MaskAttr mask;
};
/// The mask taken apart at the ends of its `heads<a, b>`, for `numHeads` heads.
/// Nothing if one of them is not constant, or a literal set uses the head.
llvm::SmallVector<HeadRange, 1> splitByHeads(MaskAttr mask, int64_t numHeads);

/// Some pairs of a mask, packed into the residue classes of `modulus`.
struct PackedPart {
  MaskAttr mask;
  int64_t modulus;
};

/// The terms of the mask's union by the modulus that each is packed by, each
/// part without the pairs of those before it. Empty if all terms have one.
llvm::SmallVector<PackedPart, 1> splitUnion(MaskAttr mask,
                                            const PackingShape &shape);

/// How some heads of an op are packed. `reason` says why not, or not more; it
/// is null where the set has no classes.
struct Packing {
  /// All heads of the op, seeing its own mask, if `last` is not set.
  int64_t first = 0;
  std::optional<int64_t> last;
  /// Lengths are symbols in it, as bindLengths numbers them after the op's.
  MaskAttr mask;
  /// Disjoint parts that the mask is the union of, at least one, to be
  /// continued one from the other.
  llvm::SmallVector<PackedPart, 1> parts;
  const char *reason = nullptr;

  bool isPacked() const { return parts.size() > 1 || parts[0].modulus > 1; }
};
/// One for the op, or one for each range of heads where some of them have
/// larger moduli than all of them, or parts.
llvm::SmallVector<Packing, 1> getPackings(AttentionOp op, int64_t rowsPerTile,
                                          int64_t keysPerTile);
/// That of the head with this index in the op.
const Packing &getPacking(llvm::ArrayRef<Packing> packings, int64_t head);

/// The number of keys of each class where the types say so, for the op's own
/// if they say that.
std::optional<int64_t> getKnownClassKeys(int64_t modulus,
                                         std::optional<int64_t> knownKeys);

/// The tiles of `mask` packed by `modulus`, summed over its classes and their
/// segments (Columns.h); of the mask itself if that is 1. `knownKeys` is the
/// number of keys if it stands in the op's types, `inOrder` as in Columns.h;
/// the other arguments are those of MaskProblem.
MaskProblem::TileCounts
countPackedTiles(MaskAttr mask, int64_t modulus,
                 llvm::ArrayRef<int64_t> symbols, int64_t head,
                 int64_t numQueries, int64_t numKeys, int64_t offset,
                 int64_t rowsPerTile, int64_t keysPerTile,
                 std::optional<int64_t> knownKeys = {}, bool inOrder = false);
/// The same summed over parts.
MaskProblem::TileCounts
countPackedTiles(llvm::ArrayRef<PackedPart> parts,
                 llvm::ArrayRef<int64_t> symbols, int64_t head,
                 int64_t numQueries, int64_t numKeys, int64_t offset,
                 int64_t rowsPerTile, int64_t keysPerTile,
                 std::optional<int64_t> knownKeys = {}, bool inOrder = false);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_PACKING_H
