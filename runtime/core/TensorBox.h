//===- TensorBox.h - Boxes of a tensor that a GPU copies as one -*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_TENSORBOX_H
#define ATTN_RUNTIME_CORE_TENSORBOX_H

#include "attn/runtime/core/Tensor.h"

#include <optional>

namespace attn {

/// The box that a tensor map copies.
struct TensorBox {
  static constexpr size_t maxRank = 5;
  /// Bytes of a tensor map, and what its address is a multiple of: 64 is enough
  /// for a GPU, newer versions of cuda.h ask for more.
  static constexpr size_t mapBytes = 128, mapAlignment = 128;

  /// In elements, innermost dimension first; as many as the tensor has.
  std::vector<int64_t> sizes;
  /// Bytes of the swizzle pattern's rows: 0 (none), 32, 64 or 128.
  int64_t swizzle = 0;

  bool operator==(const TensorBox &o) const {
    return sizes == o.sizes && swizzle == o.swizzle;
  }
};

/// A tensor as a tensor map sees it: sizes in elements, innermost dimension
/// first, and the strides in bytes of all dimensions but that one.
struct TensorMapLayout {
  std::vector<uint64_t> sizes, strides;
};

/// Nothing if no tensor map can be made of the tensor: it is empty or starts
/// off a multiple of 16 bytes, or a stride is not a positive multiple of 16
/// bytes below 2^40, or a size is above 2^31 - 1.
std::optional<TensorMapLayout> layoutForTensorMap(const Tensor &tensor);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_TENSORBOX_H
