//===- FewRows.cpp - products of tiles with a few rows --------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// With a row for each lane, a tile of one row multiplies sixteen. These
// products have the head size along the lanes instead; the tiles around them
// stay as they are, a lane for each row.

#include "attn/codegen/host/PanelEmitter.h"

#include "attn/codegen/host/Level.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace mlir::attn::host;

/// Bytes of a cache line; rows of keys in one iteration of a product;
/// accumulators of a product of weights and values, enough to hide the latency
/// of a multiplication.
static constexpr int64_t kLine = 64, kUnroll = 4, kAccumulators = 8;

/// `lanes` elements of 4 bytes, as f32 or (`useDot`) pairs of bf16.
static Value loadPart(RegisterBuilder &b, Value address, Type element,
                      bool useDot) {
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  if (useDot)
    return b.load(b.vectorOf(b.getI32Type()), address, bytes);
  return b.extend(b.load(b.vectorOf(element), address, bytes));
}

LogicalResult PanelEmitter::computeFewByColumn(Product product,
                                               const RowSource &rhs,
                                               Value result) {
  Type element = product.contract.getRhsType().getElementType();
  int64_t bytes = element.getIntOrFloatBitWidth() / 8,
          step = lanes * (product.useDot ? 2 : 1),
          numParts = product.getDepth() / step;
  ArrayRef<Value> queries =
      context.queryRows.at(product.getLhs().getAsOpaquePointer());
  int64_t numRows = int64_t(queries.size());
  Value zeros = b.constant(b.vectorOf(b.getF32Type()), 0);
  SmallVector<Value> sums(blockColumns * numRows, zeros);
  SmallVector<Value> keys;
  for (int64_t i = 0; i < blockColumns; ++i)
    keys.push_back(getRhsRow(rhs, b.add(column, i)));
  for (int64_t part = 0; part < numParts; ++part) {
    int64_t offset = part * step * bytes;
    SmallVector<Value> rows;
    for (Value query : queries)
      rows.push_back(
          loadPart(b, b.pointer(query, offset), element, product.useDot));
    for (int64_t i = 0; i < blockColumns; ++i) {
      if (rhs.nextBase && offset % kLine == 0)
        prefetchNext(rhs, b.add(column, i), b.index(part * step));
      Value key =
          loadPart(b, b.pointer(keys[i], offset), element, product.useDot);
      for (int64_t r = 0; r < numRows; ++r) {
        Value &sum = sums[i * numRows + r];
        sum = product.useDot ? b.dotPairs(sum, rows[r], key)
                             : b.fma(rows[r], key, sum);
      }
    }
  }
  for (int64_t i = 0; i < blockColumns; ++i) {
    Value scores = zeros;
    for (int64_t r = 0; r < numRows; ++r) {
      // The order of these additions is fixed when the code is compiled.
      Value score = vector::ReductionOp::create(b, vector::CombiningKind::ADD,
                                                sums[i * numRows + r],
                                                arith::FastMathFlags::reassoc);
      scores = vector::InsertOp::create(b, score, scores, r);
    }
    Value acc = getPair(product.contract.getAcc(), i, 0);
    if (!acc)
      return failure();
    pairValues[{result.getAsOpaquePointer(), {i, 0}}] =
        arith::AddFOp::create(b, acc, scores);
  }
  return success();
}

/// `2 * lanes` bf16 as f32: those of even and those of odd places, for which
/// one instruction each is enough.
static std::array<Value, 2> loadEvenAndOdd(RegisterBuilder &b, Value address) {
  Type ints = b.vectorOf(b.getI32Type()), floats = b.vectorOf(b.getF32Type());
  Value pairs = b.load(ints, address, 2);
  Value even = arith::ShLIOp::create(b, pairs, b.integer(ints, 16));
  Value odd = arith::AndIOp::create(b, pairs, b.integer(ints, -65536));
  return {arith::BitcastOp::create(b, floats, even),
          arith::BitcastOp::create(b, floats, odd)};
}

