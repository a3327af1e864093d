//===- LowerControl.cpp - loops and branches of a kernel ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Elementwise.h"
#include "attn/codegen/nvptx/KernelLowering.h"
#include "attn/codegen/nvptx/Nvptx.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

LogicalResult KernelLowering::lowerBody(Block &block) {
  for (Operation &op : block.without_terminator()) {
    b.setLoc(op.getLoc());
    if (failed(lowerOp(&op)))
      return failure();
  }
  return success();
}

LogicalResult KernelLowering::lowerOp(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<scf::ForallOp, scf::WhileOp, scf::IfOp, memref::SubViewOp,
            SelectRowsOp, AnyBitOp, memref::LoadOp, SharedOp, LoadAsyncOp,
            StoreOp, vector::TransferReadOp, vector::TransferWriteOp,
            vector::StepOp, vector::MultiDimReductionOp, AbsorbOp,
            vector::ContractionOp, RolesOp, ForItemsOp, BarriersOp, WaitOp,
            ReleaseOp, TensorMapOp, LoadBoxOp, LoadRowsOp, StoreBoxOp,
            StoreWaitOp, WgmmaOp, WgmmaWaitOp, TakeTurnOp, PassTurnOp,
            PublishOp>([&](auto typed) { return lower(typed); })
      .Case<vector::BroadcastOp, vector::ShapeCastOp>(
          [&](auto cast) { return lowerReshape(op, cast.getSource()); })
      .Case([&](NVVM::BarrierOp) {
        b.barrier();
        return success();
      })
      .Case([&](ElectOp elect) {
        scalars[elect.getResult()] = electProducer();
        return success();
      })
      .Case([&](TensorMapsFitOp fit) {
        // Compared where it is needed: not one more value that stays in a
        // register through the loops.
        Value hidden = b.add(tensorMapsFit, b.widen(b.hide(b.i32(0))));
        scalars[fit.getResult()] =
            b.compare(LLVM::ICmpPredicate::ne, hidden, b.i64(0));
        return success();
      })
      .Case<NVVM::CpAsyncWaitGroupOp, NVVM::CpAsyncCommitGroupOp>([&](auto) {
        b.clone(*op);
        return success();
      })
      .Case([&](memref::DimOp dim) -> LogicalResult {
        std::optional<int64_t> index = dim.getConstantIndex();
        auto array = arrays.find(dim.getSource());
        if (!index || array == arrays.end())
          return op->emitOpError(
              "expected a constant dimension of an argument or a slice");
        Value size = array->second.sizes[*index];
        if (inItems)
          size = b.add(size, b.widen(b.hide(b.i32(0))));
        scalars[dim.getResult()] = size;
        return success();
      })
      .Case([&](arith::ConstantOp) { return lowerConstant(op); })
      .Default([&](Operation *other) -> LogicalResult {
        if (isElementwise(other))
          return lowerElementwise(other);
        return other->emitOpError("not expected in a scheduled kernel");
      });
}

//===----------------------------------------------------------------------===//
// Loops and branches
//===----------------------------------------------------------------------===//

/// Lowers what stands before the kernel's loop again, in a way that the
/// optimizer does not see.
LogicalResult KernelLowering::readParameters(scf::ForallOp forall) {
  for (auto [value, parameter] : parameters)
    if (parameter.getType() == b.i64Type)
      scalars[value] = b.add(parameter, b.widen(b.hide(b.i32(0))));
  for (Operation &op :
       llvm::make_range(forall->getBlock()->begin(), forall->getIterator()))
    if (failed(lowerOp(&op)))
      return failure();
  return success();
}

/// How many steps each dimension has, as i32: no grid has more than 2^31 - 1
/// blocks.
FailureOr<SmallVector<Value>>
KernelLowering::countIterations(scf::ForallOp op) {
  auto materialize = [&](OpFoldResult value) {
    std::optional<int64_t> known = getConstantIntValue(value);
    return known ? b.i64(*known) : getScalar(cast<Value>(value));
  };
  SmallVector<Value> counts;
  for (auto [lower, upper, step] :
       llvm::zip_equal(op.getMixedLowerBound(), op.getMixedUpperBound(),
                       op.getMixedStep())) {
    std::optional<int64_t> stepSize = getConstantIntValue(step);
    if (!isConstantIntValue(lower, 0) || !stepSize)
      return op.emitOpError("expected lower bounds of 0 and constant steps");
    Value count = b.add(materialize(upper), b.i64(*stepSize - 1));
    counts.push_back(
        b.narrow(LLVM::UDivOp::create(b, count, b.i64(*stepSize))));
  }
  return counts;
}

