//===- Pack.cpp - residue classes as dense problems on strided views ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Constraints.h"
#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/Packing.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNPACK
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

namespace {

/// Builds the loops over the classes of one op, one for each packing.
class Packer {
public:
  Packer(RewriterBase &rewriter, AttentionOp op)
      : rewriter(rewriter), op(op), loc(op.getLoc()) {
    rewriter.setInsertionPoint(op);
    bindLengths(op.getMask(), op.getSymbols().size(), lengths);
    numQueries = tensor::getMixedSize(rewriter, loc, op.getQ(), 2);
    numKeys = tensor::getMixedSize(rewriter, loc, op.getK(), 2);
    rowSizes = tensor::getMixedSizes(rewriter, loc, op.getQ());
    rowSizes.pop_back();
    outSizes = rowSizes;
    outSizes.push_back(tensor::getMixedSize(rewriter, loc, op.getV(), 3));
    results = {op.getO()};
    outputs.push_back(tensor::EmptyOp::create(
        rewriter, loc, outSizes, getElementTypeOrSelf(op.getO().getType())));
    if (op.getLse() && !op.getLse().use_empty()) {
      results.push_back(op.getLse());
      outputs.push_back(tensor::EmptyOp::create(rewriter, loc, rowSizes,
                                                rewriter.getF32Type()));
    }
  }

  /// Builds the loop of one packing, after those before it. Returns the mask of
  /// one class.
  MaskAttr add(const Packing &packing);
  /// Replaces the op by the loops.
  void finish();

private:
  OpFoldResult apply(AffineExpr expr, ArrayRef<OpFoldResult> operands) {
    return affine::makeComposedFoldedAffineApply(rewriter, loc, expr, operands);
  }
  Value toValue(OpFoldResult value) {
    return getValueOrCreateConstantIndexOp(rewriter, loc, value);
  }
  /// Of batch `batch` if each has its own.
  OpFoldResult getOffset();
  bool hasOffsets() {
    return op.getOffset() && isa<RankedTensorType>(op.getOffset().getType());
  }
  /// Whether the batches are problems of their own.
  bool isPerBatch() { return hasOffsets() || !lengths.empty(); }
  Value extractOfBatch(Value tensor);
  /// The rows first, first + modulus, ... of `total`.
  OpFoldResult countRows(OpFoldResult total, OpFoldResult first);
  /// The part of a tensor whose sizes are `sizes` that belongs to one class: of
  /// one batch, if each has an offset of its own.
  struct Part {
    SmallVector<OpFoldResult> offsets, sizes, strides;
  };
  Part getPart(ArrayRef<OpFoldResult> sizes, OpFoldResult first,
               OpFoldResult count, bool isKey);
  Value getClass(Value tensor, OpFoldResult first, OpFoldResult count,
                 bool isKey);

  RewriterBase &rewriter;
  AttentionOp op;
  Location loc;
  /// The mask's lengths, which become symbols.
  SmallVector<unsigned> lengths;
  OpFoldResult numQueries, numKeys;
  /// Sizes and values of the results; the values are what the loops so far have
  /// written.
  SmallVector<OpFoldResult> outSizes, rowSizes;
  SmallVector<Value> results, outputs;
  Packing packing;
  int64_t modulus = 1;
  /// The loop's batch, if it has one.
  Value batch;
};

} // namespace

OpFoldResult Packer::getOffset() {
  switch (op.getAlignment()) {
  case Alignment::Start:
    return rewriter.getIndexAttr(0);
  case Alignment::End:
    return apply(rewriter.getAffineDimExpr(0) - rewriter.getAffineDimExpr(1),
                 {numKeys, numQueries});
  case Alignment::Offset:
    break;
  }
  if (!hasOffsets())
    return getAsOpFoldResult(op.getOffset());
  return extractOfBatch(op.getOffset());
}

/// The batch's element of a 1-d tensor, as an index.
Value Packer::extractOfBatch(Value tensor) {
  Value element = tensor::ExtractOp::create(rewriter, loc, tensor, batch);
  if (!element.getType().isIndex())
    element = arith::IndexCastOp::create(rewriter, loc, rewriter.getIndexType(),
                                         element);
  return element;
}

OpFoldResult Packer::countRows(OpFoldResult total, OpFoldResult first) {
  // Equal classes, however they are numbered.
  if (std::optional<int64_t> known = getConstantIntValue(total);
      known && *known % modulus == 0)
    return rewriter.getIndexAttr(*known / modulus);
  AffineExpr d0 = rewriter.getAffineDimExpr(0),
             d1 = rewriter.getAffineDimExpr(1);
  return apply((d1 - d0).ceilDiv(modulus), {first, total});
}

Packer::Part Packer::getPart(ArrayRef<OpFoldResult> sizes, OpFoldResult first,
                             OpFoldResult count, bool isKey) {
  Part part;
  part.offsets.assign(sizes.size(), rewriter.getIndexAttr(0));
  part.strides.assign(sizes.size(), rewriter.getIndexAttr(1));
  part.sizes.assign(sizes.begin(), sizes.end());
  if (batch) {
    part.offsets[0] = batch;
    part.sizes[0] = rewriter.getIndexAttr(1);
  }
  if (packing.last) {
    // Keys and values have a head for each group of query heads.
    int64_t group = isKey ? op.getGroupSize() : 1;
    part.offsets[1] = rewriter.getIndexAttr(packing.first / group);
    part.sizes[1] =
        rewriter.getIndexAttr((*packing.last - packing.first) / group);
  }
  part.offsets[2] = first;
  part.sizes[2] = count;
  part.strides[2] = rewriter.getIndexAttr(modulus);
  return part;
}

