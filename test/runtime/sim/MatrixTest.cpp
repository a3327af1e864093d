//===- MatrixTest.cpp - fragments, counters, determinism -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"

#include <cmath>
#include <nlohmann/json.hpp>

using namespace attn::sim;

namespace {

uint16_t toBfloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t(bits >> 16); // exact for the small integers used here
}
uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

/// A product whose lanes load their fragments from, and store to, per-lane
/// lists of words.
struct Shape {
  const char *mma;
  int k, as, bs, accumulators;
  enum { Half, Bfloat, Tf32 } type;
};

std::string registers(const char *prefix, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i)
    text += (i ? ", " : "") + std::string(prefix) + std::to_string(i);
  return text + "}";
}

std::string mmaKernel(const Shape &shape) {
  int words = shape.as + shape.bs + shape.accumulators;
  std::string text = ".version 7.0\n.target sm_80\n.address_size 64\n.visible "
                     ".entry k(.param .u64 in, .param .u64 out) "
                     "{\n.reg .b32 %a<4>; .reg .b32 %b<4>; .reg .b32 %c<4>; "
                     ".reg .b32 %d<4>; .reg .b32 %t; .reg .b64 "
                     "%p<2>;\nld.param.u64 %p0, [in]; ld.param.u64 %p1, [out]; "
                     "mov.u32 %t, %tid.x;\n";
  text += "mad.wide.u32 %p0, %t, " + std::to_string(4 * words) +
          ", %p0; mad.wide.u32 %p1, %t, " +
          std::to_string(4 * shape.accumulators) + ", %p1;\n";
  int at = 0;
  const std::pair<const char *, int> groups[] = {
      {"%a", shape.as}, {"%b", shape.bs}, {"%c", shape.accumulators}};
  for (auto [prefix, count] : groups)
    for (int i = 0; i < count; ++i, at += 4)
      text += "ld.global.b32 " + std::string(prefix) + std::to_string(i) +
              ", [%p0+" + std::to_string(at) + "];\n";
  text += std::string("mma.sync.aligned.") + shape.mma + " " +
          registers("%d", shape.accumulators) + ", " +
          registers("%a", shape.as) + ", " + registers("%b", shape.bs) + ", " +
          registers("%c", shape.accumulators) + ";\n";
  for (int i = 0; i < shape.accumulators; ++i)
    text += "st.global.b32 [%p1+" + std::to_string(4 * i) + "], %d" +
            std::to_string(i) + ";\n";
  return text + "ret;\n}\n";
}

class Fragment : public testing::TestWithParam<Shape> {};