/// Iterations are numbered with the last dimension fastest, so that the blocks
/// of one batch and key head run together and share K and V in the L2 cache; or
/// with several combinations of the other dimensions faster than the last one,
/// and groups of these slowest. The last dimension, the query tiles, counts
/// down unless attn-tile says otherwise: the longest come first.
LogicalResult KernelLowering::decode(const Iterations &iterations,
                                     Value number) {
  scf::ForallOp op = iterations.forall;
  FailureOr<SmallVector<Value>> counts = countIterations(op);
  if (failed(counts))
    return failure();
  auto divide = [&](Value a, Value by) -> std::pair<Value, Value> {
    Value quotient = LLVM::UDivOp::create(b, a, by);
    return {quotient, b.sub(a, b.mul(quotient, by))};
  };
  int64_t last = op.getRank() - 1;
  Value numTiles = counts->back(), tile, rest;
  if (last == 0) {
    tile = number;
  } else if (iterations.heads) {
    Value outer = counts->front();
    for (Value count : ArrayRef(*counts).slice(1, last - 1))
      outer = b.mul(outer, count);
    Value together = b.minSigned(b.narrow(getScalar(iterations.heads)), outer);
    auto [group, inGroup] = divide(number, b.mul(together, numTiles));
    Value first = b.mul(group, together);
    auto [slow, fast] =
        divide(inGroup, b.minSigned(together, b.sub(outer, first)));
    tile = slow;
    rest = b.add(first, fast);
  } else {
    std::tie(rest, tile) = divide(number, numTiles);
  }
  if (!op->hasAttr("attn.ascending"))
    tile = b.sub(b.sub(numTiles, b.i32(1)), tile);
  for (int64_t dim = last; dim >= 0; --dim) {
    Value index = tile;
    if (dim == 0 && last != 0)
      index = rest;
    else if (dim != last)
      std::tie(rest, index) = divide(rest, (*counts)[dim]);
    int64_t stepSize = *getConstantIntValue(op.getMixedStep()[dim]);
    scalars[iterations.coordinates[dim]] =
        b.mul(b.widen(index), b.i64(stepSize));
  }
  return success();
}

/// A loop over tiles, or a branch around some.
static bool carriesTiles(Operation &op) {
  return isa<scf::WhileOp, scf::IfOp>(op) &&
         llvm::any_of(op.getResultTypes(), llvm::IsaPred<VectorType>);
}

/// What the ops after the tile loops need of the block's coordinates, of slices
/// and of sizes is computed again for them: it would else stay in registers
/// through the loops.
LogicalResult KernelLowering::lower(scf::ForallOp op) {
  blockIndex = NVVM::BlockIdXOp::create(b, b.i32Type);
  Iterations iterations{op, op.getInductionVars()};
  bool isPersistent = op->getParentOp()->hasAttr("attn.persistent");
  if (!isPersistent && failed(decode(iterations, blockIndex)))
    return failure();
  return lowerProgram(iterations, blockIndex,
                      op.getBody()->without_terminator());
}

/// Lowers `ops`, those of iteration `number` or of a role in it.
LogicalResult
KernelLowering::lowerProgram(const Iterations &iterations, Value number,
                             llvm::iterator_range<Block::iterator> ops) {
  auto tileLoops = llvm::make_filter_range(ops, carriesTiles);
  auto lowerAll = [&](auto range) {
    for (Operation &inner : range) {
      b.setLoc(inner.getLoc());
      if (failed(lowerOp(&inner)))
        return failure();
    }
    return success();
  };
  if (tileLoops.empty())
    return lowerAll(ops);
  Operation *lastLoop = nullptr;
  for (Operation &loop : tileLoops)
    lastLoop = &loop;
  auto epilogue =
      llvm::make_range(std::next(lastLoop->getIterator()), ops.end());
  if (failed(lowerAll(llvm::make_range(ops.begin(), epilogue.begin()))) ||
      (inItems && failed(readParameters(iterations.forall))) ||
      failed(decode(iterations, b.shuffleXor(number, 0))))
    return failure();

  llvm::SmallPtrSet<Operation *, 16> needed;
  SmallVector<Operation *> worklist;
  for (Operation &op : epilogue)
    op.walk([&](Operation *inner) { worklist.push_back(inner); });
  while (!worklist.empty())
    for (Value operand : worklist.pop_back_val()->getOperands()) {
      Operation *source = operand.getDefiningOp();
      if (source && source->getBlock() == lastLoop->getBlock() &&
          source->isBeforeInBlock(lastLoop) && isMemoryEffectFree(source) &&
          !isa<VectorType>(operand.getType()) && source->getNumRegions() == 0 &&
          needed.insert(source).second)
        worklist.push_back(source);
    }
  auto again = llvm::make_filter_range(
      ops, [&](Operation &inner) { return needed.contains(&inner); });
  return failed(lowerAll(again)) ? failure() : lowerAll(epilogue);
}

