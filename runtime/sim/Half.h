//===- Half.h - 16-bit floating point in integer arithmetic ----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Plain functions without branches on data where it matters, so that loops over
// lanes vectorise and give the same bits on every machine. No include guard
// trick: usable from the per-instruction-set files, all functions are inline.
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_HALF_H
#define ATTN_RUNTIME_SIM_HALF_H

#include <cstdint>
#include <cstring>

namespace attn::sim {

template <typename To, typename From>
[[gnu::always_inline]] inline To bitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

[[gnu::always_inline]] inline float halfToFloat(uint32_t half) {
  // Shift exponent and mantissa into place; a product with 2^112 rebiases and
  // makes subnormals right.
  float magnitude = bitCast<float>((half & 0x7fff) << 13) * 0x1p112f;
  uint32_t bits = bitCast<uint32_t>(magnitude);
  bits = magnitude >= 65536.0f ? bits | 0x7f800000 : bits;
  return bitCast<float>(bits | (half & 0x8000) << 16);
}

/// Round to nearest, ties to even; NaN becomes 0x7fff as in PTX.
[[gnu::always_inline]] inline uint32_t floatToHalf(float value) {
  uint32_t bits = bitCast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  // Subnormal results: adding 0.5 places the rounding point at bit 0.
  uint32_t small = bitCast<uint32_t>(bitCast<float>(bits) + 0.5f) - 0x3f000000;
  uint32_t normal = (bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13;
  uint32_t result = bits < 0x38800000 ? small : normal;
  result = bits >= 0x477ff000 ? 0x7c00 : result;
  return bits > 0x7f800000 ? 0x7fff : result | sign;
}

[[gnu::always_inline]] inline float bfloatToFloat(uint32_t bfloat) {
  return bitCast<float>(bfloat << 16);
}

[[gnu::always_inline]] inline uint32_t floatToBfloat(float value) {
  uint32_t bits = bitCast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded;
}

/// Toward zero.
[[gnu::always_inline]] inline uint32_t floatToHalfRz(float value) {
  uint32_t bits = bitCast<uint32_t>(value), magnitude = bits & 0x7fffffff;
  uint32_t nearest = floatToHalf(value);
  if (magnitude > 0x7f800000 || magnitude == 0x7f800000)
    return nearest;
  if ((nearest & 0x7fff) == 0x7c00)
    return (nearest & 0x8000) | 0x7bff;
  float back = halfToFloat(nearest & 0x7fff);
  return back > bitCast<float>(magnitude) ? nearest - 1 : nearest;
}

[[gnu::always_inline]] inline uint32_t floatToBfloatRz(float value) {
  uint32_t bits = bitCast<uint32_t>(value);
  return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : bits >> 16;
}

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_HALF_H
