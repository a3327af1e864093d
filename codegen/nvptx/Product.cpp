//===- Product.cpp - matrix products of tiles ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Product.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

Value nvptx::pack(KernelBuilder &b, Value low, Value high, Type elementType) {
  StringRef name =
      elementType.isBF16() ? "llvm.nvvm.ff2bf16x2.rn" : "llvm.nvvm.ff2f16x2.rn";
  return b.bitcast(b.i32Type, b.intrinsic(VectorType::get({2}, elementType),
                                          name, {high, low}));
}

SmallVector<Value, 4> nvptx::getLeft(const TileValue &tile, int64_t numN,
                                     int64_t i, int64_t k) {
  if (tile.layout == Layout::Tile) {
    // Columns 2 * t of both rows, then columns 2 * t + 1.
    const Value *first = &tile.elements[(i * numN + k) * 4];
    return {first[0], first[2], first[1], first[3]};
  }
  const Value *first = &tile.elements[(i * numN + 2 * k) * 2];
  return {first[0], first[1], first[2], first[3]};
}

SmallVector<Value, 4> nvptx::loadLeft(KernelBuilder &b, SharedMemory &shared,
                                      Value base, const TileShape &tile,
                                      int64_t rowFragment, int64_t step) {
  return shared.loadMatrices(base, tile, 16 * rowFragment,
                             32 / tile.elementBytes * step,
                             MatrixOrder::WarpRows,
                             /*transposed=*/false);
}

/// acc[0..4) += a * b.
static void buildMma(KernelBuilder &b, ArrayRef<Value> left,
                     ArrayRef<Value> right, MutableArrayRef<Value> acc,
                     Type elementType) {
  bool isBF16 = elementType.isBF16();
  NVVM::MMATypes type = isBF16 ? NVVM::MMATypes::bf16 : NVVM::MMATypes::f16;
  // LLVM wants f16 operands as pairs, bf16 operands as integers.
  Type operandType =
      isBF16 ? b.i32Type : Type(VectorType::get({2}, elementType));
  auto convert = [&](ArrayRef<Value> values) {
    return llvm::map_to_vector<4>(
        values, [&](Value value) { return b.bitcast(operandType, value); });
  };
  Type result = LLVM::LLVMStructType::getLiteral(
      b.getContext(), SmallVector<Type>(4, b.f32Type));
  Value product = NVVM::MmaOp::create(
      b, result, convert(left), convert(right), ValueRange(acc),
      ArrayRef<int64_t>{16, 8, 16}, std::nullopt, std::nullopt,
      std::array<NVVM::MMATypes, 2>{type, type},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  for (auto [i, value] : llvm::enumerate(acc))
    value = LLVM::ExtractValueOp::create(b, product, static_cast<int64_t>(i));
}

int64_t nvptx::buildProduct(KernelBuilder &b, SharedMemory &shared,
                            LeftFragments left, const SharedOperand &right,
                            MutableArrayRef<Value> acc, int64_t numN,
                            int64_t numSteps, Type elementType) {
  if (elementType.isF32())
    return buildProductF32(b, shared, left, right, acc, numN, numSteps);
  int64_t numRows = b.shape.getRowFragments(), numMma = 0;
  for (int64_t k = 0; k < numSteps; ++k) {
    SmallVector<SmallVector<Value, 4>, 4> fragments;
    for (int64_t i = 0; i < numRows; ++i)
      fragments.push_back(left(i, k));
    for (int64_t n = 0; n < numN; n += 2) {
      // One ldmatrix.x4 gives the operands of two column blocks.
      SmallVector<Value, 4> pair =
          right.transposed
              ? shared.loadMatrices(right.base, right, 16 * k, 8 * n,
                                    MatrixOrder::RowsFirst,
                                    /*transposed=*/true)
              : shared.loadMatrices(right.base, right, 8 * n, 16 * k,
                                    MatrixOrder::ChunksFirst,
                                    /*transposed=*/false);
      for (int64_t half = 0; half < 2 && n + half < numN; ++half)
        for (int64_t i = 0; i < numRows; ++i, ++numMma)
          buildMma(b, fragments[i], ArrayRef(pair).slice(2 * half, 2),
                   acc.slice((i * numN + n + half) * 4, 4), elementType);
    }
  }
  return numMma;
}
