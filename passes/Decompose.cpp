//===- Decompose.cpp - spells online attention out in vector, arith and math
//---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"
#include "attn/passes/ScoreVectors.h"
#include "attn/passes/TileBuilder.h"
#include "attn/passes/TilePredicate.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/mask/MaskAnalysis.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include <limits>

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNDECOMPOSE
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

/// Whether every key of the tile was read from inside its tensor, and `keys`
/// counts the keys of that tensor.
static bool isInRange(OnlineAttentionOp op) {
  auto read = op.getK().getDefiningOp<vector::TransferReadOp>();
  if (!read || !read.isDimInBounds(0) || read.getShapedType().getRank() != 4)
    return false;
  Value first = op.getKeys()[0];
  std::optional<int64_t> numKeys = getConstantIntValue(op.getKeys()[1]);
  return read.getIndices()[2] == first && numKeys &&
         *numKeys == read.getShapedType().getDimSize(2);
}

/// The product of two tiles, `result[x] += lhs[y] * rhs[z]` over d0, d1, d2,
/// the last of which is summed.
static vector::ContractionOp contract(ImplicitLocOpBuilder &builder, Value lhs,
                                      ArrayRef<unsigned> lhsDims, Value rhs,
                                      ArrayRef<unsigned> rhsDims, Value acc,
                                      ArrayRef<unsigned> accDims) {
  auto toExprs = [&](ArrayRef<unsigned> dims) {
    return llvm::map_to_vector(
        dims, [&](unsigned dim) { return builder.getAffineDimExpr(dim); });
  };
  SmallVector<AffineExpr> maps[] = {toExprs(lhsDims), toExprs(rhsDims),
                                    toExprs(accDims)};
  return vector::ContractionOp::create(
      builder, lhs, rhs, acc,
      ArrayRef<ArrayRef<AffineExpr>>{maps[0], maps[1], maps[2]},
      ArrayRef<vector::IteratorType>{vector::IteratorType::parallel,
                                     vector::IteratorType::parallel,
                                     vector::IteratorType::reduction});
}

