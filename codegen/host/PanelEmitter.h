//===- PanelEmitter.h - code for one panel of query rows --------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_PANELEMITTER_H
#define ATTN_CODEGEN_HOST_PANELEMITTER_H

#include "attn/codegen/host/PanelPlan.h"
#include "attn/codegen/host/RegisterBuilder.h"
#include "attn/dialect/Attn.h"
#include "mlir/IR/IRMapping.h"
#include <map>

namespace mlir::attn::host {

/// The memory of a work item: a bump allocator over its scratch, in bytes.
class Scratch {
public:
  int64_t allocate(int64_t bytes) {
    int64_t offset = used;
    used += (bytes + 63) / 64 * 64;
    peak = std::max(peak, used);
    return offset;
  }
  int64_t getUsed() const { return used; }
  int64_t getPeak() const { return peak; }
  /// Forgets what was allocated since getUsed() was `mark`.
  void release(int64_t mark) { used = mark; }

private:
  int64_t used = 0, peak = 0;
};

/// Where a tile lies in scratch. A panel's part is transposed: all its rows for
/// one column (Form::Dot: one pair of columns) are next to each other.
struct TileBuffer {
  int64_t offset = 0;
  /// Bytes from a panel to the next; 0 where all panels use the same place in
  /// turn.
  int64_t panelStride = 0;
  Form form = Form::Float;
};

/// The right operand of a product, row by row.
struct RowSource {
  Value base;
  /// Index: bytes from a row to the next.
  Value stride;
  /// Index: the last row that exists, where there may be fewer than the tile
  /// has.
  Value lastRow;
  /// Where the rows of the next tile begin in memory, if they are worth
  /// fetching into a cache ahead of their turn; bytes from one to the next (an
  /// index) and of an element.
  Value nextBase, nextStride;
  int64_t nextBytes = 0;
};

/// A strided view of memory.
struct View {
  Value address;
  SmallVector<Value> sizes, strides;
  Type element;
  /// The rows that are selected, if not all.
  SelectRowsOp selection = {};
  int64_t getElementBytes() const;
};

/// What a kernel's panels share. Tiles of pairs that several products or blocks
/// use are found by value.
struct PanelContext {
  RegisterBuilder &builder;
  Scratch &scratch;
  Value scratchBase;
  /// Scalars of the tile program.
  IRMapping &scalars;
  DenseMap<Value, View> &views;
  /// Row and pair tiles that are kept across panels and blocks.
  DenseMap<Value, TileBuffer> &states;
  /// The left operands that come from memory, and the right operands, by tile
  /// and Product::getOperandKind.
  std::map<std::pair<void *, int>, TileBuffer> &packed;
  std::map<std::pair<void *, int>, RowSource> &rows;
  /// Where the rows of a left operand begin in memory, for products of a few.
  std::map<void *, SmallVector<Value>> queryRows = {};
  /// Where the rows of a tile are those of several heads: how many each head
  /// has; 0 otherwise.
  int64_t rowsPerHead = 0;
  /// In scratch: the addresses of rows that are being transposed.
  int64_t rowTable = 0;

  /// Where row `row` (an index) of the tile lies from its row 0, in elements of
  /// memory with `strides`; dimension `rowDim` is that of the rows, the one
  /// before it that of the heads.
  Value getRowOffset(Value row, ArrayRef<Value> strides, unsigned rowDim);
};

/// Registers of a block without a product: enough independent work to hide the
/// latency of an exponential.
constexpr int64_t kRegisters = 12;

/// Emits the stages of a plan for the panel `panel` (an index) whose first row
/// is `firstRow`; the rows of the tile that exist are below `numRows`.
class PanelEmitter {
public:
  PanelEmitter(PanelContext &context, const PanelPlan &plan, Value panel,
               Value firstRow, Value numRows);

