//===- Pack.cpp - residue classes as dense problems on strided views ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Constraints.h"
#include "attn/dialect/Score.h"
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

/// Builds what takes the place of one op: for each packing a chain of parts,
/// each of them a loop over its classes or the op itself on fewer keys.
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
    if (op.getLse() && !op.getLse().use_empty())
      results.push_back(op.getLse());
  }

  /// Builds one packing, after those before it. Returns the mask of one class
  /// of each part.
  SmallVector<MaskAttr> add(const Packing &packing);
  /// Replaces the op by what was built.
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
               OpFoldResult count, int64_t firstHead, int64_t numHeads);
  Value getClass(Value tensor, OpFoldResult first, OpFoldResult count,
                 int64_t firstHead, int64_t numHeads);

  /// A tensor without values for each of o and, if wanted, lse.
  SmallVector<Value> makeOutputs(Type elementType, bool withLse,
                                 ArrayRef<OpFoldResult> rows);
  /// Builds a part that continues from `init` (o and lse, or nothing), which
  /// holds the heads from `firstInitHead` on. Fills `into`, whose heads begin
  /// at `firstHead`. Returns the mask of one class.
  MaskAttr addPart(const PackedPart &part, ValueRange init,
                   int64_t firstInitHead, SmallVector<Value> &into,
                   int64_t firstHead);
  /// The part as one op, if it needs no loop; `into` are its results.
  MaskAttr addWhole(const PackedPart &part, ValueRange init, bool isLast,
                    SmallVector<Value> &into);
  /// The part of a score input that belongs to a class.
  Value getScoreInput(Value input, OpFoldResult firstQuery, OpFoldResult rows,
                      OpFoldResult firstKey, OpFoldResult keys);
  /// The heads that this packing is for of one value for each.
  Value getHeads(Value vector);

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
                             OpFoldResult count, int64_t firstHead,
                             int64_t numHeads) {
  Part part;
  part.offsets.assign(sizes.size(), rewriter.getIndexAttr(0));
  part.strides.assign(sizes.size(), rewriter.getIndexAttr(1));
  part.sizes.assign(sizes.begin(), sizes.end());
  if (batch) {
    part.offsets[0] = batch;
    part.sizes[0] = rewriter.getIndexAttr(1);
  }
  if (packing.last) {
    part.offsets[1] = rewriter.getIndexAttr(firstHead);
    part.sizes[1] = rewriter.getIndexAttr(numHeads);
  }
  part.offsets[2] = first;
  part.sizes[2] = count;
  part.strides[2] = rewriter.getIndexAttr(modulus);
  return part;
}

Value Packer::getClass(Value tensor, OpFoldResult first, OpFoldResult count,
                       int64_t firstHead, int64_t numHeads) {
  Part part = getPart(tensor::getMixedSizes(rewriter, loc, tensor), first,
                      count, firstHead, numHeads);
  return tensor::ExtractSliceOp::create(rewriter, loc, tensor, part.offsets,
                                        part.sizes, part.strides);
}

Value Packer::getHeads(Value vector) {
  if (!packing.last)
    return vector;
  return tensor::ExtractSliceOp::create(
      rewriter, loc, vector,
      ArrayRef<OpFoldResult>{rewriter.getIndexAttr(packing.first)},
      ArrayRef<OpFoldResult>{
          rewriter.getIndexAttr(*packing.last - packing.first)},
      ArrayRef<OpFoldResult>{rewriter.getIndexAttr(1)});
}

Value Packer::getScoreInput(Value input, OpFoldResult firstQuery,
                            OpFoldResult rows, OpFoldResult firstKey,
                            OpFoldResult keys) {
  auto type = dyn_cast<RankedTensorType>(input.getType());
  if (!type)
    return input;
  if (type.getRank() == 1)
    return getHeads(input);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, input);
  // Its rows and heads are those of the queries.
  Part part = getPart(sizes, firstQuery, rows, packing.first,
                      packing.last ? *packing.last - packing.first : 0);
  part.offsets[3] = firstKey;
  part.sizes[3] = keys;
  part.strides[3] = rewriter.getIndexAttr(modulus);
  for (unsigned dim = 0; dim < 4; ++dim)
    if (type.getDimSize(dim) == 1) {
      part.offsets[dim] = rewriter.getIndexAttr(0);
      part.sizes[dim] = part.strides[dim] = rewriter.getIndexAttr(1);
    }
  return tensor::ExtractSliceOp::create(rewriter, loc, input, part.offsets,
                                        part.sizes, part.strides);
}

