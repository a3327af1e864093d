//===- Tensor.cpp - Strided views of device memory ------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Tensor.h"

#include "attn/runtime/core/Arith.h"

#include <algorithm>

using namespace attn;

std::string attn::toText(MemorySpace space) {
  return space.kind == MemorySpace::Kind::Host
             ? "host"
             : "cuda:" + std::to_string(space.index);
}

std::string attn::toText(ElementType type, const std::vector<int64_t> &shape) {
  std::string text(nameOf(type));
  text += "[";
  for (size_t d = 0; d < shape.size(); ++d)
    text += (d ? "x" : "") + std::to_string(shape[d]);
  return text + "]";
}

std::vector<int64_t> attn::rowMajorStrides(const std::vector<int64_t> &shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    // A size of 0 leaves nothing to address, whatever the strides are.
    stride =
        checkedMul(stride, std::max<int64_t>(shape[d], 1)).value_or(INT64_MAX);
  }
  return strides;
}

Tensor Tensor::rowMajor(ElementType type, std::vector<int64_t> shape,
                        uint64_t data, MemorySpace space) {
  Tensor tensor;
  tensor.type = type;
  tensor.strides = rowMajorStrides(shape);
  tensor.shape = std::move(shape);
  tensor.data = data;
  tensor.space = space;
  return tensor;
}

Result<int64_t> attn::elementCount(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  bool empty = false, overflow = false;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] < 0)
      return invalidArgument("dimension " + std::to_string(d) +
                             " has the negative size " +
                             std::to_string(shape[d]));
    if (shape[d] == 0) {
      empty = true;
      continue;
    }
    std::optional<int64_t> product = checkedMul(count, shape[d]);
    overflow |= !product;
    count = product.value_or(count);
  }
  if (empty)
    return int64_t(0);
  if (overflow)
    return invalidArgument("the number of elements does not fit in 64 bits");
  return count;
}

Result<MemoryRange> attn::extentOf(const Tensor &tensor) {
  if (tensor.strides.size() != tensor.shape.size())
    return invalidArgument("expected as many strides as dimensions (" +
                           std::to_string(tensor.shape.size()) + "), found " +
                           std::to_string(tensor.strides.size()));
  Result<int64_t> count = elementCount(tensor.shape);
  // Broadcast tensors may have more elements than bytes that exist; only the
  // span below matters for them.
  bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) !=
               tensor.shape.end();
  if (!count && std::any_of(tensor.shape.begin(), tensor.shape.end(),
                            [](int64_t size) { return size < 0; }))
    return count.error();
  if (empty)
    return MemoryRange{};

  // In 128 bits, where sums of a few 65-bit values cannot overflow.
  using Wide = __int128;
  constexpr Wide limit = UINT64_MAX;
  Wide low = 0, high = 1; // in elements, from the first index's
  bool outside = false;
  for (size_t d = 0; d < tensor.rank(); ++d) {
    Wide reach = Wide(tensor.shape[d] - 1) * tensor.strides[d];
    outside |= reach > limit || reach < -limit;
    (reach < 0 ? low : high) += outside ? 0 : reach;
  }
  Wide base = Wide(tensor.data) + tensor.byteOffset;
  low *= sizeOf(tensor.type);
  high *= sizeOf(tensor.type);
  // Offsets in bytes are signed 64-bit numbers wherever they are computed.
  outside |= low < INT64_MIN || high > INT64_MAX;
  Wide begin = base + low, end = base + high;
  if (outside || base > limit || begin < 0 || end > limit)
    return invalidArgument("its elements reach outside the 64-bit address "
                           "space");
  return MemoryRange{static_cast<uint64_t>(begin), static_cast<uint64_t>(end)};
}

bool attn::hasNestedStrides(const Tensor &tensor) {
  // (|stride|, reach) of the dimensions that move at all, finest first.
  std::vector<std::pair<uint64_t, uint64_t>> steps;
  for (size_t d = 0; d < tensor.rank(); ++d) {
    if (tensor.shape[d] == 0)
      return true;
    if (tensor.shape[d] == 1)
      continue;
    int64_t stride = tensor.strides[d];
    uint64_t step = stride < 0 ? ~uint64_t(stride) + 1 : uint64_t(stride);
    uint64_t reach;
    if (__builtin_mul_overflow(step, uint64_t(tensor.shape[d] - 1), &reach))
      return false;
    steps.emplace_back(step, reach);
  }
  std::sort(steps.begin(), steps.end());
  uint64_t covered = 0;
  for (auto [step, reach] : steps) {
    if (step <= covered)
      return false;
    if (__builtin_add_overflow(covered, reach, &covered))
      return false;
  }
  return true;
}

bool attn::isDense(const Tensor &tensor) {
  Result<int64_t> count = elementCount(tensor.shape);
  Result<MemoryRange> range = extentOf(tensor);
  if (!count || !range || !hasNestedStrides(tensor))
    return false;
  std::optional<int64_t> bytes = checkedMul(*count, sizeOf(tensor.type));
  return bytes && static_cast<uint64_t>(*bytes) == range->size();
}