  LogicalResult emitStages();
  /// After the stages: stores a row tile to its place; writes one to memory.
  LogicalResult storeRow(Value value, Value place);
  LogicalResult writeRow(vector::TransferWriteOp write);

private:
  LogicalResult emitStage(const Stage &stage);
  LogicalResult prepareRows(const Stage &stage);
  LogicalResult emitRoot(const Root &root);
  /// Score inputs: the panel's part of a tile of pairs, or of one value for
  /// each row, as f32 in scratch, its rows next to each other.
  void copyIn(vector::TransferReadOp read, const TileBuffer &buffer);
  /// The address of element (0, 0) of a tile in memory, and the columns of the
  /// tile that exist; null if all do.
  Value getInput(vector::TransferReadOp read, Value &numColumns);
  Value getRowInput(vector::TransferReadOp read, int64_t v);
  Value getColumnInput(vector::TransferReadOp read, int64_t i);
  void copyOut(vector::TransferWriteOp write, int64_t offset, int64_t columns);

  /// Register `v` of a row tile; the scalar of column `i` of the block;
  /// register `v` of column `i` of the block. Null after an error.
  Value getRow(Value tile, int64_t v);
  Value getColumn(Value tile, int64_t i);
  void prefetchNext(const RowSource &source, Value row, Value column);
  Value getPair(Value tile, int64_t i, int64_t v);
  Value computePair(Value tile, int64_t i, int64_t v);
  FailureOr<SmallVector<Value>> mapOperands(Operation *op,
                                            function_ref<Value(Value)> getTile);
  LogicalResult computeProduct(Value result);
  /// Steps of a product in one iteration of its loop, and that loop: over all
  /// of the depth, or over the columns with pairs that count.
  int64_t getDepthUnroll(Product product) const;
  scf::ForOp beginDepthLoop(Product product, ValueRange inits);
  Value getAnyLive();
  int64_t getLiveGranule() const;
  Value loadInteger(vector::TransferReadOp read, Value row, Value column,
                    Value endOfRows);
  /// FewRows.cpp: a product whose lanes are along the head size.
  LogicalResult computeFewByColumn(Product product, const RowSource &rhs,
                                   Value result);
  LogicalResult computeFewByDepth(Product product, const RowSource &rhs,
                                  Value result);
  int64_t getBlockColumns(const Stage &stage) const;
  Value getRhsRow(const RowSource &rhs, Value row);
  Value fail(Value value, StringRef what);

  /// The address of row 0 of the panel in column `column` (an index) plus `i`.
  Value getTileAddress(const TileBuffer &buffer, Value column, int64_t i,
                       int64_t v, int64_t bytesPerColumn);
  Value getMaskAddress(const TileBuffer &buffer, Value column, int64_t i,
                       int64_t v);
  Value loadMask(const TileBuffer &buffer, Value column, int64_t i, int64_t v);
  /// Whether the pair of column `column` plus `i` and row `row` of the first
  /// register counts: an i1.
  Value loadMaskOfRow(const TileBuffer &buffer, Value column, int64_t i,
                      int64_t row);
  Value getPanelBase(const TileBuffer &buffer);
  TileBuffer &getLocal(Value tile, Form form);

  using Key = std::pair<void *, int64_t>;
  PanelContext &context;
  RegisterBuilder &b;
  const PanelPlan &plan;
  Value panel, firstRow, numRows;
  /// Where the plan says that others change nothing: the columns of the current
  /// tile with a pair that counts (indices), in whole blocks.
  Value firstLive, endLive;
  int64_t vectors, lanes, panelRows;

  /// Buffers of tiles that live for one panel only.
  std::map<std::pair<void *, Form>, TileBuffer> locals;
  std::map<Key, Value> rowValues, columnValues;
  std::map<std::pair<void *, std::pair<int64_t, int64_t>>, Value> pairValues;
  /// The block of columns that is being emitted.
  const Stage *stage = nullptr;
  Value column;
  int64_t blockColumns = 0;
  std::map<void *, int64_t> outputs;
};

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_PANELEMITTER_H
