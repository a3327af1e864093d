//===- PanelProducts.cpp - products of a panel and a tile -----------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/PanelEmitter.h"

#include "attn/codegen/host/Level.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn::host;

/// Steps along the summed dimension in one iteration of a product.
static constexpr int64_t kDepthUnroll = 4;
/// Bytes of a cache line.
static constexpr int64_t kLine = 64;

Value PanelEmitter::getRhsRow(const RowSource &rhs, Value row) {
  if (rhs.lastRow)
    row = b.minimum(row, rhs.lastRow);
  return b.pointer(rhs.base, b.multiply(row, rhs.stride));
}

void PanelEmitter::prefetchNext(const RowSource &source, Value row,
                                Value column) {
  Value address =
      b.pointer(source.nextBase, b.multiply(row, source.nextStride));
  b.prefetch(b.pointer(address, b.multiply(column, source.nextBytes)));
}

int64_t PanelEmitter::getDepthUnroll(Product product) const {
  const RowSource &rhs = context.rows.at(
      {product.getRhs().getAsOpaquePointer(), product.getOperandKind()});
  int64_t unroll = rhs.nextBase && !product.few ? kLine / 4 : kDepthUnroll;
  while (product.getNumSteps() % unroll != 0)
    unroll /= 2;
  return unroll;
}

scf::ForOp PanelEmitter::beginDepthLoop(Product product, ValueRange inits) {
  int64_t unroll = getDepthUnroll(product);
  if (!product.mask || product.mask != plan.getLive())
    return b.beginLoop(product.getNumSteps(), unroll, inits);
  int64_t perStep = product.getDepth() / product.getNumSteps();
  auto toSteps = [&](Value columns) {
    return b.createOrFold<arith::DivUIOp>(columns, b.index(perStep));
  };
  return b.beginLoop(toSteps(firstLive), toSteps(endLive), unroll, inits);
}

LogicalResult PanelEmitter::computeProduct(Value result) {
  auto found = llvm::find_if(plan.getProducts(), [&](const Product &product) {
    return isResultOf(result, product);
  });
  Product product = *found;
  void *lhsKey = product.getLhs().getAsOpaquePointer(),
       *rhsKey = product.getRhs().getAsOpaquePointer();
  const RowSource &rhs = context.rows.at({rhsKey, product.getOperandKind()});
  if (product.few)
    return product.isRhsByColumn ? computeFewByColumn(product, rhs, result)
                                 : computeFewByDepth(product, rhs, result);
  auto known = context.packed.find({lhsKey, product.useDot});
  TileBuffer lhs = known != context.packed.end()
                       ? known->second
                       : getLocal(product.getLhs(),
                                  product.useDot ? Form::Dot : Form::Float);

  SmallVector<Value> inits;
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v) {
      inits.push_back(getPair(product.contract.getAcc(), i, v));
      if (!inits.back())
        return failure();
    }
  SmallVector<Value> columnRows;
  if (product.isRhsByColumn)
    for (int64_t i = 0; i < blockColumns; ++i)
      columnRows.push_back(getRhsRow(rhs, b.add(column, i)));
  Value lhsBase = getPanelBase(lhs);
  Type scalarType =
      product.useDot ? Type(b.getI32Type()) : Type(b.getF32Type());
  int64_t scalarAlignment =
      product.contract.getRhsType().getElementTypeBitWidth() / 8;

  int64_t unroll = getDepthUnroll(product);
  scf::ForOp loop = beginDepthLoop(product, inits);
  SmallVector<Value> accs(loop.getRegionIterArgs());
  Value k = loop.getInductionVar();
  if (rhs.nextBase && product.isRhsByColumn)
    for (int64_t i = 0; i < blockColumns; ++i)
      prefetchNext(rhs, b.add(column, i),
                   product.useDot ? b.multiply(k, 2) : k);
  for (int64_t u = 0; u < unroll; ++u) {
    Value step = b.add(k, u);
    Value lhsRow = b.pointer(b.pointer(lhsBase, b.multiply(k, panelRows * 4)),
                             u * panelRows * 4);
    SmallVector<Value> registers, masks;
    for (int64_t v = 0; v < vectors; ++v) {
      registers.push_back(b.load(b.vectorOf(scalarType),
                                 b.pointer(lhsRow, v * lanes * 4), lanes * 4));
      if (product.mask && !product.useDot)
        masks.push_back(loadMask(getLocal(product.mask, Form::Mask), k, u, v));
      if (product.mask && product.useDot)
        masks.push_back(
            b.load(b.vectorOf(scalarType),
                   getTileAddress(getLocal(product.mask, Form::DotMask), k, u,
                                  v, panelRows * 4),
                   lanes * 4));
    }
    Value rhsRow;
    if (!product.isRhsByColumn) {
      rhsRow = b.pointer(getRhsRow(rhs, step), b.multiply(column, 4));
      if (rhs.nextBase && !product.useDot)
        prefetchNext(rhs, step, column);
      if (rhs.nextBase && product.useDot) {
        // A block of columns is half a line of each of two rows: every other
        // block fetches all of one of them.
        Value block =
            b.createOrFold<arith::DivUIOp>(column, b.index(blockColumns));
        Value odd = b.createOrFold<arith::RemUIOp>(block, b.index(2));
        prefetchNext(rhs, b.add(b.multiply(step, 2), odd), column);
      }
    }
    for (int64_t i = 0; i < blockColumns; ++i) {
      Value address =
          product.isRhsByColumn
              ? b.pointer(b.pointer(columnRows[i], b.multiply(k, 4)), u * 4)
              : b.pointer(rhsRow, i * 4);
      Value scalar = b.splat(b.load(scalarType, address, scalarAlignment));
      for (int64_t v = 0; v < vectors; ++v) {
        Value &acc = accs[i * vectors + v];
        // The weights of dead pairs are 0; what they weigh might be NaN.
        Value factor = product.useDot && product.mask
                           ? arith::AndIOp::create(b, scalar, masks[v])
                           : scalar;
        Value next = product.useDot ? b.dotPairs(acc, registers[v], factor)
                                    : b.fma(registers[v], scalar, acc);
        acc = product.mask && !product.useDot
                  ? arith::SelectOp::create(b, masks[v], next, acc).getResult()
                  : next;
      }
    }
  }
  b.endLoop(loop, accs);
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v)
      pairValues[{result.getAsOpaquePointer(), {i, v}}] =
          loop.getResult(i * vectors + v);
  return success();
}
