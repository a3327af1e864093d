//===- Compact.cpp - keys at regular places become adjacent ---------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Constraints.h"
#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/MaskData.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNCOMPACT
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

/// How many of the keys before `numKeys` are in the set.
static Value countKeys(ImplicitLocOpBuilder &builder, const ColumnSet &columns,
                       Value numKeys) {
  if (std::optional<int64_t> known = getConstantIntValue(numKeys))
    return arith::ConstantIndexOp::create(
        builder, SelectRowsOp::countRows(*known, columns.first, columns.count,
                                         columns.step));
  AffineExpr left = builder.getAffineDimExpr(0) - columns.first;
  AffineExpr blocks = left.floorDiv(columns.step) * columns.count;
  auto map = AffineMap::get(
      1, 0, {blocks + columns.count, blocks + left % columns.step},
      builder.getContext());
  return getValueOrCreateConstantIndexOp(
      builder, builder.getLoc(),
      affine::makeComposedFoldedAffineMin(builder, builder.getLoc(), map,
                                          OpFoldResult(numKeys)));
}

/// Replaces the op by one for each segment, each continuing the state of the
/// one before.
static void split(OnlineAttentionOp op, ArrayRef<Segment> segments) {
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  // What later segments read is known before the first one runs.
  struct Operands {
    MaskAttr mask;
    SmallVector<Value> symbols;
    Value k, v, numKeys;
  };
  SmallVector<Operands> operands;
  for (const Segment &segment : segments) {
    Operands &own = operands.emplace_back();
    own.mask =
        bindUsedSymbols(segment.getLocalMask(), op.getSymbols(), own.symbols);
    own.k = op.getK(), own.v = op.getV(), own.numKeys = op.getKeys()[1];
    if (const std::optional<ColumnSet> &columns = segment.columns) {
      own.k = SelectRowsOp::create(builder, op.getK(), columns->first,
                                   columns->count, columns->step);
      own.v = SelectRowsOp::create(builder, op.getV(), columns->first,
                                   columns->count, columns->step);
      own.numKeys = countKeys(builder, *columns, op.getKeys()[1]);
    }
  }
  SmallVector<Value> state = {op.getMax(), op.getSum(), op.getAcc()};
  for (const Operands &own : operands) {
    auto step = OnlineAttentionOp::create(
        builder, op.getResultTypes(), op.getQ(), own.k, own.v, state[0],
        state[1], state[2], own.symbols, op.getRows(),
        ValueRange{op.getKeys()[0], own.numKeys},
        own.mask.dependsOnHead() ? op.getHead() : Value(),
        /*mask_data=*/ValueRange(),
        /*score_inputs=*/ValueRange(), own.mask, op.getScaleAttr(),
        op.getHeadsAttr());
    state = step.getResults();
  }
  op->replaceAllUsesWith(state);
  op->erase();
}

namespace {
struct AttnCompactPass : attn::impl::AttnCompactBase<AttnCompactPass> {
  using AttnCompactBase::AttnCompactBase;

  void runOnOperation() override {
    SmallVector<OnlineAttentionOp> ops;
    getOperation().walk([&](OnlineAttentionOp op) {
      if (!isa<VectorType>(op.getK().getType()) && op.getMaskAttr())
        ops.push_back(op);
    });
    for (OnlineAttentionOp op : ops) {
      if (hasData(op.getMaskAttr()))
        continue;
      auto forall = op->getParentOfType<scf::ForallOp>();
      auto schedule = forall
                          ? forall->getAttrOfType<ScheduleAttr>("attn.schedule")
                          : ScheduleAttr();
      if (!schedule) {
        op.emitOpError("expected an enclosing scf.forall with attn.schedule; "
                       "attn-tile makes them");
        return signalPassFailure();
      }
      // The keys of a class may be counted at run time though their number is
      // known, where some class may have none.
      std::optional<int64_t> numKeys = getConstantIntValue(op.getKeys()[1]);
      if (auto known = forall->getAttrOfType<IntegerAttr>("attn.num_keys"))
        numKeys = known.getInt();
      SmallVector<Segment, 1> segments =
          getSegments(op.getMaskAttr(), schedule.getQueries(),
                      schedule.getKvTile(), numKeys);
      if (segments.size() == 1 && !segments[0].columns)
        continue;
      if (!op.getScore().empty()) {
        op.emitRemark() << "the keys of mask " << op.getMaskAttr().str()
                        << " are not made adjacent: a score region looks at "
                           "them in their order";
        continue;
      }
      for (const Segment &segment : segments)
        if (const std::optional<ColumnSet> &columns = segment.columns) {
          op.emitRemark() << "keys with j mod " << columns->step << " in "
                          << columns->first << " to "
                          << columns->first + columns->count - 1 << " of mask "
                          << op.getMaskAttr().str()
                          << " are made adjacent: mask "
                          << segment.getLocalMask().str();
          ++numColumnSets;
        }
      ++numCompacted;
      split(op, segments);
    }
  }
};
} // namespace