LogicalResult PanelEmitter::computeFewByDepth(Product product,
                                              const RowSource &rhs,
                                              Value result) {
  Type element = product.contract.getRhsType().getElementType();
  int64_t bytes = element.getIntOrFloatBitWidth() / 8,
          numRows = b.getLevel().fewRows, numParts = blockColumns / lanes;
  SmallVector<Value> old;
  for (int64_t i = 0; i < blockColumns; ++i) {
    old.push_back(getPair(product.contract.getAcc(), i, 0));
    if (!old.back())
      return failure();
  }
  // From a lane for each row to a lane for each column, and back at the end.
  bool isSplit = element.isBF16() && numParts % 2 == 0;
  auto getPlace = [&](int64_t i) -> std::pair<int64_t, int64_t> {
    if (!isSplit)
      return {i / lanes, i % lanes};
    return {i / (2 * lanes) * 2 + i % 2, i % (2 * lanes) / 2};
  };
  SmallVector<Value> inits(numParts * numRows,
                           b.constant(b.vectorOf(b.getF32Type()), 0));
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t r = 0; r < numRows; ++r) {
      auto [part, lane] = getPlace(i);
      Value &acc = inits[part * numRows + r];
      acc = vector::InsertOp::create(b, vector::ExtractOp::create(b, old[i], r),
                                     acc, lane);
    }
  Value lhsBase = getPanelBase(getLocal(product.getLhs(), Form::Float));
  int64_t unroll = getDepthUnroll(product);
  scf::ForOp loop = beginDepthLoop(product, inits);
  SmallVector<Value> accs(loop.getRegionIterArgs());
  Value k = loop.getInductionVar();
  for (int64_t u = 0; u < unroll; ++u) {
    Value step = b.add(k, u);
    Value weights = b.pointer(b.pointer(lhsBase, b.multiply(k, panelRows * 4)),
                              u * panelRows * 4);
    SmallVector<Value> factors, live;
    for (int64_t r = 0; r < numRows; ++r) {
      factors.push_back(
          b.splat(b.load(b.getF32Type(), b.pointer(weights, r * 4), 4)));
      if (product.mask)
        live.push_back(
            loadMaskOfRow(getLocal(product.mask, Form::Mask), k, u, r));
    }
    Value row = b.pointer(getRhsRow(rhs, step), b.multiply(column, bytes));
    SmallVector<Value> values;
    while (int64_t(values.size()) < numParts) {
      int64_t first = int64_t(values.size()) * lanes, offset = first * bytes;
      if (rhs.nextBase && (offset % kLine == 0 || first == 0))
        prefetchNext(rhs, step, b.add(column, first));
      Value address = b.pointer(row, offset);
      if (isSplit)
        llvm::append_range(values, loadEvenAndOdd(b, address));
      else
        values.push_back(loadPart(b, address, element, false));
    }
    for (int64_t part = 0; part < numParts; ++part)
      for (int64_t r = 0; r < numRows; ++r) {
        Value &acc = accs[part * numRows + r];
        Value next = b.fma(values[part], factors[r], acc);
        acc = product.mask
                  ? arith::SelectOp::create(b, live[r], next, acc).getResult()
                  : next;
      }
  }
  b.endLoop(loop, accs);
  for (int64_t i = 0; i < blockColumns; ++i) {
    Value pair;
    for (int64_t r = 0; r < numRows; ++r) {
      auto [part, lane] = getPlace(i);
      Value value = vector::ExtractOp::create(
          b, loop.getResult(part * numRows + r), lane);
      pair = r == 0 ? b.splat(value)
                    : vector::InsertOp::create(b, value, pair, r).getResult();
    }
    pairValues[{result.getAsOpaquePointer(), {i, 0}}] = pair;
  }
  return success();
}

int64_t PanelEmitter::getBlockColumns(const Stage &current) const {
  int64_t columns =
      current.hasProduct()
          ? b.getLevel().columns
          : int64_t(llvm::bit_ceil(uint64_t(kRegisters / vectors)));
  for (const Product &product : plan.getProducts())
    if (product.few && llvm::any_of(current.tiles, [&](Value tile) {
          return !current.loaded.contains(tile) && isResultOf(tile, product);
        }))
      columns = product.isRhsByColumn
                    ? kUnroll
                    : lanes * std::max<int64_t>(1, kAccumulators /
                                                       b.getLevel().fewRows);
  while (current.getNumColumns() % columns != 0)
    columns /= 2;
  return columns;
}
