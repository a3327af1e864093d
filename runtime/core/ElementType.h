//===- ElementType.h - Element types and their conversions ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_ELEMENTTYPE_H
#define ATTN_RUNTIME_CORE_ELEMENTTYPE_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace attn {

/// Types of tensor elements and of scalar arguments. `Bool` is a byte, 0 or
/// not. `Index` is for scalars only and is passed as a 64-bit integer.
enum class ElementType : uint8_t { F16, BF16, F32, Bool, I8, I32, I64, Index };

/// Bytes of one element.
constexpr int64_t sizeOf(ElementType type) {
  switch (type) {
  case ElementType::Bool:
  case ElementType::I8:
    return 1;
  case ElementType::F16:
  case ElementType::BF16:
    return 2;
  case ElementType::F32:
  case ElementType::I32:
    return 4;
  case ElementType::I64:
  case ElementType::Index:
    return 8;
  }
  return 0;
}

/// `f16`, `bf16`, `f32`, `i1`, `i8`, `i32`, `i64`, `index`: the words of the
/// manifest.
std::string_view nameOf(ElementType type);
std::optional<ElementType> parseElementType(std::string_view name);

constexpr bool isFloat(ElementType type) {
  return type == ElementType::F16 || type == ElementType::BF16 ||
         type == ElementType::F32;
}

/// Conversions to 16-bit floats round to nearest, ties to even, straight from
/// the wide value (no double rounding); overflow gives infinity; NaN stays NaN,
/// quiet, with its sign. Conversions from them are exact.
uint16_t toF16(double value);
uint16_t toBF16(double value);
float fromF16(uint16_t bits);
float fromBF16(uint16_t bits);

/// `value` as a double whose last bit is forced to one where bits were lost, so
/// that rounding the result once more (to 51 bits or fewer) rounds correctly.
double toDoubleRoundOdd(int64_t value);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_ELEMENTTYPE_H