SmallVector<Value> Packer::makeOutputs(Type elementType, bool withLse,
                                       ArrayRef<OpFoldResult> rows) {
  SmallVector<OpFoldResult> sizes(rows);
  sizes.push_back(outSizes.back());
  SmallVector<Value> made = {
      tensor::EmptyOp::create(rewriter, loc, sizes, elementType)};
  if (withLse)
    made.push_back(
        tensor::EmptyOp::create(rewriter, loc, rows, rewriter.getF32Type()));
  return made;
}

MaskAttr Packer::addPart(const PackedPart &part, ValueRange init,
                         int64_t firstInitHead, SmallVector<Value> &into,
                         int64_t firstHead) {
  modulus = part.modulus;
  batch = Value();
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
      SmallVector<OpFoldResult>(bounds.size(), rewriter.getIndexAttr(1)), into,
      std::nullopt);
  loop->setAttr("attn.residues", rewriter.getI64IntegerAttr(modulus));
  loop->setAttr("attn.mask", rewriter.getStringAttr(part.mask.str()));

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
  // Keys and values have a head for each group of query heads.
  int64_t group = packing.last ? op.getGroupSize() : 1;
  int64_t numHeads = packing.last ? *packing.last - packing.first : 0;
  Value q = getClass(op.getQ(), index, rows, packing.first, numHeads);
  auto getKeys = [&](Value tensor) {
    return getClass(tensor, residue, keys, packing.first / group,
                    numHeads / group);
  };
  Value k = getKeys(op.getK()), v = getKeys(op.getV());

  SmallVector<Value> symbols(op.getSymbols()), used;
  for (unsigned tensor : lengths)
    symbols.push_back(extractOfBatch(op.getMaskData()[tensor]));
  unsigned number = symbols.size();
  symbols.push_back(toValue(residue));
  MaskAttr mask = bindUsedSymbols(
      getResidueClass(part.mask, modulus, MaskBound::symbol(number)), symbols,
      used);

  auto qType = cast<RankedTensorType>(q.getType());
  auto outType = cast<RankedTensorType>(into.front().getType());
  SmallVector<int64_t> shape(qType.getShape().drop_back());
  Type lseType = into.size() == 2
                     ? RankedTensorType::get(shape, rewriter.getF32Type())
                     : Type();
  shape.push_back(outType.getDimSize(3));
  AttentionParts parts(op);
  parts.q = q, parts.k = k, parts.v = v;
  if (!init.empty()) {
    parts.initO = getClass(init[0], index, rows, firstInitHead, numHeads);
    parts.initLse = getClass(init[1], index, rows, firstInitHead, numHeads);
  }
  parts.symbols.assign(used.begin(), used.end());
  parts.maskData.clear();
  parts.mask = mask;
  parts.offset = toValue(shifted);
  parts.alignment =
      AlignmentAttr::get(rewriter.getContext(), Alignment::Offset);
  for (Value &input : parts.scoreInputs)
    input = getScoreInput(input, index, rows, residue, keys);
  // A sink is part of what the others continue from.
  if (parts.sinks)
    parts.sinks = init.empty() ? getHeads(parts.sinks) : Value();
  auto packed =
      AttentionOp::create(rewriter, loc, outType.clone(shape), lseType, parts);
  // The region goes on seeing the positions, the heads and the batch of the
  // whole problem.
  rewriter.setInsertionPoint(packed);
  for (ScoreArgument number : {kQuery, kKey})
    remapScoreArgument(packed, number, modulus, toValue(residue));
  if (batch)
    remapScoreArgument(packed, kBatch, 1, batch);
  if (packing.last && packing.first != 0)
    remapScoreArgument(packed, kHead, 1,
                       toValue(rewriter.getIndexAttr(packing.first)));

  rewriter.setInsertionPointToStart(loop.getTerminator().getBody());
  for (auto [number, output] : llvm::enumerate(loop.getRegionIterArgs())) {
    ArrayRef<OpFoldResult> sizes = number == 0 ? outSizes : rowSizes;
    Part part = getPart(sizes, index, rows, firstHead, numHeads);
    tensor::ParallelInsertSliceOp::create(
        rewriter, loc, packed->getResult(number), output, part.offsets,
        part.sizes, part.strides);
  }
  into.assign(loop.result_begin(), loop.result_end());
  return mask;
}

