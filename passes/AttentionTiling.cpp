//===- AttentionTiling.cpp - see AttentionTiling.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/AttentionTiling.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Constraints.h"
#include "attn/dialect/Score.h"
#include "attn/dialect/mask/MaskData.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/TilingInterface.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

Value toValue(OpBuilder &builder, Location loc, OpFoldResult value) {
  return getValueOrCreateConstantIndexOp(builder, loc, value);
}

/// The KV head that query head `head` reads: head / (Hq / Hkv).
OpFoldResult getKvHead(OpBuilder &builder, AttentionOp op, OpFoldResult head) {
  Location loc = op.getLoc();
  OpFoldResult numHeads = tensor::getMixedSize(builder, loc, op.getQ(), 1);
  OpFoldResult numKvHeads = tensor::getMixedSize(builder, loc, op.getK(), 1);
  std::optional<int64_t> hq = getConstantIntValue(numHeads),
                         hkv = getConstantIntValue(numKvHeads);
  if (hq && hkv) {
    // Without KV heads there are no query heads either, and the loop over them
    // does not run.
    int64_t group = *hkv == 0 ? 1 : *hq / *hkv;
    AffineExpr d0 = builder.getAffineDimExpr(0);
    return affine::makeComposedFoldedAffineApply(
        builder, loc, d0.floorDiv(std::max<int64_t>(group, 1)), {head});
  }
  Value group =
      arith::DivUIOp::create(builder, loc, toValue(builder, loc, numHeads),
                             toValue(builder, loc, numKvHeads));
  return arith::DivUIOp::create(builder, loc, toValue(builder, loc, head),
                                group)
      .getResult();
}

/// Element `at` of a 1-d tensor of integers, as an index.
Value extractIndex(OpBuilder &builder, Location loc, Value tensor,
                   OpFoldResult at) {
  Value element = tensor::ExtractOp::create(builder, loc, tensor,
                                            toValue(builder, loc, at));
  if (!element.getType().isIndex())
    element = arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                         element);
  return element;
}

/// The position of the query with index `query` of batch `batch`.
OpFoldResult getPosition(OpBuilder &builder, AttentionOp op, OpFoldResult batch,
                         OpFoldResult query) {
  Location loc = op.getLoc();
  AffineExpr d0 = builder.getAffineDimExpr(0);
  AffineExpr s0 = builder.getAffineSymbolExpr(0),
             s1 = builder.getAffineSymbolExpr(1);
  switch (op.getAlignment()) {
  case Alignment::Start:
    return query;
  case Alignment::End:
    return affine::makeComposedFoldedAffineApply(
        builder, loc, d0 - s0 + s1,
        {query, tensor::getMixedSize(builder, loc, op.getQ(), 2),
         tensor::getMixedSize(builder, loc, op.getK(), 2)});
  case Alignment::Offset:
    break;
  }
  Value offset = op.getOffset();
  if (isa<RankedTensorType>(offset.getType()))
    offset = extractIndex(builder, loc, offset, batch);
  return affine::makeComposedFoldedAffineApply(builder, loc, d0 + s0,
                                               {query, offset});
}

tensor::ExtractSliceOp getSlice(OpBuilder &builder, Location loc, Value tensor,
                                ArrayRef<OpFoldResult> offsets,
                                ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> strides(offsets.size(), builder.getIndexAttr(1));
  return tensor::ExtractSliceOp::create(builder, loc, tensor, offsets, sizes,
                                        strides);
}

/// The part of a score input that a tile of rows reads.
Value getScoreSlice(OpBuilder &builder, Location loc, Value input,
                    ArrayRef<OpFoldResult> offsets,
                    ArrayRef<OpFoldResult> sizes, OpFoldResult numKeys) {
  auto type = dyn_cast<RankedTensorType>(input.getType());
  if (!type)
    return input;
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  if (type.getRank() == 1)
    return getSlice(builder, loc, input, {offsets[1]}, {one});
  SmallVector<OpFoldResult> from(offsets), extents(sizes);
  from.push_back(zero);
  extents.push_back(numKeys);
  for (unsigned dim = 0; dim < 4; ++dim)
    if (type.getDimSize(dim) == 1)
      from[dim] = zero, extents[dim] = one;
  return getSlice(builder, loc, input, from, extents);
}

