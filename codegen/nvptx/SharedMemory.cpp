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
  return b.andBits(b.shiftRight(row, b.i32(llvm::Log2_64(128 / getRowBytes()))),
                   b.i32(getChunks() - 1));
}

SmallVector<Panel, 3> nvptx::getPanels(const TileShape &tile) {
  SmallVector<Panel, 3> panels;
  for (int64_t column = 0; column < tile.columns;) {
    int64_t width =
        tile.panelWidth
            ? tile.panelWidth
            : std::min<int64_t>(128 / tile.elementBytes,
                                llvm::bit_floor(static_cast<uint64_t>(
                                    tile.columns - column)));
    panels.push_back({column, width, column * tile.rows * tile.elementBytes,
                      tile.elementBytes});
    column += width;
  }
  return panels;
}

Value SharedMemory::getSlot(const SharedTile &tile, Value slot) {
  if (tile.slots == 1)
    return tile.base;
  return b.advance(tile.base, b.mul(b.narrow(slot), b.i32(tile.getBytes())));
}

Value SharedMemory::getLaneBytes(MatrixOrder order, const Panel &panel) {
  Value &known = laneBytes[{static_cast<int>(order), panel.getRowBytes()}];
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

/// The panel that `column` lies in.
static Panel findPanel(const TileShape &tile, int64_t column) {
  return *llvm::find_if(getPanels(tile), [&](const Panel &panel) {
    return column < panel.column + panel.width;
  });
}

/// (base + laneBytes) xor `flip`, plus `offset`. Chunks are numbered by xor,
/// and the tile starts on a multiple of 128 bytes: going to other chunks flips
/// bits of the address. One register for each order of lanes is all that lives
/// on.
Value SharedMemory::getAddress(Value base, Value laneBytes, int64_t flip,
                               int64_t offset) {
  Value address =
      LLVM::PtrToIntOp::create(b, b.i32Type, b.advance(base, laneBytes));
  if (flip != 0)
    address = b.xorBits(address, b.i32(flip));
  address = LLVM::IntToPtrOp::create(b, b.sharedPointer, address);
  return b.advance(address, offset);
}

SmallVector<Value, 4>
SharedMemory::loadMatrices(Value base, const TileShape &tile, int64_t row,
                           int64_t column, MatrixOrder order, bool transposed) {
  Panel panel = findPanel(tile, column);
  Value address = getAddress(base, getLaneBytes(order, panel),
                             (column - panel.column) * tile.elementBytes,
                             panel.bytes + row * panel.getRowBytes());
  Type result = LLVM::LLVMStructType::getLiteral(
      b.getContext(), SmallVector<Type>(4, b.i32Type));
  auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  Value loaded = NVVM::LdMatrixOp::create(b, result, address, 4,
                                          transposed ? NVVM::MMALayout::col
                                                     : NVVM::MMALayout::row,
                                          shape, NVVM::LdStMatrixEltType::B16);
  SmallVector<Value, 4> matrices;
  for (int64_t i = 0; i < 4; ++i)
    matrices.push_back(LLVM::ExtractValueOp::create(b, loaded, i));
  return matrices;
}

/// Row 2 * t, column g, in bytes from the start of a panel.
Value SharedMemory::getColumnBytes(const Panel &panel) {
  Value &known = laneBytes[{-1, panel.getRowBytes()}];
  if (known)
    return known;
  return known = b.hoist([&] {
    Value row = b.shiftLeft(b.quadLane, b.i32(1));
    Value chunk =
        b.xorBits(b.shiftRight(b.quad, b.i32(2)), panel.getSwizzle(b, row));
    Value bytes = b.add(b.mul(row, b.i32(panel.getRowBytes())),
                        b.shiftLeft(chunk, b.i32(4)));
    return b.add(bytes, b.shiftLeft(b.andBits(b.quad, b.i32(3)), b.i32(2)));
  });
}

SmallVector<Value, 2> SharedMemory::loadColumns(Value base,
                                                const TileShape &tile,
                                                int64_t row, int64_t column) {
  Panel panel = findPanel(tile, column);
  assert(panel.getRowBytes() == 128 && "rows of 128 bytes have no conflicts");
  int64_t flip = (column - panel.column) * tile.elementBytes;
  SmallVector<Value, 2> values;
  // The odd row's chunks are those of the even one, exchanged in pairs.
  for (int64_t odd = 0; odd < 2; ++odd)
    values.push_back(
        b.load(b.i32Type,
               getAddress(base, getColumnBytes(panel), flip ^ (16 * odd),
                          panel.bytes + (row + odd) * panel.getRowBytes()),
               4));
  return values;
}

Walk::Walk(KernelBuilder &b, const Panel &panel, Value thread)
    : panel(panel), rowsPerPass(b.shape.getThreads() / panel.getChunks()) {
  chunk = b.andBits(thread, b.i32(panel.getChunks() - 1));
  row = b.shiftRight(thread, b.i32(llvm::Log2_64(panel.getChunks())));
  Value place = b.xorBits(chunk, panel.getSwizzle(b, row));
  bytes = b.add(b.mul(row, b.i32(panel.getRowBytes())),
                b.shiftLeft(place, b.i32(4)));
}

Value Walk::getAddress(KernelBuilder &b, Value base, int64_t pass) const {
  int64_t first = pass * rowsPerPass;
  // The rows of a pass are a power of two: the swizzle of its first row is
  // xored onto the thread's own.
  int64_t flip = panel.getSwizzle(first) * 16;
  Value flipped = flip ? b.xorBits(bytes, b.i32(flip)) : bytes;
  return b.advance(b.advance(base, flipped),
                   panel.bytes + first * panel.getRowBytes());
}

Value SharedMemory::getElement(Value base, const Panel &panel, Value row,
                               Value column) {
  int64_t columns = panel.getChunkColumns();
  Value chunk = b.xorBits(b.shiftRight(column, b.i32(llvm::Log2_64(columns))),
                          panel.getSwizzle(b, row));
  Value bytes = b.add(b.mul(row, b.i32(panel.getRowBytes())),
                      b.shiftLeft(chunk, b.i32(4)));
  bytes = b.add(bytes, b.shiftLeft(b.andBits(column, b.i32(columns - 1)),
                                   b.i32(llvm::Log2_64(panel.elementBytes))));
  return b.advance(b.advance(base, panel.bytes), bytes);
}
