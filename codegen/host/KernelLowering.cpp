//===- KernelLowering.cpp - see KernelLowering.h
//-------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/KernelLowering.h"

#include "attn/codegen/host/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::host;

Value KernelLowering::scalar(OpFoldResult value) {
  if (std::optional<int64_t> number = getConstantIntValue(value))
    return b.index(*number);
  return scalars.lookupOrDefault(cast<Value>(value));
}

void KernelLowering::bindParams(Value params) {
  Value next = params;
  auto take = [&](Type type) {
    Value value = b.load(type, next, 8);
    next = b.pointer(next, 8);
    return value;
  };
  auto takeIndex = [&]() -> Value {
    return arith::IndexCastOp::create(b, b.getIndexType(),
                                      take(b.getI64Type()));
  };
  SmallVector<KernelParam> list = getKernelParams(kernel);
  for (BlockArgument argument : kernel.getArguments()) {
    auto memref = dyn_cast<MemRefType>(argument.getType());
    if (!memref)
      continue;
    for (int64_t size : memref.getShape())
      views[argument].sizes.push_back(
          ShapedType::isDynamic(size) ? Value() : b.index(size));
    views[argument].element = memref.getElementType();
  }
  for (const KernelParam &param : list) {
    BlockArgument argument = kernel.getArgument(param.argument);
    switch (param.kind) {
    case KernelParam::Pointer:
      views[argument].address =
          take(LLVM::LLVMPointerType::get(b.getContext()));
      break;
    case KernelParam::Size:
      views[argument].sizes[param.dim] = takeIndex();
      break;
    case KernelParam::Stride:
      views[argument].strides.push_back(takeIndex());
      break;
    case KernelParam::Scalar: {
      Value value = takeIndex();
      if (!argument.getType().isIndex())
        value = arith::IndexCastOp::create(b, argument.getType(), value);
      scalars.map(argument, value);
      break;
    }
    }
  }
  if (share != Share::Whole)
    states0 = take(LLVM::LLVMPointerType::get(b.getContext()));
}

LogicalResult KernelLowering::bindItem(scf::ForallOp forall, Value number) {
  // The last dimension, that of the queries, is the outermost one, from the
  // end unless the longest tiles come first.
  Value rest = arith::IndexCastOp::create(b, b.getIndexType(), number);
  if (share == Share::Part) {
    Value splits = b.index(getNumber("attn.splits"));
    part = arith::RemSIOp::create(b, rest, splits);
    rest = arith::DivSIOp::create(b, rest, splits);
  }
  item = rest;
  auto lower = forall.getMixedLowerBound(), upper = forall.getMixedUpperBound(),
       step = forall.getMixedStep();
  SmallVector<Value> counts;
  for (auto [lo, hi, by] : llvm::zip_equal(lower, upper, step)) {
    if (!isConstantIntValue(lo, 0))
      return forall.emitOpError("expected loops that start at 0");
    counts.push_back(
        b.createOrFold<arith::CeilDivSIOp>(scalar(hi), scalar(by)));
  }
  unsigned rank = counts.size();
  SmallVector<Value> numbers(rank);
  for (unsigned dim = rank - 1; dim-- > 0;) {
    numbers[dim] = arith::RemSIOp::create(b, rest, counts[dim]);
    rest = arith::DivSIOp::create(b, rest, counts[dim]);
  }
  numbers[rank - 1] = rest;
  if (!forall->hasAttr("attn.ascending"))
    numbers[rank - 1] =
        arith::SubIOp::create(b, b.add(counts[rank - 1], -1), rest);
  for (unsigned dim = 0; dim < rank; ++dim)
    scalars.map(forall.getInductionVars()[dim],
                b.multiply(numbers[dim], scalar(step[dim])));
  return success();
}

void KernelLowering::bindSubView(memref::SubViewOp op) {
  View view = views.lookup(op.getSource());
  for (auto [dim, offset] : llvm::enumerate(op.getMixedOffsets()))
    if (!isConstantIntValue(offset, 0))
      view.address =
          b.pointer(view.address,
                    b.multiply(b.multiply(scalar(offset), view.strides[dim]),
                               view.getElementBytes()));
  for (auto [dim, size] : llvm::enumerate(op.getMixedSizes()))
    view.sizes[dim] = scalar(size);
  for (auto [dim, stride] : llvm::enumerate(op.getMixedStrides()))
    if (!isConstantIntValue(stride, 1))
      view.strides[dim] = b.multiply(view.strides[dim], scalar(stride));
  views[op.getResult()] = std::move(view);
}

