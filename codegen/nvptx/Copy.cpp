//===- Copy.cpp - tiles between global and shared memory ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Copy.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

using Predicate = LLVM::ICmpPredicate;

namespace {
/// One 16-byte chunk of the calling thread.
struct Chunk {
  Value global, shared;
  /// Whether it lies in the slice; null if it surely does.
  Value valid;
};
} // namespace

static Value both(KernelBuilder &b, Value x, Value y) {
  return x && y ? b.andBits(x, y) : x ? x : y;
}

RowPlace nvptx::placeRow(KernelBuilder &b, const GlobalRows &rows, Value row) {
  Value head, query = row;
  if (rows.heads) {
    Value count = b.i32(rows.heads->rows);
    head = LLVM::UDivOp::create(b, row, count);
    query = b.sub(row, b.mul(head, count));
  }
  Value wide = b.widen(query);
  RowPlace place{b.mul(wide, rows.rowBytes),
                 b.compare(Predicate::slt, wide, rows.numRows)};
  if (!rows.heads)
    return place;
  place.bytes = b.add(place.bytes, b.mul(b.widen(head), rows.heads->bytes));
  place.exists = b.andBits(
      place.exists, b.compare(Predicate::slt, head, b.i32(rows.heads->count)));
  return place;
}

TileRows::TileRows(KernelBuilder &b, const GlobalRows &rows, Value row,
                   Value rowsLeft)
    : b(b), rows(rows), rowsLeft(rowsLeft) {
  if (!rows.selection) {
    first = b.advance(rows.base, b.mul(row, rows.rowBytes));
    return;
  }
  const GlobalRows::Selection &selection = *rows.selection;
  Value count = b.i64(selection.count);
  Value block = LLVM::UDivOp::create(b, row, count);
  // Less than a tile's rows from where the next block begins, or else the tile
  // lies in this block.
  inside = b.sub(row, b.mul(block, count));
  Value from =
      b.add(b.mul(block, b.i64(selection.step)), b.i64(selection.first));
  first = b.advance(rows.base, b.mul(from, rows.rowBytes));
}

Value TileRows::exists(Value row, int64_t more) const {
  if (rows.heads)
    return placeRow(b, rows, b.add(row, b.i32(more))).exists;
  return rowsLeft ? b.compare(Predicate::slt, row, b.sub(rowsLeft, b.i32(more)))
                  : Value();
}

Value TileRows::get(Value row) const {
  if (rows.heads)
    return b.advance(first, placeRow(b, rows, row).bytes);
  if (!rows.selection)
    return b.advance(first, b.mul(b.widen(row), rows.rowBytes));
  const GlobalRows::Selection &selection = *rows.selection;
  Value place;
  if (selection.count < int64_t(1) << 30) {
    Value number = b.add(b.narrow(inside), row), count = b.i32(selection.count);
    Value block = LLVM::UDivOp::create(b, number, count);
    place = b.add(b.mul(b.widen(block), b.i64(selection.step)),
                  b.widen(b.sub(number, b.mul(block, count))));
  } else {
    Value number = b.add(inside, b.widen(row)), count = b.i64(selection.count);
    Value block = LLVM::UDivOp::create(b, number, count);
    place = b.add(b.mul(block, b.i64(selection.step)),
                  b.sub(number, b.mul(block, count)));
  }
  return b.advance(first, b.mul(place, rows.rowBytes));
}

/// Calls `visit` for every chunk that the calling thread has in the tile: eight
/// threads take the eight chunks of 128 consecutive bytes of shared memory.
static void visitChunks(KernelBuilder &b, SharedMemory &shared,
                        const GlobalRows &rows, TileRows &places,
                        const SharedTile &tile, Value base,
                        function_ref<void(const Chunk &)> visit) {
  Value thread = b.hide(b.thread);
  for (const Panel &panel : getPanels(tile)) {
    Walk walk(b, panel, thread);
    Value inColumns;
    if (panel.column + panel.width > rows.columns)
      inColumns = b.compare(
          Predicate::slt, walk.chunk,
          b.i32((rows.columns - panel.column) / panel.getChunkColumns()));
    Value inRow = b.widen(b.shiftLeft(walk.chunk, b.i32(4)));
    auto locate = [&](Value row) {
      return b.advance(b.advance(places.get(row), inRow),
                       panel.column * tile.elementBytes);
    };
    Value global = locate(walk.row);
    int64_t passes = llvm::divideCeil(tile.rows, walk.rowsPerPass);
    Value step;
    if (passes > 1)
      step = b.scaleHere(rows.rowBytes, llvm::Log2_64(walk.rowsPerPass));
    for (int64_t pass = 0; pass < passes; ++pass) {
      int64_t passRow = pass * walk.rowsPerPass;
      Value target = walk.getAddress(b, base, pass);
      Value valid = both(b, inColumns, places.exists(walk.row, passRow));
      Chunk chunk{global, target, valid};
      if (passRow + walk.rowsPerPass <= tile.rows)
        visit(chunk);
      else
        b.ifThen(
            b.compare(Predicate::slt, walk.row, b.i32(tile.rows - passRow)),
            [&] { visit(chunk); });
      if (pass + 1 < passes)
        global =
            places.areRegular()
                ? b.advance(global, step)
                : locate(b.add(walk.row, b.i32(passRow + walk.rowsPerPass)));
    }
  }
}

