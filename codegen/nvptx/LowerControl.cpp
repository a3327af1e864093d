//===- LowerControl.cpp - loops, branches and copies of a kernel ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Elementwise.h"
#include "attn/codegen/nvptx/KernelLowering.h"
#include "attn/codegen/nvptx/Nvptx.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

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

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

LogicalResult KernelLowering::lower(memref::SubViewOp op) {
  auto source = arrays.find(op.getSource());
  if (source == arrays.end() ||
      op.getType().getRank() != op.getSourceType().getRank() ||
      llvm::any_of(op.getStaticStrides(), ShapedType::isDynamic))
    return op.emitOpError("expected a slice of an argument with constant steps "
                          "and all dimensions");
  const GlobalArray &array = source->second;
  auto materialize = [&](OpFoldResult value) {
    std::optional<int64_t> known = getConstantIntValue(value);
    return known ? b.i64(*known) : getScalar(cast<Value>(value));
  };
  GlobalArray slice;
  for (auto [step, stride] :
       llvm::zip_equal(op.getStaticStrides(), array.strides))
    slice.strides.push_back(step == 1 ? stride : b.mul(stride, b.i64(step)));
  Value offset;
  for (auto [position, stride] :
       llvm::zip_equal(op.getMixedOffsets(), array.strides)) {
    if (isConstantIntValue(position, 0))
      continue;
    Value part = b.mul(materialize(position), stride);
    offset = offset ? b.add(offset, part) : part;
  }
  int64_t elementBytes =
      std::max<int64_t>(op.getType().getElementTypeBitWidth() / 8, 1);
  slice.base = offset
                   ? b.advance(array.base, b.mul(offset, b.i64(elementBytes)))
                   : array.base;
  for (OpFoldResult size : op.getMixedSizes())
    slice.sizes.push_back(materialize(size));
  if (op.getType().getRank() == 4) {
    Value address = LLVM::PtrToIntOp::create(b, b.i64Type, slice.base);
    Value rowBytes = b.mul(slice.strides[2], b.i64(elementBytes));
    slice.aligned =
        b.compare(LLVM::ICmpPredicate::eq,
                  b.andBits(b.orBits(address, rowBytes), b.i64(15)), b.i64(0));
  }
  arrays[op.getResult()] = std::move(slice);
  return success();
}

LogicalResult KernelLowering::lower(SelectRowsOp op) {
  auto source = arrays.find(op.getSource());
  if (source == arrays.end() || source->second.selection)
    return op.emitOpError("expected the rows of a slice of an argument");
  GlobalArray rows = source->second;
  int64_t first = op.getFirst(), count = op.getCount(), step = op.getStep();
  rows.selection = {first, count, step};
  // Never negative: step > first.
  Value left = b.add(rows.sizes[2], b.i64(step - first));
  Value blocks = LLVM::UDivOp::create(b, left, b.i64(step));
  Value beyond = b.sub(left, b.mul(blocks, b.i64(step)));
  rows.sizes[2] = b.add(b.mul(b.sub(blocks, b.i64(1)), b.i64(count)),
                        b.minSigned(beyond, b.i64(count)));
  arrays[op.getResult()] = std::move(rows);
  return success();
}

LogicalResult KernelLowering::lower(memref::LoadOp op) {
  auto array = arrays.find(op.getMemRef());
  Type type = getScalarType(op.getType());
  if (array == arrays.end())
    return op.emitOpError("expected a load from an argument");
  Value offset = b.i64(0);
  for (auto [index, stride] :
       llvm::zip_equal(op.getIndices(), array->second.strides))
    offset = b.add(offset, b.mul(getScalar(index), stride));
  scalars[op.getResult()] = loadInteger(
      type,
      b.advance(array->second.base,
                b.mul(offset, b.i64(std::max<int64_t>(
                                  type.getIntOrFloatBitWidth() / 8, 1)))));
  return success();
}

