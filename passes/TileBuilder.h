//===- TileBuilder.h - vector ops of the tile program that several passes make
//---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_TILEBUILDER_H
#define ATTN_PASSES_TILEBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn {

/// A vector with `value` everywhere.
inline Value splat(ImplicitLocOpBuilder &builder, VectorType type,
                   Attribute value) {
  return arith::ConstantOp::create(builder,
                                   DenseElementsAttr::get(type, value));
}

/// As above, for f32.
inline Value splat(ImplicitLocOpBuilder &builder, VectorType type,
                   float value) {
  return splat(builder, type, builder.getF32FloatAttr(value));
}

/// The M values of `row` as M x `columns`, equal along the columns.
inline Value broadcastRow(ImplicitLocOpBuilder &builder, Value row,
                          int64_t columns) {
  auto type = cast<VectorType>(row.getType());
  int64_t rows = type.getDimSize(0);
  Value column = row;
  if (type.getRank() == 1)
    column = vector::ShapeCastOp::create(
        builder, VectorType::get({rows, 1}, type.getElementType()), row);
  return vector::BroadcastOp::create(
      builder, VectorType::get({rows, columns}, type.getElementType()), column);
}

/// Reads `count` rows from row `first` on of a 1 x 1 x N x D tensor; rows past
/// its end are 0 unless `inBounds`.
inline Value readTile(ImplicitLocOpBuilder &builder, Value tensor, Value first,
                      int64_t count, bool inBounds) {
  auto type = cast<ShapedType>(tensor.getType());
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value padding = arith::ConstantOp::create(
      builder, builder.getZeroAttr(type.getElementType()));
  return vector::TransferReadOp::create(
      builder,
      VectorType::get({count, type.getDimSize(3)}, type.getElementType()),
      tensor, ValueRange{zero, zero, first, zero}, padding,
      ArrayRef<bool>{inBounds, true});
}

} // namespace mlir::attn

#endif // ATTN_PASSES_TILEBUILDER_H
