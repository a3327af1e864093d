//===- Tile.cpp - tiles attention over batches, heads and queries ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/AttentionTiling.h"
#include "attn/passes/HeadRows.h"
#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/mask/Estimate.h"
#include "attn/dialect/mask/MaskData.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/TilingInterface.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTILE
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

/// Whether the first queries have more key tiles than the last ones, as global
/// rows have: tiles then run in rising order, else in falling order, so that
/// the long ones start first. Judged on 64 tiles of queries and keys.
static bool startsWithLongest(MaskAttr mask, ScheduleAttr schedule) {
  MaskAttr closed = getHullWithoutData(mask, /*outer=*/true);
  int64_t rows = schedule.getQueries(), length = 64 * rows;
  auto estimate = [&](int64_t first) {
    return estimateTiles(closed,
                         {rows, length, first, rows, schedule.getKvTile()});
  };
  return estimate(0) > estimate(length - rows);
}

static void setOrder(Operation *loop, MaskAttr mask, ScheduleAttr schedule) {
  if (startsWithLongest(mask, schedule))
    loop->setAttr("attn.ascending", UnitAttr::get(loop->getContext()));
}

/// The same op without its log-sum-exp.
static AttentionOp dropLse(RewriterBase &rewriter, AttentionOp op) {
  rewriter.setInsertionPoint(op);
  auto newOp = AttentionOp::create(rewriter, op.getLoc(), op.getO().getType(),
                                   Type(), AttentionParts(op));
  rewriter.replaceAllUsesWith(op.getO(), newOp.getO());
  rewriter.eraseOp(op);
  return newOp;
}

static LogicalResult tile(RewriterBase &rewriter, AttentionOp op,
                          ScheduleAttr schedule) {
  scf::SCFTilingOptions options;
  options.setLoopType(scf::SCFTilingOptions::LoopType::ForallOp);
  Builder builder(op.getContext());
  if (std::string problem = findHeadRowsProblem(op, schedule); !problem.empty())
    return op.emitOpError("cannot have tiles with the rows of ")
           << schedule.getHeads() << " heads: " << problem;
  options.setTileSizes({builder.getIndexAttr(1),
                        builder.getIndexAttr(getHeadsPerTile(op, schedule)),
                        builder.getIndexAttr(schedule.getQueries())});
  rewriter.setInsertionPoint(op);
  FailureOr<scf::SCFTilingResult> tiled = scf::tileUsingSCF(
      rewriter, cast<TilingInterface>(op.getOperation()), options);
  if (failed(tiled))
    return op.emitOpError("could not be tiled");
  Operation *loop = tiled->loops.front();
  loop->setAttr("attn.schedule", schedule);
  loop->setAttr("attn.mask", builder.getStringAttr(op.getMask().str()));
  setOrder(loop, op.getMask(), schedule);
  rewriter.replaceOp(op, tiled->replacements);
  return success();
}

