//===- Tile.cpp - tiles attention over batches, heads and queries ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/AttentionTiling.h"
#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/TilingInterface.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTILE
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

/// The same op without its log-sum-exp.
static AttentionOp dropLse(RewriterBase &rewriter, AttentionOp op) {
  rewriter.setInsertionPoint(op);
  auto newOp = AttentionOp::create(
      rewriter, op.getLoc(), op.getO().getType(), Type(), op.getQ(), op.getK(),
      op.getV(), op.getSymbols(), op.getOffset(), op.getHead(),
      op.getMaskAttr(), op.getAlignmentAttr(), op.getScaleAttr(),
      op.getScheduleAttr());
  rewriter.replaceAllUsesWith(op.getO(), newOp.getO());
  rewriter.eraseOp(op);
  return newOp;
}

static LogicalResult tile(RewriterBase &rewriter, AttentionOp op,
                          ScheduleAttr schedule) {
  scf::SCFTilingOptions options;
  options.setLoopType(scf::SCFTilingOptions::LoopType::ForallOp);
  Builder builder(op.getContext());
  options.setTileSizes({builder.getIndexAttr(1), builder.getIndexAttr(1),
                        builder.getIndexAttr(schedule.getQTile())});
  rewriter.setInsertionPoint(op);
  FailureOr<scf::SCFTilingResult> tiled = scf::tileUsingSCF(
      rewriter, cast<TilingInterface>(op.getOperation()), options);
  if (failed(tiled))
    return op.emitOpError("could not be tiled");
  Operation *loop = tiled->loops.front();
  loop->setAttr("attn.schedule", schedule);
  loop->setAttr("attn.mask", builder.getStringAttr(op.getMask().str()));
  rewriter.replaceOp(op, tiled->replacements);
  return success();
}

namespace {
struct AttnTilePass : attn::impl::AttnTileBase<AttnTilePass> {
  using AttnTileBase::AttnTileBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    AttnTileBase::getDependentDialects(registry);
    registerAttentionTiling(registry);
  }

  void runOnOperation() override {
    ScheduleAttr fallback;
    if (qTile != 0) {
      int64_t sizes[] = {qTile, kvTile, warps, stages};
      auto emitError = [&] {
        return getOperation().emitError("in the tile options: ");
      };
      fallback = ScheduleAttr::getChecked(
          function_ref<InFlightDiagnostic()>(emitError), &getContext(),
          sizes[0], sizes[1], sizes[2], sizes[3], /*q_in_registers=*/false);
      if (!fallback)
        return signalPassFailure();
    }
    IRRewriter rewriter(&getContext());
    SmallVector<AttentionOp> ops;
    getOperation().walk([&](AttentionOp op) {
      if (!op->getParentOfType<scf::ForallOp>())
        ops.push_back(op);
    });
    for (AttentionOp op : ops) {
      ScheduleAttr schedule =
          op.getScheduleAttr() ? op.getScheduleAttr() : fallback;
      if (!schedule) {
        op.emitOpError("expected a schedule, found none; attn-assign-schedule "
                       "gives it the default of the target, the "
                       "option q-tile one for all ops");
        return signalPassFailure();
      }
      if (op.getLse() && op.getLse().use_empty()) {
        op = dropLse(rewriter, op);
        ++numDroppedLse;
      }
      if (failed(tile(rewriter, op, schedule)))
        return signalPassFailure();
      ++numTiled;
    }
  }
};
} // namespace
