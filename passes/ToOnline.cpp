//===- ToOnline.cpp - makes the state of the online softmax explicit ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"
#include "attn/passes/TileBuilder.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Score.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include <limits>

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTOONLINE
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

/// Size `dim` of a tensor; for a slice what it was made with.
static OpFoldResult getSize(OpBuilder &builder, Location loc, Value tensor,
                            unsigned dim) {
  if (auto slice = tensor.getDefiningOp<tensor::ExtractSliceOp>())
    if (slice.getSourceType().getRank() == slice.getType().getRank())
      return slice.getMixedSizes()[dim];
  return tensor::getMixedSize(builder, loc, tensor, dim);
}

/// The op that places `result` in the tensor that the loop makes.
static tensor::ParallelInsertSliceOp getInsertion(Value result) {
  if (!result.hasOneUse())
    return nullptr;
  return dyn_cast<tensor::ParallelInsertSliceOp>(*result.user_begin());
}

/// `queries` rows of each of `heads` heads, one head after the other, of a
/// 1 x H x N x D tensor, as one tile; what the tensor does not have is 0.
static Value readHeads(ImplicitLocOpBuilder &builder, Value tensor,
                       int64_t heads, int64_t queries) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Type element = type.getElementType();
  int64_t columns = type.getDimSize(3);
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value padding =
      arith::ConstantOp::create(builder, builder.getZeroAttr(element));
  Value rows = vector::TransferReadOp::create(
      builder, VectorType::get({heads, queries, columns}, element), tensor,
      SmallVector<Value>(4, zero), padding,
      ArrayRef<bool>{type.getDimSize(1) == heads, type.getDimSize(2) == queries,
                     true});
  return vector::ShapeCastOp::create(
      builder, VectorType::get({heads * queries, columns}, element), rows);
}

/// Writes `vector`, whose rows are those of `heads` heads, where `result` goes,
/// and `result` becomes what was written.
static void replaceWithWrite(ImplicitLocOpBuilder &builder, Value result,
                             Value vector, int64_t heads) {
  tensor::ParallelInsertSliceOp insertion = getInsertion(result);
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value slice = tensor::ExtractSliceOp::create(
      builder, insertion.getDest(), insertion.getMixedOffsets(),
      insertion.getMixedSizes(), insertion.getMixedStrides());
  auto type = cast<RankedTensorType>(slice.getType());
  auto vectorType = cast<VectorType>(vector.getType());
  SmallVector<Value> indices(type.getRank(), zero);
  int64_t queries = vectorType.getDimSize(0) / heads;
  SmallVector<bool> inBounds(vectorType.getRank(), true);
  inBounds.front() = type.getDimSize(2) == queries;
  if (heads != 1) {
    SmallVector<int64_t> shape{heads, queries};
    llvm::append_range(shape, vectorType.getShape().drop_front());
    vector = vector::ShapeCastOp::create(
        builder, VectorType::get(shape, vectorType.getElementType()), vector);
    inBounds.insert(inBounds.begin(), type.getDimSize(1) == heads);
  }
  result.replaceAllUsesWith(
      vector::TransferWriteOp::create(builder, vector, slice, indices,
                                      ArrayRef<bool>(inBounds))
          .getResult());
}

/// The one element of a tensor, as f32.
static Value extractScalar(ImplicitLocOpBuilder &builder, Value tensor) {
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value value = tensor::ExtractOp::create(
      builder, tensor,
      SmallVector<Value>(cast<RankedTensorType>(tensor.getType()).getRank(),
                         zero));
  if (!value.getType().isF32())
    value = arith::ExtFOp::create(builder, builder.getF32Type(), value);
  return value;
}

