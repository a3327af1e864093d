//===- PanelEmitter.cpp - the stages of a panel ---------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/PanelEmitter.h"

#include "attn/codegen/host/Level.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn::host;

PanelEmitter::PanelEmitter(PanelContext &context, const PanelPlan &plan,
                           Value panel, Value firstRow, Value numRows)
    : context(context), b(context.builder), plan(plan), panel(panel),
      firstRow(firstRow), numRows(numRows), vectors(b.getLevel().panelVectors),
      lanes(b.getLevel().lanes), panelRows(b.getLevel().getPanelRows()) {}

Value PanelEmitter::fail(Value value, StringRef what) {
  emitError(value.getLoc())
      << "the host target cannot compute " << what << " of type "
      << value.getType()
      << (value.getDefiningOp()
              ? " from '" +
                    value.getDefiningOp()->getName().getStringRef().str() + "'"
              : std::string());
  return {};
}

LogicalResult PanelEmitter::emitRoot(const Root &root) {
  void *key = root.value.getAsOpaquePointer();
  Type element = getElementTypeOrSelf(root.value);
  bool isPaired = root.form == Form::Dot || root.form == Form::DotMask;
  if (root.kind == Root::Store && isPaired) {
    TileBuffer buffer = getLocal(root.value, root.form);
    auto toBits = [&](Value value) -> Value {
      if (root.form == Form::Dot)
        return b.bitsOf16(value);
      Type ints = b.vectorOf(b.getI32Type());
      return arith::SelectOp::create(b, value, b.integer(ints, 0xffff),
                                     b.integer(ints, 0));
    };
    for (int64_t i = 0; i < blockColumns; i += 2)
      for (int64_t v = 0; v < vectors; ++v) {
        Value low = getPair(root.value, i, v),
              high = getPair(root.value, i + 1, v);
        if (!low || !high)
          return failure();
        Value sixteen = b.integer(b.vectorOf(b.getI32Type()), 16);
        Value upper = arith::ShLIOp::create(b, toBits(high), sixteen);
        Value both = arith::OrIOp::create(b, toBits(low), upper);
        // A pair of columns takes the room of one column of f32, so a column
        // counts half.
        Value address =
            b.pointer(getTileAddress(buffer, column, 0, v, panelRows * 2),
                      i * panelRows * 2);
        b.store(both, address, lanes * 4);
      }
    return success();
  }
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v) {
      Value value = getPair(root.value, i, v);
      if (!value)
        return failure();
      if (root.kind == Root::Write) {
        int64_t bytes = element.getIntOrFloatBitWidth() / 8;
        TileBuffer buffer{outputs.at(key), 0, Form::Float};
        Value base = b.pointer(getPanelBase(buffer),
                               b.multiply(column, panelRows * bytes));
        b.store(value, b.pointer(base, (i * panelRows + v * lanes) * bytes),
                lanes * bytes);
      } else if (root.form == Form::Mask) {
        TileBuffer buffer = getLocal(root.value, Form::Mask);
        Value bits =
            lanes == 16
                ? LLVM::BitcastOp::create(b, b.getI16Type(), value).getResult()
                : arith::ExtSIOp::create(b, b.vectorOf(b.getI32Type()), value)
                      .getResult();
        b.store(bits, getMaskAddress(buffer, column, i, v),
                lanes == 16 ? 2 : lanes * 4);
      } else {
        auto state = context.states.find(root.place);
        TileBuffer buffer = state != context.states.end()
                                ? state->second
                                : getLocal(root.value, Form::Float);
        b.store(b.extend(value),
                getTileAddress(buffer, column, i, v, panelRows * 4), lanes * 4);
      }
    }
  return success();
}

/// Row tiles that the stage uses are computed before its loop.
LogicalResult PanelEmitter::prepareRows(const Stage &stage) {
  auto prepare = [&](Value tile) -> LogicalResult {
    if (auto type = dyn_cast<VectorType>(tile.getType());
        type && isRowTile(tile))
      for (int64_t v = 0; v < vectors; ++v)
        if (!getRow(tile, v))
          return failure();
    return success();
  };
  for (Value tile : stage.tiles) {
    auto broadcast = tile.getDefiningOp<vector::BroadcastOp>();
    if (broadcast && !stage.loaded.contains(tile))
      if (auto type = dyn_cast<VectorType>(broadcast.getSource().getType());
          type && type.getRank() == 2 && type.getDimSize(1) == 1 &&
          failed(prepare(broadcast.getSource())))
        return failure();
  }
  for (const Root &root : stage.roots)
    if (root.kind == Root::Reduce &&
        failed(prepare(cast<vector::MultiDimReductionOp>(root.op).getAcc())))
      return failure();
  return success();
}