void KernelLowering::bindRows(SelectRowsOp op) {
  View view = views.lookup(op.getSource());
  AffineExpr left = b.getAffineDimExpr(0) - static_cast<int64_t>(op.getFirst());
  int64_t step = op.getStep(), count = op.getCount();
  AffineExpr blocks = left.floorDiv(step) * count;
  view.sizes[2] = affine::AffineMinOp::create(
      b,
      AffineMap::get(1, 0, {blocks + count, blocks + left % step},
                     b.getContext()),
      ValueRange{view.sizes[2]});
  view.selection = op;
  views[op.getResult()] = std::move(view);
}

LogicalResult KernelLowering::cloneScalar(Operation &op) {
  auto isTile = [](Type type) { return isa<VectorType>(type); };
  if (isa<ForTilesOp, vector::MaskOp, scf::ForallOp>(op) ||
      op.hasTrait<OpTrait::IsTerminator>() ||
      llvm::any_of(op.getOperandTypes(), isTile) ||
      llvm::any_of(op.getResultTypes(), isTile))
    return success();
  if (auto subview = dyn_cast<memref::SubViewOp>(op)) {
    if (subview.getType().getRank() != subview.getSourceType().getRank())
      return op.emitOpError("expected a view of the rank of its source");
    bindSubView(subview);
    return success();
  }
  if (auto rows = dyn_cast<SelectRowsOp>(op)) {
    bindRows(rows);
    return success();
  }
  if (auto dim = dyn_cast<memref::DimOp>(op)) {
    std::optional<int64_t> number = dim.getConstantIndex();
    if (!number)
      return op.emitOpError("expected a constant dimension");
    scalars.map(dim.getResult(),
                views.find(dim.getSource())->second.sizes[*number]);
    return success();
  }
  if (auto load = dyn_cast<memref::LoadOp>(op)) {
    scalars.map(load.getResult(), buildLoad(load));
    return success();
  }
  // What has no instruction, or may take a library call.
  if (isa<arith::ExtFOp>(op) ||
      isa_and_nonnull<math::MathDialect>(op.getDialect())) {
    SmallVector<Value> operands;
    for (Value operand : op.getOperands())
      operands.push_back(scalars.lookupOrDefault(operand));
    Value value = b.elementwise(&op, operands);
    if (!value)
      return op.emitOpError("cannot be computed on the host target");
    scalars.map(op.getResult(0), value);
    return success();
  }
  Operation *cloned = b.clone(op, scalars);
  lowerLoads(cloned->getRegions());
  return success();
}

Value KernelLowering::buildLoad(memref::LoadOp load) {
  const View &view = views.find(load.getMemRef())->second;
  Value address = view.address;
  for (auto [index, stride] : llvm::zip_equal(load.getIndices(), view.strides))
    address = b.pointer(address, b.multiply(b.multiply(scalar(index), stride),
                                            view.getElementBytes()));
  if (isa<FloatType>(view.element))
    return b.load(view.element, address, view.getElementBytes());
  return b.loadInteger(view.element, address);
}

