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

/// Bytes of a cache line; rows of keys in one iteration of a product.
static constexpr int64_t kLine = 64, kUnroll = 4;

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
  SmallVector<Value> inits;
  for (int64_t part = 0; part < numParts; ++part)
    for (int64_t r = 0; r < numRows; ++r) {
      Value acc = b.constant(b.vectorOf(b.getF32Type()), 0);
      for (int64_t lane = 0; lane < lanes; ++lane)
        acc = vector::InsertOp::create(
            b, vector::ExtractOp::create(b, old[part * lanes + lane], r), acc,
            lane);
      inits.push_back(acc);
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
    for (int64_t part = 0; part < numParts; ++part) {
      int64_t offset = part * lanes * bytes;
      if (rhs.nextBase && (offset % kLine == 0 || part == 0))
        prefetchNext(rhs, step, b.add(column, part * lanes));
      Value values = loadPart(b, b.pointer(row, offset), element, false);
      for (int64_t r = 0; r < numRows; ++r) {
        Value &acc = accs[part * numRows + r];
        Value next = b.fma(values, factors[r], acc);
        acc = product.mask
                  ? arith::SelectOp::create(b, live[r], next, acc).getResult()
                  : next;
      }
    }
  }
  b.endLoop(loop, accs);
  for (int64_t i = 0; i < blockColumns; ++i) {
    Value pair;
    for (int64_t r = 0; r < numRows; ++r) {
      Value value = vector::ExtractOp::create(
          b, loop.getResult(i / lanes * numRows + r), i % lanes);
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
      columns =
          product.isRhsByColumn
              ? kUnroll
              : lanes * std::max<int64_t>(1, kUnroll / b.getLevel().fewRows);
  while (current.getNumColumns() % columns != 0)
    columns /= 2;
  return columns;
}
