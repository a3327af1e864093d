//===- Harness.h - shared by the simulator's unit tests --------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_TEST_RUNTIME_SIM_HARNESS_H
#define ATTN_TEST_RUNTIME_SIM_HARNESS_H

#include "attn/runtime/sim/Simulator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

namespace attn::sim {

inline std::string readText(const std::string &path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Parameter block, each value at its natural alignment.
class Arguments {
public:
  template <typename T>
  Arguments &add(T value) {
    bytes.resize((bytes.size() + sizeof(T) - 1) / sizeof(T) * sizeof(T));
    const auto *raw = reinterpret_cast<const uint8_t *>(&value);
    bytes.insert(bytes.end(), raw, raw + sizeof(T));
    return *this;
  }
  std::vector<uint8_t> bytes;
};

inline std::string show(const LaunchReport &report) {
  std::string text;
  for (const Finding &finding : report.findings)
    text += std::string(name(finding.kind)) + " line " + std::to_string(finding.line) + ": " + finding.message + "\n";
  return text;
}

inline const char *show(Mode mode) {
  return mode == Mode::Eager ? "eager" : mode == Mode::Lazy ? "lazy" : "random";
}

inline LaunchReport launch(const Module &module, const std::string &entry, Dim3 grid, Dim3 block, unsigned shared,
                           const Arguments &arguments, Memory &memory, const LaunchOptions &options = {}) {
  return Simulator::launch(module, entry, grid, block, shared, arguments.bytes.data(), arguments.bytes.size(), memory,
                           options);
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
