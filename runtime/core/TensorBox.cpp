//===- TensorBox.cpp - Boxes of a tensor that a GPU copies as one ---------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/TensorBox.h"

using namespace attn;

std::optional<TensorMapLayout> attn::layoutForTensorMap(const Tensor &tensor) {
  constexpr int64_t granule = 16;
  constexpr int64_t maxStride = int64_t(1) << 40;
  int64_t bytes = sizeOf(tensor.type);
  if (tensor.rank() == 0 || tensor.rank() > TensorBox::maxRank ||
      tensor.address() % granule)
    return std::nullopt;
  TensorMapLayout layout;
  for (size_t d = tensor.rank(); d-- > 0;) {
    int64_t size = tensor.shape[d], stride = tensor.strides[d];
    // Coordinates are 32-bit integers with a sign.
    if (size < 1 || size > INT32_MAX)
      return std::nullopt;
    layout.sizes.push_back(static_cast<uint64_t>(size));
    if (d + 1 == tensor.rank())
      continue;
    // Nothing depends on the stride of a single element.
    if (size == 1)
      stride = granule;
    else if (stride <= 0 || stride >= maxStride / bytes ||
             stride * bytes % granule)
      return std::nullopt;
    else
      stride *= bytes;
    layout.strides.push_back(static_cast<uint64_t>(stride));
  }
  return layout;
}