/// The mask of one tile: lengths become symbols, tensors the parts that belong
/// to its batch, head and queries.
void tileMask(OpBuilder &builder, AttentionOp op,
              ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
              AttentionParts &parts) {
  Location loc = op.getLoc();
  SmallVector<unsigned> lengths;
  parts.mask = bindLengths(op.getMask(), parts.symbols.size(), lengths);
  for (unsigned number : lengths)
    parts.symbols.push_back(
        extractIndex(builder, loc, op.getMaskData()[number], offsets[0]));
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  SmallVector<Value> values;
  llvm::SmallDenseMap<MaskAttr, MaskAttr> tiled;
  parts.mask = replaceData(parts.mask, [&](MaskAttr atom, bool) {
    MaskAttr &known = tiled[atom];
    if (known)
      return known;
    SmallVector<unsigned, 2> numbers;
    auto add = [&](Value value) {
      numbers.push_back(values.size());
      values.push_back(value);
    };
    SmallVector<Value, 2> tensors;
    for (unsigned number : getData(atom))
      tensors.push_back(op.getMaskData()[number]);
    auto size = [&](Value tensor, unsigned dim) {
      return tensor::getMixedSize(builder, loc, tensor, dim);
    };
    switch (atom.getKind()) {
    case MaskKind::Documents:
      add(getSlice(builder, loc, tensors[0], {offsets[0], offsets[2]},
                   {one, sizes[2]}));
      add(getSlice(builder, loc, tensors[1], {offsets[0], zero},
                   {one, size(tensors[1], 1)}));
      break;
    case MaskKind::Bits: {
      auto type = cast<RankedTensorType>(tensors[0].getType());
      // Of a dimension of size 1 every tile has all.
      SmallVector<OpFoldResult> at = {offsets[0], offsets[1], offsets[2], zero},
                                part = {one, one, sizes[2],
                                        size(tensors[0], 3)};
      for (unsigned dim = 0; dim < 4; ++dim)
        if (type.getDimSize(dim) == 1) {
          at[dim] = zero;
          part[dim] = one;
        }
      add(getSlice(builder, loc, tensors[0], at, part));
      break;
    }
    case MaskKind::Blocks: {
      auto type = cast<RankedTensorType>(tensors[0].getType());
      if (type.getRank() == 3) {
        SmallVector<OpFoldResult> at = {offsets[0], offsets[1], zero};
        for (unsigned dim = 0; dim < 2; ++dim)
          if (type.getDimSize(dim) == 1)
            at[dim] = zero;
        add(getSlice(builder, loc, tensors[0], at,
                     {one, one, size(tensors[0], 2)}));
      } else {
        add(tensors[0]);
      }
      add(tensors[1]);
      // The table is not cut: the tile says where in it its queries are.
      MaskBound first = MaskBound::symbol(parts.symbols.size());
      parts.symbols.push_back(toValue(builder, loc, offsets[2]));
      ArrayRef<MaskBound> bounds = atom.getBounds();
      assert(bounds[2].isData() && "a tile is not tiled again");
      known = MaskAttr::getAtom(op.getContext(), MaskKind::Blocks,
                                {bounds[0], bounds[1], first,
                                 MaskBound::data(numbers[0]),
                                 MaskBound::data(numbers[1])});
      return known;
    }
    default:
      llvm_unreachable("lengths are symbols by now");
    }
    known = withData(atom, numbers);
    return known;
  });
  SmallVector<Value> used;
  parts.mask = bindUsedData(parts.mask, values, used);
  parts.maskData.assign(used.begin(), used.end());
}

