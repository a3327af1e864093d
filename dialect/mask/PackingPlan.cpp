//===- PackingPlan.cpp - how the heads and parts of an op are packed ------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/Estimate.h"
#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/Packing.h"
#include "attn/dialect/mask/Union.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"
#include <map>
#include <set>

using namespace mlir;
using namespace mlir::attn;
using llvm::divideCeilSigned;

//===----------------------------------------------------------------------===//
// Ranges of heads
//===----------------------------------------------------------------------===//

/// Collects the ends of the ranges; false if one is not a constant.
static bool collectHeadEnds(MaskAttr mask, std::set<int64_t> &ends) {
  if (mask.getKind() == MaskKind::Set)
    return !mask.dependsOnHead();
  if (mask.getKind() == MaskKind::Heads)
    for (const MaskBound &bound : mask.getBounds()) {
      if (bound.isSymbol())
        return false;
      if (bound.isConstant())
        ends.insert(bound.getConstant());
    }
  return llvm::all_of(mask.getOperands(), [&](MaskAttr operand) {
    return collectHeadEnds(operand, ends);
  });
}

/// What the mask is for one head.
static MaskAttr fixHead(MaskAttr mask, int64_t head) {
  MaskAttr all = MaskAttr::getAll(mask.getContext());
  ArrayRef<MaskBound> b = mask.getBounds();
  auto operands =
      llvm::map_to_vector(mask.getOperands(), [&](MaskAttr operand) {
        return fixHead(operand, head);
      });
  switch (mask.getKind()) {
  case MaskKind::Heads: {
    bool inside = b[0].getConstant() <= head &&
                  (b[1].isInfinity() || head < b[1].getConstant());
    return inside ? all : MaskAttr::getNot(all);
  }
  case MaskKind::And:
    return MaskAttr::getAnd(operands);
  case MaskKind::Or:
    return MaskAttr::getOr(operands);
  case MaskKind::Not:
    return MaskAttr::getNot(operands.front());
  default:
    return mask;
  }
}

SmallVector<HeadRange, 1> mlir::attn::splitByHeads(MaskAttr mask,
                                                   int64_t numHeads) {
  std::set<int64_t> ends = {numHeads};
  if (numHeads < 1 || !collectHeadEnds(mask, ends))
    return {};
  SmallVector<HeadRange, 1> ranges;
  int64_t first = 0;
  for (int64_t last : ends) {
    if (last <= 0 || last > numHeads)
      continue;
    MaskAttr part = simplify(fixHead(mask, first));
    if (!ranges.empty() && ranges.back().mask == part)
      ranges.back().last = last;
    else
      ranges.push_back({first, last, part});
    first = last;
  }
  return ranges;
}

//===----------------------------------------------------------------------===//
// Parts of a union
//===----------------------------------------------------------------------===//

/// Stands for the op where the types leave a length open.
static EstimateGrid getModel(AttentionOp op, const PackingShape &shape) {
  int64_t numKeys = shape.numKeys.value_or(
      std::max(modelLength, shape.numQueries.value_or(0)));
  int64_t numQueries = shape.numQueries.value_or(numKeys);
  bool atStart = op.getAlignment() == Alignment::Start;
  return {numQueries, numKeys, atStart ? 0 : numKeys - numQueries,
          shape.rowsPerTile, shape.keysPerTile};
}

/// The tiles that the part runs, all classes taken to be like the first.
static int64_t estimateTiles(const PackedPart &part, const EstimateGrid &model,
                             const PackingShape &shape) {
  ResidueGrid grid = getResidueGrid(part.modulus, 0, model.numQueries,
                                    model.numKeys, model.offset);
  MaskAttr mask = part.mask;
  if (part.modulus > 1)
    mask =
        getResidueClass(mask, part.modulus, MaskBound::constant(grid.residue));
  int64_t tiles = 0;
  for (const Segment &segment :
       getSegments(mask, shape.rowsPerTile, shape.keysPerTile,
                   getKnownClassKeys(part.modulus, shape.numKeys)))
    tiles += estimateTiles(segment.getLocalMask(),
                           {grid.numQueries, segment.countKeys(grid.numKeys),
                            grid.offset, shape.rowsPerTile, shape.keysPerTile});
  return tiles * std::min(part.modulus, model.numQueries);
}

