//===- PanelMemory.cpp - what a panel reads and writes itself -------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Score inputs and results: in memory rows by columns, in scratch transposed.

#include "attn/codegen/host/PanelEmitter.h"

#include "attn/codegen/host/Level.h"
#include "attn/codegen/host/Transpose.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn::host;

int64_t View::getElementBytes() const {
  return element.isIndex()
             ? 8
             : std::max<int64_t>(element.getIntOrFloatBitWidth() / 8, 1);
}

Value PanelContext::getRowOffset(Value row, ArrayRef<Value> strides,
                                 unsigned rowDim) {
  RegisterBuilder &b = builder;
  if (rowsPerHead == 0)
    return b.multiply(row, strides[rowDim]);
  Value heads = b.createOrFold<arith::DivUIOp>(row, b.index(rowsPerHead));
  Value rest = b.createOrFold<arith::RemUIOp>(row, b.index(rowsPerHead));
  return b.add(b.multiply(heads, strides[rowDim - 1]),
               b.multiply(rest, strides[rowDim]));
}

//===----------------------------------------------------------------------===//
// Score inputs
//===----------------------------------------------------------------------===//

Value PanelEmitter::getInput(vector::TransferReadOp read, Value &numColumns) {
  const View &view = context.views.find(read.getBase())->second;
  Value first = context.scalars.lookupOrDefault(read.getIndices()[3]);
  numColumns = read.isDimInBounds(1)
                   ? Value()
                   : Value(arith::SubIOp::create(b, view.sizes[3], first));
  return b.pointer(view.address, b.multiply(b.multiply(first, view.strides[3]),
                                            view.getElementBytes()));
}

/// Whether neighbouring columns are next to each other; those of a residue
/// class are not.
static bool isContiguous(vector::TransferReadOp read) {
  return cast<MemRefType>(read.getBase().getType()).isLastDimUnitStride();
}

void PanelEmitter::copyIn(vector::TransferReadOp read,
                          const TileBuffer &buffer) {
  const View &view = context.views.find(read.getBase())->second;
  int64_t bytes = view.getElementBytes(),
          columns = read.getVectorType().getDimSize(1);
  Value left, base = getInput(read, left), target = getPanelBase(buffer);
  // Rows past the end are the last one again.
  auto getAddress = [&](Value lane) {
    Value row = b.minimum(b.add(firstRow, lane), b.add(numRows, -1));
    return b.pointer(
        base, b.multiply(context.getRowOffset(row, view.strides, 2), bytes));
  };
  bool isWhole = columns > 1 && !left && isContiguous(read);
  scf::ForOp rowLoop = b.beginLoop(panelRows, isWhole ? lanes : 1);
  Value row = rowLoop.getInductionVar();
  Value to = b.pointer(target, b.multiply(row, 4));
  if (isWhole) {
    Value table = b.pointer(context.scratchBase, context.rowTable);
    storeAddresses(b, table,
                   [&](Value i) { return getAddress(b.add(row, i)); });
    loadTransposed(b, {table, to, panelRows * 4, columns}, view.element);
  } else {
    Value from = getAddress(row), count = b.index(columns);
    if (left)
      count = b.minimum(count, left);
    scf::ForOp columnLoop = b.beginLoop(b.index(0), count, 1);
    Value number = columnLoop.getInductionVar();
    Value offset =
        isContiguous(read) ? number : b.multiply(number, view.strides[3]);
    Value address = b.pointer(from, b.multiply(offset, bytes));
    b.store(b.extend(b.load(view.element, address, bytes)),
            b.pointer(to, b.multiply(number, panelRows * 4)), 4);
    b.endLoop(columnLoop);
  }
  b.endLoop(rowLoop);
}

Value PanelEmitter::getRowInput(vector::TransferReadOp read, int64_t v) {
  TileBuffer buffer{context.scratch.allocate(panelRows * 4), 0, Form::Float};
  copyIn(read, buffer);
  void *key = read.getVector().getAsOpaquePointer();
  for (int64_t i = 0; i < vectors; ++i)
    rowValues[{key, i}] =
        b.load(b.vectorOf(b.getF32Type()),
               b.pointer(getPanelBase(buffer), i * lanes * 4), lanes * 4);
  return rowValues[{key, v}];
}

Value PanelEmitter::getColumnInput(vector::TransferReadOp read, int64_t i) {
  const View &view = context.views.find(read.getBase())->second;
  Value left, base = getInput(read, left), number = b.add(column, i);
  if (left)
    number = b.minimum(number, b.add(left, -1));
  if (!isContiguous(read))
    number = b.multiply(number, view.strides[3]);
  int64_t bytes = view.getElementBytes();
  return b.extend(
      b.load(view.element, b.pointer(base, b.multiply(number, bytes)), bytes));
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

LogicalResult PanelEmitter::storeRow(Value value, Value place) {
  TileBuffer buffer = context.states.lookup(place);
  for (int64_t v = 0; v < vectors; ++v) {
    Value row = getRow(value, v);
    if (!row)
      return failure();
    b.store(row, b.pointer(getPanelBase(buffer), v * lanes * 4), lanes * 4);
  }
  return success();
}

LogicalResult PanelEmitter::writeRow(vector::TransferWriteOp write) {
  int64_t offset = context.scratch.allocate(panelRows * 4);
  for (int64_t v = 0; v < vectors; ++v) {
    Value row = getRow(write.getVector(), v);
    if (!row)
      return failure();
    b.store(row, b.pointer(context.scratchBase, offset + v * lanes * 4),
            lanes * 4);
  }
  copyOut(write, offset, 1);
  return success();
}

void PanelEmitter::copyOut(vector::TransferWriteOp write, int64_t offset,
                           int64_t columns) {
  const View &view = context.views.find(write.getBase())->second;
  auto type = write.getVectorType();
  int64_t bytes = view.getElementBytes();
  unsigned rowDim = view.strides.size() - type.getRank();
  Value start = view.address;
  for (auto [index, stride] : llvm::zip_equal(write.getIndices(), view.strides))
    start = b.pointer(
        start,
        b.multiply(b.multiply(context.scalars.lookupOrDefault(index), stride),
                   bytes));
  Value end = b.minimum(arith::SubIOp::create(b, numRows, firstRow),
                        b.index(panelRows));
  scf::ForOp rowLoop = b.beginLoop(b.index(0), end, columns == 1 ? 1 : lanes);
  Value first = rowLoop.getInductionVar();
  auto getAddress = [&](Value row) {
    return b.pointer(start,
                     b.multiply(context.getRowOffset(b.add(firstRow, row),
                                                     view.strides, rowDim),
                                bytes));
  };
  Value from = b.pointer(b.pointer(context.scratchBase, offset),
                         b.multiply(first, bytes));
  if (columns == 1) {
    b.store(b.load(view.element, from, bytes), getAddress(first), bytes);
  } else {
    // Rows past the end go where nobody reads.
    Value unused = b.pointer(context.scratchBase,
                             context.scratch.allocate(columns * bytes)),
          table = b.pointer(context.scratchBase, context.rowTable);
    storeAddresses(b, table, [&](Value i) -> Value {
      Value row = b.add(first, i);
      Value exists =
          arith::CmpIOp::create(b, arith::CmpIPredicate::slt, row, end);
      return arith::SelectOp::create(b, exists, getAddress(row), unused);
    });
    storeTransposed(b, {table, from, panelRows * bytes, columns}, view.element);
  }
  b.endLoop(rowLoop);
}
