//===- Clean90Test.cpp - correct sm_90a kernels ----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// clean90/*.ptx in every mode: no finding, and the right words. A kernel reads
// the first half of its buffer, random words, and writes to the second half.
#include "Hopper.h"

#include <functional>

using namespace attn::sim;

namespace {

constexpr unsigned Half = 2048; ///< words
using Words = std::vector<uint32_t>;

struct Case {
  const char *name;
  unsigned block, results;
  std::function<uint32_t(const Words &in, unsigned i)> expected;
};

uint32_t word(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
auto same = [](const Words &in, unsigned i) { return in[i]; };
/// The products are of ones, 16 deep.
auto product = [](float value) {
  return [=](const Words &, unsigned) { return word(value); };
};

const Case cases[] = {
    {"mbarrier-state", 64, 64,
     [](const Words &in, unsigned i) { return in[63 - i]; }},
    {"mbarrier-phases", 64, 64,
     [](const Words &in, unsigned i) { return in[(i + 5) % 64]; }},
    {"mbarrier-counts", 64, 64,
     [](const Words &in, unsigned i) { return in[i ^ 32]; }},
    {"mbarrier-drop", 64, 32, same},
    {"mbarrier-inval", 32, 32,
     [](const Words &in, unsigned i) { return in[i] + in[0]; }},
    {"mbarrier-pending", 32, 32,
     [](const Words &, unsigned i) { return 40 - i; }},
    {"mbarrier-bytes", 32, 32,
     [](const Words &in, unsigned i) { return in[31 - i]; }},
    {"bulk-load", 64, 64, same},
    {"bulk-load-policy", 64, 64, same},
    {"bulk-store", 64, 192,
     [](const Words &in, unsigned i) { return in[i % 64] + i / 64; }},
    {"copy-released-by-all-lanes", 64, 64,
     [](const Words &in, unsigned i) {
       return i < 32 ? 0xdddddddd : in[i - 32];
     }},
    {"store-wait-and-warp-barrier", 32, 64,
     [](const Words &, unsigned i) { return i < 32 ? i : i - 32 + 100; }},
    {"fence-by-the-reader", 64, 64, same},
    {"wait-by-one-lane", 32, 32, same},
    {"arrive-for-one-lane", 64, 32,
     [](const Words &in, unsigned) { return in[0]; }},
    {"pipeline", 64, 96, same},
    {"pipeline-one-lane", 64, 96, same},
    {"pipeline-elected", 64, 192, same},
    {"tensor-in-and-out", 32, 32,
     [](const Words &in, unsigned i) { return in[i + 4 * 32]; }},
    {"wgmma-chain", 128, 128, product(32)},
    {"wgmma-two-groups", 128, 128, product(48)},
    {"wgmma-rescale", 128, 128, product(64)},
    {"wgmma-registers", 128, 128, product(32)},
    {"wgmma-tile-released-by-one-thread", 160, 128, product(16)},
    {"wgmma-factor-by-all-warps", 128, 128, product(16)},
    {"registers-of-roles", 384, 384, same},
    {"ping-pong", 256, 256,
     [](const Words &in, unsigned i) { return 3 * (in[i] + in[i ^ 128]); }},
    {"cluster-of-one", 32, 32,
     [](const Words &in, unsigned i) { return in[i] + 1; }},
};

class Clean90 : public testing::TestWithParam<Case> {};

TEST_P(Clean90, HasNoFinding) {
  const Case &c = GetParam();
  std::string text =
      readText(std::string(ATTN_SIM_TESTS "/clean90/") + c.name + ".ptx");
  EXPECT_EQ(assemble(text), "");
  Result<Module> module = Module::parse(text);
  ASSERT_TRUE(bool(module)) << module.error().render(c.name);
  std::mt19937 random(11);
  Words in(2 * Half, 0xdddddddd);
  for (unsigned i = 0; i < Half; ++i)
    in[i] = uint32_t(random());
  for (const LaunchOptions &options : allModes()) {
    Words buffer = in;
    Memory memory;
    uint64_t address =
        memory.registerHost(buffer.data(), buffer.size() * 4, "buffer");
    Arguments arguments;
    arguments.add(address);
    if (module->entries()[0].parameters.size() > 1)
      arguments.add(
          parameterOf(denseMap(address, TensorMap::Element::BF16, {64, 32},
                               {64, 8}, TensorMap::Swizzle::Bytes128)));
    LaunchReport report = launch(*module, "kernel", {}, {c.block, 1, 1}, 0,
                                 arguments, memory, options);
    EXPECT_TRUE(report.findings.empty()) << show(options.mode) << "\n"
                                         << show(report);
    for (unsigned i = 0; i < c.results; ++i)
      ASSERT_EQ(buffer[Half + i], c.expected(in, i))
          << show(options.mode) << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Clean90, testing::ValuesIn(cases),
                         [](const auto &info) {
                           std::string label = info.param.name;
                           for (char &c : label)
                             c = c == '-' ? '_' : c;
                           return label;
                         });

} // namespace
