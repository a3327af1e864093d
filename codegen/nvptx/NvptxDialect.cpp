//===- NvptxDialect.cpp - the attn_nvptx dialect ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Nvptx.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

#include "attn/codegen/nvptx/NvptxDialect.cpp.inc"

#define GET_OP_CLASSES
#include "attn/codegen/nvptx/NvptxOps.cpp.inc"

void NvptxDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "attn/codegen/nvptx/NvptxOps.cpp.inc"
      >();
}

int64_t nvptx::getRows(MemRefType buffer) {
  return buffer.getDimSize(buffer.getRank() - 2);
}

int64_t nvptx::getColumns(MemRefType buffer) {
  return buffer.getDimSize(buffer.getRank() - 1) *
         (buffer.getRank() == 4 ? buffer.getDimSize(1) : 1);
}

static LogicalResult verifyCopy(Operation *op, MemRefType global,
                                MemRefType shared, int64_t heads) {
  if (heads < 1 || getRows(shared) % heads != 0 ||
      (heads > 1 && (global.isDynamicDim(1) || global.getDimSize(1) > heads)))
    return op->emitOpError("expected heads that divide the ")
           << getRows(shared)
           << " rows of the buffer, and not fewer than those of the slice, "
              "found "
           << heads << " and " << global;
  if (global.getElementType() != shared.getElementType())
    return op->emitOpError("expected one element type, found ")
           << global.getElementType() << " and " << shared.getElementType();
  bool isPanelled = shared.getRank() == 4;
  int64_t width = shared.hasStaticShape() ? shared.getShape().back() : 0;
  if (isPanelled && width != 32 && width != 64)
    return op->emitOpError("expected a buffer of static shape with panels of "
                           "32 or 64 columns, found ")
           << shared;
  int64_t multiple = shared.getElementType().isF32() ? 32 : 16;
  if (width == 0 || width % multiple != 0)
    return op->emitOpError("expected a buffer of static shape with columns in "
                           "multiples of ")
           << multiple << ", found " << shared;
  if (global.isDynamicDim(3) || global.getDimSize(3) > getColumns(shared))
    return op->emitOpError("expected a slice of at most ")
           << getColumns(shared) << " columns, found " << global;
  return success();
}

LogicalResult LoadAsyncOp::verify() {
  return verifyCopy(*this, getSource().getType(), getTarget().getType(),
                    getHeads());
}

LogicalResult StoreOp::verify() {
  return verifyCopy(*this, getTarget().getType(), getSource().getType(),
                    getHeads());
}

LogicalResult AbsorbOp::verify() {
  auto acc = cast<VectorType>(getAcc().getType());
  MemRefType tile = getTile().getType();
  auto live = getLive() ? cast<VectorType>(getLive().getType()) : VectorType();
  bool fits = tile.hasStaticShape() && acc.getDimSize(1) <= getColumns(tile);
  if (fits && live)
    fits = live.getDimSize(0) == acc.getDimSize(0) &&
           live.getDimSize(1) == getRows(tile);
  if (fits)
    return success();
  InFlightDiagnostic diagnostic =
      emitOpError("expected an accumulator of m x d, a tile of n x d and live "
                  "pairs of m x n, found ")
      << acc << " and " << tile;
  if (live)
    diagnostic << " and " << live;
  return diagnostic;
}

LogicalResult LoadRowsOp::verify() {
  return verifyCopy(*this, getSource().getType(), getTarget().getType(),
                    getHeads());
}

LogicalResult LoadBoxOp::verify() {
  bool isSelected = static_cast<bool>(getNumber());
  if (getCount().has_value() != isSelected ||
      getStep().has_value() != isSelected)
    return emitOpError("expected the number of a selected row, a count and a "
                       "step, or none of them");
  if (isSelected && (*getCount() < 1 || *getStep() < *getCount()))
    return emitOpError("expected a count of at least 1 and a step of at least "
                       "that, found ")
           << *getCount() << " and " << *getStep();
  return success();
}

LogicalResult StoreBoxOp::verify() {
  std::optional<int64_t> present = getPresent(), heads = getHeads();
  if (present.has_value() != heads.has_value())
    return emitOpError("expected the heads that are present and all heads, or "
                       "neither");
  if (!heads)
    return success();
  int64_t rows = getRows(getSource().getType());
  int64_t queries = *heads < 1 || rows % *heads != 0 ? 0 : rows / *heads;
  if (*present < 1 || *present > *heads || queries == 0 ||
      (queries % 16 != 0 &&
       (16 % queries != 0 || *present % (16 / queries) != 0)))
    return emitOpError("expected heads such that the 16 rows of a warp are of "
                       "one, or all those of some that are present, found ")
           << *present << " of " << *heads << " in " << rows << " rows";
  return success();
}

LogicalResult ForItemsOp::verifyRegions() {
  auto forall = (*this)->getParentOfType<scf::ForallOp>();
  size_t rank = forall ? forall.getRank() : 0, carried = getInits().size();
  auto next = dyn_cast<NextOp>(getBlock().getTerminator());
  if (!forall || getBlock().getNumArguments() != rank + 1 + carried || !next ||
      next.getValues().size() != carried)
    return emitOpError("expected to be in an scf.forall, with an argument for "
                       "each of its dimensions, the round and each carried "
                       "value, which attn_nvptx.next hands on");
  return success();
}

LogicalResult TensorMapOp::verify() {
  if (bool(getResidue()) != getModulus().has_value() ||
      getModulus().value_or(2) < 2)
    return emitOpError("expected a residue and a modulus of at least 2, or "
                       "neither");
  return success();
}

LogicalResult WgmmaOp::verify() {
  auto result = cast<VectorType>(getResult().getType());
  MemRefType right = getRhs().getType();
  auto left = cast<ShapedType>(getLhs().getType());
  if (!right.hasStaticShape() || !left.hasStaticShape())
    return emitOpError("expected operands of static shape");
  auto buffer = dyn_cast<MemRefType>(left);
  int64_t rows = buffer ? getRows(buffer) : left.getDimSize(0),
          columns = buffer ? getColumns(buffer) : left.getDimSize(1);
  int64_t depth = getDepth(), n = result.getDimSize(1);
  int64_t rightDepth = getTransposed() ? getRows(right) : getColumns(right),
          rightN = getTransposed() ? getColumns(right) : getRows(right);
  if (getAcc() && getAcc().getType() != result)
    return emitOpError("expected an accumulator of type ")
           << result << ", found " << getAcc().getType();
  if (rows != result.getDimSize(0) || rows % 64 != 0 || n % 8 != 0 ||
      n > rightN || depth < 1 || depth > columns || depth > rightDepth)
    return emitOpError("expected m x k and n x k, or k x n, into m x n, with m "
                       "a multiple of 64 and the depth at most k, found ")
           << left << ", " << right << ", depth " << depth << " into "
           << result;
  return success();
}