/// Whether a lane may keep `value`, one f32 of each row, as its part of a sum
/// over the four lanes of the row: it comes from a sum along the row and is
/// used linearly on the way.
bool KernelLowering::isPartial(Value value, SmallPtrSetImpl<Value> &visited) {
  auto type = dyn_cast<VectorType>(value.getType());
  if (!type || type.getRank() != 1 || !type.getElementType().isF32() ||
      !visited.insert(value).second)
    return false;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto loop = dyn_cast<scf::WhileOp>(argument.getOwner()->getParentOp());
    return loop &&
           isPartial(loop.getYieldOp().getOperand(argument.getArgNumber()),
                     visited);
  }
  unsigned number = cast<OpResult>(value).getResultNumber();
  return llvm::TypeSwitch<Operation *, bool>(value.getDefiningOp())
      .Case([&](vector::MultiDimReductionOp op) {
        return op.getKind() == vector::CombiningKind::ADD;
      })
      .Case([&](scf::WhileOp loop) {
        return isPartial(loop.getYieldOp().getOperand(number), visited);
      })
      .Case([&](scf::IfOp choice) {
        return isPartial(choice.thenYield().getOperand(number), visited);
      })
      .Case([&](math::FmaOp op) { return isPartial(op.getC(), visited); })
      .Case([&](arith::AddFOp op) {
        return isPartial(op.getLhs(), visited) ||
               isPartial(op.getRhs(), visited);
      })
      .Default(false);
}

/// How a loop carries a vector; `value` is what its body yields.
Layout KernelLowering::getCarriedLayout(Value value, bool &partial) {
  SmallPtrSet<Value, 8> visited;
  partial = isPartial(value, visited);
  auto type = cast<VectorType>(value.getType());
  if (type.getRank() == 1)
    return Layout::Row;
  return type.getElementTypeBitWidth() == 16 ? Layout::Packed : Layout::Tile;
}

SmallVector<Type> KernelLowering::getCarriedTypes(Value value) {
  auto type = dyn_cast<VectorType>(value.getType());
  if (!type)
    return {getScalarType(value.getType())};
  int64_t count = 2 * b.shape.getRowFragments();
  if (type.getRank() == 2 && type.getElementTypeBitWidth() == 16)
    return SmallVector<Type>(count * getNumN(type), b.i32Type);
  if (type.getRank() == 2)
    count *= 2 * getNumN(type);
  return SmallVector<Type>(count, getScalarType(type));
}

/// Appends the elements of `value` in the layout in which the loop carries it;
/// `like` is what its body yields.
void KernelLowering::appendCarried(Value value, Value like,
                                   SmallVectorImpl<Value> &values) {
  auto type = dyn_cast<VectorType>(value.getType());
  if (!type) {
    values.push_back(getScalar(value));
    return;
  }
  bool partial;
  Layout layout = getCarriedLayout(like, partial);
  TileValue tile = getTile(value, /*whole=*/!partial);
  int64_t numRows = b.shape.getRowFragments();
  if (layout == Layout::Row) {
    // Parts of a value that is whole: lane 0 of the row has all of it.
    bool split =
        partial && !tile.partial && !matchPattern(value, m_AnyZeroFloat());
    Value first = split
                      ? b.compare(LLVM::ICmpPredicate::eq, b.quadLane, b.i32(0))
                      : Value();
    for (int64_t row = 0; row < 2 * numRows; ++row) {
      Value element = tile.at(row / 2, 0, 1, 2 * (row % 2));
      values.push_back(split ? b.select(first, element, b.f32(0.0f)) : element);
    }
    return;
  }
  if (layout == Layout::Packed) {
    llvm::append_range(values, tile.elements);
    return;
  }
  for (int64_t i = 0; i < numRows; ++i)
    for (int64_t n = 0; n < getNumN(type); ++n)
      for (int64_t c = 0; c < 4; ++c)
        values.push_back(tile.at(i, n, getNumN(type), c));
}