MaskAttr Packer::addWhole(const PackedPart &part, ValueRange init, bool isLast,
                          SmallVector<Value> &into) {
  AttentionParts parts(op);
  SmallVector<Value> used;
  MaskAttr mask = bindUsedSymbols(part.mask, op.getSymbols(), used);
  parts.symbols.assign(used.begin(), used.end());
  parts.mask = mask;
  if (!init.empty())
    parts.initO = init[0], parts.initLse = init[1], parts.sinks = Value();
  auto outType = cast<RankedTensorType>(op.getO().getType());
  if (!isLast)
    outType = outType.clone(rewriter.getF32Type());
  bool withLse = !isLast || results.size() == 2;
  Type lseType = RankedTensorType::get(outType.getShape().drop_back(),
                                       rewriter.getF32Type());
  auto whole = AttentionOp::create(rewriter, loc, outType,
                                   withLse ? lseType : Type(), parts);
  into.assign(whole->result_begin(), whole->result_end());
  return mask;
}

SmallVector<MaskAttr> Packer::add(const Packing &chosen) {
  packing = chosen;
  rewriter.setInsertionPoint(op);
  SmallVector<Value> init;
  if (op.getInitO())
    init = {op.getInitO(), op.getInitLse()};
  int64_t firstInitHead = packing.first;
  SmallVector<MaskAttr> masks;
  for (auto [number, part] : llvm::enumerate(packing.parts)) {
    bool isLast = number + 1 == packing.parts.size();
    if (part.modulus == 1 && !packing.last) {
      SmallVector<Value> made;
      masks.push_back(addWhole(part, init, isLast, made));
      (isLast ? outputs : init) = made;
      continue;
    }
    if (isLast) {
      if (outputs.empty())
        outputs = makeOutputs(getElementTypeOrSelf(op.getO().getType()),
                              results.size() == 2, rowSizes);
      masks.push_back(
          addPart(part, init, firstInitHead, outputs, packing.first));
      continue;
    }
    // What is handed on has the heads of this packing alone.
    SmallVector<OpFoldResult> rows = rowSizes;
    if (packing.last)
      rows[1] = rewriter.getIndexAttr(*packing.last - packing.first);
    SmallVector<Value> made =
        makeOutputs(rewriter.getF32Type(), /*withLse=*/true, rows);
    masks.push_back(addPart(part, init, firstInitHead, made, 0));
    init = made;
    firstInitHead = 0;
  }
  return masks;
}

void Packer::finish() {
  for (auto [result, output] : llvm::zip_equal(results, outputs))
    rewriter.replaceAllUsesWith(result, output);
  rewriter.eraseOp(op);
}

/// Says what became of the op.
static void report(AttentionOp op, const Packing &packing,
                   ArrayRef<MaskAttr> masks) {
  bool isUnion = packing.parts.size() > 1;
  for (auto [number, part] : llvm::enumerate(packing.parts)) {
    InFlightDiagnostic remark = emitRemark(op.getLoc());
    if (packing.last)
      remark << "heads " << packing.first << " to " << *packing.last - 1
             << ": ";
    if (isUnion)
      remark << "part " << number + 1 << " of " << packing.parts.size()
             << " of mask " << packing.mask.str() << ", ";
    else
      remark << "mask ";
    remark << part.mask.str();
    if (isUnion && part.modulus == 1)
      remark << ", runs as it is";
    else
      remark << (isUnion ? ", runs as " : " runs as ") << part.modulus
             << " residue classes, each of them " << masks[number].str();
  }
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
          getPackings(op, schedule ? schedule.getQueries() : qTile.getValue(),
                      schedule ? schedule.getKvTile() : kvTile.getValue());
      if (packings.size() == 1 && !packings[0].isPacked()) {
        if (packings[0].reason) {
          ++numRefused;
          emitRemark(op.getLoc())
              << "the residue classes of mask " << op.getMask().str()
              << " are not packed: " << packings[0].reason;
        }
        continue;
      }
      Packer packer(rewriter, op);
      for (const Packing &packing : packings) {
        report(op, packing, packer.add(packing));
        numParts += packing.parts.size() > 1 ? packing.parts.size() : 0;
      }
      packer.finish();
      ++numPacked;
    }
  }
};
} // namespace