Value Packer::getClass(Value tensor, OpFoldResult first, OpFoldResult count,
                       bool isKey) {
  Part part = getPart(tensor::getMixedSizes(rewriter, loc, tensor), first,
                      count, isKey);
  return tensor::ExtractSliceOp::create(rewriter, loc, tensor, part.offsets,
                                        part.sizes, part.strides);
}

MaskAttr Packer::add(const Packing &part) {
  packing = part;
  modulus = part.modulus;
  batch = Value();
  rewriter.setInsertionPoint(op);
  // Fewer queries than classes: the others have none.
  int64_t numClasses =
      std::min(modulus, getConstantIntValue(numQueries).value_or(modulus));
  SmallVector<OpFoldResult> bounds;
  if (isPerBatch())
    bounds.push_back(rowSizes[0]);
  bounds.push_back(rewriter.getIndexAttr(numClasses));
  auto loop = scf::ForallOp::create(
      rewriter, loc,
      SmallVector<OpFoldResult>(bounds.size(), rewriter.getIndexAttr(0)),
      bounds,
      SmallVector<OpFoldResult>(bounds.size(), rewriter.getIndexAttr(1)),
      outputs, std::nullopt);
  loop->setAttr("attn.residues", rewriter.getI64IntegerAttr(modulus));
  loop->setAttr("attn.mask", rewriter.getStringAttr(packing.mask.str()));

  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointToStart(loop.getBody());
  if (isPerBatch())
    batch = loop.getInductionVar(0);
  OpFoldResult index = loop.getInductionVars().back(), residue = index, shifted;
  OpFoldResult offset = getOffset();
  AffineExpr d0 = rewriter.getAffineDimExpr(0),
             d1 = rewriter.getAffineDimExpr(1);
  std::optional<int64_t> known = getConstantIntValue(offset);
  if (known && *known % modulus == 0) {
    shifted = rewriter.getIndexAttr(*known / modulus);
  } else {
    residue = apply((d0 + d1) % modulus, {index, offset});
    shifted = apply((d0 + d1).floorDiv(modulus), {index, offset});
  }
  OpFoldResult rows = countRows(numQueries, index);
  OpFoldResult keys = countRows(numKeys, residue);
  Value q = getClass(op.getQ(), index, rows, /*isKey=*/false);
  Value k = getClass(op.getK(), residue, keys, /*isKey=*/true);
  Value v = getClass(op.getV(), residue, keys, /*isKey=*/true);

  SmallVector<Value> symbols(op.getSymbols()), used;
  for (unsigned tensor : lengths)
    symbols.push_back(extractOfBatch(op.getMaskData()[tensor]));
  unsigned number = symbols.size();
  symbols.push_back(toValue(residue));
  MaskAttr mask = bindUsedSymbols(
      getResidueClass(packing.mask, modulus, MaskBound::symbol(number)),
      symbols, used);

  auto qType = cast<RankedTensorType>(q.getType());
  SmallVector<int64_t> shape(qType.getShape().drop_back());
  Type lseType = results.size() == 2
                     ? RankedTensorType::get(shape, rewriter.getF32Type())
                     : Type();
  shape.push_back(cast<RankedTensorType>(op.getO().getType()).getDimSize(3));
  AttentionParts parts(op);
  parts.q = q, parts.k = k, parts.v = v;
  parts.symbols.assign(used.begin(), used.end());
  parts.maskData.clear();
  parts.mask = mask;
  parts.offset = toValue(shifted);
  parts.alignment =
      AlignmentAttr::get(rewriter.getContext(), Alignment::Offset);
  auto packed =
      AttentionOp::create(rewriter, loc, qType.clone(shape), lseType, parts);

  rewriter.setInsertionPointToStart(loop.getTerminator().getBody());
  for (auto [number, output] : llvm::enumerate(loop.getRegionIterArgs())) {
    ArrayRef<OpFoldResult> sizes = number == 0 ? outSizes : rowSizes;
    Part part = getPart(sizes, index, rows, /*isKey=*/false);
    tensor::ParallelInsertSliceOp::create(
        rewriter, loc, packed->getResult(number), output, part.offsets,
        part.sizes, part.strides);
  }
  outputs.assign(loop.result_begin(), loop.result_end());
  return mask;
}

void Packer::finish() {
  for (auto [result, output] : llvm::zip_equal(results, outputs))
    rewriter.replaceAllUsesWith(result, output);
  rewriter.eraseOp(op);
}

namespace {
struct AttnPackPass : attn::impl::AttnPackBase<AttnPackPass> {
  using AttnPackBase::AttnPackBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<AttentionOp> ops;
    getOperation().walk([&](AttentionOp op) {
      if (!op->getParentOfType<scf::ForallOp>())
        ops.push_back(op);
    });
    for (AttentionOp op : ops) {
      ScheduleAttr schedule = op.getScheduleAttr();
      SmallVector<Packing, 1> packings =
          getPackings(op, schedule ? schedule.getQTile() : qTile.getValue(),
                      schedule ? schedule.getKvTile() : kvTile.getValue());
      Location loc = op.getLoc();
      if (packings.size() == 1 && packings[0].modulus == 1) {
        if (packings[0].reason) {
          ++numRefused;
          emitRemark(loc) << "the residue classes of mask "
                          << op.getMask().str()
                          << " are not packed: " << packings[0].reason;
        }
        continue;
      }
      Packer packer(rewriter, op);
      for (const Packing &packing : packings) {
        MaskAttr mask = packer.add(packing);
        InFlightDiagnostic remark = emitRemark(loc);
        if (packing.last)
          remark << "heads " << packing.first << " to " << *packing.last - 1
                 << ": ";
        remark << "mask " << packing.mask.str() << " runs as "
               << packing.modulus << " residue classes, each of them "
               << mask.str();
      }
      packer.finish();
      ++numPacked;
    }
  }
};
} // namespace