LogicalResult KernelLowering::lower(SharedOp op) {
  MemRefType type = op.getType();
  TileShape shape{nvptx::getRows(type), nvptx::getColumns(type),
                  type.getElementTypeBitWidth() / 8,
                  type.getRank() == 4 ? type.getDimSize(3) : 0};
  buffers[op.getResult()] = SharedTile(
      shape, b.advance(sharedBase, static_cast<int64_t>(op.getOffset())),
      type.getDimSize(0));
  return success();
}

GlobalRows KernelLowering::getRows(Value value) {
  const GlobalArray &array = arrays.find(value)->second;
  auto type = cast<MemRefType>(value.getType());
  Value rowBytes = b.scaleHere(
      array.strides[2], llvm::Log2_64(type.getElementTypeBitWidth() / 8));
  return {array.base,         rowBytes,      array.sizes[2],
          type.getDimSize(3), array.aligned, array.selection};
}

LogicalResult KernelLowering::lower(LoadAsyncOp op) {
  const SharedTile &tile = buffers.find(op.getTarget())->second;
  Value target = shared.getSlot(tile, getScalar(op.getSlot()));
  copyToShared(b, shared, getRows(op.getSource()), getScalar(op.getRow()), tile,
               target, op.getInBounds());
  return success();
}

LogicalResult KernelLowering::lower(StoreOp op) {
  const SharedTile &tile = buffers.find(op.getSource())->second;
  if (tile.panelWidth) {
    storeWarpRows(op);
    return success();
  }
  copyToGlobal(b, shared, tile, tile.base, getRows(op.getTarget()));
  return success();
}

Value KernelLowering::getSlotBase(vector::TransferReadOp read) {
  return shared.getSlot(buffers.find(read.getBase())->second,
                        getScalar(read.getIndices()[0]));
}

/// Reads f32 rows from global memory as the accumulators of a product, or one
/// f32 for each row, lie. Rows past the last hold anything.
LogicalResult KernelLowering::readRows(vector::TransferReadOp op) {
  auto array = arrays.find(op.getBase());
  VectorType type = op.getVectorType();
  if (array == arrays.end() || !type.getElementType().isF32() ||
      op.getShapedType().getRank() - type.getRank() != 2)
    return op.emitOpError("expected a tile in shared memory, or f32 rows");
  Value root = op.getBase();
  while (auto view = root.getDefiningOp<memref::SubViewOp>())
    root = view.getSource();
  Value first = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
  Value rowBytes = b.mul(array->second.strides[2], b.i64(4));
  TileValue value{type.getRank() == 1 ? Layout::Row : Layout::Tile, {}, false};
  SmallVector<Value> rows;
  for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row) {
    Value position = b.widen(b.add(first, b.i32(8 * row)));
    Value exists =
        b.compare(LLVM::ICmpPredicate::slt, position, array->second.sizes[2]);
    // The array has a first row, though the slice may have none.
    Value address = b.select(
        exists, b.advance(array->second.base, b.mul(position, rowBytes)),
        arrays.find(root)->second.base);
    rows.push_back(address);
  }
  if (type.getRank() == 1) {
    for (Value row : rows)
      value.elements.push_back(b.load(b.f32Type, row, 4));
  } else {
    Value lane = b.widen(b.shiftLeft(b.quadLane, b.i32(3)));
    for (Value &row : rows)
      row = b.advance(row, lane);
    for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
      for (int64_t n = 0; n < getNumN(type); ++n)
        for (int64_t c = 0; c < 4; ++c)
          value.elements.push_back(
              b.load(b.f32Type,
                     b.advance(rows[2 * i + c / 2], 32 * n + 4 * (c % 2)), 4));
  }
  tiles[op.getVector()] = std::move(value);
  return success();
}