static LogicalResult convert(AttentionOp op) {
  auto forall = op->getParentOfType<scf::ForallOp>();
  auto schedule = forall ? forall->getAttrOfType<ScheduleAttr>("attn.schedule")
                         : ScheduleAttr();
  if (!schedule)
    return op.emitOpError("expected a tile in an scf.forall with "
                          "attn.schedule; attn-tile makes them");
  auto qType = cast<RankedTensorType>(op.getQ().getType());
  int64_t heads = schedule.getHeads();
  if (qType.getDimSize(0) != 1 || ShapedType::isDynamic(qType.getDimSize(1)) ||
      qType.getDimSize(1) > heads || op.getAlignment() != Alignment::Offset ||
      !op.getOffset().getType().isIndex())
    return op.emitOpError("expected a tile of one batch and of as many heads "
                          "as the schedule says "
                          "at align(%position)");
  for (Value result : op->getResults())
    if (!getInsertion(result))
      return op.emitOpError("expected each result to be placed by one "
                            "tensor.parallel_insert_slice");

  ImplicitLocOpBuilder builder(op.getLoc(), op);
  Location loc = op.getLoc();
  Type f32 = builder.getF32Type();
  int64_t qTile = schedule.getQTile(), queries = schedule.getQueries();
  int64_t valueSize = cast<RankedTensorType>(op.getV().getType()).getDimSize(3);
  auto rowType = VectorType::get({qTile}, f32);
  auto accType = VectorType::get({qTile, valueSize}, f32);

  Value zeroIndex = arith::ConstantIndexOp::create(builder, 0);
  OpFoldResult numRows = getSize(builder, loc, op.getQ(), 2);
  bool allRows = getConstantIntValue(numRows) == queries;
  Value q = heads == 1 ? readTile(builder, op.getQ(), zeroIndex, qTile, allRows)
                       : readHeads(builder, op.getQ(), heads, queries);
  AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1);
  Value end = getValueOrCreateConstantIndexOp(
      builder, loc,
      affine::makeComposedFoldedAffineApply(builder, loc, d0 + d1,
                                            {op.getOffset(), numRows}));
  Value numKeys = getValueOrCreateConstantIndexOp(
      builder, loc, getSize(builder, loc, op.getK(), 2));

  Value negInf =
      splat(builder, rowType, -std::numeric_limits<float>::infinity());
  Value zeroRow = splat(builder, rowType, 0.0f);
  Value max = negInf, sum0 = zeroRow, acc = splat(builder, accType, 0.0f);
  constexpr float log2e = 1.44269504088896341f;
  if (op.getInitO()) {
    // What went before counts as one key of this score; no key has -inf.
    Value padding =
        arith::ConstantOp::create(builder, builder.getF32FloatAttr(0));
    Value lse = vector::TransferReadOp::create(
        builder, rowType, op.getInitLse(),
        ValueRange{zeroIndex, zeroIndex, zeroIndex}, padding,
        ArrayRef<bool>{allRows});
    max = arith::MulFOp::create(builder, lse, splat(builder, rowType, log2e));
    Value isNone =
        arith::CmpFOp::create(builder, arith::CmpFPredicate::OEQ, max, negInf);
    sum0 = arith::SelectOp::create(builder, isNone, zeroRow,
                                   splat(builder, rowType, 1.0f));
    acc = readTile(builder, op.getInitO(), zeroIndex, qTile, allRows);
  } else if (Value sinks = op.getSinks()) {
    // A sink is a key whose value is 0 and whose weight is 1 to begin with.
    Value log = arith::MulFOp::create(
        builder, extractScalar(builder, sinks),
        arith::ConstantOp::create(builder, builder.getF32FloatAttr(log2e)));
    max = vector::BroadcastOp::create(builder, rowType, log);
    sum0 = splat(builder, rowType, 1.0f);
  }
  SmallVector<Value> scoreInputs;
  for (Value input : op.getScoreInputs()) {
    auto type = dyn_cast<RankedTensorType>(input.getType());
    bool isScalar = type && type.getShape().back() == 1 &&
                    (type.getRank() == 1 || type.getDimSize(2) == 1);
    scoreInputs.push_back(isScalar ? extractScalar(builder, input) : input);
  }
  bool needsHead =
      op.getMask().dependsOnHead() || usesScoreArgument(op.getScore(), kHead);
  auto online = OnlineAttentionOp::create(
      builder, TypeRange{rowType, rowType, accType}, q, op.getK(), op.getV(),
      max, sum0, acc, op.getSymbols(), ValueRange{op.getOffset(), end},
      ValueRange{zeroIndex, numKeys}, needsHead ? op.getHead() : Value(),
      op.getMaskData(), scoreInputs, op.getMask(),
      builder.getF32FloatAttr(op.getScaleValue()),
      builder.getI64IntegerAttr(heads));
  online.getScore().takeBody(op.getScore());
  if (needsHead && !op.getHead())
    online.getHeadMutable().assign(zeroIndex);

  // A sum that is NaN is not equal to 0: it reaches the result.
  Value sum = online.getNewSum();
  Value isEmpty =
      arith::CmpFOp::create(builder, arith::CmpFPredicate::OEQ, sum, zeroRow);
  Value inverse =
      arith::DivFOp::create(builder, splat(builder, rowType, 1.0f), sum);
  Value factor = arith::SelectOp::create(builder, isEmpty, zeroRow, inverse);
  Value o = arith::MulFOp::create(builder, online.getNewAcc(),
                                  broadcastRow(builder, factor, valueSize));
  Type outType = cast<RankedTensorType>(op.getO().getType()).getElementType();
  if (outType != f32)
    o = arith::TruncFOp::create(builder, accType.clone(outType), o);
  replaceWithWrite(builder, op.getO(), o, heads);

  if (op.getLse()) {
    // Where the sum is 0 the maximum is -inf, and so is its logarithm.
    Value log = math::Log2Op::create(builder, sum);
    Value lse = arith::AddFOp::create(builder, online.getNewMax(), log);
    lse = arith::MulFOp::create(builder, lse,
                                splat(builder, rowType, 0.693147180559945309f));
    replaceWithWrite(builder, op.getLse(), lse, heads);
  }
  op->erase();
  return success();
}

namespace {
struct AttnToOnlinePass : attn::impl::AttnToOnlineBase<AttnToOnlinePass> {
  void runOnOperation() override {
    SmallVector<AttentionOp> ops;
    getOperation().walk([&](AttentionOp op) { ops.push_back(op); });
    for (AttentionOp op : ops) {
      if (failed(convert(op)))
        return signalPassFailure();
      ++numConverted;
    }
  }
};
} // namespace
