//===- KernelLowering.h - a kernel on register blocks ------------*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_KERNELLOWERING_H
#define ATTN_CODEGEN_HOST_KERNELLOWERING_H

#include "attn/codegen/host/Level.h"
#include "attn/codegen/host/MergeStates.h"
#include "attn/codegen/host/PanelEmitter.h"
#include "attn/codegen/host/PanelPlan.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::attn::host {

struct Counts {
  int64_t stages = 0, converted = 0, dot = 0;
};

/// What a function does with its work item: all of it; a part of its keys, up
/// to the state of the softmax; or the rest, from the states of all parts.
enum class Share { Whole, Part, Merge };

class KernelLowering {
public:
  KernelLowering(func::FuncOp kernel, const Level &level, Share share)
      : kernel(kernel), level(level), share(share),
        b(kernel.getLoc(), kernel.getContext(), this->level),
        context{b, scratch, {}, scalars, views, states, packed, rows} {
    if (auto rows = kernel->getAttrOfType<IntegerAttr>("attn.rows")) {
      tileRows = rows.getInt();
      this->level = level.forRows(tileRows);
      if (int64_t group = getNumber("attn.group"); group > 1)
        context.rowsPerHead = tileRows / group;
    }
  }

  FailureOr<func::FuncOp> run();
  const Counts &getCounts() const { return counts; }

private:
  void bindParams(Value params);
  int64_t getNumber(StringRef attribute) {
    auto attr = kernel->getAttrOfType<IntegerAttr>(attribute);
    return attr ? attr.getInt() : 0;
  }
  LogicalResult bindItem(scf::ForallOp forall, Value number);
  /// Clones what is not on tiles: scalars and views.
  LogicalResult cloneScalars(Block &block);
  LogicalResult cloneScalar(Operation &op);
  Value buildLoad(memref::LoadOp load);
  Value buildAnyBit(AnyBitOp op);
  void lowerLoads(MutableArrayRef<Region> regions);
  void bindSubView(memref::SubViewOp op);
  void bindRows(SelectRowsOp op);
  Value scalar(OpFoldResult value);

  LogicalResult lowerItem(Block &block);
  LogicalResult lowerLoop(ForTilesOp loop);
  LogicalResult emitPanels(const PanelPlan &plan,
                           function_ref<LogicalResult(PanelEmitter &)> finish);
  LogicalResult packQueries(Block &block);
  TileBuffer transpose(vector::TransferReadOp read, bool asPairs);
  void loadStates(Block &block);
  LogicalResult prepareRows(Block &block, const PanelPlan &plan);
  RowSource getRows(vector::TransferReadOp read);
  RowSource gatherRows(vector::TransferReadOp read);
  RowSource convertRows(const RowSource &from, VectorType type,
                        bool interleave);
  void makeStates(ForTilesOp loop);
  SmallVector<StateBuffer> getStates(ForTilesOp loop);
  void findParts(Block &block);
  LogicalResult findQueryRows(Block &block);

  func::FuncOp kernel;
  Level level;
  Share share;
  RegisterBuilder b;
  Scratch scratch;
  IRMapping scalars;
  DenseMap<Value, View> views;
  DenseMap<Value, TileBuffer> states;
  std::map<std::pair<void *, int>, TileBuffer> packed;
  std::map<std::pair<void *, int>, RowSource> rows;
  PanelContext context;
  /// Rows of the query tile; an index, how many of them exist.
  int64_t tileRows = 0;
  Value numRows;
  /// Where keys are split: the address of the states of all items, the number
  /// of the work item among those that are not split, and of the part.
  Value states0, item, part;
  /// How many parts have tiles; those of this one.
  Value numParts, firstTile, endTile;
  Counts counts;
};

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_KERNELLOWERING_H