/// A tile of a score input: its elements where they are used, in the layout of
/// the scores; one value for each row or each column at once. Rows and columns
/// that do not exist are others that do.
void KernelLowering::lowerInput(vector::TransferReadOp op,
                                const GlobalArray &array) {
  VectorType type = op.getVectorType();
  Type element = type.getElementType();
  unsigned bytes = element.getIntOrFloatBitWidth() / 8;
  bool perRow = type.getDimSize(0) != 1, perColumn = type.getDimSize(1) != 1;
  Value first = getScalar(op.getIndices()[3]);
  InputTile tile;
  Value base = array.base;
  if (perColumn) {
    // The columns of a residue class are apart.
    Value step = b.mul(array.strides[3], b.i64(bytes));
    base = b.advance(base, b.mul(first, step));
    Value pair = b.shiftLeft(b.quadLane, b.i32(1));
    Value last;
    if (!op.isDimInBounds(1))
      last = b.narrow(b.sub(b.sub(array.sizes[3], first), b.i64(1)));
    else
      base = b.advance(base, b.mul(b.widen(pair), step));
    for (int64_t n = 0; n < getNumN(type); ++n)
      for (int64_t c = 0; c < 2; ++c) {
        Value column = b.i64(8 * n + c);
        if (last)
          column = b.widen(b.minSigned(b.add(pair, b.i32(8 * n + c)), last));
        tile.columns.push_back(b.mul(column, step));
      }
  }
  if (!perRow) {
    TileValue value{Layout::Column, {}, false};
    for (Value column : tile.columns)
      value.elements.push_back(
          b.loadConstant(element, b.advance(base, column), bytes));
    tiles[op.getVector()] = std::move(value);
    return;
  }
  Value warpRow = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
  Value stride = b.mul(array.strides[2], b.i64(bytes));
  TileValue value{Layout::Row, {}, false};
  for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row) {
    Value number = b.add(warpRow, b.i32(8 * row));
    Value numRows = b.narrow(array.sizes[2]);
    auto address = [&](Value existing) {
      return b.advance(base, b.mul(b.widen(existing), stride));
    };
    if (perColumn) {
      if (!op.isDimInBounds(0))
        number = b.minSigned(number, b.sub(numRows, b.i32(1)));
      tile.rows.push_back(address(number));
      continue;
    }
    auto load = [&] { return b.loadConstant(element, address(number), bytes); };
    // Read before the loops, where the tile may turn out to have no row.
    value.elements.push_back(
        op.isDimInBounds(0)
            ? load()
            : b.choose(b.compare(LLVM::ICmpPredicate::slt, number, numRows),
                       load, b.zero(element)));
  }
  if (perColumn) {
    value.layout = Layout::Tile;
    value.deferred = op;
    inputs[op] = std::move(tile);
  }
  tiles[op.getVector()] = std::move(value);
}

/// A tile that stands in shared memory is read where a product uses it; the
/// query tile is read here if its uses are in loops, so that it stays in
/// registers.
LogicalResult KernelLowering::lower(vector::TransferReadOp op) {
  auto buffer = buffers.find(op.getBase());
  if (buffer == buffers.end()) {
    if (!isa<FloatType>(op.getVectorType().getElementType()))
      return lowerIntegers(op);
    // What the loops start from is read before them, a row at a time or whole.
    VectorType type = op.getVectorType();
    if (isa<scf::ForallOp>(op->getParentOp()) &&
        (type.getRank() == 1 || type.getDimSize(1) != 1))
      return readRows(op);
    auto array = arrays.find(op.getBase());
    if (array == arrays.end() || type.getRank() != 2 ||
        op.getBase().getType().getRank() != 4)
      return op.emitOpError("expected a tile in shared memory, or of a score "
                            "input");
    lowerInput(op, array->second);
    return success();
  }
  if (llvm::all_of(op->getUsers(), [&](Operation *user) {
        return user->getBlock() == op->getBlock();
      }))
    return success();
  const SharedTile &tile = buffer->second;
  TileValue value;
  value.layout = Layout::Fragments;
  Value base = getSlotBase(op);
  VectorType type = op.getVectorType();
  int64_t numSteps =
      llvm::divideCeil(type.getDimSize(1), getStep(type.getElementType()));
  for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
    for (int64_t k = 0; k < numSteps; ++k)
      llvm::append_range(value.elements, loadLeft(b, shared, base, tile, i, k));
  tiles[op.getVector()] = std::move(value);
  return success();
}

