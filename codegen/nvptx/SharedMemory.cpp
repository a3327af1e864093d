//===- SharedMemory.cpp - where the elements of a tile lie in shared memory
//---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/SharedMemory.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

Value Panel::getSwizzle(KernelBuilder &b, Value row) const {
  return b.andBits(b.shiftRight(row, b.i32(llvm::Log2_64(64 / width))),
                   b.i32(getChunks() - 1));
}

SmallVector<Panel, 3> nvptx::getPanels(int64_t rows, int64_t columns,
                                       int64_t commonWidth) {
  SmallVector<Panel, 3> panels;
  for (int64_t column = 0; column < columns;) {
    int64_t width =
        commonWidth
            ? commonWidth
            : std::min<int64_t>(
                  64, llvm::bit_floor(static_cast<uint64_t>(columns - column)));
    panels.push_back({column, width, column * rows * 2});
    column += width;
  }
  return panels;
}

Value SharedMemory::getSlot(const SharedTile &tile, Value slot) {
  if (tile.slots == 1)
    return tile.base;
  return b.advance(tile.base,
                   b.mul(b.narrow(slot), b.i32(tile.getSlotBytes())));
}

Value SharedMemory::getLaneBytes(MatrixOrder order, const Panel &panel) {
  Value &known = laneBytes[{static_cast<int>(order), panel.width}];
  if (known)
    return known;
  return known = b.hoist([&] {
    Value row = b.andBits(b.lane, b.i32(7));
    Value low = b.andBits(b.shiftRight(b.lane, b.i32(3)), b.i32(1));
    Value high = b.shiftRight(b.lane, b.i32(4));
    if (order == MatrixOrder::ChunksFirst)
      std::swap(low, high);
    Value chunk = b.xorBits(high, panel.getSwizzle(b, row));
    row = b.add(row, b.shiftLeft(low, b.i32(3)));
    if (order == MatrixOrder::WarpRows)
      row = b.add(row, b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())));
    return b.add(b.mul(row, b.i32(panel.getRowBytes())),
                 b.shiftLeft(chunk, b.i32(4)));
  });
}

SmallVector<Value, 4> SharedMemory::loadMatrices(Value base, int64_t rows,
                                                 int64_t columns, int64_t row,
                                                 int64_t column,
                                                 MatrixOrder order,
                                                 bool transposed) {
  for (const Panel &panel : getPanels(rows, columns)) {
    if (column >= panel.column + panel.width)
      continue;
    // Chunks are numbered by xor, and the tile starts on a multiple of 128
    // bytes: going to another pair of chunks flips bits of the address. One
    // register for each order of lanes is all that lives on.
    Value address = LLVM::PtrToIntOp::create(
        b, b.i32Type, b.advance(base, getLaneBytes(order, panel)));
    if (column != panel.column)
      address = b.xorBits(address, b.i32((column - panel.column) * 2));
    address = LLVM::IntToPtrOp::create(b, b.sharedPointer, address);
    address = b.advance(address, panel.bytes + row * panel.getRowBytes());
    Type result = LLVM::LLVMStructType::getLiteral(
        b.getContext(), SmallVector<Type>(4, b.i32Type));
    auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
    Value loaded = NVVM::LdMatrixOp::create(
        b, result, address, 4,
        transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row, shape,
        NVVM::LdStMatrixEltType::B16);
    SmallVector<Value, 4> matrices;
    for (int64_t i = 0; i < 4; ++i)
      matrices.push_back(LLVM::ExtractValueOp::create(b, loaded, i));
    return matrices;
  }
  llvm_unreachable("the column lies in the tile");
}

SharedMemory::Walk SharedMemory::getWalk(const Panel &panel) {
  auto [known, isNew] = walks.try_emplace(panel.width);
  if (!isNew)
    return known->second;
  Walk &walk = known->second;
  walk.rowsPerPass = b.shape.getThreads() / panel.getChunks();
  b.hoist([&] {
    walk.chunk = b.andBits(b.thread, b.i32(panel.getChunks() - 1));
    walk.row = b.shiftRight(b.thread, b.i32(llvm::Log2_64(panel.getChunks())));
    Value chunk = b.xorBits(walk.chunk, panel.getSwizzle(b, walk.row));
    return walk.bytes = b.add(b.mul(walk.row, b.i32(panel.getRowBytes())),
                              b.shiftLeft(chunk, b.i32(4)));
  });
  return walk;
}

Value SharedMemory::getWalkBytes(const Panel &panel, int64_t pass) {
  Walk walk = getWalk(panel);
  // The rows of a pass are a power of two: the swizzle of its first row is
  // xored onto the thread's own.
  int64_t flip = panel.getSwizzle(pass * walk.rowsPerPass) * 16;
  if (flip == 0)
    return walk.bytes;
  Value &known = walkBytes[{panel.width, flip}];
  if (!known)
    known = b.hoist([&] { return b.xorBits(walk.bytes, b.i32(flip)); });
  return known;
}

Value SharedMemory::getElement(Value base, const Panel &panel, Value row,
                               Value column) {
  Value chunk =
      b.xorBits(b.shiftRight(column, b.i32(3)), panel.getSwizzle(b, row));
  Value bytes = b.add(b.mul(row, b.i32(panel.getRowBytes())),
                      b.shiftLeft(chunk, b.i32(4)));
  bytes = b.add(bytes, b.shiftLeft(b.andBits(column, b.i32(7)), b.i32(1)));
  return b.advance(b.advance(base, panel.bytes), bytes);
}