LogicalResult PanelEmitter::emitStage(const Stage &current) {
  stage = &current;
  if (failed(prepareRows(current)))
    return failure();
  blockColumns = getBlockColumns(current);
  int64_t numColumns = current.getNumColumns();
  SmallVector<Value> inits;
  for (const Root &root : current.roots) {
    if (root.kind == Root::Reduce)
      for (int64_t v = 0; v < vectors; ++v)
        inits.push_back(
            getRow(cast<vector::MultiDimReductionOp>(root.op).getAcc(), v));
    if (root.kind == Root::Write)
      outputs[root.value.getAsOpaquePointer()] =
          context.scratch.allocate(numColumns * panelRows * 4);
    if (root.kind == Root::Store && !context.states.contains(root.place))
      getLocal(root.value, root.form);
  }

  // The stage of the mask finds the columns with a pair that counts.
  bool isOfMask = plan.getLive() && current.tiles.contains(plan.getLive()) &&
                  !current.loaded.contains(plan.getLive());
  if (isOfMask)
    llvm::append_range(inits, ArrayRef{b.index(numColumns), b.index(0)});
  bool skipsDead = plan.getLive() && current.skipsDead;
  scf::ForOp loop = skipsDead
                        ? b.beginLoop(firstLive, endLive, blockColumns, inits)
                        : b.beginLoop(numColumns, blockColumns, inits);
  column = loop.getInductionVar();
  columnValues.clear();
  pairValues.clear();
  SmallVector<Value> sums(loop.getRegionIterArgs());
  auto combine = [&](const Root &root, Value lhs, Value rhs) -> Value {
    if (cast<vector::MultiDimReductionOp>(root.op).getKind() ==
        vector::CombiningKind::ADD)
      return arith::AddFOp::create(b, lhs, rhs);
    // The right one where a NaN is involved: it reaches the result through the
    // weights.
    Value greater =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, lhs, rhs);
    return arith::SelectOp::create(b, greater, lhs, rhs);
  };
  size_t sum = 0;
  for (const Root &root : current.roots) {
    if (root.kind != Root::Reduce) {
      if (failed(emitRoot(root)))
        return failure();
      continue;
    }
    for (int64_t v = 0; v < vectors; ++v, ++sum) {
      SmallVector<Value> values;
      for (int64_t i = 0; i < blockColumns; ++i) {
        values.push_back(getPair(root.value, i, v));
        if (!values.back())
          return failure();
      }
      for (; values.size() > 1; values.resize(values.size() / 2))
        for (size_t i = 0; i < values.size() / 2; ++i)
          values[i] = combine(root, values[i], values[i + values.size() / 2]);
      sums[sum] = combine(root, values.front(), sums[sum]);
    }
  }
  if (isOfMask) {
    Value some = getAnyLive();
    Value &first = sums[sum], &end = sums[sum + 1];
    first = arith::SelectOp::create(b, some, b.minimum(first, column), first);
    end = arith::SelectOp::create(b, some, b.add(column, blockColumns), end);
  }
  b.endLoop(loop, sums);
  columnValues.clear();
  pairValues.clear();
  if (isOfMask) {
    auto roundDown = [&](Value value) -> Value {
      return arith::AndIOp::create(b, value, b.index(-getLiveGranule()));
    };
    firstLive = roundDown(loop.getResult(sum));
    endLive = roundDown(b.add(loop.getResult(sum + 1), getLiveGranule() - 1));
  }
  sum = 0;
  for (const Root &root : current.roots) {
    if (root.kind == Root::Reduce)
      for (int64_t v = 0; v < vectors; ++v)
        rowValues[{root.op->getResult(0).getAsOpaquePointer(), v}] =
            loop.getResult(sum++);
    if (root.kind == Root::Write)
      copyOut(cast<vector::TransferWriteOp>(root.op),
              outputs[root.value.getAsOpaquePointer()], numColumns);
  }
  return success();
}

/// Whether a pair of the current block counts: an i1.
Value PanelEmitter::getAnyLive() {
  Value any;
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v) {
      Value pairs = getPair(plan.getLive(), i, v);
      any = any ? arith::OrIOp::create(b, any, pairs) : pairs;
    }
  return vector::ReductionOp::create(b, vector::CombiningKind::OR, any);
}

/// Columns that every loop over the columns with pairs that count takes in
/// whole iterations: a power of two that divides a tile's.
int64_t PanelEmitter::getLiveGranule() const {
  int64_t granule = 1;
  for (const Stage &current : plan.getStages())
    if (current.skipsDead)
      granule = std::max(granule, getBlockColumns(current));
  for (Product product : plan.getProducts())
    if (product.mask == plan.getLive())
      granule = std::max(granule, getDepthUnroll(product) * product.getDepth() /
                                      product.getNumSteps());
  return granule;
}

LogicalResult PanelEmitter::emitStages() {
  llvm::SetVector<Value> inputs;
  for (const Stage &current : plan.getStages())
    for (Value tile : current.tiles)
      if (tile.getDefiningOp<vector::TransferReadOp>() &&
          isa<FloatType>(getElementTypeOrSelf(tile)))
        inputs.insert(tile);
  for (Value tile : inputs)
    copyIn(tile.getDefiningOp<vector::TransferReadOp>(),
           getLocal(tile, Form::Float));
  for (const Stage &current : plan.getStages())
    if (failed(emitStage(current)))
      return failure();
  return success();
}
