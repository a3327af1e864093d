//===- CleanTest.cpp - correct kernels: right numbers, no finding -*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Runs the kernels of kernels/clean.cu, compiled for two targets, in every mode
// against plain C++.
#include "Harness.h"

#include <algorithm>
#include <cmath>
#include <functional>

using namespace attn::sim;

namespace {

using Ints = std::vector<int>;
struct Case {
  const char *entry;
  unsigned grid, block, shared, elements, n;
  std::function<void(const Ints &a, const Ints &b, Ints &out, const Case &c)>
      expected;
  Dim3 shape = {0, 1, 1};
};

/// out[i] from i alone.
template <typename F>
auto each(F f) {
  return [f](const Ints &a, const Ints &b, Ints &out, const Case &c) {
    for (unsigned i = 0; i < c.grid * c.block; ++i)
      out[i] = int(f(a, b, i, c));
  };
}

uint32_t byteOf(uint32_t a, uint32_t b, unsigned selector) {
  uint64_t both = uint64_t(b) << 32 | a;
  return uint32_t(both >> (8 * (selector & 7)) & 0xff);
}

int switched(int v) {
  uint32_t u = uint32_t(v), reversed = 0;
  for (unsigned i = 0; i < 32; ++i)
    reversed |= (u >> i & 1) << (31 - i);
  switch (v & 7) {
  case 0:
    return int(u * 5);
  case 1:
    return v / 3;
  case 2:
    return v % 7;
  case 3:
    return v >> 2;
  case 4:
    return int(0 - u);
  case 5:
    return __builtin_popcount(u);
  case 6:
    return u ? __builtin_clz(u) : 32;
  default:
    return int(reversed);
  }
}

int wide(int a, int b) {
  int64_t x = int64_t(a) * b, y = int64_t(uint64_t(int64_t(a)) << 33) + b;
  uint64_t z = uint64_t(x) % (uint64_t(uint32_t(b)) + 3);
  uint64_t w = uint64_t((unsigned __int128)uint64_t(y) * uint64_t(x) >> 64);
  return int(x / 7) ^ int(y >> 31) ^ int(z) ^ int(w) ^ int(x >> 32);
}

unsigned collatz(unsigned x) {
  unsigned steps = 0;
  for (; x > 1; ++steps)
    x = x & 1 ? 3 * x + 1 : x / 2;
  return steps;
}

void searched(const Ints &a, const Ints &b, Ints &out, const Case &c) {
  // The lanes reach the reduction together: all of a warp takes part.
  for (unsigned w = 0; w < c.grid * c.block; w += 32) {
    int found[32], total = 0;
    for (unsigned l = 0; l < 32; ++l) {
      found[l] = -1;
      for (unsigned j = 0; j < c.n; ++j) {
        if ((b[j] & 63) == (a[w + l] & 63)) {
          found[l] = int(j);
          break;
        }
        if (j <= 200)
          found[l] -= 1;
      }
      total += found[l];
    }
    for (unsigned l = 0; l < 32; ++l)
      out[w + l] = found[l] + (total & 1);
  }
}

const Case cases[] = {
    {"addTail", 3, 128, 0, 384, 301,
     [](const Ints &a, const Ints &b, Ints &out, const Case &c) {
       for (unsigned i = 0; i < c.n; ++i)
         out[i] = int(unsigned(a[i]) + unsigned(b[i]));
     }},
    {"gridStride", 2, 64, 0, 999, 999,
     [](const Ints &a, const Ints &b, Ints &out, const Case &c) {
       for (unsigned i = 0; i < c.n; ++i)
         out[i] = int(unsigned(a[i]) * 3 - unsigned(b[c.n - 1 - i]));
     }},
    {"reverseBlock", 3, 96, 96 * 4, 288, 288,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       return a[i / 96 * 96 + 95 - i % 96];
     })},
    {"transpose32",
     1,
     256,
     0,
     1024,
     0,
     [](const Ints &a, const Ints &, Ints &out, const Case &) {
       for (unsigned i = 0; i < 1024; ++i)
         out[i] = a[i % 32 * 32 + i / 32];
     },
     {32, 8, 1}},
    {"blockSum", 4, 256, 0, 1024, 0,
     [](const Ints &a, const Ints &, Ints &out, const Case &c) {
       for (unsigned g = 0; g < c.grid; ++g) {
         unsigned sum = 0;
         for (unsigned i = 0; i < 256; ++i)
           sum += unsigned(a[g * 256 + i]);
         out[g] = int(sum);
       }
     }},
    {"warpSum", 2, 64, 0, 128, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       unsigned sum = 0;
       for (unsigned l = 0; l < 32; ++l)
         sum += unsigned(a[i / 32 * 32 + l]);
       return sum;
     })},
    {"warpScan", 1, 64, 0, 64, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       unsigned sum = 0;
       for (unsigned l = i / 32 * 32; l <= i; ++l)
         sum += unsigned(a[l]);
       return sum;
     })},
    {"collatz", 2, 96, 0, 192, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       return collatz(unsigned(a[i]) & 1023);
     })},
    {"divergentSearch", 2, 64, 0, 300, 300, searched},
    {"switchCase", 2, 128, 0, 256, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       return switched(a[i]);
     })},
    {"histogram", 1, 96, 0, 1000, 1000,
     [](const Ints &a, const Ints &, Ints &out, const Case &c) {
       std::fill_n(out.begin(), 64, 0);
       for (unsigned i = 0; i < c.n; ++i)
         ++out[a[i] & 63];
     }},
    {"globalAtomics", 4, 64, 0, 256, 0,
     [](const Ints &a, const Ints &, Ints &out, const Case &) {
       out[4] = out[4] == 0 ? 77 : out[4];
       for (int v : a) {
         out[0] = int(unsigned(out[0]) + unsigned(v));
         out[1] = std::max(out[1], v);
         out[2] = std::min(out[2], v);
         out[3] ^= v;
       }
     }},
    {"lastBlockSum", 8, 32, 0, 256, 0,
     [](const Ints &a, const Ints &, Ints &out, const Case &c) {
       unsigned total = 0;
       for (unsigned g = 0; g < c.grid; ++g) {
         unsigned sum = 0;
         for (unsigned l = 0; l < 32; ++l)
           sum += unsigned(a[g * 32 + l]);
         out[1 + g] = int(sum);
         total += sum;
       }
       out[0] = int(total);
     }},
    {"ballots", 2, 64, 0, 128, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       unsigned odd = 0, same = 0;
       bool all = true, any = false;
       for (unsigned l = i / 32 * 32, e = l + 32; l < e; ++l) {
         odd += a[l] & 1;
         all &= a[l] >= 0;
         any |= (a[l] & 2) != 0;
         same += (a[l] & 3) == (a[i] & 3);
       }
       return odd * 4 + all * 2 + any + same * 1000;
     })},
    {"votedBarriers", 3, 96, 0, 288, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       unsigned count = 0;
       bool all = true, any = false;
       for (unsigned l = i / 96 * 96, e = l + 96; l < e; ++l) {
         count += a[l] & 1;
         all &= a[l] >= 0;
         any |= (a[l] & 4) != 0;
       }
       return count * 4 + all * 2 + any;
     })},
    {"localArray", 2, 64, 0, 128, 0,
     each([](const Ints &a, const Ints &b, unsigned i, const Case &) {
       unsigned sum = 0;
       for (unsigned j = 0; j < 16; ++j) {
         unsigned k = (unsigned(b[i]) + j * 5) & 15;
         sum += (unsigned(a[i]) + k * k) * (j + 1);
       }
       return sum;
     })},
    {"constantTable", 1, 64, 0, 64, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       const int table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
       return table[a[i] & 7] + table[i & 7];
     })},
    {"wideIntegers", 2, 128, 0, 256, 0,
     each([](const Ints &a, const Ints &b, unsigned i, const Case &) {
       return wide(a[i], b[i]);
     })},
    {"bytes", 1, 128, 0, 128, 0,
     each([](const Ints &a, const Ints &b, unsigned i, const Case &) {
       uint32_t x = uint32_t(a[i]), y = uint32_t(b[i]), dot = 5, result = 0;
       uint32_t ab = uint32_t(a[i / 4]) >> (8 * (i % 4)) & 0xff;
       int bb = int8_t(uint32_t(b[i / 4]) >> (8 * (i % 4)));
       for (unsigned k = 0; k < 4; ++k) {
         dot += uint32_t(int(int8_t(x >> (8 * k))) * int(int8_t(y >> (8 * k))));
         result |= byteOf(x, y, 0x3715 >> (4 * k) & 15) << (8 * k);
       }
       return ab * 3 + uint32_t(bb) + dot + result + (y << 9 | x >> 23);
     })},
    {"syncwarpExchange", 2, 128, 0, 256, 0,
     each([](const Ints &a, const Ints &, unsigned i, const Case &) {
       unsigned warp = i & ~31u;
       return unsigned(a[warp | ((i + 8) & 31)]) * 2;
     })},
    {"producerConsumer", 1, 64, 0, 256, 0,
     [](const Ints &a, const Ints &, Ints &out, const Case &) {
       for (unsigned i = 0; i < 256; ++i)
         out[i] = int(unsigned(a[i / 32 * 32 + 31 - i % 32]) + i / 32);
     }},
    {"copyPipeline", 1, 64, 0, 2048, 0,
     [](const Ints &a, const Ints &, Ints &out, const Case &) {
       for (unsigned t = 0; t < 64; ++t) {
         unsigned sum = 0;
         for (unsigned i = 0; i < 8; ++i)
           sum = sum * 3 + unsigned(a[i * 256 + 255 - t]) +
                 unsigned(a[i * 256 + t * 2]);
         out[t] = int(sum);
       }
     }},
    {"copyZeroFill", 1, 64, 0, 203, 203,
     [](const Ints &a, const Ints &, Ints &out, const Case &) {
       for (unsigned i = 0; i < 256; ++i)
         out[i] = i < 203 ? a[i] : 0;
     }},
};

