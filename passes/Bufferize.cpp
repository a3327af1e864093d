//===- Bufferize.cpp - tensors become memrefs, results become arguments ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"

#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Vector/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNBUFFERIZE
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

/// The buffer type of a tensor: free strides and offset, the last dimension
/// contiguous.
static MemRefType getBufferType(TensorType type, Attribute memorySpace) {
  SmallVector<int64_t> strides(type.getRank(), ShapedType::kDynamic);
  if (!strides.empty())
    strides.back() = 1;
  auto layout =
      StridedLayoutAttr::get(type.getContext(), ShapedType::kDynamic, strides);
  return MemRefType::get(type.getShape(), type.getElementType(), layout,
                         memorySpace);
}

/// The operand of the loop that `result` overwrites, if that is an
/// uninitialised tensor; else null. Loops that write parts of one tensor after
/// each other are seen as one: the operand is that of the first.
static OpOperand *getDestination(Value result) {
  auto loop = result.getDefiningOp<scf::ForallOp>();
  if (!loop)
    return nullptr;
  OpOperand *destination = loop.getTiedOpOperand(cast<OpResult>(result));
  if (destination->get().getDefiningOp<scf::ForallOp>())
    return getDestination(destination->get());
  return destination->get().getDefiningOp<tensor::EmptyOp>() ? destination
                                                             : nullptr;
}

/// Results are written to new arguments; the function returns nothing.
static LogicalResult addOutArguments(func::FuncOp function) {
  auto returnOp =
      cast<func::ReturnOp>(function.getBody().front().getTerminator());
  for (auto [index, value] : llvm::enumerate(returnOp.getOperands())) {
    OpOperand *destination = getDestination(value);
    if (!destination)
      return returnOp.emitOpError("internal error: expected result #")
             << index
             << " to come from an scf.forall that writes an uninitialised "
                "tensor";
    Location loc = value.getLoc();
    if (failed(function.insertArgument(function.getNumArguments(),
                                       value.getType(), {}, loc)))
      return failure();
    destination->set(function.getArguments().back());
  }
  returnOp->setOperands({});
  for (unsigned index = function.getNumResults(); index-- > 0;)
    if (failed(function.eraseResult(index)))
      return failure();
  return success();
}

/// Allocates what one loop writes and another one reads. Returns the number of
/// allocations.
static int64_t allocateIntermediates(func::FuncOp function) {
  int64_t count = 0;
  function.walk([&](scf::ForallOp loop) {
    for (Value result : loop.getResults()) {
      OpOperand *destination = getDestination(result);
      if (!destination)
        continue;
      auto empty = destination->get().getDefiningOp<tensor::EmptyOp>();
      OpBuilder builder(loop);
      Location loc = loop.getLoc();
      auto type = cast<RankedTensorType>(empty.getType());
      Value buffer = memref::AllocOp::create(
          builder, loc, MemRefType::get(type.getShape(), type.getElementType()),
          empty.getDynamicSizes());
      buffer =
          memref::CastOp::create(builder, loc, getBufferType(type, {}), buffer);
      destination->set(bufferization::ToTensorOp::create(
          builder, loc, type, buffer, /*restrict=*/true,
          /*writable=*/true));
      ++count;
    }
  });
  return count;
}

/// Whether both are the same part of the same buffer.
static bool isSameBuffer(Value a, Value b) {
  if (a == b)
    return true;
  auto left = a.getDefiningOp<memref::SubViewOp>(),
       right = b.getDefiningOp<memref::SubViewOp>();
  return left && right && isSameBuffer(left.getSource(), right.getSource()) &&
         left.getMixedOffsets() == right.getMixedOffsets() &&
         left.getMixedSizes() == right.getMixedSizes() &&
         left.getMixedStrides() == right.getMixedStrides();
}

namespace {
/// Another way to count the rows of the same memory.
struct SelectRowsBufferization
    : bufferization::BufferizableOpInterface::ExternalModel<
          SelectRowsBufferization, SelectRowsOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const bufferization::AnalysisState &) const {
    return false;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const bufferization::AnalysisState &) const {
    return false;
  }
  bufferization::AliasingValueList
  getAliasingValues(Operation *op, OpOperand &,
                    const bufferization::AnalysisState &) const {
    return {{op->getResult(0), bufferization::BufferRelation::Unknown}};
  }
  FailureOr<bufferization::BufferLikeType>
  getBufferType(Operation *op, Value,
                const bufferization::BufferizationOptions &options,
                const bufferization::BufferizationState &state,
                SmallVector<Value> &invocationStack) const {
    auto select = cast<SelectRowsOp>(op);
    FailureOr<bufferization::BufferLikeType> source =
        bufferization::getBufferType(select.getSource(), options, state,
                                     invocationStack);
    if (failed(source))
      return failure();
    return cast<bufferization::BufferLikeType>(
        Type(cast<MemRefType>(*source).clone(
            cast<ShapedType>(select.getType()).getShape())));
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options,
                          bufferization::BufferizationState &state) const {
    auto select = cast<SelectRowsOp>(op);
    FailureOr<Value> source =
        bufferization::getBuffer(rewriter, select.getSource(), options, state);
    if (failed(source))
      return failure();
    bufferization::replaceOpWithNewBufferizedOp<SelectRowsOp>(
        rewriter, op, *source, select.getFirst(), select.getCount(),
        select.getStep());
    return success();
  }
};