/// The layouts are those of the PTX ISA, spelled out element by element.
TEST_P(Fragment, MultipliesLikeMatrices) {
  const Shape &s = GetParam();
  std::mt19937 random(s.k * 7 + s.type);
  float a[16][16], b[16][8], c[16][8];
  auto draw = [&] { return float(int(random() % 15) - 7); };
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < s.k; ++k)
      a[i][k] = draw();
  for (int k = 0; k < s.k; ++k)
    for (int j = 0; j < 8; ++j)
      b[k][j] = draw();
  for (auto &row : c)
    for (float &value : row)
      value = draw();
  const int words = s.as + s.bs + s.accumulators;
  std::vector<uint32_t> in(32 * words), out(32 * s.accumulators);
  auto pack = [&](float low, float high) {
    return s.type == Shape::Bfloat
               ? toBfloat(low) | uint32_t(toBfloat(high)) << 16
               : halfOf(low) | uint32_t(halfOf(high)) << 16;
  };
  const bool halfOut = s.accumulators == 2;
  for (int lane = 0; lane < 32; ++lane) {
    int g = lane / 4, t = lane % 4;
    uint32_t *list = &in[lane * words];
    for (int r = 0; r < s.as; ++r)
      if (s.type == Shape::Tf32)
        *list++ =
            bitsOf(a[g + 8 * (r % 2)][t + 4 * (r / 2)]) | (random() & 0x1fff);
      else
        *list++ = pack(a[g + 8 * (r % 2)][2 * t + 8 * (r / 2)],
                       a[g + 8 * (r % 2)][2 * t + 1 + 8 * (r / 2)]);
    for (int r = 0; r < s.bs; ++r)
      if (s.type == Shape::Tf32)
        *list++ = bitsOf(b[t + 4 * r][g]) | (random() & 0x1fff);
      else
        *list++ = pack(b[2 * t + 8 * r][g], b[2 * t + 1 + 8 * r][g]);
    for (int i = 0; i < s.accumulators; ++i)
      if (halfOut)
        *list++ = pack(c[g + 8 * i][2 * t], c[g + 8 * i][2 * t + 1]);
      else
        *list++ = bitsOf(c[g + 8 * (i / 2)][2 * t + i % 2]);
  }
  for (HostIsa isa : {HostIsa::Baseline, HostIsa::Avx2, HostIsa::Best}) {
    Result<Module> module = Module::parse(mmaKernel(s), isa);
    ASSERT_TRUE(bool(module)) << module.error().render(s.mma);
    Memory memory;
    Arguments arguments;
    arguments.add(memory.registerHost(in.data(), in.size() * 4))
        .add(memory.registerHost(out.data(), out.size() * 4));
    LaunchReport report =
        launch(*module, "k", {}, {32, 1, 1}, 0, arguments, memory);
    ASSERT_TRUE(report.ok) << show(report);
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < s.accumulators; ++i) {
        int g = lane / 4, t = lane % 4,
            row = halfOut ? g + 8 * i : g + 8 * (i / 2),
            column = 2 * t + (halfOut ? 0 : i % 2);
        float expected[2] = {};
        for (int e = 0; e < 2 && column + e < 8; ++e) {
          expected[e] = c[row][column + e];
          for (int k = 0; k < s.k; ++k)
            expected[e] += a[row][k] * b[k][column + e];
        }
        EXPECT_EQ(out[lane * s.accumulators + i],
                  halfOut ? pack(expected[0], expected[1])
                          : bitsOf(expected[0]))
            << "lane " << lane << " register " << i;
      }
  }
}

const Shape shapes[] = {
    {"m16n8k16.row.col.f32.f16.f16.f32", 16, 4, 2, 4, Shape::Half},
    {"m16n8k8.row.col.f32.f16.f16.f32", 8, 2, 1, 4, Shape::Half},
    {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 4, 2, 4, Shape::Bfloat},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 2, 1, 4, Shape::Bfloat},
    {"m16n8k16.row.col.f16.f16.f16.f16", 16, 4, 2, 2, Shape::Half},
    {"m16n8k8.row.col.f16.f16.f16.f16", 8, 2, 1, 2, Shape::Half},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 4, 2, 4, Shape::Tf32},
    {"m16n8k4.row.col.f32.tf32.tf32.f32", 4, 2, 1, 4, Shape::Tf32},
};
INSTANTIATE_TEST_SUITE_P(All, Fragment, testing::ValuesIn(shapes),
                         [](const auto &info) {
                           std::string label = info.param.mma;
                           for (char &c : label)
                             c = c == '.' ? '_' : c;
                           return label;
                         });