SmallVector<PackedPart, 1> mlir::attn::splitUnion(MaskAttr mask,
                                                  const PackingShape &shape) {
  SmallVector<MaskAttr> terms = getTerms(mask);
  if (terms.size() < 2)
    return {};
  std::map<int64_t, SmallVector<MaskAttr>> groups;
  for (MaskAttr term : terms)
    groups[chooseModulus(getResidueModulus(term), shape)].push_back(term);
  // Each part is a kernel.
  constexpr size_t maxParts = 4;
  if (groups.size() < 2 || groups.size() > maxParts)
    return {};
  MaskAttr none = MaskAttr::getNot(MaskAttr::getAll(mask.getContext()));
  SmallVector<PackedPart, 1> parts;
  for (const auto &[modulus, group] : groups) {
    MaskAttr part = joinTerms(group);
    for (const PackedPart &earlier : parts)
      part = subtract(part, earlier.mask);
    if (part != none)
      parts.push_back({part, modulus});
  }
  return parts;
}

/// Chooses between the mask as a whole and the parts of its union.
static void chooseParts(AttentionOp op, const PackingShape &shape,
                        Packing &packing) {
  int64_t modulus = getResidueModulus(packing.mask);
  int64_t chosen = chooseModulus(modulus, shape);
  packing.parts = {{packing.mask, chosen}};
  if (modulus > 1 && chosen == 1)
    packing.reason = "the classes would be shorter than a tile";
  // Lengths belong to a batch, a part that is not packed to all of them.
  if (!op.getMaskData().empty() || packing.mask.dependsOnHead())
    return;
  SmallVector<PackedPart, 1> parts = splitUnion(packing.mask, shape);
  if (parts.size() < 2)
    return;
  EstimateGrid model = getModel(op, shape);
  // What a part leaves for the next one is written and read in f32: about the
  // time of two tiles for each tile of queries.
  int64_t tiles = 2 * divideCeilSigned(model.numQueries, shape.rowsPerTile) *
                  (static_cast<int64_t>(parts.size()) - 1);
  for (const PackedPart &part : parts)
    tiles += estimateTiles(part, model, shape);
  if (tiles < estimateTiles(packing.parts[0], model, shape))
    packing.parts = std::move(parts);
  else
    packing.reason = "its parts have different classes, and one after the "
                     "other they would not take fewer tiles";
}

SmallVector<Packing, 1> mlir::attn::getPackings(AttentionOp op,
                                                int64_t rowsPerTile,
                                                int64_t keysPerTile) {
  auto q = cast<RankedTensorType>(op.getQ().getType());
  auto k = cast<RankedTensorType>(op.getK().getType());
  auto getSize = [](RankedTensorType type, unsigned dim) {
    return type.isDynamicDim(dim) ? std::nullopt
                                  : std::optional(type.getDimSize(dim));
  };
  std::optional<int64_t> numQueries = getSize(q, 2), numKeys = getSize(k, 2),
                         numHeads = getSize(q, 1), kvHeads = getSize(k, 1);
  Packing whole;
  whole.mask = op.getMask();
  whole.parts = {{whole.mask, 1}};
  SmallVector<unsigned> lengths;
  whole.mask = bindLengths(whole.mask, op.getSymbols().size(), lengths);
  whole.parts = {{whole.mask, 1}};
  if (hasData(whole.mask)) {
    if (getResidueModulus(getHullWithoutData(whole.mask, /*outer=*/true)) > 1)
      whole.reason = "its tensors speak of rows and keys as they lie";
    return {whole};
  }
  if (numQueries == 0 || numKeys == 0)
    return {whole};
  PackingShape shape{numQueries, numKeys, rowsPerTile, keysPerTile};
  chooseParts(op, shape, whole);
  if (!numHeads || !kvHeads || *kvHeads < 1 || op.getHead() ||
      !op.getMask().dependsOnHead())
    return {whole};

  // Each range is a kernel of its own.
  constexpr size_t maxRanges = 8;
  int64_t group = *numHeads / *kvHeads;
  SmallVector<HeadRange, 1> ranges = splitByHeads(whole.mask, *numHeads);
  if (ranges.size() < 2 || ranges.size() > maxRanges)
    return {whole};
  SmallVector<Packing, 1> packings;
  bool pays = false, isAligned = true;
  for (const HeadRange &range : ranges) {
    Packing &packing = packings.emplace_back();
    packing.first = range.first;
    packing.last = range.last;
    packing.mask = range.mask;
    chooseParts(op, shape, packing);
    pays |= packing.parts.size() > 1 ||
            packing.parts[0].modulus > whole.parts[0].modulus;
    isAligned &= range.first % group == 0;
  }
  if (pays && isAligned)
    return packings;
  if (pays && !whole.isPacked())
    whole.reason = "heads that share a key head see different masks";
  return {whole};
}

const Packing &mlir::attn::getPacking(ArrayRef<Packing> packings,
                                      int64_t head) {
  for (const Packing &packing : packings)
    if (packing.first <= head && head < packing.last.value_or(head + 1))
      return packing;
  return packings.front();
}
