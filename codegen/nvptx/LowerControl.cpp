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
            memref::LoadOp, SharedOp, LoadAsyncOp, StoreOp,
            vector::TransferReadOp, vector::TransferWriteOp, vector::StepOp,
            vector::MultiDimReductionOp, AbsorbOp, vector::ContractionOp,
            RolesOp, BarriersOp, WaitOp, ReleaseOp, LoadBoxOp, LoadRowsOp,
            WgmmaOp, WgmmaWaitOp>([&](auto typed) { return lower(typed); })
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
      .Case<TensorMapOp, TensorMapsFitOp>([&](auto) {
        return success(); // Parameters, mapped before the walk.
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
        scalars[dim.getResult()] = array->second.sizes[*index];
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

/// The iterations are the blocks of a one-dimensional grid, the last dimension
/// fastest, so that the blocks of one batch and key head run together and share
/// K and V in the L2 cache. The last dimension, the query tiles, counts down:
/// under a causal mask the longest come first.
LogicalResult KernelLowering::decodeBlock(scf::ForallOp op, Value block) {
  auto materialize = [&](OpFoldResult value) {
    std::optional<int64_t> known = getConstantIntValue(value);
    return known ? b.i64(*known) : getScalar(cast<Value>(value));
  };
  SmallVector<OpFoldResult> lower = op.getMixedLowerBound(),
                            upper = op.getMixedUpperBound(),
                            step = op.getMixedStep();
  for (int64_t dim = op.getRank() - 1; dim >= 0; --dim) {
    std::optional<int64_t> stepSize = getConstantIntValue(step[dim]);
    if (!isConstantIntValue(lower[dim], 0) || !stepSize)
      return op.emitOpError("expected lower bounds of 0 and constant steps");
    Value index = block;
    bool last = dim == op.getRank() - 1;
    if (dim > 0 || last) {
      // No grid has more than 2^31 - 1 blocks, so that 32 bits hold every
      // count.
      Value count = b.add(materialize(upper[dim]), b.i64(*stepSize - 1));
      count = b.narrow(LLVM::UDivOp::create(b, count, b.i64(*stepSize)));
      if (dim > 0) {
        Value quotient = LLVM::UDivOp::create(b, block, count);
        index = b.sub(block, b.mul(quotient, count));
        block = quotient;
      }
      if (last)
        index = b.sub(b.sub(count, b.i32(1)), index);
    }
    scalars[op.getInductionVar(dim)] = b.mul(b.widen(index), b.i64(*stepSize));
  }
  return success();
}

static bool isTileLoop(Operation &op) {
  return isa<scf::WhileOp>(op) &&
         llvm::any_of(op.getResultTypes(), llvm::IsaPred<VectorType>);
}

/// What the ops after the tile loops need of the block's coordinates, of slices
/// and of sizes is computed again for them: it would else stay in registers
/// through the loops.
LogicalResult KernelLowering::lower(scf::ForallOp op) {
  blockIndex = NVVM::BlockIdXOp::create(b, b.i32Type);
  if (failed(decodeBlock(op, blockIndex)))
    return failure();
  return lowerProgram(op, op.getBody()->without_terminator());
}

/// Lowers `ops`, those of one iteration of `forall` or of a role in it.
LogicalResult
KernelLowering::lowerProgram(scf::ForallOp forall,
                             llvm::iterator_range<Block::iterator> ops) {
  auto tileLoops = llvm::make_filter_range(ops, isTileLoop);
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
      failed(decodeBlock(forall, b.shuffleXor(blockIndex, 0))))
    return failure();

  llvm::SmallPtrSet<Operation *, 16> needed;
  SmallVector<Operation *> worklist(llvm::make_pointer_range(epilogue));
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
  return cast<VectorType>(value.getType()).getRank() == 1 ? Layout::Row
                                                          : Layout::Tile;
}

SmallVector<Type> KernelLowering::getCarriedTypes(Value value) {
  auto type = dyn_cast<VectorType>(value.getType());
  if (!type)
    return {getScalarType(value.getType())};
  int64_t count = 2 * b.shape.getRowFragments() *
                  (type.getRank() == 1 ? 1 : 2 * getNumN(type));
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
    bool split = partial && !tile.partial && tile.layout == Layout::Row;
    Value first = split
                      ? b.compare(LLVM::ICmpPredicate::eq, b.quadLane, b.i32(0))
                      : Value();
    for (int64_t row = 0; row < 2 * numRows; ++row) {
      Value element = tile.at(row / 2, 0, 1, 2 * (row % 2));
      values.push_back(split ? b.select(first, element, b.f32(0.0f)) : element);
    }
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
  if (isTileLoop(*op)) {
    b.startPhase();
    shared.startPhase();
  }
  return success();
}

LogicalResult KernelLowering::lower(scf::IfOp op) {
  if (llvm::any_of(op.getResultTypes(), llvm::IsaPred<VectorType>))
    return op.emitOpError("expected no tile as the result of a branch");
  SmallVector<Type> types;
  for (Type type : op.getResultTypes())
    types.push_back(getScalarType(type));
  Block *origin = b.getInsertionBlock();
  Block *merge = b.createBlockAfter(types);
  auto branch = [&](Region &region) -> FailureOr<Block *> {
    if (region.empty())
      return merge;
    Block *block = b.createBlockAfter();
    b.setInsertionPointToStart(block);
    if (failed(lowerBody(region.front())))
      return failure();
    SmallVector<Value> values;
    for (Value value : region.front().getTerminator()->getOperands())
      values.push_back(getScalar(value));
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
  for (auto [result, argument] :
       llvm::zip_equal(op.getResults(), merge->getArguments()))
    scalars[result] = argument;
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
  int64_t elementBytes = op.getType().getElementTypeBitWidth() / 8;
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

LogicalResult KernelLowering::lower(memref::LoadOp op) {
  auto array = arrays.find(op.getMemRef());
  Type type = getScalarType(op.getType());
  if (array == arrays.end() || isa<FloatType>(type))
    return op.emitOpError("expected a load of an integer from an argument");
  Value offset = b.i64(0);
  for (auto [index, stride] :
       llvm::zip_equal(op.getIndices(), array->second.strides))
    offset = b.add(offset, b.mul(getScalar(index), stride));
  unsigned bytes = type.getIntOrFloatBitWidth() / 8;
  scalars[op.getResult()] = b.load(
      type, b.advance(array->second.base, b.mul(offset, b.i64(bytes))), bytes);
  return success();
}

LogicalResult KernelLowering::lower(SharedOp op) {
  ArrayRef<int64_t> shape = op.getType().getShape();
  buffers[op.getResult()] = {
      b.advance(sharedBase, static_cast<int64_t>(op.getOffset())), shape[0],
      nvptx::getRows(op.getType()), nvptx::getColumns(op.getType()),
      shape.size() == 4 ? shape[3] : 0};
  return success();
}

GlobalRows KernelLowering::getRows(Value value) {
  const GlobalArray &array = arrays.find(value)->second;
  int64_t columns = cast<MemRefType>(value.getType()).getDimSize(3);
  return {array.base, b.mul(array.strides[2], b.i64(2)), array.sizes[2],
          columns, array.aligned};
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

/// A tile that stands in shared memory is read where a product uses it; the
/// query tile is read here if its uses are in loops, so that it stays in
/// registers.
LogicalResult KernelLowering::lower(vector::TransferReadOp op) {
  auto buffer = buffers.find(op.getBase());
  if (buffer == buffers.end())
    return op.emitOpError("expected a tile in shared memory");
  if (llvm::all_of(op->getUsers(), [&](Operation *user) {
        return user->getBlock() == op->getBlock();
      }))
    return success();
  const SharedTile &tile = buffer->second;
  TileValue value;
  value.layout = Layout::Fragments;
  Value base = getSlotBase(op);
  for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
    for (int64_t k = 0; k < tile.columns / 16; ++k)
      llvm::append_range(value.elements, loadLeft(b, shared, base, tile.rows,
                                                  tile.columns, i, k));
  tiles[op.getVector()] = std::move(value);
  return success();
}

LogicalResult KernelLowering::lower(vector::TransferWriteOp op) {
  TileValue value = getTile(op.getVector());
  VectorType type = op.getVectorType();
  Value warpRow = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
  int64_t numRows = b.shape.getRowFragments();
  if (auto buffer = buffers.find(op.getBase());
      buffer != buffers.end() && value.layout == Layout::Packed) {
    const SharedTile &tile = buffer->second;
    for (const Panel &panel :
         getPanels(tile.rows, tile.columns, tile.panelWidth))
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
  bool isRow = value.layout == Layout::Row || value.layout == Layout::Splat;
  if (array == arrays.end() || type.getRank() != 1 || !isRow ||
      !type.getElementType().isF32())
    return op.emitOpError(
        "expected a 16-bit tile into shared memory or one f32 for each row");
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
