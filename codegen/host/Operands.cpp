//===- Operands.cpp - tiles of q, k and v as products want them
//----------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/KernelLowering.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::host;

RowSource KernelLowering::getRows(vector::TransferReadOp read) {
  const View &view = views.find(read.getBase())->second;
  int64_t bytes = view.getElementBytes();
  unsigned rowDim = view.strides.size() - 2;
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
        {product.getRhs().getAsOpaquePointer(), product.useDot});
    if (!isNew)
      continue;
    auto read = product.getRhs().getDefiningOp<vector::TransferReadOp>();
    if (!read)
      return product.contract.emitOpError(
          "expected a right operand that is read from memory");
    RowSource source = getRows(read);
    bool isWide = read.getVectorType().getElementType().isF32();
    if (product.useDot ? !product.isRhsByColumn : !isWide)
      source = convertRows(source, read.getVectorType(), product.useDot);
    entry->second = source;
  }
  return success();
}

/// Transposes the query tile, panel by panel, as f32 or as pairs of bf16.
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
  int64_t panelRows = level.getPanelRows();
  for (Product product : products) {
    auto read = product.getLhs().getDefiningOp<vector::TransferReadOp>();
    if (!read)
      continue;
    if (read->getBlock() != &block)
      return read.emitOpError(
          "expected queries that are read before the loops over keys");
    auto [entry, isNew] = packed.try_emplace(
        {product.getLhs().getAsOpaquePointer(), product.useDot});
    if (!isNew)
      continue;
    VectorType type = read.getVectorType();
    int64_t columns = type.getDimSize(1) / (product.useDot ? 2 : 1);
    int64_t panelBytes = columns * panelRows * 4,
            numPanels = llvm::divideCeil(tileRows, panelRows);
    TileBuffer buffer{scratch.allocate(numPanels * panelBytes), panelBytes,
                      Form::Float};
    entry->second = buffer;

    RowSource source = getRows(read);
    Value lastRow = b.add(numRows, -1);
    Value used = b.multiply(
        b.createOrFold<arith::CeilDivSIOp>(numRows, b.index(panelRows)),
        panelRows);
    scf::ForOp rowLoop = b.beginLoop(b.index(0), used, 1);
    Value row = rowLoop.getInductionVar();
    const View &view = views.find(read.getBase())->second;
    Value from = b.pointer(
        source.base,
        b.multiply(context.getRowOffset(b.minimum(row, lastRow), view.strides,
                                        view.strides.size() - 2),
                   view.getElementBytes()));
    Value panel = arith::DivSIOp::create(b, row, b.index(panelRows));
    Value lane = arith::RemSIOp::create(b, row, b.index(panelRows));
    Value to =
        b.pointer(b.pointer(context.scratchBase, buffer.offset),
                  b.add(b.multiply(panel, panelBytes), b.multiply(lane, 4)));
    int64_t width = 4;
    scf::ForOp columnLoop = b.beginLoop(columns, width);
    Value column = columnLoop.getInductionVar();
    int64_t elementBytes = type.getElementTypeBitWidth() / 8,
            columnBytes = product.useDot ? 4 : elementBytes;
    auto loadType = VectorType::get(
        {width}, product.useDot ? b.getI32Type() : type.getElementType());
    Value loaded =
        b.load(loadType, b.pointer(from, b.multiply(column, columnBytes)),
               elementBytes);
    if (!product.useDot)
      loaded = b.extend(loaded);
    Value target = b.pointer(to, b.multiply(column, panelRows * 4));
    for (int64_t i = 0; i < width; ++i)
      b.store(vector::ExtractOp::create(b, loaded, i),
              b.pointer(target, i * panelRows * 4), 4);
    b.endLoop(columnLoop);
    b.endLoop(rowLoop);
  }
  return success();
}
