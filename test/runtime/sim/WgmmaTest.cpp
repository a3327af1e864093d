//===- WgmmaTest.cpp - layouts and operands of wgmma -----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Each case lays a 64 x 16 and a 16 x N matrix of small integers out in shared
// memory as the canonical layouts of the PTX ISA say, element by element, and
// multiplies them.
#include "Hopper.h"

using namespace attn::sim;

namespace {

struct Layout {
  int swizzle; ///< bytes: 0, 32, 64 or 128
  bool transposed;
};

struct Case {
  int n;
  bool bfloat;
  bool aInRegisters;
  Layout a, b;
  int signA = 1, signB = 1;
  int scaleD = 1; ///< 0, 1 or 2: a predicate that holds, 3: one that does not
};

/// Strides of the repeating patterns, with gaps, in elements.
struct Strides {
  int leading, stride, bytes;
};
Strides stridesOf(Layout layout, int rows) {
  const int atom = layout.swizzle ? layout.swizzle / 16 : 1; // of 8 elements
  if (!layout.transposed) {
    if (!layout.swizzle) // 8 x 8 elements together
      return {128 * ((rows + 7) / 8) + 64, 64 + 64,
              2 * 2 * (128 * ((rows + 7) / 8) + 64)};
    int unit = 64 * atom; // eight rows of the pattern
    return {8, 2 * unit, 2 * 2 * unit * ((rows + 7) / 8)};
  }
  if (!layout.swizzle) // ((T,1,m),(8,k)):((1,T,SBO),(T,LBO))
    return {192 * ((rows + 7) / 8), 192 / 2, 2 * 2 * 192 * ((rows + 7) / 8)};
  int unit = 64 * atom;
  int patterns = (rows + 8 * atom - 1) / (8 * atom);
  return {unit, unit * (patterns + 1), 2 * 2 * unit * (patterns + 1)};
}

/// Byte of element (row, k) from the start of the matrix, which is aligned to
/// 1024 bytes. The table rows of the ISA, as strides of a CuTe layout.
int byteOf(Layout layout, int rows, int row, int k) {
  const Strides s = stridesOf(layout, rows);
  const int W = layout.swizzle / 16, T = 8;
  int element;
  if (!layout.transposed)
    element =
        layout.swizzle
            ? row % 8 * W * T + row / 8 * s.stride + k % T + k / T * T
            : row % 8 * T + row / 8 * s.stride + k % T + k / T * s.leading;
  else
    element =
        layout.swizzle
            ? row % T + row / T % W * T + row / (T * W) * s.leading +
                  k % 8 * W * T + k / 8 * s.stride
            : row % T + row / T * s.stride + k % 8 * T + k / 8 * s.leading;
  int byte = 2 * element;
  int bits = layout.swizzle == 128  ? 7
             : layout.swizzle == 64 ? 3
             : layout.swizzle == 32 ? 1
                                    : 0;
  return byte ^ ((byte >> 7 & bits) << 4); // Swizzle<bits, 4, 3>
}

uint64_t descriptor(Layout layout, int rows) {
  const Strides s = stridesOf(layout, rows);
  uint64_t mode = layout.swizzle == 128  ? 1
                  : layout.swizzle == 64 ? 2
                  : layout.swizzle == 32 ? 3
                                         : 0;
  auto encode = [](int bytes) { return uint64_t(bytes & 0x3ffff) >> 4; };
  return encode(2 * s.leading) << 16 | encode(2 * s.stride) << 32 | mode << 62;
}

std::string list(const char *prefix, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i)
    text += (i ? ", " : "") + std::string(prefix) + std::to_string(i);
  return text + "}";
}