/// Tiles the op of a loop over residue classes; the classes become a dimension
/// of the loop over tiles. The last dimension stays the first query, in steps
/// that hold one tile of each class, so that its bound is still a size of q.
static LogicalResult tileClasses(RewriterBase &rewriter, scf::ForallOp classes,
                                 AttentionOp op, ScheduleAttr schedule) {
  Location loc = op.getLoc();
  auto modulus = classes->getAttrOfType<IntegerAttr>("attn.residues");
  auto view = op.getQ().getDefiningOp<tensor::ExtractSliceOp>();
  if (!modulus || !view ||
      !llvm::hasSingleElement(classes.getBody()->getOps<AttentionOp>()))
    return op.emitOpError(
        "expected a loop over residue classes that attn-pack made");
  int64_t step = modulus.getInt() * schedule.getQTile();
  rewriter.setInsertionPoint(classes);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(rewriter, loc, view.getSource());
  // The loop may be for some of the heads only.
  if (!view.getType().isDynamicDim(1))
    sizes[1] = rewriter.getIndexAttr(view.getType().getDimSize(1));
  OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
  auto loop = scf::ForallOp::create(
      rewriter, loc, {zero, zero, zero, zero},
      {sizes[0], sizes[1], classes.getMixedUpperBound().back(), sizes[2]},
      {one, one, one, rewriter.getIndexAttr(step)}, classes.getOutputs(),
      std::nullopt);

  rewriter.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> ivs = loop.getInductionVars();
  IRMapping mapping;
  // Batches with offsets of their own are in the loop already.
  bool hasBatch = classes.getRank() == 2;
  if (hasBatch)
    mapping.map(classes.getInductionVar(0), ivs[0]);
  mapping.map(classes.getInductionVars().back(), ivs[2]);
  mapping.map(classes.getRegionIterArgs(), loop.getRegionIterArgs());
  for (Operation &inner : classes.getBody()->without_terminator())
    rewriter.clone(inner, mapping);
  auto whole = cast<AttentionOp>(mapping.lookup(op.getO()).getDefiningOp());
  AffineExpr d0 = rewriter.getAffineDimExpr(0),
             d1 = rewriter.getAffineDimExpr(1);
  OpFoldResult first = affine::makeComposedFoldedAffineApply(
      rewriter, loc, d0.floorDiv(modulus.getInt()), {ivs[3]});
  OpFoldResult total =
      whole.getQ().getDefiningOp<tensor::ExtractSliceOp>().getMixedSizes()[2];
  OpFoldResult rows = rewriter.getIndexAttr(schedule.getQTile());
  if (std::optional<int64_t> known = getConstantIntValue(total);
      !known || *known % schedule.getQTile() != 0)
    rows = affine::makeComposedFoldedAffineMin(
        rewriter, loc,
        AffineMap::get(
            2, 0,
            {d1 - d0, rewriter.getAffineConstantExpr(schedule.getQTile())},
            rewriter.getContext()),
        {first, total});
  // In the last step some classes may have no query left: they see no key.
  std::optional<int64_t> numQueries = getConstantIntValue(sizes[2]);
  if (!numQueries ||
      (*numQueries % modulus.getInt() != 0 &&
       *numQueries / modulus.getInt() % schedule.getQTile() == 0)) {
    // For choices that depend on the number of keys, which is hidden now.
    auto keyType = cast<RankedTensorType>(whole.getK().getType());
    if (!keyType.isDynamicDim(2))
      loop->setAttr("attn.num_keys",
                    rewriter.getI64IntegerAttr(keyType.getDimSize(2)));
    Value none = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value isEmpty = arith::CmpIOp::create(
        rewriter, loc, arith::CmpIPredicate::eq,
        getValueOrCreateConstantIndexOp(rewriter, loc, rows), none);
    for (OpOperand *operand : {&whole.getKMutable(), &whole.getVMutable()}) {
      SmallVector<OpFoldResult> extents =
          operand->get()
              .getDefiningOp<tensor::ExtractSliceOp>()
              .getMixedSizes();
      extents[2] = arith::SelectOp::create(rewriter, loc, isEmpty, none,
                                           getValueOrCreateConstantIndexOp(
                                               rewriter, loc, extents[2]))
                       .getResult();
      operand->set(tensor::ExtractSliceOp::create(
          rewriter, loc, operand->get(), SmallVector<OpFoldResult>(4, zero),
          extents, SmallVector<OpFoldResult>(4, one)));
    }
  }
  SmallVector<OpFoldResult> offsets = {hasBatch ? zero : OpFoldResult(ivs[0]),
                                       ivs[1], first},
                            tileSizes = {one, one, rows};
  auto tiling = cast<TilingInterface>(whole.getOperation());
  // Where the tile's results go, computed before the tile, so that it can be
  // written in place.
  struct Destination {
    SmallVector<OpFoldResult> offsets, sizes;
  };
  SmallVector<Destination, 2> destinations;
  auto insertions =
      llvm::to_vector(classes.getTerminator()
                          .getBody()
                          ->getOps<tensor::ParallelInsertSliceOp>());
  for (auto [number, insertion] : llvm::enumerate(insertions)) {
    Destination &destination = destinations.emplace_back();
    if (failed(tiling.getResultTilePosition(rewriter, number, offsets,
                                            tileSizes, destination.offsets,
                                            destination.sizes)))
      return failure();
    for (auto [offset, start, stride] :
         llvm::zip_equal(destination.offsets, insertion.getMixedOffsets(),
                         insertion.getStaticStrides())) {
      if (auto value = dyn_cast<Value>(start))
        start = mapping.lookupOrDefault(value);
      offset = affine::makeComposedFoldedAffineApply(
          rewriter, loc, d0 * stride + d1, {offset, start});
    }
  }
  FailureOr<TilingResult> tiled =
      tiling.getTiledImplementation(rewriter, offsets, tileSizes);
  if (failed(tiled))
    return failure();
  rewriter.setInsertionPointToStart(loop.getTerminator().getBody());
  for (auto [insertion, destination, tile] :
       llvm::zip_equal(insertions, destinations, tiled->tiledValues))
    tensor::ParallelInsertSliceOp::create(
        rewriter, loc, tile, mapping.lookup(insertion.getDest()),
        destination.offsets, destination.sizes, insertion.getMixedStrides());
  setOrder(loop, whole.getMask(), schedule);
  rewriter.eraseOp(whole);
  loop->setAttr("attn.schedule", schedule);
  loop->setAttr("attn.mask", classes->getAttr("attn.mask"));
  rewriter.replaceOp(classes, loop.getResults());
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
      auto loop = op->getParentOfType<scf::ForallOp>();
      if (!loop || loop->hasAttr("attn.residues"))
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
      auto classes = op->getParentOfType<scf::ForallOp>();
      if (failed(classes ? tileClasses(rewriter, classes, op, schedule)
                         : tile(rewriter, op, schedule)))
        return signalPassFailure();
      ++numTiled;
    }
  }
};
} // namespace
