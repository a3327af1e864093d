//===- ToHost.cpp - kernels become loops over register blocks -------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Level.h"
#include "attn/codegen/host/PanelEmitter.h"
#include "attn/codegen/host/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTOHOST
#include "attn/codegen/host/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::host;

SmallVector<KernelParam>
mlir::attn::host::getKernelParams(func::FuncOp kernel) {
  SmallVector<KernelParam> params;
  for (auto [index, type] : llvm::enumerate(kernel.getArgumentTypes())) {
    unsigned argument = index;
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref) {
      params.push_back({KernelParam::Scalar, argument});
      continue;
    }
    params.push_back({KernelParam::Pointer, argument});
    for (unsigned dim = 0; dim < memref.getRank(); ++dim)
      if (memref.isDynamicDim(dim))
        params.push_back({KernelParam::Size, argument, dim});
    for (unsigned dim = 0; dim < memref.getRank(); ++dim)
      params.push_back({KernelParam::Stride, argument, dim});
  }
  return params;
}

namespace {

struct Counts {
  int64_t stages = 0, converted = 0, dot = 0;
};

class KernelLowering {
public:
  KernelLowering(func::FuncOp kernel, const Level &level)
      : kernel(kernel), level(level),
        b(kernel.getLoc(), kernel.getContext(), level),
        context{b, scratch, {}, scalars, views, states, packed, rows} {}

  FailureOr<func::FuncOp> run();
  const Counts &getCounts() const { return counts; }

private:
  void bindParams(Value params);
  LogicalResult bindItem(scf::ForallOp forall, Value item);
  /// Clones what is not on tiles: scalars and views.
  LogicalResult cloneScalars(Block &block);
  LogicalResult cloneScalar(Operation &op);
  void bindSubView(memref::SubViewOp op);
  void bindRows(SelectRowsOp op);
  Value scalar(OpFoldResult value);

  LogicalResult lowerItem(Block &block);
  LogicalResult lowerLoop(ForTilesOp loop);
  LogicalResult emitPanels(const PanelPlan &plan,
                           function_ref<LogicalResult(PanelEmitter &)> finish);
  LogicalResult packQueries(Block &block);
  TileBuffer transpose(vector::TransferReadOp read, bool asPairs);
  void loadStates(Block &block);
  LogicalResult prepareRows(Block &block, const PanelPlan &plan);
  RowSource getRows(vector::TransferReadOp read);
  RowSource gatherRows(vector::TransferReadOp read);
  RowSource convertRows(const RowSource &from, VectorType type,
                        bool interleave);
  void makeStates(ForTilesOp loop);
  LogicalResult findQueryRows(Block &block);

  func::FuncOp kernel;
  const Level &level;
  RegisterBuilder b;
  Scratch scratch;
  IRMapping scalars;
  DenseMap<Value, View> views;
  DenseMap<Value, TileBuffer> states;
  std::map<std::pair<void *, bool>, TileBuffer> packed;
  std::map<std::pair<void *, bool>, RowSource> rows;
  PanelContext context;
  /// Rows of the query tile; an index, how many of them exist.
  int64_t tileRows = 0;
  Value numRows;
  Counts counts;
};

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
}

LogicalResult KernelLowering::bindItem(scf::ForallOp forall, Value item) {
  // The last dimension, that of the queries, is the outermost one, from the
  // end.
  Value rest = arith::IndexCastOp::create(b, b.getIndexType(), item);
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
  Value last = b.add(counts[rank - 1], -1);
  numbers[rank - 1] = arith::SubIOp::create(b, last, rest);
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
    const View &view = views.find(load.getMemRef())->second;
    Value address = view.address;
    for (auto [index, stride] :
         llvm::zip_equal(load.getIndices(), view.strides))
      address = b.pointer(address, b.multiply(b.multiply(scalar(index), stride),
                                              view.getElementBytes()));
    Type type = view.element.isIndex() ? b.getI64Type() : view.element;
    Value value = b.load(type, address, view.getElementBytes());
    if (view.element.isIndex())
      value = arith::IndexCastOp::create(b, b.getIndexType(), value);
    scalars.map(load.getResult(), value);
    return success();
  }
  b.clone(op, scalars);
  return success();
}

