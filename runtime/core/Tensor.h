//===- Tensor.h - Strided views of device memory ----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_TENSOR_H
#define ATTN_RUNTIME_CORE_TENSOR_H

#include "attn/runtime/core/ElementType.h"
#include "attn/runtime/core/Result.h"

#include <vector>

namespace attn {

/// Where an address means something.
struct MemorySpace {
  enum class Kind : uint8_t { Host, Cuda };

  Kind kind = Kind::Host;
  int32_t index = 0; ///< which GPU

  bool operator==(const MemorySpace &o) const {
    return kind == o.kind && index == o.index;
  }
  bool operator!=(const MemorySpace &o) const { return !(*this == o); }
};

/// `host`, `cuda:0`.
std::string toText(MemorySpace space);

/// A strided view; it owns nothing. Element (i0, i1, ...) is at
/// `data + byteOffset + sizeOf(type) * (i0 * strides[0] + ...)`. Strides are in
/// elements, may be 0 (broadcast) or negative, and like every address
/// computation use the full 64 bits.
struct Tensor {
  ElementType type = ElementType::F32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides; ///< as many as `shape`
  uint64_t data = 0;            ///< an address in `space`
  uint64_t byteOffset = 0;
  MemorySpace space;

  /// Row-major view of `data`; shapes whose size overflows are caught later, by
  /// extentOf.
  static Tensor rowMajor(ElementType type, std::vector<int64_t> shape,
                         uint64_t data, MemorySpace space = {});

  size_t rank() const { return shape.size(); }
  uint64_t address() const { return data + byteOffset; }
};

/// Strides of a row-major tensor. Saturates where they leave int64.
std::vector<int64_t> rowMajorStrides(const std::vector<int64_t> &shape);

/// The product of the sizes; an error for a negative size or an overflow.
Result<int64_t> elementCount(const std::vector<int64_t> &shape);

/// The bytes from `begin` to `end` (exclusive) hold every element; both are 0
/// for a tensor without elements.
struct MemoryRange {
  uint64_t begin = 0;
  uint64_t end = 0;

  uint64_t size() const { return end - begin; }
};

/// The range of a tensor; an error if ranks disagree, a size is negative, or an
/// address leaves the 64-bit space.
Result<MemoryRange> extentOf(const Tensor &tensor);

/// Whether the strides are nested: no two index tuples share an element because
/// each dimension steps over everything that the finer ones reach. Interleaved
/// layouts that happen not to collide are refused as well.
bool hasNestedStrides(const Tensor &tensor);

/// Whether every byte of the tensor's range belongs to an element.
bool isDense(const Tensor &tensor);

/// `bf16[2x8x100x64]`, for messages.
std::string toText(ElementType type, const std::vector<int64_t> &shape);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_TENSOR_H
