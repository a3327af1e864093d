//===- CheckInput.cpp - refuses what the pipeline does not compile ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/mask/MaskAnalysis.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNCHECKINPUT
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

static bool isScalar(Type type) { return type.isIntOrIndexOrFloat(); }

static bool isScalarOp(Operation *op) {
  return op->getNumRegions() == 0 &&
         llvm::all_of(op->getOperandTypes(), isScalar) &&
         llvm::all_of(op->getResultTypes(), isScalar) &&
         isa_and_nonnull<arith::ArithDialect, affine::AffineDialect,
                         index::IndexDialect>(op->getDialect());
}

static LogicalResult checkReturn(func::ReturnOp op) {
  llvm::SmallDenseMap<Value, unsigned> seen;
  for (auto [index, value] : llvm::enumerate(op.getOperands())) {
    if (!isa<RankedTensorType>(value.getType()))
      return op.emitOpError(
                 "expected only tensors to be returned, found result #")
             << index << " of type " << value.getType();
    auto [position, isNew] = seen.try_emplace(value, index);
    if (!isNew)
      return op.emitOpError("result #")
             << index << " is the same value as result #" << position->second
             << "; return it once and let the caller use it twice";
    if (value.getDefiningOp<AttentionOp>())
      continue;
    InFlightDiagnostic diagnostic =
        op.emitOpError("expected result #")
        << index << " to be a result of attn.attention, found "
        << (isa<BlockArgument>(value) ? "an argument" : "another value")
        << "; no kernel would write it";
    diagnostic.attachNote(value.getLoc()) << "the value is defined here";
    return diagnostic;
  }
  return success();
}

/// The mask on the heads, positions and keys that the types leave.
static MaskAttr getMaskOnGrid(AttentionOp op) {
  constexpr int64_t unbounded = int64_t(1) << 40;
  auto q = cast<RankedTensorType>(op.getQ().getType());
  auto k = cast<RankedTensorType>(op.getK().getType());
  auto bound = [](bool isDynamic, int64_t value) {
    return isDynamic ? MaskBound::infinity() : MaskBound::constant(value);
  };
  auto range = [&](MaskKind kind, int64_t lower, MaskBound upper) {
    return MaskAttr::getAtom(op.getContext(), kind,
                             {MaskBound::constant(lower), upper});
  };
  int64_t numQueries = q.getDimSize(2), numKeys = k.getDimSize(2);
  SmallVector<MaskAttr> parts = {
      op.getMask(),
      range(MaskKind::Keys, 0, bound(k.isDynamicDim(2), numKeys))};
  if (!op.getHead())
    parts.push_back(
        range(MaskKind::Heads, 0, bound(q.isDynamicDim(1), q.getDimSize(1))));
  if (op.getAlignment() == Alignment::Start)
    parts.push_back(
        range(MaskKind::Queries, 0, bound(q.isDynamicDim(2), numQueries)));
  else if (op.getAlignment() == Alignment::End && !k.isDynamicDim(2))
    parts.push_back(range(MaskKind::Queries,
                          q.isDynamicDim(2) ? -unbounded : numKeys - numQueries,
                          MaskBound::constant(numKeys)));
  return MaskAttr::getAnd(parts);
}

/// Zeros are a legal result, but nobody writes an attention for them.
static void warnIfNothingIsLive(AttentionOp op) {
  if (cast<RankedTensorType>(op.getK().getType()).getDimSize(2) == 0)
    return;
  MaskAttr none = MaskAttr::getNot(MaskAttr::getAll(op.getContext()));
  if (!isSubset(getMaskOnGrid(op), none).value_or(false))
    return;
  op.emitWarning("no query has a live key: every row of o is 0 and of lse -inf")
          .attachNote()
      << "the mask is '" << op.getMask().str() << "', the alignment is "
      << stringifyAlignment(op.getAlignment());
}

namespace {
struct AttnCheckInputPass : attn::impl::AttnCheckInputBase<AttnCheckInputPass> {
  LogicalResult checkOp(Operation *op) {
    if (auto attention = dyn_cast<AttentionOp>(op)) {
      ++numAttention;
      for (Value operand : op->getOperands())
        if (operand.getDefiningOp<tensor::EmptyOp>()) {
          InFlightDiagnostic diagnostic =
              attention.emitOpError("reads an uninitialised tensor");
          diagnostic.attachNote(operand.getLoc()) << "it is made here";
          return diagnostic;
        }
      warnIfNothingIsLive(attention);
      return success();
    }
    if (auto returnOp = dyn_cast<func::ReturnOp>(op))
      return checkReturn(returnOp);
    if (isa<tensor::EmptyOp, tensor::DimOp>(op) || isScalarOp(op))
      return success();
    if (isa<arith::ConstantOp>(op) &&
        isa<ShapedType>(op->getResultTypes()[0])) {
      InFlightDiagnostic diagnostic = op->emitOpError(
          "is a tensor, and kernels hold none: expected an argument of the "
          "function in its place, for which the caller passes the values");
      for (OpOperand &use : op->getUses())
        diagnostic.attachNote(use.getOwner()->getLoc())
            << "operand #" << use.getOperandNumber() << " of "
            << use.getOwner()->getName() << " reads it here";
      return diagnostic;
    }
    return op->emitOpError(
        "cannot be compiled here; a function may hold attn.attention, "
        "tensor.empty, tensor.dim, "
        "constants and arith, affine and index ops on scalars, and return");
  }

  void runOnOperation() override {
    for (func::FuncOp function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      ++numFunctions;
      if (!function.getBody().hasOneBlock()) {
        function.emitOpError("expected straight-line code, found ")
            << function.getBody().getBlocks().size() << " blocks";
        return signalPassFailure();
      }
      for (Operation &op : function.getBody().front())
        if (failed(checkOp(&op)))
          return signalPassFailure();
    }
  }
};
} // namespace
