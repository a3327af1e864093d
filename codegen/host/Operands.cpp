//===- Operands.cpp - tiles of q, k and v as products want them
//----------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/KernelLowering.h"

#include "attn/codegen/host/Transpose.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::host;

RowSource KernelLowering::getRows(vector::TransferReadOp read) {
  const View &view = views.find(read.getBase())->second;
  int64_t bytes = view.getElementBytes();
  unsigned rowDim = view.strides.size() - read.getVectorType().getRank();
  Value base = view.address;
  for (auto [index, stride] : llvm::zip_equal(read.getIndices(), view.strides))
    base =
        b.pointer(base, b.multiply(b.multiply(scalar(index), stride), bytes));
  RowSource source;
  source.base = base;
  source.stride = b.multiply(view.strides[rowDim], bytes);
  // With few rows the time goes into reading keys and values.
  if (kernel->hasAttr("attn.rows")) {
    source.nextBase = b.pointer(
        base, b.multiply(source.stride, read.getVectorType().getDimSize(0)));
    source.nextStride = source.stride;
    source.nextBytes = bytes;
  }
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
  RowSource result;
  result.base = base;
  result.stride = b.index(rowBytes);
  return result;
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
  RowSource result = from;
  result.base = base;
  result.stride = b.index(columns * 4);
  result.lastRow = {};
  return result;
}

/// Finds or makes the right operands of the plan's products.
LogicalResult KernelLowering::prepareRows(Block &block, const PanelPlan &plan) {
  for (Product product : plan.getProducts()) {
    counts.dot += product.useDot;
    auto [entry, isNew] = rows.try_emplace(
        {product.getRhs().getAsOpaquePointer(), product.getOperandKind()});
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
    bool isReady =
        product.few || (product.useDot ? product.isRhsByColumn : isWide);
    if (!isReady)
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
          numPanels = llvm::divideCeil(tileRows, panelRows);
  TileBuffer buffer{scratch.allocate(numPanels * panelBytes), panelBytes,
                    Form::Float};
  RowSource source = getRows(read);
  Value lastRow = b.add(numRows, -1);
  Value used = b.multiply(
      b.createOrFold<arith::CeilDivSIOp>(numRows, b.index(panelRows)),
      panelRows);
  scf::ForOp rowLoop = b.beginLoop(b.index(0), used, isRow ? 1 : level.lanes);
  Value first = rowLoop.getInductionVar();
  const View &view = views.find(read.getBase())->second;
  auto getAddress = [&](Value i) {
    Value row = b.minimum(b.add(first, i), lastRow);
    return b.pointer(
        source.base,
        b.multiply(context.getRowOffset(row, view.strides,
                                        view.strides.size() - type.getRank()),
                   view.getElementBytes()));
  };
  Value panel = arith::DivSIOp::create(b, first, b.index(panelRows));
  Value lane = arith::RemSIOp::create(b, first, b.index(panelRows));
  Value to =
      b.pointer(b.pointer(context.scratchBase, buffer.offset),
                b.add(b.multiply(panel, panelBytes), b.multiply(lane, 4)));
  Type element = type.getElementType();
  if (isRow) {
    b.store(b.load(element, getAddress(b.index(0)), view.getElementBytes()), to,
            4);
  } else {
    Value table = b.pointer(context.scratchBase, context.rowTable);
    storeAddresses(b, table, getAddress);
    loadTransposed(b, {table, to, panelRows * 4, columns}, element, asPairs);
  }
  b.endLoop(rowLoop);
  return buffer;
}

/// Transposes the f32 rows that the loops start from.
void KernelLowering::loadStates(Block &block) {
  for (auto read : block.getOps<vector::TransferReadOp>()) {
    VectorType type = read.getVectorType();
    bool isState = type.getElementType().isF32() &&
                   (type.getRank() == 1 || type.getDimSize(1) != 1);
    if (isState && !read->use_empty() &&
        llvm::none_of(read->getUsers(), llvm::IsaPred<vector::ContractionOp>))
      states[read.getVector()] = transpose(read, /*asPairs=*/false);
  }
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
    if (product.few) {
      RowSource source = getRows(read);
      const View &view = views.find(read.getBase())->second;
      SmallVector<Value> &list =
          context.queryRows[product.getLhs().getAsOpaquePointer()];
      if (list.empty())
        for (int64_t row = 0; row < level.fewRows; ++row)
          list.push_back(b.pointer(
              source.base,
              b.multiply(context.getRowOffset(b.index(row), view.strides,
                                              view.strides.size() - 2),
                         view.getElementBytes())));
      continue;
    }
    auto [entry, isNew] = packed.try_emplace(
        {product.getLhs().getAsOpaquePointer(), product.useDot});
    if (isNew)
      entry->second = transpose(read, product.useDot);
  }
  return success();
}