struct AttentionTiling
    : TilingInterface::ExternalModel<AttentionTiling, AttentionOp> {
  SmallVector<utils::IteratorType> getLoopIteratorTypes(Operation *) const {
    return SmallVector<utils::IteratorType>(3, utils::IteratorType::parallel);
  }

  SmallVector<Range> getIterationDomain(Operation *op,
                                        OpBuilder &builder) const {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(
        builder, op->getLoc(), cast<AttentionOp>(op).getQ());
    return llvm::map_to_vector(
        ArrayRef(sizes).take_front(3), [&](OpFoldResult size) {
          return Range{builder.getIndexAttr(0), size, builder.getIndexAttr(1)};
        });
  }

  FailureOr<TilingResult>
  getTiledImplementation(Operation *operation, OpBuilder &builder,
                         ArrayRef<OpFoldResult> offsets,
                         ArrayRef<OpFoldResult> sizes) const {
    auto op = cast<AttentionOp>(operation);
    Location loc = op.getLoc();
    std::optional<int64_t> heads = getConstantIntValue(sizes[1]);
    if (getConstantIntValue(sizes[0]) != 1 || !heads)
      return op.emitOpError("can only be tiled one batch and a constant number "
                            "of heads at a time");
    OpFoldResult zero = builder.getIndexAttr(0);
    OpFoldResult one = builder.getIndexAttr(1);
    auto headSize = [&](Value tensor) {
      return tensor::getMixedSize(builder, loc, tensor, 3);
    };

    auto q = getSlice(builder, loc, op.getQ(),
                      {offsets[0], offsets[1], offsets[2], zero},
                      {one, sizes[1], sizes[2], headSize(op.getQ())});
    OpFoldResult kvHead = getKvHead(builder, op, offsets[1]);
    OpFoldResult keys = tensor::getMixedSize(builder, loc, op.getK(), 2);
    // A constant offset into a dimension of size 0 does not verify, even for a
    // slice of size 0.
    OpFoldResult firstKey = getConstantIntValue(keys) == 0
                                ? OpFoldResult(toValue(builder, loc, zero))
                                : zero;
    auto k =
        getSlice(builder, loc, op.getK(), {offsets[0], kvHead, firstKey, zero},
                 {one, one, keys, headSize(op.getK())});
    auto v =
        getSlice(builder, loc, op.getV(), {offsets[0], kvHead, firstKey, zero},
                 {one, one, keys, headSize(op.getV())});

    Value position =
        toValue(builder, loc, getPosition(builder, op, offsets[0], offsets[2]));
    AffineExpr d0 = builder.getAffineDimExpr(0),
               d1 = builder.getAffineDimExpr(1);
    OpFoldResult head = offsets[1];
    if (op.getHead())
      head = affine::makeComposedFoldedAffineApply(builder, loc, d0 + d1,
                                                   {head, op.getHead()});

    auto outType = cast<RankedTensorType>(op.getO().getType());
    SmallVector<Type> types = {outType.clone(
        {1, *heads, q.getType().getDimSize(2), outType.getDimSize(3)})};
    if (op.getLse())
      types.push_back(RankedTensorType::get(
          {1, *heads, q.getType().getDimSize(2)}, builder.getF32Type()));
    AttentionParts parts(op);
    parts.q = q, parts.k = k, parts.v = v;
    parts.offset = position;
    parts.head = toValue(builder, loc, head);
    parts.alignment =
        AlignmentAttr::get(builder.getContext(), Alignment::Offset);
    parts.schedule = nullptr;
    tileMask(builder, op, offsets, sizes, parts);
    SmallVector<Operation *> slices = {q, k, v};
    if (op.getInitO()) {
      auto initO = getSlice(builder, loc, op.getInitO(),
                            {offsets[0], offsets[1], offsets[2], zero},
                            {one, one, sizes[2], headSize(op.getV())});
      auto initLse =
          getSlice(builder, loc, op.getInitLse(),
                   {offsets[0], offsets[1], offsets[2]}, {one, one, sizes[2]});
      parts.initO = initO, parts.initLse = initLse;
      slices.append({initO, initLse});
    }
    for (Value &input : parts.scoreInputs)
      input = getScoreSlice(builder, loc, input, offsets, sizes, keys);
    if (parts.sinks)
      parts.sinks = getSlice(builder, loc, parts.sinks, {offsets[1]}, {one});
    Value batch = toValue(builder, loc, offsets[0]);
    auto tile = AttentionOp::create(builder, loc, types[0],
                                    op.getLse() ? types[1] : Type(), parts);
    remapScoreArgument(tile, kBatch, 1, batch);
    return TilingResult{
        {tile}, llvm::to_vector_of<Value>(tile->getResults()), slices};
  }

  LogicalResult
  getResultTilePosition(Operation *operation, OpBuilder &builder,
                        unsigned result, ArrayRef<OpFoldResult> offsets,
                        ArrayRef<OpFoldResult> sizes,
                        SmallVector<OpFoldResult> &resultOffsets,
                        SmallVector<OpFoldResult> &resultSizes) const {
    resultOffsets.assign(offsets.begin(), offsets.end());
    resultSizes.assign(sizes.begin(), sizes.end());
    if (result == 0) {
      resultOffsets.push_back(builder.getIndexAttr(0));
      resultSizes.push_back(
          tensor::getMixedSize(builder, operation->getLoc(),
                               cast<AttentionOp>(operation).getV(), 3));
    }
    return success();
  }
};

} // namespace

void mlir::attn::registerAttentionTiling(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, AttnDialect *) {
    AttentionOp::attachInterface<AttentionTiling>(*context);
  });
}
