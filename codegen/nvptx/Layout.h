//===- Layout.h - how a tile-shaped vector is dealt to the threads of a block
//---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_LAYOUT_H
#define ATTN_CODEGEN_NVPTX_LAYOUT_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"

namespace mlir::attn::nvptx {

/// Which elements of a vector a thread holds. Let r be the first row of its
/// warp, g = lane / 4, t = lane % 4, and i, n count blocks of 16 rows and 8
/// columns: the accumulator layout of mma.m16n8k16.
enum class Layout {
  /// One value, the same for every element.
  Splat,
  /// A value of each row: elements[2 * i + h] is row r + 16 * i + 8 * h + g.
  Row,
  /// A value of each column: elements[2 * n + c] is column 8 * n + 2 * t + c.
  Column,
  /// A one-dimensional vector that may turn out to be along rows or along
  /// columns: the elements of both, rows first.
  Axis,
  /// elements[(i * numN + n) * 4 + 2 * h + c]: row r + 16 * i + 8 * h + g,
  /// column 8 * n + 2 * t + c.
  Tile,
  /// As Tile, of 16-bit elements, two columns in one i32: elements[(i * numN +
  /// n) * 2 + h].
  Packed,
  /// The operand A of mma.m16n8k16, or of m16n8k8 for f32, i32: elements[(i *
  /// numK + k) * 4 + j].
  Fragments,
};

/// The elements of a vector that the calling thread holds.
struct TileValue {
  Layout layout = Layout::Splat;
  llvm::SmallVector<Value> elements;
  /// For Row: each of the four lanes of a row holds a part of the row's value,
  /// which is their sum.
  bool partial = false;
  /// For Tile and Column: the op that computes the elements where they are
  /// used, if they are not computed yet.
  Operation *deferred = nullptr;

  /// For Column and for the columns of Axis: if not null, the elements are
  /// `first` plus these distances. They need no registers of their own where
  /// they are compared.
  Value first = {};
  llvm::SmallVector<int64_t> distances = {};

  /// Element (i, n, 2 * h + c) of a tile with `numN` blocks of columns.
  Value at(int64_t i, int64_t n, int64_t numN, int64_t c) const {
    switch (layout) {
    case Layout::Splat:
      return elements.front();
    case Layout::Row:
      return elements[2 * i + (c >> 1)];
    case Layout::Column:
      return elements[2 * n + (c & 1)];
    case Layout::Tile:
      return elements[(i * numN + n) * 4 + c];
    case Layout::Axis:
    case Layout::Packed:
    case Layout::Fragments:
      break;
    }
    llvm_unreachable("no single elements in this layout");
  }
};

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_LAYOUT_H