/// Rows of shared memory hold 16-bit numbers 0, 1, 2, ...; `trans` and the
/// number of matrices vary.
TEST(MatrixLoad, FragmentsOfEveryForm) {
  for (int count : {1, 2, 4})
    for (bool trans : {false, true})
      for (bool store : {false, true}) {
        std::string regs = registers("%r", count),
                    x = ".x" + std::to_string(count) + (trans ? ".trans" : "");
        std::string text =
            ".version 7.8\n.target sm_90\n.address_size 64\n.shared .align 16 "
            ".b8 s[1024];\n.visible .entry "
            "k(.param .u64 out) {\n.reg .b32 %r<8>; .reg .b32 %s<4>; .reg .b64 "
            "%p<2>;\nld.param.u64 %p0, "
            "[out]; mov.u32 %s0, %tid.x; mov.u32 %s1, s; mad.lo.u32 %s1, %s0, "
            "16, %s1;\n";
        if (!store) {
          // Lane l fills row l: elements 8 l .. 8 l + 7, two in each word.
          text += "mul.lo.u32 %r4, %s0, 524296; add.u32 %r4, %r4, 65536;\n";
          for (int i = 1; i < 4; ++i)
            text += "add.u32 %r" + std::to_string(4 + i) + ", %r4, " +
                    std::to_string(i * 131074) + ";\n";
          text += "st.shared.v4.b32 [%s1], {%r4, %r5, %r6, "
                  "%r7};\nbar.warp.sync -1;\nldmatrix.sync.aligned.m8n8" +
                  x + ".shared.b16 " + regs + ", [%s1];\n";
          text += "mad.wide.u32 %p0, %s0, 16, %p0;\n";
          for (int i = 0; i < count; ++i)
            text += "st.global.b32 [%p0+" + std::to_string(4 * i) + "], %r" +
                    std::to_string(i) + ";\n";
        } else {
          // Register i of lane l holds 64 i + 2 l and the next number: the
          // matrix row by row.
          text += "mul.lo.u32 %r0, %s0, 131074; add.u32 %r0, %r0, 65536;\n";
          for (int i = 1; i < 4; ++i)
            text += "add.u32 %r" + std::to_string(i) + ", %r0, " +
                    std::to_string(i * 64 * 65537) + ";\n";
          text += "stmatrix.sync.aligned.m8n8" + x + ".shared.b16 [%s1], " +
                  regs + ";\nbar.warp.sync -1;\n";
          text += "mad.wide.u32 %p0, %s0, 16, %p0;\nsetp.lt.u32 %q, %s0, " +
                  std::to_string(8 * count) +
                  ";\n@%q ld.shared.v4.b32 {%r4, %r5, %r6, %r7}, [%s1];\n@%q "
                  "st.global.v4.b32 [%p0], {%r4, %r5, %r6, "
                  "%r7};\n";
          text.insert(text.find(".reg .b64"), ".reg .pred %q; ");
        }
        text += "ret;\n}\n";
        Result<Module> module = Module::parse(text);
        ASSERT_TRUE(bool(module)) << module.error().render("ldmatrix") << "\n"
                                  << text;
        std::vector<uint16_t> out(32 * 8, 0xffff);
        Memory memory;
        LaunchReport report = launch(
            *module, "k", {}, {32, 1, 1}, 0,
            Arguments().add(memory.registerHost(out.data(), out.size() * 2)),
            memory);
        ASSERT_TRUE(report.ok) << show(report);
        EXPECT_EQ(report.counters.bankConflicts, 0u);
        for (int m = 0; m < count; ++m)
          for (int i = 0; i < 8; ++i)
            for (int j = 0; j < 8; ++j) {
              // Loading: lane 4 i + j / 2, register m, half j % 2. Storing: row
              // i of matrix m, element j.
              int place = store ? (8 * m + i) * 8 + j
                                : (4 * i + j / 2) * 8 + 2 * m + j % 2;
              EXPECT_EQ(out[place], 64 * m + (trans ? 8 * j + i : 8 * i + j))
                  << x << (store ? " store" : " load");
            }
      }
}

