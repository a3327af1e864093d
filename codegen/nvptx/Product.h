//===- Product.h - matrix products of tiles ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_PRODUCT_H
#define ATTN_CODEGEN_NVPTX_PRODUCT_H

#include "attn/codegen/nvptx/Layout.h"
#include "attn/codegen/nvptx/SharedMemory.h"

namespace mlir::attn::nvptx {

/// The right operand of a product, in shared memory: N x K if not `transposed`,
/// else K x N.
struct SharedOperand {
  Value base;
  int64_t rows, columns;
  bool transposed;
  /// As SharedTile's.
  int64_t panelWidth = 0;
};

/// Loads 16 x 16 fragments of the left operand, M x K in shared memory: the
/// operand A of mma.m16n8k16.
llvm::SmallVector<Value, 4> loadLeft(KernelBuilder &b, SharedMemory &shared,
                                     Value base, int64_t rows, int64_t columns,
                                     int64_t rowFragment, int64_t step);

/// acc += left * right, in place, `acc` a Tile of `numN` blocks of 8 columns.
/// `left(i, k)` gives the fragment of row block i and columns [16 * k, 16 * k +
/// 16); `numSteps` is the number of k. Returns the number of mma emitted.
int64_t buildProduct(
    KernelBuilder &b, SharedMemory &shared,
    llvm::function_ref<llvm::SmallVector<Value, 4>(int64_t, int64_t)> left,
    const SharedOperand &right, llvm::MutableArrayRef<Value> acc, int64_t numN,
    int64_t numSteps, Type elementType);

/// The fragment of row block `i` and columns [16 * k, 16 * k + 16) of a Packed
/// value with `numN` blocks of columns.
llvm::SmallVector<Value, 4> getLeft(const TileValue &packed, int64_t numN,
                                    int64_t i, int64_t k);

/// Two f32 rounded to `elementType` in one i32, `low` in the lower half.
Value pack(KernelBuilder &b, Value low, Value high, Type elementType);

/// The block's threads test the K x N tile `right` for NaN and infinity, each
/// the chunks that it copied, and meet at a barrier. If there are any, they are
/// added to `acc` in the rows where their key is live, and overwritten with
/// zeros. `getLive` builds whether (row block i, half h) sees key 8 * n + 2 * t
/// + c, as i1, at the insertion point.
void absorbNonFinite(
    KernelBuilder &b, SharedMemory &shared, const SharedOperand &right,
    llvm::MutableArrayRef<Value> acc, int64_t numN, Type elementType,
    llvm::function_ref<Value(int64_t i, int64_t n, int64_t c)> getLive);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_PRODUCT_H
