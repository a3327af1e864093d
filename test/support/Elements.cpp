//===- Elements.cpp - see Elements.h --------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/support/Elements.h"

#include <cstring>

using namespace attn;
using namespace attn::test;

ElementType test::elementOf(const std::string &name) {
  return name == "f16"    ? ElementType::F16
         : name == "bf16" ? ElementType::BF16
         : name == "f32"  ? ElementType::F32
         : name == "i1"   ? ElementType::Bool
         : name == "i8"   ? ElementType::I8
         : name == "i32"  ? ElementType::I32
                          : ElementType::I64;
}

ElementType test::elementOf(reference::Format format) {
  return format == reference::Format::F16    ? ElementType::F16
         : format == reference::Format::BF16 ? ElementType::BF16
                                             : ElementType::F32;
}

reference::Format test::formatOf(ElementType type) {
  return type == ElementType::F16    ? reference::Format::F16
         : type == ElementType::BF16 ? reference::Format::BF16
                                     : reference::Format::F32;
}

std::string test::tensorType(const std::vector<int64_t> &extents,
                             const std::string &element) {
  std::string text = "tensor<";
  for (int64_t extent : extents)
    text += (extent < 0 ? "?" : std::to_string(extent)) + "x";
  return text + element + ">";
}

std::string test::toBytes(const std::vector<double> &values, ElementType type) {
  std::string bytes;
  for (double value : values) {
    uint64_t bits = isFloat(type)
                        ? reference::encode(value, formatOf(type))
                        : static_cast<uint64_t>(static_cast<int64_t>(value));
    bytes.append(reinterpret_cast<const char *>(&bits), size_t(sizeOf(type)));
  }
  return bytes;
}

mlir::attn::reference::Tensor test::fromBytes(const std::string &bytes,
                                              const std::vector<int64_t> &shape,
                                              ElementType type) {
  mlir::attn::reference::Tensor result{shape, {}};
  size_t width = size_t(sizeOf(type));
  for (size_t at = 0; at < bytes.size(); at += width) {
    uint32_t bits = 0;
    std::memcpy(&bits, &bytes[at], width);
    result.values.push_back(reference::decode(bits, formatOf(type)));
  }
  return result;
}

std::vector<int64_t> test::stridesOf(Layout layout,
                                     const std::vector<int64_t> &shape) {
  int64_t h = shape[1], n = shape[2], d = shape[3];
  if (layout == HeadsInside)
    return {n * h * d, d, h * d, 1};
  int64_t row = layout == RowMajor ? d
                : layout == Padded ? d + 8
                : layout == Odd    ? d + 3
                                   : (int64_t(1) << 31) + 64;
  return {h * n * row, n * row, row, 1};
}

int64_t test::spanOf(const std::vector<int64_t> &shape,
                     const std::vector<int64_t> &strides) {
  int64_t span = 1;
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    if (shape[dim] == 0)
      return 0;
    span += (shape[dim] - 1) * strides[dim];
  }
  return span;
}
