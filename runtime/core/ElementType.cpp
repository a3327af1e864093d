//===- ElementType.cpp - Element types and their conversions --------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/ElementType.h"

#include <cstring>

using namespace attn;

std::string_view attn::nameOf(ElementType type) {
  switch (type) {
  case ElementType::F16:
    return "f16";
  case ElementType::BF16:
    return "bf16";
  case ElementType::F32:
    return "f32";
  case ElementType::Bool:
    return "i1";
  case ElementType::I8:
    return "i8";
  case ElementType::I32:
    return "i32";
  case ElementType::I64:
    return "i64";
  case ElementType::Index:
    return "index";
  }
  return "invalid";
}

std::optional<ElementType> attn::parseElementType(std::string_view name) {
  for (ElementType type :
       {ElementType::F16, ElementType::BF16, ElementType::F32,
        ElementType::Bool, ElementType::I8, ElementType::I32, ElementType::I64,
        ElementType::Index})
    if (nameOf(type) == name)
      return type;
  return std::nullopt;
}

namespace {

template <typename To, typename From>
To bitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/// `value` in the 16-bit format with `mantissaBits` explicit mantissa bits.
template <int mantissaBits>
uint16_t roundTo16(double value) {
  constexpr int exponentBits = 15 - mantissaBits;
  constexpr int bias = (1 << (exponentBits - 1)) - 1;
  constexpr uint16_t infinity = ((1 << exponentBits) - 1) << mantissaBits;

  uint64_t bits = bitCast<uint64_t>(value);
  uint16_t sign = static_cast<uint16_t>(bits >> 63 << 15);
  uint64_t mantissa = bits & ((uint64_t(1) << 52) - 1);
  int biased = static_cast<int>(bits >> 52 & 0x7FF);
  if (biased == 0x7FF) {
    if (!mantissa)
      return sign | infinity;
    uint16_t payload = static_cast<uint16_t>(mantissa >> (52 - mantissaBits));
    return sign | infinity | payload | (1 << (mantissaBits - 1));
  }
  if (biased == 0) // below half of the smallest subnormal of either format
    return sign;

  int exponent = biased - 1023;
  mantissa |= uint64_t(1) << 52;
  // Subnormals of the target keep fewer bits: shift further.
  int shift = 52 - mantissaBits;
  int minimum = 1 - bias;
  int field = exponent + bias;
  if (exponent < minimum) {
    shift += minimum - exponent;
    field = 1;
    if (shift > 53)
      return sign;
  }
  uint64_t kept = mantissa >> shift;
  uint64_t rest = mantissa & ((uint64_t(1) << shift) - 1);
  uint64_t half = uint64_t(1) << (shift - 1);
  if (rest > half || (rest == half && (kept & 1)))
    ++kept;
  // `kept` carries the implicit bit (or not, when subnormal) into the exponent.
  int64_t result = (int64_t(field - 1) << mantissaBits) + int64_t(kept);
  return sign | static_cast<uint16_t>(result < infinity ? result : infinity);
}

} // namespace

uint16_t attn::toF16(double value) { return roundTo16<10>(value); }
uint16_t attn::toBF16(double value) { return roundTo16<7>(value); }

float attn::fromBF16(uint16_t bits) {
  return bitCast<float>(uint32_t(bits) << 16);
}

float attn::fromF16(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 0x1F;
  uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0x1F)
    return bitCast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent)
    return bitCast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  // Zero or subnormal: mantissa * 2^-24, exact in f32.
  float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

double attn::toDoubleRoundOdd(int64_t value) {
  uint64_t magnitude =
      value < 0 ? ~static_cast<uint64_t>(value) + 1 : uint64_t(value);
  int lost = 0;
  while (magnitude >> lost >> 53)
    ++lost;
  uint64_t kept = magnitude >> lost;
  if (lost && (kept << lost) != magnitude)
    kept |= 1;
  // Both factors and their product are exact.
  double result =
      static_cast<double>(kept) * static_cast<double>(uint64_t(1) << lost);
  return value < 0 ? -result : result;
}
