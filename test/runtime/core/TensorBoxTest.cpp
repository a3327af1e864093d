//===- TensorBoxTest.cpp - Which tensors a tensor map can address ---------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/TensorBox.h"

#include "gtest/gtest.h"

using namespace attn;

namespace {
Tensor makeTensor(std::vector<int64_t> shape, std::vector<int64_t> strides,
                  uint64_t data = 4096) {
  Tensor tensor;
  tensor.type = ElementType::BF16;
  tensor.shape = std::move(shape);
  tensor.strides = std::move(strides);
  tensor.data = data;
  return tensor;
}

TEST(TensorBox, InnermostFirstInBytes) {
  auto layout =
      layoutForTensorMap(makeTensor({2, 3, 100, 72}, {99999 * 8, 72, 216, 1}));
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->sizes, (std::vector<uint64_t>{72, 100, 3, 2}));
  EXPECT_EQ(layout->strides, (std::vector<uint64_t>{432, 144, 99999 * 16}));
}

TEST(TensorBox, StrideOfOneElementIsFree) {
  auto layout = layoutForTensorMap(makeTensor({1, 1, 5, 8}, {-3, 0, 8, 1}));
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->strides, (std::vector<uint64_t>{16, 16, 16}));
}

TEST(TensorBox, Refused) {
  std::vector<int64_t> shape = {2, 2, 4, 16}, strides = {512, 128, 16, 1};
  ASSERT_TRUE(layoutForTensorMap(makeTensor(shape, strides)).has_value());
  EXPECT_FALSE(layoutForTensorMap(makeTensor(shape, strides, 4104)));
  EXPECT_FALSE(layoutForTensorMap(makeTensor(shape, {512, 128, 20, 1})));
  EXPECT_FALSE(layoutForTensorMap(makeTensor(shape, {512, 0, 16, 1})));
  EXPECT_FALSE(layoutForTensorMap(makeTensor(shape, {-512, 128, 16, 1})));
  EXPECT_FALSE(
      layoutForTensorMap(makeTensor(shape, {int64_t(1) << 39, 128, 16, 1})));
  EXPECT_TRUE(layoutForTensorMap(
      makeTensor(shape, {(int64_t(1) << 39) - 8, 128, 16, 1})));
  EXPECT_FALSE(layoutForTensorMap(makeTensor({2, 2, 0, 16}, strides)));
  EXPECT_FALSE(
      layoutForTensorMap(makeTensor({2, 2, int64_t(1) << 31, 16}, strides)));
  EXPECT_FALSE(layoutForTensorMap(
      makeTensor({1, 1, 1, 1, 1, 16}, {16, 16, 16, 16, 16, 1})));
}
} // namespace