/// Copies an image into shared memory, multiplies once, stores the fragments.
std::string kernelFor(const Case &c) {
  const int count = c.n / 2;
  std::string n = std::to_string(count);
  std::string text =
      ".version 8.3\n.target sm_90a\n.address_size 64\n"
      ".extern .shared .align 1024 .b8 tile[];\n"
      ".visible .entry k(.param .u64 image, .param .u64 as, .param .u64 out, "
      ".param .u64 descA, .param .u64 descB, .param .u32 bytes)\n"
      ".reqntid 128\n{\n"
      ".reg .pred %p<4>; .reg .b32 %r<16>; .reg .b64 %d<16>; .reg .b32 %a<4>;\n"
      ".reg .f32 %f<" +
      n +
      ">;\n"
      "ld.param.u64 %d0, [image]; ld.param.u64 %d1, [as];\n"
      "ld.param.u64 %d2, [out]; ld.param.u64 %d3, [descA];\n"
      "ld.param.u64 %d4, [descB]; ld.param.u32 %r0, [bytes];\n"
      "mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 4; mov.u32 %r3, tile;\n"
      "LOOP:\n"
      "setp.ge.u32 %p0, %r2, %r0;\n"
      "@%p0 bra DONE;\n"
      "cvt.u64.u32 %d5, %r2; add.u64 %d6, %d0, %d5; add.u32 %r4, %r3, %r2;\n"
      "ld.global.v4.b32 {%r5, %r6, %r7, %r8}, [%d6];\n"
      "st.shared.v4.b32 [%r4], {%r5, %r6, %r7, %r8};\n"
      "add.u32 %r2, %r2, 2048;\n"
      "bra LOOP;\n"
      "DONE:\n"
      "fence.proxy.async.shared::cta;\n"
      "bar.sync 0;\n"
      // The descriptors come relative to the start of shared memory.
      "shr.u32 %r9, %r3, 4; cvt.u64.u32 %d7, %r9;\n"
      "add.u64 %d3, %d3, %d7; add.u64 %d4, %d4, %d7;\n"
      "mul.wide.u32 %d8, %r1, 16; add.u64 %d8, %d1, %d8;\n"
      "ld.global.v4.b32 {%a0, %a1, %a2, %a3}, [%d8];\n"
      "setp.eq.u32 %p1, 0, " +
      std::string(c.scaleD == 2 ? "0" : "1") + ";\n";
  for (int i = 0; i < count; ++i)
    text += "mov.f32 %f" + std::to_string(i) + ", 0f40A00000;\n"; // 5
  std::string type = c.bfloat ? "bf16" : "f16";
  text += "wgmma.fence.sync.aligned;\n"
          "wgmma.mma_async.sync.aligned.m64n" +
          std::to_string(c.n) + "k16.f32." + type + "." + type + " " +
          list("%f", count) + ", " +
          (c.aInRegisters ? "{%a0, %a1, %a2, %a3}" : "%d3") + ", %d4, " +
          (c.scaleD > 1 ? "%p1" : std::to_string(c.scaleD)) + ", " +
          std::to_string(c.signA) + ", " + std::to_string(c.signB) +
          (c.aInRegisters   ? ""
           : c.a.transposed ? ", 1"
                            : ", 0") +
          (c.b.transposed ? ", 1" : ", 0") + ";\n" +
          "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n"
          "mul.wide.u32 %d9, %r1, " +
          std::to_string(4 * count) + "; add.u64 %d9, %d2, %d9;\n";
  for (int i = 0; i < count; ++i)
    text += "st.global.f32 [%d9+" + std::to_string(4 * i) + "], %f" +
            std::to_string(i) + ";\n";
  return text + "ret;\n}\n";
}

class Wgmma : public testing::TestWithParam<Case> {};

