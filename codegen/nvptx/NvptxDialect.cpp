//===- NvptxDialect.cpp - the attn_nvptx dialect ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Nvptx.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
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

static LogicalResult verifyCopy(Operation *op, MemRefType global,
                                MemRefType shared) {
  if (global.getElementType() != shared.getElementType())
    return op->emitOpError("expected one element type, found ")
           << global.getElementType() << " and " << shared.getElementType();
  int64_t multiple = shared.getElementType().isF32() ? 32 : 16;
  if (!shared.hasStaticShape() || shared.getDimSize(2) % multiple != 0)
    return op->emitOpError("expected a buffer of static shape with columns in "
                           "multiples of ")
           << multiple << ", found " << shared;
  if (global.isDynamicDim(3) || global.getDimSize(3) > shared.getDimSize(2))
    return op->emitOpError("expected a slice of at most ")
           << shared.getDimSize(2) << " columns, found " << global;
  return success();
}

LogicalResult LoadAsyncOp::verify() {
  return verifyCopy(*this, getSource().getType(), getTarget().getType());
}

LogicalResult StoreOp::verify() {
  return verifyCopy(*this, getTarget().getType(), getSource().getType());
}

LogicalResult AbsorbOp::verify() {
  auto acc = cast<VectorType>(getAcc().getType());
  MemRefType tile = getTile().getType();
  auto live = getLive() ? cast<VectorType>(getLive().getType()) : VectorType();
  bool fits = tile.hasStaticShape() && acc.getDimSize(1) <= tile.getDimSize(2);
  if (fits && live)
    fits = live.getDimSize(0) == acc.getDimSize(0) &&
           live.getDimSize(1) == tile.getDimSize(1);
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
