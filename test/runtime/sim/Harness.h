//===- Harness.h - shared by the simulator's unit tests --------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_TEST_RUNTIME_SIM_HARNESS_H
#define ATTN_TEST_RUNTIME_SIM_HARNESS_H

#include "attn/runtime/sim/Simulator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

namespace attn::sim {

inline std::string readText(const std::string &path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

/// f16 from its definition: the nearest multiple of the unit of its exponent,
/// ties to even.
inline uint16_t halfOf(long double value) {
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  value = std::fabs(value);
  if (value != value)
    return 0x7fff;
  if (value >= 65520)
    return sign | 0x7c00;
  int exponent = value == 0 ? -14 : std::max(-14, std::ilogb(value));
  auto multiple = uint16_t(std::nearbyint(std::ldexp(value, 10 - exponent)));
  // A multiple of 2048 carries into the exponent by itself.
  return uint16_t(
      sign |
      (multiple < 1024 ? multiple : multiple - 1024 + ((exponent + 15) << 10)));
}
inline float halfValue(uint16_t bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float magnitude = exponent == 31 ? (mantissa ? NAN : INFINITY)
                    : exponent
                        ? std::ldexp(float(1024 + mantissa), exponent - 25)
                        : std::ldexp(float(mantissa), -24);
  return bits >> 15 ? -magnitude : magnitude;
}

/// Parameter block, each value at its natural alignment.
class Arguments {
public:
  template <typename T>
  Arguments &add(T value) {
    bytes.resize((bytes.size() + alignof(T) - 1) / alignof(T) * alignof(T));
    const auto *raw = reinterpret_cast<const uint8_t *>(&value);
    bytes.insert(bytes.end(), raw, raw + sizeof(T));
    return *this;
  }
  std::vector<uint8_t> bytes;
};

inline std::string show(const LaunchReport &report) {
  std::string text;
  for (const Finding &finding : report.findings)
    text += std::string(name(finding.kind)) + " line " +
            std::to_string(finding.line) + ": " + finding.message + "\n";
  return text;
}

inline const char *show(Mode mode) {
  return mode == Mode::Eager ? "eager" : mode == Mode::Lazy ? "lazy" : "random";
}

inline LaunchReport launch(const Module &module, const std::string &entry,
                           Dim3 grid, Dim3 block, unsigned shared,
                           const Arguments &arguments, Memory &memory,
                           const LaunchOptions &options = {}) {
  return Simulator::launch(module, entry, grid, block, shared,
                           arguments.bytes.data(), arguments.bytes.size(),
                           memory, options);
}

/// The three scheduling modes, the random one with several seeds.
inline std::vector<LaunchOptions> allModes() {
  std::vector<LaunchOptions> result(5);
  result[1].mode = Mode::Lazy;
  for (unsigned i = 2; i < 5; ++i) {
    result[i].mode = Mode::Random;
    result[i].seed = 17 * i;
  }
  return result;
}

} // namespace attn::sim

#endif // ATTN_TEST_RUNTIME_SIM_HARNESS_H