/// One warp reads 32-bit, 64-bit or 128-bit words at a stride: the conflicts
/// follow from the rules of the banks.
TEST(Counters, BankConflicts) {
  struct {
    const char *load;
    int stride;
    uint64_t passes, conflicts;
  } const cases[] = {
      {"ld.shared.b32 %r0", 4, 1, 0},
      {"ld.shared.b32 %r0", 0, 1, 0},
      {"ld.shared.b32 %r0", 8, 2, 1},
      {"ld.shared.b32 %r0", 128, 32, 31},
      {"ld.shared.b32 %r0", 132, 1, 0},
      {"ld.shared.v2.b32 {%r0, %r1}", 8, 2, 0},
      {"ld.shared.v2.b32 {%r0, %r1}", 16, 4, 2},
      {"ld.shared.v4.b32 {%r0, %r1, %r2, %r3}", 16, 4, 0},
      {"ld.shared.v4.b32 {%r0, %r1, %r2, %r3}", 128, 32, 28},
      {"ld.shared.v4.b32 {%r0, %r1, %r2, %r3}", 144, 4, 0},
      {"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}", 128, 32,
       28},
      {"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}", 144, 4,
       0},
      {"ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r0}", 64, 4, 3},
  };
  for (const auto &c : cases) {
    std::string text = ".version 7.8\n.target sm_80\n.address_size 64\n.shared "
                       ".align 128 .b8 s[8192];\n.visible .entry "
                       "k() {\n.reg .b32 %r<8>;\nmov.u32 %r4, %tid.x; mov.u32 "
                       "%r5, s; mad.lo.u32 %r5, %r4, " +
                       std::to_string(c.stride) + ", %r5;\n" + c.load +
                       ", [%r5];\nret;\n}\n";
    Result<Module> module = Module::parse(text);
    ASSERT_TRUE(bool(module)) << module.error().render(c.load);
    Memory memory;
    LaunchOptions options;
    options.checkInitialised = false;
    LaunchReport report =
        launch(*module, "k", {}, {32, 1, 1}, 0, {}, memory, options);
    EXPECT_TRUE(report.ok) << show(report);
    EXPECT_EQ(report.counters.byLine[8].sharedPasses, c.passes)
        << c.load << " stride " << c.stride;
    EXPECT_EQ(report.counters.byLine[8].bankConflicts, c.conflicts)
        << c.load << " stride " << c.stride;
  }
}

TEST(Counters, Sectors) {
  struct {
    const char *load;
    int stride, offset;
    uint64_t sectors, ideal, lines;
  } const cases[] = {
      {"ld.global.b32 %r0", 4, 0, 4, 4, 1},
      {"ld.global.b32 %r0", 4, 16, 5, 4, 2},
      {"ld.global.b32 %r0", 32, 0, 32, 4, 8},
      {"ld.global.b32 %r0", 0, 0, 1, 1, 1},
      {"ld.global.b32 %r0", -4, 128, 5, 4, 2},
      {"ld.global.v4.b32 {%r0, %r1, %r2, %r3}", 16, 0, 16, 16, 4},
      {"ld.global.v4.b32 {%r0, %r1, %r2, %r3}", 64, 0, 32, 16, 16},
  };
  for (const auto &c : cases) {
    std::string text = ".version 7.8\n.target sm_80\n.address_size "
                       "64\n.visible .entry k(.param .u64 in) {\n.reg .b32 "
                       "%r<8>; .reg .b64 %p;\nld.param.u64 %p, [in]; mov.u32 "
                       "%r4, %tid.x;\nmad.wide.s32 %p, %r4, " +
                       std::to_string(c.stride) + ", %p;\n" + c.load +
                       ", [%p+" + std::to_string(c.offset) + "];\nret;\n}\n";
    Result<Module> module = Module::parse(text);
    ASSERT_TRUE(bool(module)) << module.error().render(c.load);
    Memory memory;
    LaunchReport report =
        launch(*module, "k", {}, {32, 1, 1}, 0,
               Arguments().add(memory.allocate(4096)), memory);
    EXPECT_TRUE(report.ok) << show(report);
    const LineCounters &line = report.counters.byLine[8];
    EXPECT_EQ(line.globalSectors, c.sectors)
        << c.load << " stride " << c.stride;
    EXPECT_EQ(line.idealSectors, c.ideal) << c.load << " stride " << c.stride;
    EXPECT_EQ(line.globalLines, c.lines) << c.load << " stride " << c.stride;
  }
}

struct ForwardArguments {
  uint64_t q, k, v, o;
  int32_t n;
  float scale;
};