/// Vectors of bytes of each row, and what is left of it byte by byte.
Value KernelLowering::buildAnyBit(AnyBitOp op) {
  constexpr int64_t width = 16;
  const View &view = views.find(op.getBits())->second;
  auto type = cast<MemRefType>(op.getBits().getType());
  bool hasColumns = type.getDimSize(3) != 1;
  Value column = hasColumns ? scalar(op.getColumn()) : b.index(0);
  Value count = b.index(1);
  if (hasColumns)
    count = b.minimum(arith::SubIOp::create(b, view.sizes[3], column),
                      b.index(op.getCount()));
  Value whole = b.multiply(
      arith::DivUIOp::create(b, count, b.index(width)).getResult(), width);
  auto ask = [&](Value bytes) -> Value {
    if (op.getValue())
      return bytes;
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(bytes.getType()));
    return arith::ExtUIOp::create(
        b, bytes.getType(),
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, bytes, zero));
  };
  auto vector = VectorType::get({width}, b.getI8Type());
  Value zeros = arith::ConstantOp::create(b, b.getZeroAttr(vector));
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(b.getI8Type()));
  Value first = b.pointer(view.address, column);
  scf::ForOp rows =
      b.beginLoop(b.index(0), view.sizes[2], 1, ValueRange{zeros, zero});
  Value row =
      b.pointer(first, b.multiply(rows.getInductionVar(), view.strides[2]));
  auto visit = [&](Value from, Value to, int64_t step, Type part, Value found) {
    scf::ForOp loop = b.beginLoop(from, to, step, found);
    Value bytes = b.load(part, b.pointer(row, loop.getInductionVar()), 1);
    b.endLoop(loop,
              arith::OrIOp::create(b, loop.getRegionIterArg(0), ask(bytes))
                  .getResult());
    return loop.getResult(0);
  };
  Value wide =
      visit(b.index(0), whole, width, vector, rows.getRegionIterArg(0));
  Value rest = visit(whole, count, 1, b.getI8Type(), rows.getRegionIterArg(1));
  b.endLoop(rows, ValueRange{wide, rest});
  Type bits = b.getIntegerType(8 * width);
  Value any = arith::OrIOp::create(
      b, LLVM::BitcastOp::create(b, bits, rows.getResult(0)),
      arith::ExtUIOp::create(b, bits, rows.getResult(1)));
  return arith::CmpIOp::create(
      b, arith::CmpIPredicate::ne, any,
      arith::ConstantOp::create(b, b.getZeroAttr(bits)));
}

/// Lowers what regions that were cloned read from memory.
void KernelLowering::lowerLoads(MutableArrayRef<Region> regions) {
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Operation *> reads;
  for (Region &region : regions)
    region.walk([&](Operation *op) {
      if (isa<memref::LoadOp, AnyBitOp>(op))
        reads.push_back(op);
    });
  for (Operation *op : reads) {
    b.setInsertionPoint(op);
    auto load = dyn_cast<memref::LoadOp>(op);
    op->getResult(0).replaceAllUsesWith(load ? buildLoad(load)
                                             : buildAnyBit(cast<AnyBitOp>(op)));
    op->erase();
  }
}