Value KernelLowering::loadInteger(Type type, Value address) {
  if (!type.isInteger(1))
    return b.load(type, address, type.getIntOrFloatBitWidth() / 8);
  Value byte = b.load(b.getI8Type(), address, 1);
  return b.compare(LLVM::ICmpPredicate::ne, byte, b.constant(b.getI8Type(), 0));
}

static int64_t getBytes(Type type) {
  return std::max<int64_t>(type.getIntOrFloatBitWidth() / 8, 1);
}

/// Integers along the rows or the columns of a tile: each thread reads those of
/// its rows, or of its columns; past the end it reads the last one. A tile of
/// pairs is read where it is used. What does not exist is dead, whatever is
/// read for it.
LogicalResult KernelLowering::lowerIntegers(vector::TransferReadOp op) {
  auto array = arrays.find(op.getBase());
  VectorType type = op.getVectorType();
  AffineMap map = op.getPermutationMap();
  if (array == arrays.end() || !isa<IntegerType>(type.getElementType()) ||
      type.getRank() != 2 || !map.isProjectedPermutation())
    return op.emitOpError(
        "expected a tile in shared memory, or integers of an argument");
  const GlobalArray &source = array->second;
  int64_t bytes = getBytes(type.getElementType());
  Value base = source.base;
  for (auto [index, stride] : llvm::zip_equal(op.getIndices(), source.strides))
    base =
        b.advance(base, b.mul(b.mul(getScalar(index), stride), b.i64(bytes)));
  // Of the rows and of the columns: bytes from one to the next, and how many
  // there are, if that is less than the tile has.
  Value strides[2], left[2];
  for (unsigned dim : {0, 1}) {
    unsigned along = map.getDimPosition(dim);
    strides[dim] = b.mul(source.strides[along], b.i64(bytes));
    if (!op.isDimInBounds(dim))
      left[dim] = b.sub(source.sizes[along], getScalar(op.getIndices()[along]));
  }
  auto clamp = [&](Value position, Value count) {
    Value wide = b.widen(position);
    return count ? b.minSigned(wide, b.sub(count, b.i64(1))) : wide;
  };
  SmallVector<Value> rows;
  if (type.getDimSize(0) != 1) {
    Value first = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
    for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row)
      rows.push_back(
          b.advance(base, b.mul(clamp(b.add(first, b.i32(8 * row)), left[0]),
                                strides[0])));
  }
  Value firstColumn = b.shiftLeft(b.quadLane, b.i32(1));
  TileValue value;
  if (type.getDimSize(1) == 1) {
    value.layout = Layout::Row;
    for (Value row : rows)
      value.elements.push_back(loadInteger(type.getElementType(), row));
  } else if (type.getDimSize(0) == 1) {
    value.layout = Layout::Column;
    for (int64_t n = 0; n < getNumN(type); ++n)
      for (int64_t c = 0; c < 2; ++c)
        value.elements.push_back(loadInteger(
            type.getElementType(),
            b.advance(base, b.mul(clamp(b.add(firstColumn, b.i32(8 * n + c)),
                                        left[1]),
                                  strides[1]))));
  } else {
    value.layout = Layout::Tile;
    value.deferred = op;
    // The rows as in Layout::Row, the first column, bytes from one to the next,
    // and the last one that exists.
    value.elements = std::move(rows);
    value.elements.append({firstColumn, strides[1]});
    if (left[1])
      value.elements.push_back(b.sub(left[1], b.i64(1)));
  }
  tiles[op.getVector()] = std::move(value);
  return success();
}

Value KernelLowering::loadPair(vector::TransferReadOp op, const TileValue &tile,
                               int64_t i, int64_t n, int64_t c) {
  const Value *columns = tile.elements.begin() + 2 * b.shape.getRowFragments();
  Value column = b.widen(b.add(columns[0], b.i32(8 * n + (c & 1))));
  if (columns + 2 != tile.elements.end())
    column = b.minSigned(column, columns[2]);
  return loadInteger(
      op.getVectorType().getElementType(),
      b.advance(tile.elements[2 * i + (c >> 1)], b.mul(column, columns[1])));
}

