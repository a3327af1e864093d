//===- ProductF32.cpp - products of f32 tiles from TF32 parts ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Product.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

/// How many blocks of 8 columns (of a product with an operand that is not
/// transposed) or of 8 rows (else) are worked on at a time: the parts of the
/// left operand are made once for as many products.
static constexpr int64_t groupSize = 4;

namespace {
/// The registers of a fragment, as TF32 in i32: high + low is the f32 value but
/// for its last bit. What is lost in a product, low * low and that bit, is less
/// than the rounding of an f32.
template <unsigned N>
struct Parts {
  SmallVector<Value, N> high, low;
};

/// Sums of a block of 8 columns. The large products and the small ones have a
/// sum each, both from zero: tensor cores truncate when they add to the
/// accumulator, and a long sum would drift.
struct Sums {
  SmallVector<Value, 4> high, low;
  explicit Sums(KernelBuilder &b) : high(4, b.f32(0.0f)), low(4, b.f32(0.0f)) {}
};
} // namespace

/// Keeps ptxas from moving the loads of what follows up here: it would load
/// whole tiles ahead, and spill.
static void fence(KernelBuilder &b) { NVVM::SyncWarpOp::create(b, b.i32(-1)); }

/// The value rounded to the nearest TF32, and the rest. An mma ignores the 13
/// bits that the rest may have too many.
template <unsigned N>
static Parts<N> split(KernelBuilder &b, ArrayRef<Value> values) {
  Parts<N> parts;
  for (Value value : values) {
    Value bits = b.bitcast(b.i32Type, value);
    Value high = b.andBits(b.add(bits, b.i32(0x1000)), b.i32(-0x2000));
    Value low = LLVM::FSubOp::create(b, b.bitcast(b.f32Type, value),
                                     b.bitcast(b.f32Type, high));
    parts.high.push_back(high);
    parts.low.push_back(b.bitcast(b.i32Type, low));
  }
  return parts;
}

static void buildMma(KernelBuilder &b, ArrayRef<Value> left,
                     ArrayRef<Value> right, MutableArrayRef<Value> acc) {
  Type result = LLVM::LLVMStructType::getLiteral(
      b.getContext(), SmallVector<Type>(4, b.f32Type));
  NVVM::MMATypes type = NVVM::MMATypes::tf32;
  Value product = NVVM::MmaOp::create(
      b, result, left, right, ValueRange(acc), ArrayRef<int64_t>{16, 8, 8},
      std::nullopt, std::nullopt, std::array<NVVM::MMATypes, 2>{type, type},
      std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                     NVVM::MMALayout::col});
  for (auto [i, value] : llvm::enumerate(acc))
    value = LLVM::ExtractValueOp::create(b, product, static_cast<int64_t>(i));
}

/// sums += left * right, small products first. Returns the number of mma.
static int64_t multiply(KernelBuilder &b, const Parts<4> &left,
                        const Parts<2> &right, Sums &sums) {
  buildMma(b, left.low, right.high, sums.low);
  buildMma(b, left.high, right.low, sums.low);
  buildMma(b, left.high, right.high, sums.high);
  return 3;
}

/// acc += sums, rounded to the nearest.
static void addTo(KernelBuilder &b, MutableArrayRef<Value> acc,
                  const Sums &sums) {
  for (auto [value, high, low] : llvm::zip_equal(acc, sums.high, sums.low)) {
    Value sum = LLVM::FAddOp::create(b, high, low);
    value = value == b.f32(0.0f) ? sum : LLVM::FAddOp::create(b, value, sum);
  }
}

int64_t nvptx::buildProductF32(KernelBuilder &b, SharedMemory &shared,
                               LeftFragments left, const SharedOperand &right,
                               MutableArrayRef<Value> acc, int64_t numN,
                               int64_t numSteps) {
  int64_t numRows = b.shape.getRowFragments(), numMma = 0;
  auto block = [&](int64_t i, int64_t n) {
    return acc.slice((i * numN + n) * 4, 4);
  };
  if (!right.transposed) {
    int64_t groupBlocks = std::max<int64_t>(2, groupSize / numRows);
    for (int64_t first = 0; first < numN; first += groupBlocks) {
      int64_t count = std::min(groupBlocks, numN - first);
      SmallVector<Sums> sums(count * numRows, Sums(b));
      for (int64_t k = 0; k < numSteps; ++k) {
        fence(b);
        SmallVector<Parts<4>, 2> fragments;
        for (int64_t i = 0; i < numRows; ++i)
          fragments.push_back(split<4>(b, left(i, k)));
        for (int64_t n = 0; n < count; n += 2) {
          // One ldmatrix.x4 gives the operands of two column blocks.
          SmallVector<Value, 4> pair =
              shared.loadMatrices(right.base, right, 8 * (first + n), 8 * k,
                                  MatrixOrder::ChunksFirst,
                                  /*transposed=*/false);
          for (int64_t half = 0; half < 2 && n + half < count; ++half) {
            Parts<2> parts = split<2>(b, ArrayRef(pair).slice(2 * half, 2));
            for (int64_t i = 0; i < numRows; ++i)
              numMma += multiply(b, fragments[i], parts,
                                 sums[(n + half) * numRows + i]);
          }
        }
      }
      for (int64_t n = 0; n < count; ++n)
        for (int64_t i = 0; i < numRows; ++i)
          addTo(b, block(i, first + n), sums[n * numRows + i]);
    }
    return numMma;
  }
  int64_t groupSteps = std::max<int64_t>(1, groupSize / numRows);
  for (int64_t first = 0; first < numSteps; first += groupSteps) {
    int64_t count = std::min(groupSteps, numSteps - first);
    SmallVector<Parts<4>, 8> fragments;
    for (int64_t k = 0; k < count; ++k)
      for (int64_t i = 0; i < numRows; ++i)
        fragments.push_back(split<4>(b, left(i, first + k)));
    for (int64_t n = 0; n < numN; ++n) {
      fence(b);
      SmallVector<Sums> sums(numRows, Sums(b));
      for (int64_t k = 0; k < count; ++k) {
        Parts<2> parts = split<2>(
            b, shared.loadColumns(right.base, right, 8 * (first + k), 8 * n));
        for (int64_t i = 0; i < numRows; ++i)
          numMma += multiply(b, fragments[k * numRows + i], parts, sums[i]);
      }
      for (int64_t i = 0; i < numRows; ++i)
        addTo(b, block(i, n), sums[i]);
    }
  }
  return numMma;
}