const Module &moduleFor(const char *file) {
  static std::map<std::string, Module> modules;
  auto found = modules.find(file);
  if (found == modules.end()) {
    Result<Module> parsed =
        Module::parse(readText(std::string(ATTN_SIM_TESTS "/kernels/") + file));
    if (!parsed)
      ADD_FAILURE() << parsed.error().render(file);
    found = modules.emplace(file, *parsed).first;
  }
  return found->second;
}

void checkCase(const Case &c, const char *file, const LaunchOptions &options) {
  std::mt19937 random(c.grid * 1000 + c.elements);
  Ints a(c.elements), b(c.elements), out(2048, 12345);
  for (int &v : a)
    v = int(random());
  for (int &v : b)
    v = int(random());
  Ints expected = out;
  c.expected(a, b, expected, c);
  Memory memory;
  Arguments arguments;
  arguments.add(memory.registerHost(a.data(), a.size() * 4, "a"))
      .add(memory.registerHost(b.data(), b.size() * 4, "b"));
  arguments.add(memory.registerHost(out.data(), out.size() * 4, "out"))
      .add(int(c.n));
  Dim3 block = c.shape.x ? c.shape : Dim3{c.block, 1, 1};
  LaunchReport report = launch(moduleFor(file), c.entry, {c.grid, 1, 1}, block,
                               c.shared, arguments, memory, options);
  EXPECT_TRUE(report.findings.empty()) << show(options.mode) << "\n"
                                       << show(report);
  EXPECT_EQ(out, expected) << show(options.mode);
}

