//===- MergeStates.cpp - see MergeStates.h --------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/MergeStates.h"

#include "attn/codegen/host/Level.h"
#include <limits>

using namespace mlir;
using namespace mlir::attn::host;

/// Bytes of all panels of one value.
static int64_t getBytes(const StateBuffer &value, int64_t tileRows,
                        const Level &level) {
  int64_t panelRows = level.getPanelRows();
  return llvm::divideCeil(tileRows, panelRows) * panelRows * 4 * value.columns;
}

int64_t mlir::attn::host::getStateBytes(ArrayRef<StateBuffer> state,
                                        int64_t tileRows, const Level &level) {
  int64_t bytes = 0;
  for (const StateBuffer &value : state)
    bytes += getBytes(value, tileRows, level);
  return bytes;
}

void mlir::attn::host::storeStates(PanelContext &context,
                                   ArrayRef<StateBuffer> state, Value states,
                                   Value item, int64_t numPlaces, Value part,
                                   int64_t tileRows) {
  RegisterBuilder &b = context.builder;
  const Level &level = b.getLevel();
  Value place = b.add(b.multiply(item, numPlaces), part);
  Value to = b.pointer(
      states, b.multiply(place, getStateBytes(state, tileRows, level)));
  Type type = b.vectorOf(b.getF32Type());
  int64_t offset = 0, step = level.lanes * 4;
  for (const StateBuffer &value : state) {
    int64_t bytes = getBytes(value, tileRows, level);
    Value from = b.pointer(context.scratchBase, value.buffer.offset);
    scf::ForOp loop = b.beginLoop(bytes, step);
    Value at = loop.getInductionVar();
    // Temporaries are aligned for their elements only.
    b.store(b.load(type, b.pointer(from, at), step),
            b.pointer(b.pointer(to, offset), at), 4);
    b.endLoop(loop);
    offset += bytes;
  }
}

void mlir::attn::host::mergeStates(PanelContext &context,
                                   ArrayRef<StateBuffer> state, Value states,
                                   Value item, int64_t numPlaces,
                                   Value numParts, int64_t tileRows) {
  RegisterBuilder &b = context.builder;
  const Level &level = b.getLevel();
  int64_t vectors = level.panelVectors, step = level.lanes * 4,
          panelBytes = level.getPanelRows() * 4,
          stateBytes = getStateBytes(state, tileRows, level);
  const StateBuffer &maxima = state[0], &sums = state[1],
                    &accumulator = state[2];
  int64_t ofSums = getBytes(maxima, tileRows, level),
          ofAccumulator = ofSums + getBytes(sums, tileRows, level);
  Type type = b.vectorOf(b.getF32Type());
  Value zero = b.index(0);
  Value none = b.constant(type, -std::numeric_limits<double>::infinity()),
        zeros = b.constant(type, 0);
  Value first = b.pointer(states, b.multiply(item, numPlaces * stateBytes));
  Value weights = b.pointer(context.scratchBase,
                            context.scratch.allocate(numPlaces * panelBytes));
  scf::ForOp panels =
      b.beginLoop(llvm::divideCeil(tileRows, level.getPanelRows()), 1);
  Value panel = panels.getInductionVar();
  auto inScratch = [&](const StateBuffer &value) {
    return b.pointer(b.pointer(context.scratchBase, value.buffer.offset),
                     b.multiply(panel, value.buffer.panelStride));
  };
  // Of the current panel: register `v` of a value at `offset` in part `part`.
  auto inPart = [&](Value part, int64_t offset, int64_t columns) {
    Value base = b.pointer(first, b.multiply(part, stateBytes));
    return b.pointer(b.pointer(base, offset),
                     b.multiply(panel, panelBytes * columns));
  };

  SmallVector<Value> inits(vectors, none);
  scf::ForOp loop = b.beginLoop(zero, numParts, 1, inits);
  Value base = inPart(loop.getInductionVar(), 0, 1);
  SmallVector<Value> next;
  for (int64_t v = 0; v < vectors; ++v) {
    Value known = loop.getRegionIterArg(v);
    Value value = b.load(type, b.pointer(base, v * step), 4);
    Value more =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, value, known);
    next.push_back(arith::SelectOp::create(b, more, value, known));
  }
  b.endLoop(loop, next);
  SmallVector<Value> shift;
  for (int64_t v = 0; v < vectors; ++v) {
    Value maximum = loop.getResult(v);
    b.store(maximum, b.pointer(inScratch(maxima), v * step), step);
    // A row without a live key: its weights are 0, not NaN.
    Value isNone =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, maximum, none);
    shift.push_back(arith::SelectOp::create(b, isNone, zeros, maximum));
  }

  inits.assign(vectors, zeros);
  loop = b.beginLoop(zero, numParts, 1, inits);
  Value part = loop.getInductionVar();
  Value maximum = inPart(part, 0, 1), sum = inPart(part, ofSums, 1);
  Value weight = b.pointer(weights, b.multiply(part, panelBytes));
  next.clear();
  for (int64_t v = 0; v < vectors; ++v) {
    Value difference = arith::SubFOp::create(
        b, b.load(type, b.pointer(maximum, v * step), 4), shift[v]);
    Value factor = b.exp2(difference);
    b.store(factor, b.pointer(weight, v * step), step);
    next.push_back(b.fma(b.load(type, b.pointer(sum, v * step), 4), factor,
                         loop.getRegionIterArg(v)));
  }
  b.endLoop(loop, next);
  for (int64_t v = 0; v < vectors; ++v)
    b.store(loop.getResult(v), b.pointer(inScratch(sums), v * step), step);

  // Head sizes are multiples of 8.
  constexpr int64_t columns = 4;
  scf::ForOp blocks = b.beginLoop(accumulator.columns, columns);
  Value ofBlock = b.multiply(blocks.getInductionVar(), panelBytes);
  inits.assign(columns * vectors, zeros);
  loop = b.beginLoop(zero, numParts, 1, inits);
  part = loop.getInductionVar();
  Value from =
      b.pointer(inPart(part, ofAccumulator, accumulator.columns), ofBlock);
  weight = b.pointer(weights, b.multiply(part, panelBytes));
  next.clear();
  SmallVector<Value> factors;
  for (int64_t v = 0; v < vectors; ++v)
    factors.push_back(b.load(type, b.pointer(weight, v * step), step));
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t v = 0; v < vectors; ++v)
      next.push_back(
          b.fma(b.load(type, b.pointer(from, i * panelBytes + v * step), 4),
                factors[v], loop.getRegionIterArg(i * vectors + v)));
  b.endLoop(loop, next);
  Value to = b.pointer(inScratch(accumulator), ofBlock);
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t v = 0; v < vectors; ++v)
      b.store(loop.getResult(i * vectors + v),
              b.pointer(to, i * panelBytes + v * step), step);
  b.endLoop(blocks);
  b.endLoop(panels);
}