/// Writes an f32 tile straight to memory: the four lanes of a row write 32
/// bytes together, a whole sector.
void KernelLowering::writeTile(const TileValue &value, VectorType type,
                               const GlobalRows &target, Value warpRow) {
  int64_t numN = getNumN(type);
  Type pair = VectorType::get({2}, b.f32Type);
  auto writeRow = [&](Value first, int64_t row, bool aligned) {
    for (int64_t n = 0; n < numN; ++n) {
      Value address = b.advance(first, 32 * n);
      Value both = aligned ? Value(LLVM::PoisonOp::create(b, pair)) : Value();
      for (int64_t c = 0; c < 2; ++c) {
        Value element = value.at(row / 2, n, numN, 2 * (row % 2) + c);
        if (aligned)
          both = LLVM::InsertElementOp::create(b, both, element, b.i32(c));
        else
          b.store(element, b.advance(address, 4 * c), 4);
      }
      if (aligned)
        b.store(both, address, 8);
    }
  };
  for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row) {
    Value position = b.widen(b.add(warpRow, b.i32(8 * row)));
    Value exists =
        b.compare(LLVM::ICmpPredicate::slt, position, target.numRows);
    b.ifThen(exists, [&] {
      Value bytes = b.add(b.mul(position, target.rowBytes),
                          b.widen(b.shiftLeft(b.quadLane, b.i32(3))));
      Value first = b.advance(target.base, bytes);
      b.ifThenElse(
          target.aligned, [&] { writeRow(first, row, /*aligned=*/true); },
          [&] { writeRow(first, row, /*aligned=*/false); });
    });
  }
}

LogicalResult KernelLowering::lower(vector::TransferWriteOp op) {
  TileValue value = getTile(op.getVector());
  VectorType type = op.getVectorType();
  Value warpRow = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
  int64_t numRows = b.shape.getRowFragments();
  if (auto buffer = buffers.find(op.getBase());
      buffer != buffers.end() && value.layout == Layout::Packed) {
    const SharedTile &tile = buffer->second;
    for (const Panel &panel : getPanels(tile))
      for (int64_t n = panel.column / 8;
           n < std::min(getNumN(type), (panel.column + panel.width) / 8); ++n) {
        Value column = b.add(b.shiftLeft(b.quadLane, b.i32(1)),
                             b.i32(8 * n - panel.column));
        // The swizzle has a period of 8 rows: one address serves all fragments.
        Value first = shared.getElement(tile.base, panel, warpRow, column);
        for (int64_t row = 0; row < 2 * numRows; ++row)
          b.store(value.elements[((row / 2) * getNumN(type) + n) * 2 + row % 2],
                  b.advance(first, 8 * row * panel.getRowBytes()), 4);
      }
    return success();
  }
  auto array = arrays.find(op.getBase());
  if (array != arrays.end() && type.getRank() == 2 &&
      type.getElementType().isF32() && value.layout != Layout::Packed) {
    writeTile(value, type, getRows(op.getBase()), warpRow);
    return success();
  }
  bool isRow = value.layout == Layout::Row || value.layout == Layout::Splat;
  if (array == arrays.end() || type.getRank() != 1 || !isRow ||
      !type.getElementType().isF32())
    return op.emitOpError(
        "expected a 16-bit tile into shared memory, or an f32 tile or one f32 "
        "for each row into an argument");
  Value first = b.compare(LLVM::ICmpPredicate::eq, b.quadLane, b.i32(0));
  for (int64_t row = 0; row < 2 * numRows; ++row) {
    Value position = b.widen(b.add(warpRow, b.i32(8 * row)));
    Value exists = b.compare(LLVM::ICmpPredicate::slt, position,
                             array->second.sizes.back());
    b.ifThen(b.andBits(first, exists), [&] {
      Value bytes =
          b.mul(b.mul(position, array->second.strides.back()), b.i64(4));
      b.store(value.at(row / 2, 0, 1, 2 * (row % 2)),
              b.advance(array->second.base, bytes), 4);
    });
  }
  return success();
}
