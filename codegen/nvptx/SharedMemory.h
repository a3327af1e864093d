//===- SharedMemory.h - where the elements of a tile lie in shared memory ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_SHAREDMEMORY_H
#define ATTN_CODEGEN_NVPTX_SHAREDMEMORY_H

#include "attn/codegen/nvptx/KernelBuilder.h"

#include <map>

namespace mlir::attn::nvptx {

/// Columns [column, column + width) of a tile of 16-bit elements, stored as
/// rows of 2 * width bytes with the swizzle of that width. `bytes` is where the
/// panel starts in the tile. The widths are 64, 32 and 16.
struct Panel {
  int64_t column, width, bytes;
  int64_t getRowBytes() const { return 2 * width; }
  /// 16-byte chunks of a row.
  int64_t getChunks() const { return width / 8; }
  /// What the chunk numbers of row `row` are xored with.
  int64_t getSwizzle(int64_t row) const {
    return row / (64 / width) % getChunks();
  }
  Value getSwizzle(KernelBuilder &b, Value row) const;
};

/// The panels of a tile, `columns` a multiple of 16: all of the width `width`,
/// or as few as there can be if that is 0.
llvm::SmallVector<Panel, 3> getPanels(int64_t rows, int64_t columns,
                                      int64_t width = 0);

/// A buffer of slots in shared memory.
struct SharedTile {
  Value base;
  int64_t slots, rows, columns;
  /// Of all panels; 0 if they differ.
  int64_t panelWidth = 0;
  int64_t getSlotBytes() const { return rows * columns * 2; }
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
  void startPhase() {
    laneBytes.clear();
    walks.clear();
    walkBytes.clear();
  }

  /// The address of slot `slot`, an i64, of `tile`.
  Value getSlot(const SharedTile &tile, Value slot);

  /// Loads the 16 x 16 block at `row` and `column` (multiples of 16) of the
  /// tile that starts at `base`: four i32.
  llvm::SmallVector<Value, 4> loadMatrices(Value base, int64_t rows,
                                           int64_t columns, int64_t row,
                                           int64_t column, MatrixOrder order,
                                           bool transposed);

  /// The first row and the chunk of the calling thread when the block walks a
  /// panel of that width, and the bytes from the start of the panel to that
  /// chunk.
  struct Walk {
    Value row, chunk, bytes;
    int64_t rowsPerPass;
  };
  Walk getWalk(const Panel &panel);
  /// The same chunk in pass number `pass`, in bytes from the start of the
  /// panel.
  Value getWalkBytes(const Panel &panel, int64_t pass);

  /// The address of a 16-bit element, for row and column (within the panel) as
  /// i32.
  Value getElement(Value base, const Panel &panel, Value row, Value column);

private:
  Value getLaneBytes(MatrixOrder order, const Panel &panel);

  KernelBuilder &b;
  std::map<std::pair<int, int64_t>, Value> laneBytes;
  std::map<int64_t, Walk> walks;
  std::map<std::pair<int64_t, int64_t>, Value> walkBytes;
};

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_SHAREDMEMORY_H
