//===- Transpose.cpp - see Transpose.h ------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Transpose.h"

#include "attn/codegen/host/Level.h"
#include "attn/codegen/host/RegisterBuilder.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn::host;

/// Columns that are transposed at once: squares of 16 are no faster, and take
/// much longer to compile. A head size is a multiple of 8, so pairs of elements
/// are a multiple of 4.
static int64_t getWidth(const RegisterBuilder &b, int64_t columns) {
  return std::min<int64_t>(b.getLevel().lanes, columns % 8 == 0 ? 8 : 4);
}

/// Transposes the squares of `registers.size()` rows and columns that lie side
/// by side in the registers: in step d, elements change places whose row and
/// column differ in the bit d.
static void transposeSquares(RegisterBuilder &b,
                             MutableArrayRef<Value> registers) {
  int64_t lanes = b.getLevel().lanes, width = int64_t(registers.size());
  for (int64_t d = 1; d < width; d *= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      low.push_back(lane & d ? lanes + lane - d : lane);
      high.push_back(lane & d ? lanes + lane : lane + d);
    }
    for (int64_t row = 0; row < width; ++row) {
      if (row & d)
        continue;
      Value first = registers[row], second = registers[row + d];
      registers[row] = vector::ShuffleOp::create(b, first, second, low);
      registers[row + d] = vector::ShuffleOp::create(b, first, second, high);
    }
  }
}

/// One register of vectors side by side.
static Value join(RegisterBuilder &b, SmallVector<Value> parts) {
  for (; parts.size() > 1; parts.resize(parts.size() / 2))
    for (size_t i = 0; i < parts.size() / 2; ++i) {
      int64_t size = cast<VectorType>(parts[2 * i].getType()).getNumElements();
      parts[i] = vector::ShuffleOp::create(
          b, parts[2 * i], parts[2 * i + 1],
          llvm::to_vector(llvm::seq<int64_t>(0, 2 * size)));
    }
  return parts.front();
}

// A loop and a table, not as many values: the compiler would look for relations
// between all of them, which takes longer than the rest of the kernel.
void mlir::attn::host::storeAddresses(RegisterBuilder &b, Value table,
                                      function_ref<Value(Value)> getAddress) {
  scf::ForOp loop = b.beginLoop(b.getLevel().lanes, 1);
  Value row = loop.getInductionVar();
  b.store(getAddress(row), b.pointer(table, b.multiply(row, 8)), 8);
  b.endLoop(loop);
}

static Value loadAddress(RegisterBuilder &b, Value table, int64_t row) {
  return b.load(table.getType(), b.pointer(table, row * 8), 8);
}

void mlir::attn::host::loadTransposed(RegisterBuilder &b,
                                      const TransposedRows &block, Type element,
                                      bool asPairs) {
  int64_t lanes = b.getLevel().lanes, width = getWidth(b, block.columns),
          alignment = element.getIntOrFloatBitWidth() / 8;
  Type unit = asPairs ? Type(b.getI32Type()) : element;
  int64_t bytes = unit.getIntOrFloatBitWidth() / 8;
  scf::ForOp loop = b.beginLoop(block.columns, width);
  Value column = loop.getInductionVar();
  Value offset = b.multiply(column, bytes);
  auto load = [&](int64_t row) {
    return b.load(VectorType::get({width}, unit),
                  b.pointer(loadAddress(b, block.rows, row), offset),
                  alignment);
  };
  SmallVector<Value> registers;
  for (int64_t row = 0; row < width; ++row) {
    SmallVector<Value> parts;
    for (int64_t i = row; i < lanes; i += width)
      parts.push_back(load(i));
    Value joined = join(b, parts);
    registers.push_back(asPairs ? joined : b.extend(joined));
  }
  transposeSquares(b, registers);
  Value to = b.pointer(block.scratch, b.multiply(column, block.columnBytes));
  for (auto [i, value] : llvm::enumerate(registers))
    b.store(value, b.pointer(to, int64_t(i) * block.columnBytes), lanes * 4);
  b.endLoop(loop);
}

void mlir::attn::host::storeTransposed(RegisterBuilder &b,
                                       const TransposedRows &block,
                                       Type element) {
  int64_t lanes = b.getLevel().lanes, width = getWidth(b, block.columns),
          bytes = element.getIntOrFloatBitWidth() / 8;
  Type bits = b.getIntegerType(unsigned(bytes) * 8);
  scf::ForOp loop = b.beginLoop(block.columns, width);
  Value column = loop.getInductionVar();
  Value from = b.pointer(block.scratch, b.multiply(column, block.columnBytes));
  SmallVector<Value> registers;
  for (int64_t i = 0; i < width; ++i) {
    Value value = b.load(b.vectorOf(bits),
                         b.pointer(from, i * block.columnBytes), lanes * bytes);
    registers.push_back(bytes == 4 ? value
                                   : arith::ExtUIOp::create(
                                         b, b.vectorOf(b.getI32Type()), value)
                                         .getResult());
  }
  transposeSquares(b, registers);
  for (Value &value : registers)
    if (bytes != 4)
      value = arith::TruncIOp::create(b, b.vectorOf(bits), value);
  Value offset = b.multiply(column, bytes);
  for (int64_t row = 0; row < lanes; ++row) {
    Value part = registers[row % width];
    if (width != lanes)
      part = vector::ExtractStridedSliceOp::create(
          b, part, {row / width * width}, {width}, {1});
    b.store(part, b.pointer(loadAddress(b, block.rows, row), offset), bytes);
  }
  b.endLoop(loop);
}
