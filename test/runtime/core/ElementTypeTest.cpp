//===- ElementTypeTest.cpp - Element types and their conversions ----------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/ElementType.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace attn;

namespace {

struct Format {
  const char *name;
  uint16_t (*encode)(double);
  float (*decode)(uint16_t);
  int mantissaBits;
  int minExponent; ///< of a normal number
  uint16_t infinity;
};

const Format formats[] = {
    {"f16", toF16, fromF16, 10, -14, 0x7C00},
    {"bf16", toBF16, fromBF16, 7, -126, 0x7F80},
};

/// The value straight from the definition of the format.
double valueOf(const Format &format, uint16_t bits) {
  int exponent = (bits & 0x7FFF) >> format.mantissaBits;
  int mantissa = bits & ((1 << format.mantissaBits) - 1);
  double magnitude =
      exponent
          ? std::ldexp((1 << format.mantissaBits) + mantissa,
                       exponent - 1 + format.minExponent - format.mantissaBits)
          : std::ldexp(mantissa, format.minExponent - format.mantissaBits);
  return bits & 0x8000 ? -magnitude : magnitude;
}

class SixteenBit : public testing::TestWithParam<Format> {};

TEST_P(SixteenBit, DecodesEveryPattern) {
  const Format &format = GetParam();
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = format.decode(static_cast<uint16_t>(bits));
    uint16_t magnitude = bits & 0x7FFF;
    if (magnitude > format.infinity) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    if (magnitude == format.infinity)
      ASSERT_TRUE(std::isinf(value)) << bits;
    else
      ASSERT_EQ(value, valueOf(format, static_cast<uint16_t>(bits))) << bits;
    ASSERT_EQ(format.encode(value), bits);
  }
}

TEST_P(SixteenBit, RoundsEveryBoundaryToNearestEven) {
  const Format &format = GetParam();
  const double inf = std::numeric_limits<double>::infinity();
  for (uint16_t bits = 0; bits < format.infinity; ++bits) {
    double low = valueOf(format, bits);
    uint16_t next = bits + 1;
    // Past the largest finite number the boundary is where the next one is due.
    double high = next == format.infinity
                      ? low + (low - valueOf(format, bits - 1))
                      : valueOf(format, next);
    double middle = low + (high - low) / 2;
    uint16_t even = bits & 1 ? next : bits;
    ASSERT_EQ(format.encode(middle), even) << bits;
    ASSERT_EQ(format.encode(std::nextafter(middle, -inf)), bits);
    ASSERT_EQ(format.encode(std::nextafter(middle, inf)), next);
    ASSERT_EQ(format.encode(-middle), even | 0x8000) << bits;
    ASSERT_EQ(format.encode(std::nextafter(-middle, inf)), bits | 0x8000);
    ASSERT_EQ(format.encode(std::nextafter(-middle, -inf)), next | 0x8000);
  }
}

TEST_P(SixteenBit, SpecialValues) {
  const Format &format = GetParam();
  using Limits = std::numeric_limits<double>;
  EXPECT_EQ(format.encode(Limits::infinity()), format.infinity);
  EXPECT_EQ(format.encode(-Limits::infinity()), format.infinity | 0x8000);
  EXPECT_EQ(format.encode(Limits::max()), format.infinity);
  EXPECT_EQ(format.encode(Limits::denorm_min()), 0);
  EXPECT_EQ(format.encode(-Limits::min()), 0x8000);
  EXPECT_EQ(format.encode(-0.0), 0x8000);
  EXPECT_TRUE(std::isnan(format.decode(format.encode(Limits::quiet_NaN()))));
  // A NaN whose payload is only in the bits that are dropped stays a NaN.
  uint64_t lowPayload = 0x7FF0000000000001;
  double nan;
  std::memcpy(&nan, &lowPayload, sizeof nan);
  EXPECT_GT(format.encode(nan) & 0x7FFF, format.infinity);
}

INSTANTIATE_TEST_SUITE_P(Formats, SixteenBit, testing::ValuesIn(formats),
                         [](const auto &info) { return info.param.name; });

TEST(ElementType, RoundOddKeepsEveryBitThatMatters) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    auto value = static_cast<int64_t>(random() >> random() % 64);
    if (random() & 1)
      value = -value;
    double odd = toDoubleRoundOdd(value);
    // Rounded once from 64 bits, by the compiler's own conversion.
    EXPECT_EQ(static_cast<float>(odd), static_cast<float>(value)) << value;
  }
  EXPECT_EQ(toDoubleRoundOdd(INT64_MIN), -0x1p63);
  // To the nearest double first, then to bf16, would give 2^60 exactly (even).
  int64_t justPastTie = (int64_t(1) << 60) + (int64_t(1) << 52) + 1;
  EXPECT_EQ(toBF16(toDoubleRoundOdd(justPastTie)), toBF16(0x1p60) + 1);
  EXPECT_EQ(toBF16(static_cast<double>(justPastTie)), toBF16(0x1p60));
}

TEST(ElementType, NamesRoundTrip) {
  for (const char *name : {"f16", "bf16", "f32", "i32", "i64", "index"}) {
    ASSERT_TRUE(parseElementType(name)) << name;
    EXPECT_EQ(nameOf(*parseElementType(name)), name);
  }
  EXPECT_FALSE(parseElementType("f64"));
  EXPECT_FALSE(parseElementType(""));
}

} // namespace
