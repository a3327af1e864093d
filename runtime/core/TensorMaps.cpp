//===- TensorMaps.cpp - Tensor maps of a kernel's parameters --------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/TensorMaps.h"

#include <algorithm>

using namespace attn;

static sim::TensorMap::Element elementOf(ElementType type) {
  using Element = sim::TensorMap::Element;
  switch (type) {
  case ElementType::F16:
    return Element::F16;
  case ElementType::BF16:
    return Element::BF16;
  case ElementType::F32:
    return Element::F32;
  case ElementType::I32:
    return Element::S32;
  default:
    return Element::S64;
  }
}

Result<sim::TensorMap> attn::describeTensorMap(const Tensor &tensor,
                                               const ParamDesc &param) {
  constexpr int64_t unit = 16, strideLimit = int64_t(1) << 40;
  constexpr int64_t sizeLimit = int64_t(1) << 32;
  Tensor view = tensor;
  std::vector<int64_t> box = param.box;
  // The number of a dimension of the tensor.
  auto number = [&](size_t d) {
    return std::to_string(d - (param.modulus > 1 && d + 1 >= view.rank() - 1));
  };
  if (param.modulus > 1) {
    // Element c + i * modulus at (i, c): there is no box around the elements
    // that exist, but there is one around the classes that have one more, and
    // one around what all classes have.
    const size_t split = tensor.rank() - 2;
    const int64_t size = tensor.shape[split],
                  stride = size > 1 ? tensor.strides[split] : 0;
    const int64_t common = size / param.modulus, rest = size % param.modulus;
    view.shape[split] = common;
    int64_t classes = param.modulus;
    if (rest && (param.longer || common == 0)) {
      view.shape[split] = common + 1;
      classes = rest;
    }
    if (stride >= strideLimit / sizeOf(tensor.type) / param.modulus)
      return invalidArgument("dimension " + std::to_string(split) +
                             " has a stride of " + std::to_string(stride) +
                             " elements, times " +
                             std::to_string(param.modulus) +
                             " classes, a tensor map needs less "
                             "than 2^40 bytes");
    view.strides[split] = stride * param.modulus;
    view.shape.insert(view.shape.begin() + split + 1, classes);
    view.strides.insert(view.strides.begin() + split + 1, stride);
    box.insert(box.begin() + split + 1, 1);
  }
  sim::TensorMap map;
  map.element = elementOf(tensor.type);
  map.rank = static_cast<unsigned>(view.rank());
  map.swizzle = static_cast<sim::TensorMap::Swizzle>(
      param.swizzle == 128 ? 3 : param.swizzle / 32);
  map.address = tensor.address();
  if (map.address % unit)
    return invalidArgument("a tensor map needs an address that is a multiple "
                           "of 16 bytes");
  bool empty = false;
  for (unsigned i = 0; i < map.rank; ++i) {
    const size_t d = map.rank - 1 - i;
    const int64_t size = view.shape[d];
    empty |= size == 0;
    if (size > sizeLimit)
      return invalidArgument("dimension " + number(d) + " has " +
                             std::to_string(size) +
                             " elements, a tensor map has at most 2^32");
    map.dims[i] = static_cast<uint64_t>(std::max<int64_t>(size, 1));
    map.box[i] = static_cast<uint32_t>(box[d]);
    if (i == 0)
      continue;
    // Nobody steps along a dimension of one element.
    if (size <= 1) {
      map.strides[i - 1] = unit;
      continue;
    }
    const int64_t elements = view.strides[d];
    const int64_t limit = strideLimit / sizeOf(tensor.type);
    const int64_t bytes = elements * sizeOf(tensor.type);
    if (elements < 0 || elements >= limit || bytes % unit)
      return invalidArgument("dimension " + number(d) + " has a stride of " +
                             std::to_string(elements) +
                             " elements, a tensor map needs a multiple of " +
                             std::to_string(unit / sizeOf(tensor.type)) +
                             ", at least 0 and less than 2^40 bytes");
    map.strides[i - 1] = static_cast<uint64_t>(bytes);
  }
  if (empty)
    map.address = unit;
  return map;
}