LogicalResult KernelLowering::cloneScalars(Block &block) {
  for (Operation &op : block)
    if (failed(cloneScalar(op)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Panels
//===----------------------------------------------------------------------===//

LogicalResult
KernelLowering::emitPanels(const PanelPlan &plan,
                           function_ref<LogicalResult(PanelEmitter &)> finish) {
  int64_t panelRows = level.getPanelRows();
  counts.stages += plan.getStages().size();
  Value numPanels =
      b.createOrFold<arith::CeilDivSIOp>(numRows, b.index(panelRows));
  scf::ForOp loop = b.beginLoop(b.index(0), numPanels, 1);
  Value panel = loop.getInductionVar();
  PanelEmitter emitter(context, plan, panel, b.multiply(panel, panelRows),
                       numRows);
  if (failed(emitter.emitStages()) || failed(finish(emitter)))
    return failure();
  b.endLoop(loop);
  return success();
}

/// Gives each iteration value of the loop a place: that of the earlier loop
/// whose result it starts from, or a new one.
void KernelLowering::makeStates(ForTilesOp loop) {
  int64_t panelRows = level.getPanelRows(),
          numPanels = llvm::divideCeil(tileRows, panelRows);
  for (auto [init, argument, result] : llvm::zip_equal(
           loop.getInits(), loop.getIterArgs(), loop.getResults())) {
    auto known = states.find(init);
    TileBuffer buffer;
    if (known != states.end() &&
        isa_and_nonnull<ForTilesOp, vector::TransferReadOp>(
            init.getDefiningOp()) &&
        init.hasOneUse()) {
      buffer = known->second;
    } else {
      auto type = cast<VectorType>(init.getType());
      int64_t bytes =
          panelRows * 4 * (type.getRank() == 2 ? type.getDimSize(1) : 1);
      buffer = {scratch.allocate(numPanels * bytes), bytes, Form::Float};
    }
    states[argument] = buffer;
    states[result] = buffer;
  }
}

LogicalResult KernelLowering::lowerLoop(ForTilesOp loop) {
  makeStates(loop);
  // Initial values that are not already in place.
  SmallVector<std::pair<Value, Value>> moved;
  for (auto [init, argument] :
       llvm::zip_equal(loop.getInits(), loop.getIterArgs())) {
    auto known = states.find(init);
    if (known == states.end() ||
        known->second.offset != states.lookup(argument).offset)
      moved.push_back({init, argument});
  }
  if (!moved.empty()) {
    PanelPlan plan(level);
    for (auto [init, argument] : moved)
      plan.addState(init, argument);
    LogicalResult result = emitPanels(plan, [&](PanelEmitter &emitter) {
      for (auto [init, argument] : moved)
        if (isRowTile(init) && failed(emitter.storeRow(init, argument)))
          return failure();
      return success();
    });
    if (failed(result))
      return failure();
  }

  auto mapAll = [&](ValueRange values) {
    return llvm::map_to_vector(
        values, [&](Value value) { return scalars.lookupOrDefault(value); });
  };
  SmallVector<Value> lower = mapAll(loop.getLower()),
                     upper = mapAll(loop.getUpper());
  if (share == Share::Part) {
    for (Value &bound : lower)
      bound = arith::MaxSIOp::create(b, bound, firstTile);
    for (Value &bound : upper)
      bound = b.minimum(bound, endTile);
  }
  auto lowered =
      ForTilesOp::create(b, lower, upper, mapAll(loop.getExceptLower()),
                         mapAll(loop.getExceptUpper()), ValueRange());
  if (!loop.getFilter().empty()) {
    loop.getFilter().cloneInto(&lowered.getFilter(), scalars);
    lowerLoads(lowered.getFilter());
  }
  Block &body = loop.getBody().front();
  scalars.map(loop.getInductionVar(), lowered.getInductionVar());
  int64_t mark = scratch.getUsed();
  b.setInsertionPointToEnd(&lowered.getBody().front());
  if (failed(cloneScalars(body)))
    return failure();

  PanelPlan plan(level);
  Operation *yield = body.getTerminator();
  if (failed(plan.addOps(body.begin(), yield->getIterator())))
    return failure();
  for (auto [value, argument] :
       llvm::zip_equal(yield->getOperands(), loop.getIterArgs()))
    plan.addState(value, argument);
  plan.finish();
  if (failed(prepareRows(body, plan)))
    return failure();
  LogicalResult result = emitPanels(plan, [&](PanelEmitter &emitter) {
    for (auto [value, argument] :
         llvm::zip_equal(yield->getOperands(), loop.getIterArgs()))
      if (isRowTile(value) && failed(emitter.storeRow(value, argument)))
        return failure();
    return success();
  });
  if (failed(result))
    return failure();
  YieldOp::create(b, ValueRange());
  b.setInsertionPointAfter(lowered);
  scratch.release(mark);
  return success();
}

/// How many rows of the query tile exist: what the kernel writes.
LogicalResult KernelLowering::findQueryRows(Block &block) {
  for (Operation &op : block) {
    auto write = dyn_cast<vector::TransferWriteOp>(op);
    if (!write || !isPairTile(write.getVector()))
      continue;
    const View &view = views.find(write.getBase())->second;
    bool isKnown = tileRows != 0 || write.isDimInBounds(0);
    if (tileRows == 0)
      tileRows = write.getVectorType().getDimSize(0);
    numRows = isKnown ? b.index(tileRows) : view.sizes[view.sizes.size() - 2];
    return success();
  }
  return kernel.emitOpError("expected a kernel that writes a tile of rows");
}

/// The places of the loop's results.
SmallVector<StateBuffer> KernelLowering::getStates(ForTilesOp loop) {
  SmallVector<StateBuffer> buffers;
  for (Value result : loop.getResults()) {
    auto type = cast<VectorType>(result.getType());
    buffers.push_back(
        {states.lookup(result), type.getRank() == 2 ? type.getDimSize(1) : 1});
  }
  return buffers;
}

/// Divides the tiles from the first to the last live one into parts.
void KernelLowering::findParts(Block &block) {
  constexpr int64_t kFar = int64_t(1) << 60;
  Value begin = b.index(kFar), end = b.index(-kFar);
  for (ForTilesOp loop : block.getOps<ForTilesOp>())
    for (auto [lower, upper] :
         llvm::zip_equal(loop.getLower(), loop.getUpper())) {
      Value lo = scalars.lookupOrDefault(lower),
            hi = scalars.lookupOrDefault(upper);
      Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, lo, hi);
      begin =
          b.minimum(begin, arith::SelectOp::create(b, some, lo, b.index(kFar)));
      end = arith::MaxSIOp::create(
          b, end, arith::SelectOp::create(b, some, hi, b.index(-kFar)));
    }
  Value tiles = arith::MaxSIOp::create(b, arith::SubIOp::create(b, end, begin),
                                       b.index(0));
  Value perPart = arith::MaxSIOp::create(
      b,
      arith::CeilDivSIOp::create(b, tiles, b.index(getNumber("attn.splits"))),
      b.index(getNumber("attn.tiles_per_split")));
  numParts = arith::CeilDivSIOp::create(b, tiles, perPart);
  if (share != Share::Part)
    return;
  firstTile = b.add(begin, b.multiply(part, perPart));
  endTile = b.add(firstTile, perPart);
}

LogicalResult KernelLowering::lowerItem(Block &block) {
  context.rowTable = scratch.allocate(level.lanes * 8);
  if (failed(cloneScalars(block)) || failed(findQueryRows(block)))
    return failure();
  SmallVector<ForTilesOp> loops(block.getOps<ForTilesOp>());
  if (share != Share::Whole)
    findParts(block);
  if (share == Share::Merge) {
    makeStates(loops.back());
    mergeStates(context, getStates(loops.back()), states0, item,
                getNumber("attn.splits"), numParts, tileRows);
  } else {
    scf::IfOp guard;
    if (share == Share::Part) {
      Value hasTiles =
          arith::CmpIOp::create(b, arith::CmpIPredicate::slt, part, numParts);
      guard = scf::IfOp::create(b, hasTiles, /*withElseRegion=*/false);
      b.setInsertionPoint(guard.thenBlock()->getTerminator());
    }
    if (failed(packQueries(block)))
      return failure();
    loadStates(block);
    for (ForTilesOp loop : loops)
      if (failed(lowerLoop(loop)))
        return failure();
    if (share == Share::Part) {
      storeStates(context, getStates(loops.back()), states0, item,
                  getNumber("attn.splits"), part, tileRows);
      b.setInsertionPointAfter(guard);
      return success();
    }
  }
  PanelPlan plan(level);
  if (failed(plan.addOps(block.begin(), block.end())))
    return failure();
  return emitPanels(plan, [&](PanelEmitter &emitter) {
    for (Operation &op : block)
      if (auto write = dyn_cast<vector::TransferWriteOp>(op);
          write && isRowTile(write.getVector()) &&
          failed(emitter.writeRow(write)))
        return failure();
    return success();
  });
}

FailureOr<func::FuncOp> KernelLowering::run() {
  auto foralls = kernel.getOps<scf::ForallOp>();
  if (!llvm::hasSingleElement(foralls))
    return kernel.emitOpError("expected one scf.forall in a kernel");
  scf::ForallOp forall = *foralls.begin();

  b.setInsertionPoint(kernel);
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  auto lowered = func::FuncOp::create(
      b,
      share == Share::Merge ? getMergeName(kernel.getName())
                            : kernel.getName().str(),
      b.getFunctionType({pointer, b.getI64Type(), pointer}, {}));
  Block *entry = lowered.addEntryBlock();
  b.setInsertionPointToStart(entry);
  context.scratchBase = entry->getArgument(2);
  bindParams(entry->getArgument(0));
  for (Operation &op : kernel.getBody().front())
    if (failed(cloneScalar(op)))
      return failure();
  if (failed(bindItem(forall, entry->getArgument(1))) ||
      failed(lowerItem(*forall.getBody())))
    return failure();
  func::ReturnOp::create(b);
  lowered->setAttr("attn.scratch", b.getI64IntegerAttr(scratch.getPeak()));
  if (share == Share::Part)
    lowered->setAttr(
        "attn.state",
        b.getI64IntegerAttr(
            getStateBytes(
                getStates(
                    *llvm::to_vector(forall.getOps<ForTilesOp>()).rbegin()),
                tileRows, level) /
            4));
  for (StringRef name : {"attn.schedule", "attn.mask"})
    if (Attribute attr = kernel->getAttr(name))
      lowered->setAttr(name, attr);
  return lowered;
}
