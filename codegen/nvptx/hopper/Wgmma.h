//===- Wgmma.h - products of a warpgroup ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_HOPPER_WGMMA_H
#define ATTN_CODEGEN_NVPTX_HOPPER_WGMMA_H

#include "attn/codegen/nvptx/SharedMemory.h"

namespace mlir::attn::nvptx {

/// One product of 64 rows by `n` columns, `depth` a multiple of 16.
struct WarpgroupProduct {
  /// The left operand: fragments as of mma.m16n8k16, i32, four for each 16
  /// columns; or if there are none, 64 rows in panels from `leftBase` on.
  llvm::ArrayRef<Value> left;
  Value leftBase;
  SharedTile leftTile;
  /// The right operand: n x depth, or if `transposed` depth x n.
  Value rightBase;
  SharedTile rightTile;
  bool transposed;
  int64_t n, depth;
  Type elementType;
};

/// Issues the product as one group and gives its accumulators, n / 2 values of
/// f32 in the order of a Tile. `acc` is as long, or empty to start from zero.
/// Adds the number of instructions to `count`.
llvm::SmallVector<Value> issueProduct(KernelBuilder &b,
                                      const WarpgroupProduct &product,
                                      llvm::ArrayRef<Value> acc,
                                      int64_t &count);

/// Waits until at most `pending` groups are in flight. What `values` become
/// cannot be used before, whatever the optimizer moves.
llvm::SmallVector<Value> waitForProducts(KernelBuilder &b, int64_t pending,
                                         llvm::ArrayRef<Value> values);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_HOPPER_WGMMA_H
