//===- AttentionTiling.cpp - see AttentionTiling.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/AttentionTiling.h"

#include "attn/dialect/Attn.h"
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
  if (isa<RankedTensorType>(offset.getType())) {
    offset = tensor::ExtractOp::create(builder, loc, offset,
                                       toValue(builder, loc, batch));
    if (!offset.getType().isIndex())
      offset = arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                          offset);
  }
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
    if (getConstantIntValue(sizes[0]) != 1 ||
        getConstantIntValue(sizes[1]) != 1)
      return op.emitOpError(
          "can only be tiled one batch and one head at a time");
    OpFoldResult zero = builder.getIndexAttr(0);
    OpFoldResult one = builder.getIndexAttr(1);
    auto headSize = [&](Value tensor) {
      return tensor::getMixedSize(builder, loc, tensor, 3);
    };

    auto q = getSlice(builder, loc, op.getQ(),
                      {offsets[0], offsets[1], offsets[2], zero},
                      {one, one, sizes[2], headSize(op.getQ())});
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
        {1, 1, q.getType().getDimSize(2), outType.getDimSize(3)})};
    if (op.getLse())
      types.push_back(RankedTensorType::get({1, 1, q.getType().getDimSize(2)},
                                            builder.getF32Type()));
    AttentionParts parts(op);
    parts.q = q, parts.k = k, parts.v = v;
    parts.offset = position;
    parts.head = toValue(builder, loc, head);
    parts.alignment =
        AlignmentAttr::get(builder.getContext(), Alignment::Offset);
    parts.schedule = nullptr;
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
    auto tile = AttentionOp::create(builder, loc, types[0],
                                    op.getLse() ? types[1] : Type(), parts);
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