TEST_P(Wgmma, MultipliesLikeMatrices) {
  const Case &c = GetParam();
  const int n = c.n;
  std::mt19937 random(unsigned(n * 31 + c.a.swizzle + c.b.swizzle));
  std::vector<int> a(64 * 16), b(16 * n);
  for (int &v : a)
    v = int(random() % 9) - 4;
  for (int &v : b)
    v = int(random() % 9) - 4;
  auto bits = [&](int value) {
    float real = float(value);
    uint32_t word;
    std::memcpy(&word, &real, 4);
    return c.bfloat ? uint16_t(word >> 16) : halfOf(value);
  };
  // What no element covers is a NaN.
  const int startB = (stridesOf(c.a, 64).bytes + 1023) / 1024 * 1024;
  std::vector<uint16_t> image(
      size_t(startB + stridesOf(c.b, n).bytes + 1024) / 2, 0x7fff);
  for (int i = 0; i < 64; ++i)
    for (int k = 0; k < 16; ++k)
      image[byteOf(c.a, 64, i, k) / 2] = bits(a[i * 16 + k]);
  for (int j = 0; j < n; ++j)
    for (int k = 0; k < 16; ++k)
      image[(startB + byteOf(c.b, n, j, k)) / 2] = bits(b[k * n + j]);
  std::vector<uint32_t> as(128 * 4);
  for (int lane = 0; lane < 128; ++lane) {
    int w = lane / 32, g = lane % 32 / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      int row = 16 * w + g + 8 * (r & 1), k = 2 * t + 8 * (r >> 1);
      as[lane * 4 + r] =
          bits(a[row * 16 + k]) | uint32_t(bits(a[row * 16 + k + 1])) << 16;
    }
  }
  std::string text = kernelFor(c);
  EXPECT_EQ(assemble(text), "") << text;
  for (HostIsa isa : {HostIsa::Baseline, HostIsa::Best}) {
    Result<Module> module = Module::parse(text, isa);
    ASSERT_TRUE(bool(module)) << module.error().render("kernel");
    for (const LaunchOptions &options : allModes()) {
      std::vector<float> out(size_t(64 * n), -1);
      Memory memory;
      Arguments arguments;
      arguments.add(memory.registerHost(image.data(), image.size() * 2))
          .add(memory.registerHost(as.data(), as.size() * 4))
          .add(memory.registerHost(out.data(), out.size() * 4))
          .add(descriptor(c.a, 64))
          .add(descriptor(c.b, n) + uint64_t(startB >> 4))
          .add(uint32_t(image.size() * 2 / 16 * 16));
      LaunchReport report = launch(*module, "k", {}, {128, 1, 1},
                                   unsigned(image.size() * 2 / 16 * 16),
                                   arguments, memory, options);
      EXPECT_TRUE(report.findings.empty()) << show(report);
      EXPECT_EQ(report.counters.wgmma, 1u);
      for (int lane = 0; lane < 128; ++lane)
        for (int i = 0; i < n / 2; ++i) {
          int row = lane / 32 * 16 + lane % 32 / 4 + 8 * (i >> 1 & 1);
          int column = 8 * (i >> 2) + 2 * (lane % 4) + (i & 1);
          int sum = c.scaleD == 1 || c.scaleD == 2 ? 5 : 0;
          for (int k = 0; k < 16; ++k)
            sum += c.signA * a[row * 16 + k] * c.signB * b[k * n + column];
          ASSERT_EQ(out[size_t(lane * (n / 2) + i)], float(sum))
              << show(options.mode) << ", row " << row << ", column " << column;
        }
    }
  }
}

std::vector<Case> layouts() {
  std::vector<Case> cases;
  const int sizes[] = {8, 64, 72, 128, 256, 24, 176, 40};
  unsigned at = 0;
  for (int swizzle : {0, 32, 64, 128})
    for (bool transposed : {false, true}) {
      Layout layout{swizzle, transposed}, other{128, !transposed};
      cases.push_back({sizes[at++ % 8], true, true, {0, false}, layout});
      cases.push_back({sizes[at++ % 8], at % 3 == 0, false, layout, other});
      cases.push_back({sizes[at++ % 8], at % 3 != 0, false, other, layout});
    }
  cases.push_back({16, true, true, {0, false}, {128, false}, -1, 1, 0});
  cases.push_back({32, false, true, {0, false}, {64, true}, 1, -1, 2});
  cases.push_back({48, true, false, {128, false}, {128, true}, -1, -1, 3});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, Wgmma, testing::ValuesIn(layouts()),
                         [](const auto &info) {
                           const Case &c = info.param;
                           auto name = [](Layout layout) {
                             return std::to_string(layout.swizzle) +
                                    (layout.transposed ? "mn" : "k");
                           };
                           return "n" + std::to_string(c.n) +
                                  (c.bfloat ? "_bf16_" : "_f16_") +
                                  (c.aInRegisters ? "registers" : name(c.a)) +
                                  "_" + name(c.b) + "_" +
                                  std::to_string(info.index);
                         });

} // namespace