/// Reads its operand.
struct AnyBitBufferization
    : bufferization::BufferizableOpInterface::ExternalModel<AnyBitBufferization,
                                                            AnyBitOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const bufferization::AnalysisState &) const {
    return true;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const bufferization::AnalysisState &) const {
    return false;
  }
  bufferization::AliasingValueList
  getAliasingValues(Operation *, OpOperand &,
                    const bufferization::AnalysisState &) const {
    return {};
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options,
                          bufferization::BufferizationState &state) const {
    auto any = cast<AnyBitOp>(op);
    FailureOr<Value> bits =
        bufferization::getBuffer(rewriter, any.getBits(), options, state);
    if (failed(bits))
      return failure();
    bufferization::replaceOpWithNewBufferizedOp<AnyBitOp>(
        rewriter, op, *bits, any.getColumn(), any.getCount(), any.getValue());
    return success();
  }
};

struct AttnBufferizePass : attn::impl::AttnBufferizeBase<AttnBufferizePass> {
  void getDependentDialects(DialectRegistry &registry) const override {
    AttnBufferizeBase::getDependentDialects(registry);
    arith::registerBufferizableOpInterfaceExternalModels(registry);
    bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(
        registry);
    scf::registerBufferizableOpInterfaceExternalModels(registry);
    tensor::registerBufferizableOpInterfaceExternalModels(registry);
    vector::registerBufferizableOpInterfaceExternalModels(registry);
    registry.addExtension(+[](MLIRContext *context, AttnDialect *) {
      SelectRowsOp::attachInterface<SelectRowsBufferization>(*context);
      AnyBitOp::attachInterface<AnyBitBufferization>(*context);
    });
  }

  /// Erases copies onto themselves; any other copy, and any allocation that was
  /// not planned, is an error.
  LogicalResult checkInPlace(int64_t plannedAllocs) {
    SmallVector<Operation *> dead;
    int64_t allocs = 0;
    WalkResult result = getOperation().walk([&](Operation *op) {
      if (auto copy = dyn_cast<memref::CopyOp>(op)) {
        if (!isSameBuffer(copy.getSource(), copy.getTarget())) {
          op->emitOpError("internal error: bufferization needs this copy");
          return WalkResult::interrupt();
        }
        dead.push_back(op);
      } else if (isa<memref::AllocOp>(op) && ++allocs > plannedAllocs) {
        op->emitOpError("internal error: bufferization needs this allocation");
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    for (Operation *op : dead)
      op->erase();
    return failure(result.wasInterrupted());
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    int64_t allocs = 0;
    module.walk([&](memref::AllocOp) { ++allocs; });
    for (func::FuncOp function : module.getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      unsigned before = function.getNumArguments();
      if (failed(addOutArguments(function)))
        return signalPassFailure();
      numOutArguments += function.getNumArguments() - before;
      int64_t added = allocateIntermediates(function);
      numAllocs += added;
      allocs += added;
    }
    IRRewriter rewriter(&getContext());
    module.walk([&](tensor::EmptyOp op) {
      if (op->use_empty())
        rewriter.eraseOp(op);
    });

    bufferization::OneShotBufferizationOptions options;
    options.bufferizeFunctionBoundaries = true;
    options.functionArgTypeConverterFn =
        [](bufferization::TensorLikeType type, Attribute memorySpace,
           func::FuncOp, const bufferization::BufferizationOptions &) {
          return cast<bufferization::BufferLikeType>(
              getBufferType(cast<TensorType>(type), memorySpace));
        };
    bufferization::BufferizationState state;
    if (failed(
            bufferization::runOneShotModuleBufferize(module, options, state)) ||
        failed(checkInPlace(allocs)))
      return signalPassFailure();
    bufferization::removeBufferizationAttributesInModule(module);
  }
};
} // namespace