/// The attention kernel: numbers, no findings, no conflicts in its loop, full
/// sectors, and nothing that depends on the number of host threads or the
/// host's instruction set.
TEST(Forward, IsRightAndClean) {
  std::string text = readText(ATTN_SIM_TESTS "/kernels/forward.ptx");
  Result<Module> module = Module::parse(text),
                 plain = Module::parse(text, HostIsa::Baseline);
  ASSERT_TRUE(bool(module) && bool(plain));
  const int n = 150, d = 64;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> q(n * d), k(n * d), v(n * d), o(n * d), first;
  for (auto *tensor : {&q, &k, &v})
    for (uint16_t &element : *tensor)
      element = halfOf(normal(random));
  Memory memory;
  ForwardArguments values{memory.registerHost(q.data(), q.size() * 2, "q"),
                          memory.registerHost(k.data(), k.size() * 2, "k"),
                          memory.registerHost(v.data(), v.size() * 2, "v"),
                          memory.registerHost(o.data(), o.size() * 2, "o"),
                          n,
                          0.125f * 1.44269504f};
  std::vector<std::pair<const Module *, LaunchOptions>> runs;
  for (const LaunchOptions &options : allModes())
    runs.push_back({&*module, options});
  LaunchOptions one;
  one.threads = 1;
  runs.push_back({&*module, one});
  one.threads = 5;
  runs.push_back({&*module, one});
  runs.push_back({&*plain, {}});
  std::string json;
  for (const auto &[from, options] : runs) {
    std::fill(o.begin(), o.end(), 0x7fff);
    LaunchReport report =
        Simulator::launch(*from, "forward", {3, 1, 1}, {128, 1, 1}, 5 * 8192,
                          &values, sizeof values, memory, options);
    EXPECT_TRUE(report.findings.empty()) << show(report);
    // Tiles of 64 x 64: 1 + 2 + 3 of them, 4 warps, 64 products each.
    EXPECT_EQ(report.counters.mma, 6u * 4 * 64);
    for (const auto &[line, of] : report.counters.byLine) {
      if (of.opcode.compare(0, 8, "ldmatrix") == 0 ||
          of.opcode.compare(0, 8, "cp.async") == 0)
        EXPECT_EQ(of.bankConflicts, 0u) << "line " << line;
      if (of.opcode.compare(0, 8, "cp.async") == 0)
        EXPECT_EQ(of.globalSectors, of.idealSectors) << "line " << line;
    }
    if (first.empty())
      first = o;
    EXPECT_EQ(o, first) << show(options.mode);
    report.seconds = 0;
    if (json.empty())
      json = report.json();
    EXPECT_EQ(report.json(), json);
  }
  for (int i = 0; i < n; ++i) {
    std::vector<double> score(i + 1), out(d);
    double top = -INFINITY, sum = 0;
    for (int j = 0; j <= i; ++j) {
      for (int e = 0; e < d; ++e)
        score[j] +=
            double(halfValue(q[i * d + e])) * halfValue(k[j * d + e]) / 8;
      top = std::max(top, score[j]);
    }
    for (int j = 0; j <= i; ++j) {
      double p = std::exp(score[j] - top);
      sum += p;
      for (int e = 0; e < d; ++e)
        out[e] += p * halfValue(v[j * d + e]);
    }
    for (int e = 0; e < d; ++e)
      ASSERT_NEAR(halfValue(o[i * d + e]), out[e] / sum, 4e-3)
          << i << ", " << e;
  }
  nlohmann::json parsed = nlohmann::json::parse(json);
  EXPECT_TRUE(parsed["ok"]);
  EXPECT_EQ(parsed["counters"]["mma"], 6 * 4 * 64);
  EXPECT_EQ(parsed["counters"]["by_opcode"]["mma"], 6 * 4 * 64);
  uint64_t products = 0;
  for (auto &[name, executed] : parsed["counters"]["by_instruction"].items())
    products += name.compare(0, 19, "mma.sync.aligned.m1") == 0
                    ? uint64_t(executed)
                    : 0;
  EXPECT_EQ(products, 6u * 4 * 64);
}

} // namespace