LogicalResult KernelLowering::cloneScalars(Block &block) {
  for (Operation &op : block)
    if (failed(cloneScalar(op)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Operands from memory
//===----------------------------------------------------------------------===//

RowSource KernelLowering::getRows(vector::TransferReadOp read) {
  const View &view = views.find(read.getBase())->second;
  int64_t bytes = view.getElementBytes();
  unsigned rowDim = view.strides.size() - read.getVectorType().getRank();
  Value base = view.address;
  for (auto [index, stride] : llvm::zip_equal(read.getIndices(), view.strides))
    base =
        b.pointer(base, b.multiply(b.multiply(scalar(index), stride), bytes));
  RowSource source{base, b.multiply(view.strides[rowDim], bytes), {}};
  if (!read.isDimInBounds(0)) {
    Value left = arith::SubIOp::create(b, view.sizes[rowDim],
                                       scalar(read.getIndices()[rowDim]));
    source.lastRow = b.add(left, -1);
  }
  return source;
}

/// Copies the rows of a tile that are not next to each other into scratch.
RowSource KernelLowering::gatherRows(vector::TransferReadOp read) {
  const View &view = views.find(read.getBase())->second;
  VectorType type = read.getVectorType();
  int64_t bytes = view.getElementBytes(), columns = type.getDimSize(1);
  int64_t rowBytes = columns * bytes;
  Value base = b.pointer(context.scratchBase,
                         scratch.allocate(type.getDimSize(0) * rowBytes));
  Value firstRow = scalar(read.getIndices()[2]);
  scf::ForOp rowLoop = b.beginLoop(type.getDimSize(0), 1);
  Value row = arith::AddIOp::create(b, rowLoop.getInductionVar(), firstRow);
  // The last one again where there are no more: there is at least one.
  row = b.minimum(row, b.add(view.sizes[2], -1));
  SelectRowsOp selection = view.selection;
  int64_t step = selection.getStep(), count = selection.getCount();
  AffineExpr number = b.getAffineDimExpr(0);
  AffineExpr place = number.floorDiv(count) * step + number % count +
                     static_cast<int64_t>(selection.getFirst());
  Value from = affine::AffineApplyOp::create(b, place, ValueRange{row});
  Value source = b.pointer(
      view.address, b.multiply(b.multiply(from, view.strides[2]), bytes));
  Value target =
      b.pointer(base, b.multiply(rowLoop.getInductionVar(), rowBytes));
  int64_t width = 8;
  auto chunk = VectorType::get({width}, type.getElementType());
  scf::ForOp columnLoop = b.beginLoop(columns, width);
  Value offset = b.multiply(columnLoop.getInductionVar(), bytes);
  b.store(b.load(chunk, b.pointer(source, offset), bytes),
          b.pointer(target, offset), bytes);
  b.endLoop(columnLoop);
  b.endLoop(rowLoop);
  return {base, b.index(rowBytes), {}};
}

/// The rows as f32, or (`interleave`) pairs of bf16 from neighbouring rows, in
/// scratch.
RowSource KernelLowering::convertRows(const RowSource &from, VectorType type,
                                      bool interleave) {
  int64_t numRows = type.getDimSize(0), columns = type.getDimSize(1);
  int64_t step = interleave ? 2 : 1;
  int64_t width = columns % level.lanes == 0 ? level.lanes : 8;
  Value base = b.pointer(context.scratchBase,
                         scratch.allocate(numRows / step * columns * 4));
  auto narrow = VectorType::get({width}, type.getElementType());
  scf::ForOp rowLoop = b.beginLoop(numRows, step);
  SmallVector<Value> sources;
  for (int64_t i = 0; i < step; ++i) {
    Value row = b.add(rowLoop.getInductionVar(), i);
    if (from.lastRow)
      row = b.minimum(row, from.lastRow);
    sources.push_back(b.pointer(from.base, b.multiply(row, from.stride)));
  }
  Value target = b.pointer(
      base, b.multiply(rowLoop.getInductionVar(), columns * 4 / step));
  scf::ForOp columnLoop = b.beginLoop(columns, width);
  Value column = columnLoop.getInductionVar();
  SmallVector<Value> loaded;
  for (Value source : sources)
    loaded.push_back(
        b.load(narrow, b.pointer(source, b.multiply(column, 2)), 2));
  Value value;
  if (interleave) {
    Value high = b.bitsOf16(loaded[1]);
    high = arith::ShLIOp::create(b, high, b.integer(high.getType(), 16));
    value = arith::OrIOp::create(b, b.bitsOf16(loaded[0]), high);
  } else {
    value = b.extend(loaded[0]);
  }
  b.store(value, b.pointer(target, b.multiply(column, 4)), 4);
  b.endLoop(columnLoop);
  b.endLoop(rowLoop);
  ++counts.converted;
  return {base, b.index(columns * 4), {}};
}

/// Finds or makes the right operands of the plan's products.
LogicalResult KernelLowering::prepareRows(Block &block, const PanelPlan &plan) {
  for (Product product : plan.getProducts()) {
    counts.dot += product.useDot;
    auto [entry, isNew] = rows.try_emplace(
        {product.getRhs().getAsOpaquePointer(), product.useDot});
    if (!isNew)
      continue;
    auto read = product.getRhs().getDefiningOp<vector::TransferReadOp>();
    if (!read)
      return product.contract.emitOpError(
          "expected a right operand that is read from memory");
    bool isGathered =
        static_cast<bool>(views.find(read.getBase())->second.selection);
    RowSource source = isGathered ? gatherRows(read) : getRows(read);
    bool isWide = read.getVectorType().getElementType().isF32();
    if (product.useDot ? !product.isRhsByColumn : !isWide)
      source = convertRows(source, read.getVectorType(), product.useDot);
    entry->second = source;
  }
  return success();
}

/// Rows of the query tile in scratch, panel by panel transposed, as f32 or as
/// pairs of bf16.
TileBuffer KernelLowering::transpose(vector::TransferReadOp read,
                                     bool asPairs) {
  int64_t panelRows = level.getPanelRows();
  VectorType type = read.getVectorType();
  bool isRow = type.getRank() == 1;
  int64_t columns = (isRow ? 1 : type.getDimSize(1)) / (asPairs ? 2 : 1);
  int64_t panelBytes = columns * panelRows * 4,
          numPanels = llvm::divideCeil(type.getDimSize(0), panelRows);
  TileBuffer buffer{scratch.allocate(numPanels * panelBytes), panelBytes,
                    Form::Float};
  RowSource source = getRows(read);
  Value lastRow = b.add(numRows, -1);
  Value used = b.multiply(
      b.createOrFold<arith::CeilDivSIOp>(numRows, b.index(panelRows)),
      panelRows);
  scf::ForOp rowLoop = b.beginLoop(b.index(0), used, 1);
  Value row = rowLoop.getInductionVar();
  Value from = b.pointer(source.base,
                         b.multiply(b.minimum(row, lastRow), source.stride));
  Value panel = arith::DivSIOp::create(b, row, b.index(panelRows));
  Value lane = arith::RemSIOp::create(b, row, b.index(panelRows));
  Value to =
      b.pointer(b.pointer(context.scratchBase, buffer.offset),
                b.add(b.multiply(panel, panelBytes), b.multiply(lane, 4)));
  int64_t elementBytes = type.getElementTypeBitWidth() / 8,
          columnBytes = asPairs ? 4 : elementBytes;
  if (isRow) {
    b.store(b.load(type.getElementType(), from, elementBytes), to, 4);
  } else {
    int64_t width = 4;
    scf::ForOp columnLoop = b.beginLoop(columns, width);
    Value column = columnLoop.getInductionVar();
    auto loadType = VectorType::get({width}, asPairs ? b.getI32Type()
                                                     : type.getElementType());
    Value loaded =
        b.load(loadType, b.pointer(from, b.multiply(column, columnBytes)),
               elementBytes);
    if (!asPairs)
      loaded = b.extend(loaded);
    Value target = b.pointer(to, b.multiply(column, panelRows * 4));
    for (int64_t i = 0; i < width; ++i)
      b.store(vector::ExtractOp::create(b, loaded, i),
              b.pointer(target, i * panelRows * 4), 4);
    b.endLoop(columnLoop);
  }
  b.endLoop(rowLoop);
  return buffer;
}

/// Transposes the f32 rows that the loops start from.
void KernelLowering::loadStates(Block &block) {
  for (auto read : block.getOps<vector::TransferReadOp>())
    if (!read->use_empty() &&
        llvm::none_of(read->getUsers(), llvm::IsaPred<vector::ContractionOp>))
      states[read.getVector()] = transpose(read, /*asPairs=*/false);
}

/// Transposes the query tile for the products that use it.
LogicalResult KernelLowering::packQueries(Block &block) {
  SmallVector<Product> products;
  auto walkResult =
      block.getParentOp()->walk([&](vector::ContractionOp contract) {
        Operation *outer = contract->getParentOp();
        FailureOr<Product> product =
            matchProduct(isa<vector::MaskOp>(outer) ? outer->getResult(0)
                                                    : contract.getResult(),
                         level);
        if (failed(product))
          return WalkResult::interrupt();
        products.push_back(*product);
        return WalkResult::advance();
      });
  if (walkResult.wasInterrupted())
    return failure();
  for (Product product : products) {
    auto read = product.getLhs().getDefiningOp<vector::TransferReadOp>();
    if (!read)
      continue;
    if (read->getBlock() != &block)
      return read.emitOpError(
          "expected queries that are read before the loops over keys");
    auto [entry, isNew] = packed.try_emplace(
        {product.getLhs().getAsOpaquePointer(), product.useDot});
    if (isNew)
      entry->second = transpose(read, product.useDot);
  }
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
  auto lowered =
      ForTilesOp::create(b, mapAll(loop.getLower()), mapAll(loop.getUpper()),
                         mapAll(loop.getExceptLower()),
                         mapAll(loop.getExceptUpper()), ValueRange());
  if (!loop.getFilter().empty())
    loop.getFilter().cloneInto(&lowered.getFilter(), scalars);
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
    tileRows = write.getVectorType().getDimSize(0);
    numRows = write.isDimInBounds(0) ? b.index(tileRows)
                                     : view.sizes[view.sizes.size() - 2];
    return success();
  }
  return kernel.emitOpError("expected a kernel that writes a tile of rows");
}

LogicalResult KernelLowering::lowerItem(Block &block) {
  if (failed(cloneScalars(block)) || failed(findQueryRows(block)) ||
      failed(packQueries(block)))
    return failure();
  loadStates(block);
  for (Operation &op : block)
    if (auto loop = dyn_cast<ForTilesOp>(op); loop && failed(lowerLoop(loop)))
      return failure();
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
      b, kernel.getName(),
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
  for (StringRef name : {"attn.schedule", "attn.mask"})
    if (Attribute attr = kernel->getAttr(name))
      lowered->setAttr(name, attr);
  return lowered;
}

struct AttnToHostPass : attn::impl::AttnToHostBase<AttnToHostPass> {
  using AttnToHostBase::AttnToHostBase;

  void runOnOperation() override {
    const Level *level = findLevel(cpu);
    if (!level) {
      getOperation().emitError()
          << "unknown instruction set '" << cpu.getValue()
          << "', expected one of " << listLevels();
      return signalPassFailure();
    }
    for (func::FuncOp function :
         llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      if (!function->hasAttr("attn.kernel"))
        continue;
      KernelLowering lowering(function, *level);
      if (failed(lowering.run()))
        return signalPassFailure();
      function.erase();
      ++numKernels;
      numStages += lowering.getCounts().stages;
      numConverted += lowering.getCounts().converted;
      numDot += lowering.getCounts().dot;
    }
    // What called them passed memrefs; the manifest says what to launch.
    for (func::FuncOp function :
         llvm::to_vector(getOperation().getOps<func::FuncOp>()))
      if (!function->hasAttr("attn.scratch"))
        function.erase();
  }
};

} // namespace