class Clean : public testing::TestWithParam<Case> {};

TEST_P(Clean, Sm80) {
  for (const LaunchOptions &options : allModes())
    checkCase(GetParam(), "clean.ptx", options);
}
TEST_P(Clean, Sm86) { checkCase(GetParam(), "clean86.ptx", {}); }

INSTANTIATE_TEST_SUITE_P(All, Clean, testing::ValuesIn(cases),
                         [](const auto &info) { return info.param.entry; });

struct FloatCase {
  const char *entry;
  double tolerance;
  std::function<double(double, double)> expected;
};

void checkFloats(const FloatCase &c, const LaunchOptions &options) {
  std::mt19937 random(99);
  std::uniform_real_distribution<float> range(-4, 4);
  std::vector<float> a(256), b(256), out(256);
  for (unsigned i = 0; i < 256; ++i)
    a[i] = range(random), b[i] = range(random);
  Memory memory;
  Arguments arguments;
  arguments.add(memory.registerHost(a.data(), 1024))
      .add(memory.registerHost(b.data(), 1024));
  arguments.add(memory.registerHost(out.data(), 1024)).add(256);
  LaunchReport report = launch(moduleFor("clean.ptx"), c.entry, {2, 1, 1},
                               {128, 1, 1}, 0, arguments, memory, options);
  EXPECT_TRUE(report.findings.empty()) << show(report);
  for (unsigned i = 0; i < 256; ++i) {
    double expected = c.expected(a[i], b[i]);
    EXPECT_NEAR(out[i], expected, c.tolerance * (1 + std::fabs(expected)))
        << c.entry << " of " << a[i] << ", " << b[i];
  }
}

