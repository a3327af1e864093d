//===- Outline.cpp - one function for each kernel ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNOUTLINE
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

namespace {

/// What a loop uses from outside: arguments for its kernel, and scalar ops to
/// repeat inside, operands first.
struct Captures {
  llvm::SetVector<Value> inputs, scalars, outputs;
  llvm::SetVector<Operation *> repeated;

  SmallVector<Value> getArguments() const {
    SmallVector<Value> arguments;
    for (Value input : inputs)
      if (!outputs.contains(input))
        arguments.push_back(input);
    llvm::append_range(arguments, scalars);
    llvm::append_range(arguments, outputs);
    return arguments;
  }

  LogicalResult capture(Value value) {
    if (isa<MemRefType>(value.getType())) {
      inputs.insert(value);
      return success();
    }
    Operation *op = value.getDefiningOp();
    if (!op) {
      scalars.insert(value);
      return success();
    }
    if (repeated.contains(op))
      return success();
    if (!isPure(op) || op->getNumRegions() != 0)
      return op->emitOpError("internal error: a kernel uses this value, which "
                             "cannot be computed in it");
    for (Value operand : op->getOperands())
      if (failed(capture(operand)))
        return failure();
    repeated.insert(op);
    return success();
  }
};

} // namespace

static FailureOr<Captures> getCaptures(scf::ForallOp loop) {
  Captures captures;
  auto isOutside = [&](Value value) {
    return !loop->isAncestor(value.getParentRegion()->getParentOp());
  };
  WalkResult result =
      loop.getRegion().walk<WalkOrder::PreOrder>([&](Operation *op) {
        for (Value operand : op->getOperands())
          if (isOutside(operand) && failed(captures.capture(operand)))
            return WalkResult::interrupt();
        if (auto write = dyn_cast<vector::TransferWriteOp>(op)) {
          Value base = write.getBase();
          while (auto view = base.getDefiningOp<memref::SubViewOp>())
            base = view.getSource();
          if (isOutside(base))
            captures.outputs.insert(base);
        }
        return WalkResult::advance();
      });
  if (result.wasInterrupted())
    return failure();
  for (Value operand : loop->getOperands())
    if (failed(captures.capture(operand)))
      return failure();
  return captures;
}

/// Moves the loop into a function named `name` after `function`, and calls that
/// instead.
static LogicalResult outline(scf::ForallOp loop, func::FuncOp function,
                             Operation *previous, SymbolTable &symbols,
                             const Twine &name) {
  FailureOr<Captures> captures = getCaptures(loop);
  if (failed(captures))
    return failure();
  Location loc = loop.getLoc();
  SmallVector<Value> arguments = captures->getArguments();
  OpBuilder builder(loop.getContext());
  auto kernel = func::FuncOp::create(
      builder, loc, name.str(),
      builder.getFunctionType(TypeRange(ValueRange(arguments)), {}));
  kernel.setPrivate();
  kernel->setAttr("attn.kernel", builder.getUnitAttr());
  loop->removeAttr("attn.num_keys");
  for (StringRef attribute : {"attn.schedule", "attn.mask"})
    if (Attribute value = loop->removeAttr(attribute))
      kernel->setAttr(attribute, value);
  symbols.insert(kernel, std::next(Block::iterator(previous)));

  builder.setInsertionPoint(loop);
  func::CallOp::create(builder, loc, kernel, arguments);

  Block *body = kernel.addEntryBlock();
  builder.setInsertionPointToStart(body);
  IRMapping mapping;
  mapping.map(arguments, body->getArguments());
  for (Operation *op : captures->repeated)
    builder.clone(*op, mapping);
  auto returnOp = func::ReturnOp::create(builder, loc);
  loop->moveBefore(returnOp);
  loop->walk([&](Operation *op) {
    for (OpOperand &operand : op->getOpOperands())
      if (Value mapped = mapping.lookupOrNull(operand.get()))
        operand.set(mapped);
  });
  return success();
}

/// Erases the scalar arithmetic that only kernels used.
static void eraseDeadOps(func::FuncOp function) {
  for (Operation &op :
       llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
    if (isOpTriviallyDead(&op))
      op.erase();
}

namespace {
struct AttnOutlinePass : attn::impl::AttnOutlineBase<AttnOutlinePass> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    for (func::FuncOp function :
         llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      if (function.isExternal() || function->hasAttr("attn.kernel"))
        continue;
      Operation *previous = function;
      for (auto [index, loop] : llvm::enumerate(
               llvm::to_vector(function.getBody().getOps<scf::ForallOp>()))) {
        if (loop.getNumResults() != 0) {
          loop.emitOpError(
              "expected a loop over memrefs, found results of type ")
              << loop.getResultTypes() << "; attn-bufferize comes first";
          return signalPassFailure();
        }
        if (failed(outline(loop, function, previous, symbols,
                           function.getName() + "_" + Twine(index))))
          return signalPassFailure();
        previous = previous->getNextNode();
        ++numKernels;
      }
      eraseDeadOps(function);
    }
  }
};
} // namespace