static LogicalResult decompose(OnlineAttentionOp op, int64_t &numWide) {
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  auto f32 = builder.getF32Type();
  auto accType = cast<VectorType>(op.getAcc().getType());
  auto keyType = cast<VectorType>(op.getK().getType());
  auto valueType = cast<VectorType>(op.getV().getType());
  int64_t rows = accType.getDimSize(0), keys = keyType.getDimSize(0),
          valueSize = accType.getDimSize(1);
  auto rowType = VectorType::get({rows}, f32);
  auto scoreType = VectorType::get({rows, keys}, f32);

  Value live;
  if (op.getMaskAttr()) {
    Value head = op.getHead()
                     ? op.getHead()
                     : arith::ConstantIndexOp::create(builder, 0).getResult();
    TilePosition position{
        rows,
        keys,
        rows / static_cast<int64_t>(op.getHeads()),
        head,
        op.getRows()[0],
        op.getKeys()[0],
        op.getSymbols().take_front(op.getMaskAttr().getNumSymbols()),
        op.getMaskData(),
        isInRange(op) ? Value() : op.getKeys()[1]};
    FailureOr<Value> built = buildTilePredicate(
        builder, getMaskPredicate(op.getMaskAttr()), position, numWide);
    if (failed(built))
      return op.emitOpError("expected a mask of affine constraints with "
                            "floordiv and mod by positive constants");
    live = *built;
  }

  // Scores in base 2. The factor is folded into the exponent where it keeps
  // their order and -inf; where it is 0, negative or too small for that, it
  // comes first.
  constexpr float log2e = 1.44269504088896341f;
  float scale = op.getScale().convertToFloat(), factor = scale * log2e;
  bool foldFactor = factor >= std::numeric_limits<float>::min();
  Value scores = contract(builder, op.getQ(), {0, 2}, op.getK(), {1, 2},
                          splat(builder, scoreType, 0.0f), {0, 1})
                     .getResult();
  // A score region sees scores; only the change of base is left for later. What
  // it makes of dead pairs does not matter: the mask comes after it.
  if (!op.getScore().empty()) {
    if (scale != 1)
      scores = arith::MulFOp::create(builder, scores,
                                     splat(builder, scoreType, scale));
    scores = buildScores(builder, op, scores);
    factor = log2e;
    foldFactor = true;
  }
  if (!foldFactor)
    scores = arith::MulFOp::create(builder, scores,
                                   splat(builder, scoreType, factor));
  constexpr float inf = std::numeric_limits<float>::infinity();
  if (live)
    scores = arith::SelectOp::create(builder, live, scores,
                                     splat(builder, scoreType, -inf));

  Value negInfRow = splat(builder, rowType, -inf);
  Value tileMax = vector::MultiDimReductionOp::create(
      builder, scores, negInfRow, ArrayRef<bool>{false, true},
      vector::CombiningKind::MAXNUMF);
  if (foldFactor)
    tileMax = arith::MulFOp::create(builder, tileMax,
                                    splat(builder, rowType, factor));
  Value newMax = arith::MaxNumFOp::create(builder, op.getMax(), tileMax);
  // A row whose scores so far are all -inf, or that has none, would subtract
  // -inf from -inf.
  Value zeroRow = splat(builder, rowType, 0.0f);
  Value base = arith::MaxNumFOp::create(
      builder, newMax,
      splat(builder, rowType, std::numeric_limits<float>::lowest()));
  Value alpha = math::Exp2Op::create(
      builder, arith::SubFOp::create(builder, op.getMax(), base));
  Value shift =
      broadcastRow(builder, arith::NegFOp::create(builder, base), keys);
  Value exponent =
      foldFactor ? math::FmaOp::create(builder, scores,
                                       splat(builder, scoreType, factor), shift)
                       .getResult()
                 : arith::AddFOp::create(builder, scores, shift).getResult();
  Value weights = math::Exp2Op::create(builder, exponent);
  Value tileSum = vector::MultiDimReductionOp::create(
      builder, weights, zeroRow, ArrayRef<bool>{false, true},
      vector::CombiningKind::ADD);
  Value newSum = math::FmaOp::create(builder, op.getSum(), alpha, tileSum);

  if (valueType.getElementType() != f32)
    weights = arith::TruncFOp::create(
        builder, scoreType.clone(valueType.getElementType()), weights);
  Value scaledAcc = arith::MulFOp::create(
      builder, op.getAcc(), broadcastRow(builder, alpha, valueSize));
  // Over (d, m, n). What v holds at a dead pair must not matter, and 0 * NaN is
  // NaN.
  Operation *product =
      contract(builder, weights, {1, 2}, op.getV(), {2, 0}, scaledAcc, {1, 0});
  if (live) {
    auto pairsType =
        VectorType::get({valueSize, rows, keys}, builder.getI1Type());
    product = vector::maskOperation(
        builder, product,
        vector::BroadcastOp::create(builder, pairsType, live));
  }
  op->replaceAllUsesWith(ValueRange{newMax, newSum, product->getResult(0)});
  op->erase();
  return success();
}

namespace {
struct AttnDecomposePass : attn::impl::AttnDecomposeBase<AttnDecomposePass> {
  void runOnOperation() override {
    SmallVector<OnlineAttentionOp> ops;
    getOperation().walk([&](OnlineAttentionOp op) { ops.push_back(op); });
    for (OnlineAttentionOp op : ops) {
      if (!isa<VectorType>(op.getK().getType())) {
        op.emitOpError("expected tiles of k and v, found ")
            << op.getK().getType() << "; attn-tile-kv makes them";
        return signalPassFailure();
      }
      bool isMasked = bool(op.getMaskAttr());
      int64_t wide = 0;
      if (failed(decompose(op, wide)))
        return signalPassFailure();
      ++numDecomposed;
      numMasked += isMasked;
      numWide += wide;
    }
  }
};
} // namespace