TEST(CleanFloats, Arithmetic) {
  checkFloats({"arithmetic", 1e-5,
               [](double x, double y) {
                 return (x * y + 1.5) / (std::fabs(y) + 1) +
                        std::sqrt(std::fabs(x)) -
                        std::min(x, y) * std::max(x, -y) + std::floor(x) +
                        std::trunc(y) +
                        std::nearbyint(double(float(x) * 3.0f)) +
                        std::copysign(x, y);
               }},
              {});
}
TEST(CleanFloats, Functions) {
  checkFloats({"functions", 1e-5,
               [](double x, double y) {
                 return std::exp2(x) + std::exp(y) +
                        std::log(std::fabs(x) + 1) + std::sin(y) + std::cos(x) +
                        1 / std::sqrt(std::fabs(y) + 0.5) + std::tanh(x);
               }},
              {});
}
TEST(CleanFloats, Doubles) {
  checkFloats({"doubles", 1e-6,
               [](double x, double y) {
                 return (x * y + 0.25) / (y * y + 1) + std::sqrt(x * x + 3) +
                        int(x * 100) + double(long(y * 1e6));
               }},
              {});
}
TEST(CleanFloats, Halves) {
  checkFloats({"halves", 0.1,
               [](double x, double y) {
                 // Lanes of the pairs: (x, y) and (y, x / 2).
                 auto part = [](double p, double q) {
                   return std::max(p * q + (p + q * q), -p);
                 };
                 return part(x, y) * 2 + part(y, x / 2) + (x * x + x) -
                        (y * y + y);
               }},
              {});
}

/// Integer-valued inputs: the product is exact whatever the order of summation.
TEST(CleanFloats, Product) {
  std::mt19937 random(5);
  const int depth = 96;
  std::vector<int> a(64 * depth), b(depth * 64);
  std::vector<uint16_t> ha(a.size()), hb(b.size());
  auto fill = [&](std::vector<int> &values, std::vector<uint16_t> &halves) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = int(random() % 17) - 8;
      halves[i] = halfOf(values[i]);
    }
  };
  fill(a, ha);
  fill(b, hb);
  for (const LaunchOptions &options : allModes()) {
    std::vector<float> c(64 * 64, -1);
    Memory memory;
    Arguments arguments;
    arguments.add(memory.registerHost(ha.data(), ha.size() * 2))
        .add(memory.registerHost(hb.data(), hb.size() * 2));
    arguments.add(memory.registerHost(c.data(), c.size() * 4)).add(depth);
    LaunchReport report = launch(moduleFor("clean.ptx"), "product", {},
                                 {128, 1, 1}, 0, arguments, memory, options);
    EXPECT_TRUE(report.findings.empty()) << show(report);
    EXPECT_EQ(report.counters.mma, uint64_t(4 * 8 * depth / 16));
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < 64; ++j) {
        int sum = 0;
        for (int k = 0; k < depth; ++k)
          sum += a[i * depth + k] * b[k * 64 + j];
        ASSERT_EQ(c[i * 64 + j], float(sum)) << i << ", " << j;
      }
  }
}

TEST(SparseMemory, RowsThirtyThreeBitsApart) {
  std::vector<int> first(64), second(64), out(64);
  for (int i = 0; i < 64; ++i)
    first[i] = i * i, second[i] = 1000 - i;
  const uint64_t stride = 1ull << 33;
  Memory memory;
  uint64_t a = memory.registerExtent(
      stride + 256, {{0, first.data(), 256}, {stride, second.data(), 256}},
      "a");
  ASSERT_NE(a, 0u);
  Arguments arguments;
  arguments.add(a)
      .add(memory.registerHost(out.data(), 256))
      .add(int64_t(stride / 4));
  LaunchReport report = launch(moduleFor("clean.ptx"), "farRows", {},
                               {64, 1, 1}, 0, arguments, memory);
  EXPECT_TRUE(report.ok) << show(report);
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(out[i], i * i + 1000 - i);
  // Between the rows nothing is mapped.
  Arguments wrong;
  wrong.add(a)
      .add(memory.registerHost(out.data(), 256))
      .add(int64_t(stride / 8));
  EXPECT_FALSE(launch(moduleFor("clean.ptx"), "farRows", {}, {64, 1, 1}, 0,
                      wrong, memory)
                   .ok);
}

TEST(SparseMemory, AllocateCopyRelease) {
  Memory memory;
  uint64_t address = memory.allocate(100, "x");
  uint64_t value = 0x123456789abcdef0, back = 0;
  EXPECT_TRUE(memory.write(address + 92, &value, 8));
  EXPECT_TRUE(memory.read(address + 92, &back, 8));
  EXPECT_EQ(back, value);
  EXPECT_FALSE(memory.write(address + 93, &value, 8));
  EXPECT_EQ(memory.translate(address - 1, 1), nullptr);
  EXPECT_TRUE(memory.release(address));
  EXPECT_FALSE(memory.release(address));
  EXPECT_FALSE(memory.read(address, &back, 8));
  EXPECT_EQ(memory.registerExtent(16, {{0, &value, 8}, {4, &back, 8}}), 0u);
}

} // namespace
