//===- Copy.h - tiles between global and shared memory ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_COPY_H
#define ATTN_CODEGEN_NVPTX_COPY_H

#include "attn/codegen/nvptx/SharedMemory.h"

#include <optional>

namespace mlir::attn::nvptx {

/// The rows of a slice in global memory, elements of the size of the tile's.
struct GlobalRows {
  /// Pointer to the first row.
  Value base;
  /// Bytes from row to row and number of rows, i64.
  Value rowBytes, numRows;
  int64_t columns;
  /// i1: every row starts on 16 bytes.
  Value aligned;
  /// If set, row r of the slice is row r floordiv count * step + first + r mod
  /// count from `base` on (attn.select_rows).
  struct Selection {
    int64_t first, count, step;
  };
  std::optional<Selection> selection = {};
  /// If set, the slice has `count` heads, `bytes` apart, of `numRows` rows
  /// each, and row r of a tile is row r mod `rows` of head r floordiv `rows`. A
  /// tile begins at row 0.
  struct Heads {
    int64_t rows, count;
    Value bytes;
  };
  std::optional<Heads> heads = {};
};

/// Row `row` (i32) of a tile that begins at row 0 of `rows`, which has no
/// selection: where it is, in bytes from the base, and whether it exists.
struct RowPlace {
  Value bytes, exists;
};
RowPlace placeRow(KernelBuilder &b, const GlobalRows &rows, Value row);

/// Where the rows of a tile are.
class TileRows {
public:
  /// The tile begins at row `row` (i64) of the slice. `rowsLeft` (i32) is null
  /// if all of its rows exist.
  TileRows(KernelBuilder &b, const GlobalRows &rows, Value row, Value rowsLeft);

  /// Whether rows are equally far apart.
  bool areRegular() const { return !rows.selection && !rows.heads; }

  /// Whether row `row` (i32) + `more` of the tile exists; null if it surely
  /// does.
  Value exists(Value row, int64_t more = 0) const;

  /// The start of row `row` (i32) of the tile.
  Value get(Value row) const;

private:
  KernelBuilder &b;
  const GlobalRows &rows;
  Value rowsLeft, first, inside;
};

/// Copies rows from `row` (i64) on into the tile at `target`, asynchronously
/// where the rows are aligned. Rows past the last and columns past the last
/// become zeros.
void copyToShared(KernelBuilder &b, SharedMemory &shared,
                  const GlobalRows &source, Value row, const SharedTile &tile,
                  Value target, bool inBounds);

/// Copies the rows and columns that `target` has from the tile at `source`.
void copyToGlobal(KernelBuilder &b, SharedMemory &shared,
                  const SharedTile &tile, Value source,
                  const GlobalRows &target);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_COPY_H