/// Calls `visit` with the addresses of the single elements of the same chunks,
/// in a rolled loop for each panel; `valid` as above.
static void visitElements(KernelBuilder &b, SharedMemory &shared,
                          const GlobalRows &rows, TileRows &places,
                          const SharedTile &tile, Value base,
                          function_ref<void(const Chunk &)> visit) {
  Value thread = b.hide(b.thread);
  for (const Panel &panel : getPanels(tile)) {
    Walk walk(b, panel, thread);
    int64_t passes = llvm::divideCeil(tile.rows, walk.rowsPerPass);
    int64_t columns = panel.getChunkColumns();
    Value log2Columns = b.i32(llvm::Log2_64(columns));
    auto element = [&](Value i, ValueRange) -> SmallVector<Value> {
      Value pass = b.shiftRight(i, log2Columns);
      Value row = b.add(walk.row, b.mul(pass, b.i32(walk.rowsPerPass)));
      Value column = b.orBits(b.shiftLeft(walk.chunk, log2Columns),
                              b.andBits(i, b.i32(columns - 1)));
      Value valid;
      if (panel.column + panel.width > rows.columns)
        valid = b.compare(Predicate::slt, column,
                          b.i32(rows.columns - panel.column));
      valid = both(b, valid, places.exists(row));
      Value inRow = b.widen(b.mul(column, b.i32(tile.elementBytes)));
      Value global = b.advance(b.advance(places.get(row), inRow),
                               panel.column * tile.elementBytes);
      Chunk chunk{global, shared.getElement(base, panel, row, column), valid};
      if (tile.rows % walk.rowsPerPass == 0)
        visit(chunk);
      else
        b.ifThen(b.compare(Predicate::slt, row, b.i32(tile.rows)),
                 [&] { visit(chunk); });
      return {};
    };
    b.loop(b.i32(0), b.i32(columns * passes), b.i32(1), {}, element);
  }
}

/// The rows of the slice from `row` on, at most the tile's, as i32.
static Value countRows(KernelBuilder &b, const GlobalRows &rows, Value row,
                       const SharedTile &tile) {
  return b.narrow(b.minSigned(b.sub(rows.numRows, row), b.i64(tile.rows)));
}

void nvptx::copyToShared(KernelBuilder &b, SharedMemory &shared,
                         const GlobalRows &source, Value row,
                         const SharedTile &tile, Value target, bool inBounds) {
  TileRows places(b, source, row,
                  inBounds ? Value() : countRows(b, source, row, tile));
  auto asynchronous = [&] {
    visitChunks(
        b, shared, source, places, tile, target, [&](const Chunk &chunk) {
          // A source size of 0 fills with zeros and reads nothing.
          Value size = chunk.valid ? b.select(chunk.valid, b.i32(16), b.i32(0))
                                   : Value();
          NVVM::CpAsyncOp::create(
              b, chunk.shared, chunk.global, b.getI32IntegerAttr(16),
              NVVM::LoadCacheModifierKindAttr::get(
                  b.getContext(), NVVM::LoadCacheModifierKind::CG),
              size);
        });
  };
  auto elementwise = [&] {
    Type type = b.getIntegerType(8 * tile.elementBytes);
    auto visit = [&](const Chunk &element) {
      auto copy = [&] {
        b.store(b.load(type, element.global, tile.elementBytes), element.shared,
                tile.elementBytes);
      };
      auto clear = [&] {
        b.store(b.constant(type, 0), element.shared, tile.elementBytes);
      };
      if (element.valid)
        b.ifThenElse(element.valid, copy, clear);
      else
        copy();
    };
    visitElements(b, shared, source, places, tile, target, visit);
  };
  b.ifThenElse(source.aligned, asynchronous, elementwise);
}

void nvptx::copyToGlobal(KernelBuilder &b, SharedMemory &shared,
                         const SharedTile &tile, Value source,
                         const GlobalRows &target) {
  TileRows places(b, target, b.i64(0), countRows(b, target, b.i64(0), tile));
  auto copy = [&](Type type, unsigned alignment) {
    return [&b, type, alignment](const Chunk &chunk) {
      auto move = [&] {
        b.store(b.load(type, chunk.shared, alignment), chunk.global, alignment);
      };
      b.ifThen(chunk.valid, move);
    };
  };
  Type vector = VectorType::get({4}, b.i32Type);
  b.ifThenElse(
      target.aligned,
      [&] {
        visitChunks(b, shared, target, places, tile, source, copy(vector, 16));
      },
      [&] {
        visitElements(
            b, shared, target, places, tile, source,
            copy(b.getIntegerType(8 * tile.elementBytes), tile.elementBytes));
      });
}