/// Takes the elements of `target` off the front of `values`.
void KernelLowering::takeCarried(Value target, ValueRange &values, Value like) {
  size_t count = getCarriedTypes(target).size();
  if (auto type = dyn_cast<VectorType>(target.getType())) {
    TileValue &tile = tiles[target];
    tile.layout = getCarriedLayout(like, tile.partial);
    tile.elements.assign(values.begin(), values.begin() + count);
  } else {
    scalars[target] = values.front();
  }
  values = values.drop_front(count);
}

LogicalResult KernelLowering::lower(scf::WhileOp op) {
  scf::ConditionOp condition = op.getConditionOp();
  ValueRange yielded = op.getYieldOp().getOperands();
  SmallVector<Value> inits;
  SmallVector<Type> types;
  for (auto [init, value] : llvm::zip_equal(op.getInits(), yielded)) {
    appendCarried(init, value, inits);
    llvm::append_range(types, getCarriedTypes(init));
  }
  Block *header = b.createBlockAfter(types);
  b.branch(header, inits);
  b.setInsertionPointToStart(header);
  ValueRange arguments = header->getArguments();
  for (auto [argument, value] :
       llvm::zip_equal(op.getBeforeArguments(), yielded))
    takeCarried(argument, arguments, value);
  if (failed(lowerBody(*op.getBeforeBody())))
    return failure();
  for (auto [passed, argument, result] : llvm::zip_equal(
           condition.getArgs(), op.getAfterArguments(), op.getResults()))
    for (Value target : {Value(argument), Value(result)}) {
      if (isa<VectorType>(target.getType()))
        tiles[target] = getTile(passed, /*whole=*/false);
      else
        scalars[target] = getScalar(passed);
    }
  Block *headerEnd = b.getInsertionBlock();
  Block *body = b.createBlockAfter();
  b.setInsertionPointToStart(body);
  if (failed(lowerBody(*op.getAfterBody())))
    return failure();
  SmallVector<Value> next;
  for (Value value : yielded)
    appendCarried(value, value, next);
  b.branch(header, next);
  Block *exit = b.createBlockAfter();
  b.setInsertionPointToEnd(headerEnd);
  b.branchIf(getScalar(condition.getCondition()), body, exit);
  b.setInsertionPointToEnd(exit);
  if (carriesTiles(*op))
    startPhase(b.thread);
  return success();
}

LogicalResult KernelLowering::lower(scf::IfOp op) {
  bool hasTiles = carriesTiles(*op);
  OperandRange yielded = op.thenYield().getOperands();
  SmallVector<Type> types;
  for (Value result : op.getResults())
    llvm::append_range(types, getCarriedTypes(result));
  // Each branch and what follows are phases of their own: with tiles there are
  // loops in the branches.
  Value thread = b.thread;
  if (hasTiles)
    types.push_back(thread.getType());
  Block *origin = b.getInsertionBlock();
  Block *merge = b.createBlockAfter(types);
  auto branch = [&](Region &region) -> FailureOr<Block *> {
    if (region.empty())
      return merge;
    Block *block = b.createBlockAfter();
    b.setInsertionPointToStart(block);
    if (hasTiles)
      startPhase(thread);
    if (failed(lowerBody(region.front())))
      return failure();
    SmallVector<Value> values;
    for (auto [value, like] : llvm::zip_equal(
             region.front().getTerminator()->getOperands(), yielded))
      appendCarried(value, like, values);
    if (hasTiles)
      values.push_back(b.thread);
    b.branch(merge, values);
    return block;
  };
  FailureOr<Block *> first = branch(op.getThenRegion()),
                     second = branch(op.getElseRegion());
  if (failed(first) || failed(second))
    return failure();
  b.setInsertionPointToEnd(origin);
  b.branchIf(getScalar(op.getCondition()), *first, *second);
  merge->moveBefore(merge->getParent(), merge->getParent()->end());
  b.setInsertionPointToStart(merge);
  ValueRange arguments = merge->getArguments();
  for (auto [result, like] : llvm::zip_equal(op.getResults(), yielded))
    takeCarried(result, arguments, like);
  if (hasTiles)
    startPhase(arguments.front());
  return success();
}
