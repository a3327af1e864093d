//===- SharedMemory.h - where the elements of a tile lie in shared memory ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_SHAREDMEMORY_H
#define ATTN_CODEGEN_NVPTX_SHAREDMEMORY_H

#include "attn/codegen/nvptx/KernelBuilder.h"

#include <map>

namespace mlir::attn::nvptx {

/// Rows, columns and the bytes of an element (2 or 4) of a tile in shared
/// memory. The bytes of a row are a multiple of 32.
struct TileShape {
  int64_t rows, columns, elementBytes;
  /// Columns of every panel; 0 if they differ.
  int64_t panelWidth = 0;
  int64_t getBytes() const { return rows * columns * elementBytes; }
};

/// Columns [column, column + width) of a tile, stored as rows of 128, 64 or 32
/// bytes with the swizzle of that size. `bytes` is where the panel starts in
/// the tile.
struct Panel {
  int64_t column, width, bytes, elementBytes;
  int64_t getRowBytes() const { return width * elementBytes; }
  /// 16-byte chunks of a row, and elements of a chunk.
  int64_t getChunks() const { return getRowBytes() / 16; }
  int64_t getChunkColumns() const { return 16 / elementBytes; }
  /// What the chunk numbers of row `row` are xored with.
  int64_t getSwizzle(int64_t row) const {
    return row / (128 / getRowBytes()) % getChunks();
  }
  Value getSwizzle(KernelBuilder &b, Value row) const;
};

/// The panels of a tile: all of its panel width, or the widest first.
llvm::SmallVector<Panel, 3> getPanels(const TileShape &tile);

/// A buffer of slots in shared memory.
struct SharedTile : TileShape {
  SharedTile() = default;
  SharedTile(const TileShape &shape, Value base, int64_t slots)
      : TileShape(shape), base(base), slots(slots) {}
  Value base;
  int64_t slots;
};

/// How the block walks a panel in passes: eight threads take the eight chunks
/// of 128 consecutive bytes.
struct Walk {
  Walk(KernelBuilder &b, const Panel &panel, Value thread);

  Panel panel;
  int64_t rowsPerPass;
  /// The row in the first pass and the chunk of `thread`, and the bytes from
  /// the start of the panel to where it lies.
  Value row, chunk, bytes;

  /// The address of that chunk in pass number `pass` of a tile that starts at
  /// `base`.
  Value getAddress(KernelBuilder &b, Value base, int64_t pass) const;
};

/// How the lanes of a warp point ldmatrix.x4 at four 8 x 8 matrices.
enum class MatrixOrder {
  /// Matrices 0 and 1 below each other, 2 and 3 in the next chunk: A operands,
  /// and B operands that are transposed.
  RowsFirst,
  /// Matrices 0 and 1 side by side, 2 and 3 eight rows down: B operands that
  /// are not transposed.
  ChunksFirst,
  /// RowsFirst, in the rows of the lane's own warp.
  WarpRows,
};

/// Emits ldmatrix and the addresses it needs. What depends on the lane alone is
/// computed once, at the kernel's entry.
class SharedMemory {
public:
  explicit SharedMemory(KernelBuilder &b) : b(b) {}

  /// Forgets what was computed in the phase before (KernelBuilder::startPhase).
  void startPhase() { laneBytes.clear(); }

  /// The address of slot `slot`, an i64, of `tile`.
  Value getSlot(const SharedTile &tile, Value slot);

  /// Loads the block of 16 rows and 32 bytes at `row` and `column` of the tile
  /// that starts at `base`: four i32.
  llvm::SmallVector<Value, 4> loadMatrices(Value base, const TileShape &tile,
                                           int64_t row, int64_t column,
                                           MatrixOrder order, bool transposed);

  /// Loads the 8 x 8 block at `row` and `column` of a tile of 4-byte elements
  /// that starts at `base`, two i32: rows 2 * t and 2 * t + 1 of column g.
  llvm::SmallVector<Value, 2> loadColumns(Value base, const TileShape &tile,
                                          int64_t row, int64_t column);

  /// The address of an element, for row and column (within the panel) as i32.
  Value getElement(Value base, const Panel &panel, Value row, Value column);

private:
  Value getLaneBytes(MatrixOrder order, const Panel &panel);
  Value getColumnBytes(const Panel &panel);
  Value getAddress(Value base, Value laneBytes, int64_t flip, int64_t offset);

  KernelBuilder &b;
  /// By order (columns are one more) and bytes of a row.
  std::map<std::pair<int, int64_t>, Value> laneBytes;
};

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_SHAREDMEMORY_H
