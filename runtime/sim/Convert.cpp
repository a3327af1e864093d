//===- Convert.cpp - conversion of one scalar ------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Builders.h"
#include "attn/runtime/sim/Half.h"

#include <algorithm>
#include <cmath>

namespace attn::sim {
namespace {

using Wide = __int128;

/// Rounds a finite value to an integral one.
double integral(double value, unsigned rounding) {
  switch (rounding & 3) {
  case 0:
    return std::nearbyint(value);
  case 1:
    return std::trunc(value);
  case 2:
    return std::floor(value);
  default:
    return std::ceil(value);
  }
}

struct Limits {
  Wide least, most;
};
Limits limitsOf(Type type) {
  unsigned bits = bitsOf(type);
  if (isSigned(type))
    return {-(Wide(1) << (bits - 1)), (Wide(1) << (bits - 1)) - 1};
  return {0, (Wide(1) << bits) - 1};
}

/// The exact integer value / 2^shift, rounded; `value` is not negative.
Wide shiftRounded(Wide value, int shift, unsigned rounding, bool negative) {
  if (shift <= 0)
    return value << -shift;
  if (shift > 120)
    return value != 0 &&
           ((rounding == 3 && !negative) || (rounding == 2 && negative));
  Wide whole = value >> shift, rest = value - (whole << shift),
       half = Wide(1) << (shift - 1);
  bool up = false;
  switch (rounding) {
  case 0:
    up = rest > half || (rest == half && (whole & 1));
    break;
  case 2:
    up = negative && rest != 0;
    break;
  case 3:
    up = !negative && rest != 0;
    break;
  default:
    break;
  }
  return whole + up;
}

/// A binary format: mantissa bits without the leading one, and exponent bits.
struct Format {
  int mantissa, exponent;
};
Format formatOf(Type type) {
  switch (type) {
  case Type::F16:
    return {10, 5};
  case Type::BF16:
    return {7, 8};
  case Type::F32:
    return {23, 8};
  default:
    return {52, 11};
  }
}

/// magnitude * 2^exponent in a format, rounded; overflow goes to infinity or to
/// the largest value, as the mode says.
uint64_t encode(Wide magnitude, int exponent, bool negative, Type type,
                unsigned rounding) {
  Format format = formatOf(type);
  const int bias = (1 << (format.exponent - 1)) - 1,
            least = 1 - bias - format.mantissa;
  uint64_t sign = uint64_t(negative) << (format.mantissa + format.exponent);
  if (magnitude == 0)
    return sign;
  int bits = 0;
  while (magnitude >> bits)
    ++bits;
  int unit = std::max(exponent + bits - 1 - format.mantissa, least);
  Wide rounded = shiftRounded(magnitude, unit - exponent, rounding, negative);
  if (rounded >> (format.mantissa + 1)) {
    rounded >>= 1;
    ++unit;
  }
  if (rounded == 0)
    return sign;
  const uint64_t infinity = ((1ull << format.exponent) - 1) << format.mantissa;
  uint64_t field = rounded >> format.mantissa ? uint64_t(unit - least + 1) : 0;
  if (field >= (1ull << format.exponent) - 1) {
    bool away = rounding == 0 || (rounding == 2 && negative) ||
                (rounding == 3 && !negative);
    return sign | (away ? infinity : infinity - 1);
  }
  return sign | field << format.mantissa |
         (uint64_t(rounded) & ((1ull << format.mantissa) - 1));
}

double decode(uint64_t bits, Type type, bool ftz) {
  switch (type) {
  case Type::F16:
    return halfToFloat(uint32_t(bits) & 0xffff);
  case Type::BF16:
    return bfloatToFloat(uint32_t(bits) & 0xffff);
  case Type::F32: {
    float value = bitCast<float>(uint32_t(bits));
    return ftz && std::fpclassify(value) == FP_SUBNORMAL
               ? std::copysign(0.0, double(value))
               : double(value);
  }
  default:
    return bitCast<double>(bits);
  }
}

uint64_t nanOf(Type type) {
  return bitsOf(type) == 16   ? 0x7fff
         : bitsOf(type) == 32 ? 0x7fffffff
                              : 0x7fffffffffffffff;
}

uint64_t encodeDouble(double value, const Conversion &conversion) {
  Type type = conversion.to;
  if (value != value)
    return conversion.saturate ? 0 : nanOf(type);
  if (conversion.saturate)
    value = value > 0 ? std::min(value, 1.0) : 0.0;
  if (conversion.rounding & 4 && std::isfinite(value))
    value = std::copysign(integral(value, conversion.rounding), value);
  Format format = formatOf(type);
  bool negative = std::signbit(value);
  if (std::isinf(value))
    return uint64_t(negative) << (format.mantissa + format.exponent) |
           ((1ull << format.exponent) - 1) << format.mantissa;
  int exponent = 0;
  double fraction = std::frexp(std::fabs(value), &exponent);
  uint64_t result = encode(Wide(std::ldexp(fraction, 53)), exponent - 53,
                           negative, type, conversion.rounding & 3);
  if (conversion.ftz && type == Type::F32 && (result & 0x7f800000) == 0)
    result &= 0x80000000;
  return result;
}

} // namespace

uint64_t convertScalar(const Conversion &conversion, uint64_t bits) {
  const Type from = conversion.from, to = conversion.to;
  if (isFloat(from)) {
    double value = decode(bits, from, conversion.ftz);
    if (isFloat(to))
      return encodeDouble(value, conversion);
    Limits limits = limitsOf(to);
    if (value != value)
      return bitsOf(to) == 64 ? 1ull << 63 : 0;
    value = integral(value, conversion.rounding);
    if (value >= double(limits.most))
      return uint64_t(limits.most);
    if (value <= double(limits.least))
      return uint64_t(limits.least);
    return uint64_t(Wide(value));
  }
  unsigned cut = 64 - bitsOf(from);
  Wide value = isSigned(from) ? Wide(int64_t(bits << cut) >> cut)
                              : Wide(bits << cut >> cut);
  if (isFloat(to))
    return encode(value < 0 ? -value : value, 0, value < 0, to,
                  conversion.rounding & 3);
  Limits limits = limitsOf(to);
  return uint64_t(std::min(std::max(value, limits.least), limits.most));
}

} // namespace attn::sim
