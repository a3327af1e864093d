//===- Hopper.h - tensor maps and ptxas for the unit tests -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_TEST_RUNTIME_SIM_HOPPER_H
#define ATTN_TEST_RUNTIME_SIM_HOPPER_H

#include "Harness.h"

#include "attn/runtime/sim/TensorMap.h"

#include <unistd.h>

namespace attn::sim {

/// Does NVIDIA's assembler take the text? Empty where it does, or where there
/// is no assembler; else what it says.
inline std::string assemble(const std::string &text) {
  static const bool present =
      std::system("ptxas --version >/dev/null 2>&1") == 0;
  if (!present)
    return "";
  std::string base =
      testing::TempDir() + "attn-sim-" + std::to_string(getpid()) + "-ptxas";
  std::ofstream(base + ".ptx") << text;
  std::string command = "ptxas -arch=sm_90a -o " + base + ".cubin " + base +
                        ".ptx >" + base + ".log 2>&1";
  bool good = std::system(command.c_str()) == 0;
  std::string said = good ? "" : readText(base + ".log");
  std::remove((base + ".ptx").c_str());
  std::remove((base + ".log").c_str());
  std::remove((base + ".cubin").c_str());
  return said;
}

/// A tensor map as a parameter.
struct alignas(64) MapParameter {
  uint8_t bytes[TensorMap::Bytes];
};
inline MapParameter parameterOf(const TensorMap &map) {
  MapParameter result{};
  Result<std::array<uint8_t, TensorMap::Bytes>> bytes = map.encode();
  EXPECT_TRUE(bool(bytes)) << (bytes ? "" : bytes.error().message);
  if (bytes)
    std::copy(bytes->begin(), bytes->end(), result.bytes);
  return result;
}

/// Packed rows.
inline TensorMap denseMap(uint64_t address, TensorMap::Element element,
                          std::vector<uint64_t> dims, std::vector<uint32_t> box,
                          TensorMap::Swizzle swizzle) {
  TensorMap map;
  map.element = element;
  map.address = address;
  map.rank = unsigned(dims.size());
  map.swizzle = swizzle;
  uint64_t stride = bytesOf(element);
  for (unsigned i = 0; i < map.rank; ++i) {
    map.dims[i] = dims[i];
    map.box[i] = box[i];
    stride *= dims[i];
    if (i + 1 < map.rank)
      map.strides[i] = stride = (stride + 15) / 16 * 16;
  }
  return map;
}

} // namespace attn::sim

#endif // ATTN_TEST_RUNTIME_SIM_HOPPER_H
