//===- TensorCopyTest.cpp - boxes of tensors, in and out -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Each case copies a box of a random tensor into shared memory, and one out of
// it, and compares byte by byte with a walk over coordinates and the swizzle
// tables of the PTX ISA.
#include "Hopper.h"

using namespace attn::sim;

namespace {

using Element = TensorMap::Element;
using Swizzle = TensorMap::Swizzle;

struct Case {
  const char *name;
  Element element;
  std::vector<uint64_t> dims;
  std::vector<uint32_t> box;
  Swizzle swizzle;
  std::vector<int> start; ///< of the load; the store starts at max(start, 0)
  std::vector<uint32_t> strides = {};
  bool nanFill = false;
};

// clang-format off
const Case cases[] = {
    {"line", Element::F32, {100}, {64}, Swizzle::None, {20}},
    {"lineEnds", Element::U8, {100}, {64}, Swizzle::None, {60}},
    {"tile", Element::BF16, {64, 50}, {64, 24}, Swizzle::None, {0, 13}},
    {"tile128", Element::BF16, {128, 50}, {64, 40}, Swizzle::Bytes128, {64, 3}},
    {"tile64", Element::F16, {128, 50}, {32, 17}, Swizzle::Bytes64, {32, 9}},
    {"tile32", Element::BF16, {128, 50}, {16, 33}, Swizzle::Bytes32, {48, 1}},
    {"before", Element::BF16, {80, 50}, {64, 16}, Swizzle::Bytes128, {-5, -3}},
    {"after", Element::BF16, {80, 50}, {64, 16}, Swizzle::Bytes128, {40, 44}},
    {"outside", Element::BF16, {80, 50}, {64, 8}, Swizzle::Bytes128, {80, 0}},
    {"floats", Element::F32, {48, 9, 5}, {32, 3, 2}, Swizzle::Bytes128, {16, 7, 3}},
    {"doubles", Element::F64, {20, 9, 5}, {4, 3, 3}, Swizzle::Bytes32, {17, 2, 1}},
    {"heads", Element::BF16, {64, 3, 20, 2}, {64, 1, 16, 1}, Swizzle::Bytes128, {0, 2, 9, 1}},
    {"five", Element::U16, {24, 5, 4, 3, 3}, {8, 2, 3, 2, 2}, Swizzle::None, {8, 4, 2, 1, 2}},
    {"nan", Element::F32, {30, 6}, {8, 8}, Swizzle::Bytes32, {25, 2}, {}, true},
    {"strided", Element::BF16, {64, 40}, {64, 21}, Swizzle::Bytes128, {0, 5}, {1, 3}},
};

// clang-format on

/// The destination slot of each 16-byte chunk of a 128-byte line, by line:
/// from the tables of the ISA.
const int table128[8][8] = {{0, 1, 2, 3, 4, 5, 6, 7}, {1, 0, 3, 2, 5, 4, 7, 6},
                            {2, 3, 0, 1, 6, 7, 4, 5}, {3, 2, 1, 0, 7, 6, 5, 4},
                            {4, 5, 6, 7, 0, 1, 2, 3}, {5, 4, 7, 6, 1, 0, 3, 2},
                            {6, 7, 4, 5, 2, 3, 0, 1}, {7, 6, 5, 4, 3, 2, 1, 0}};
const int table64[4][8] = {{0, 1, 2, 3, 4, 5, 6, 7},
                           {1, 0, 3, 2, 5, 4, 7, 6},
                           {2, 3, 0, 1, 6, 7, 4, 5},
                           {3, 2, 1, 0, 7, 6, 5, 4}};
const int table32[2][8] = {{0, 1, 2, 3, 4, 5, 6, 7}, {1, 0, 3, 2, 5, 4, 7, 6}};

uint32_t place(Swizzle swizzle, uint32_t byte) {
  uint32_t line = byte / 128, chunk = byte % 128 / 16;
  int slot = swizzle == Swizzle::Bytes128  ? table128[line % 8][chunk]
             : swizzle == Swizzle::Bytes64 ? table64[line % 4][chunk]
             : swizzle == Swizzle::Bytes32 ? table32[line % 2][chunk]
                                           : int(chunk);
  return line * 128 + uint32_t(slot) * 16 + byte % 16;
}

/// Calls f(byte in the box, byte in the tensor or -1) for each element.
template <typename F>
void eachElement(const TensorMap &map, const std::vector<int> &start, F f) {
  const unsigned size = bytesOf(map.element);
  for (uint32_t i = 0; i < map.boxBytes() / size; ++i) {
    uint32_t rest = i;
    int64_t byte = 0;
    bool inside = true;
    for (unsigned d = 0; d < map.rank; ++d) {
      int64_t at =
          start[d] + int64_t(rest % map.extent(d)) * map.elementStrides[d];
      rest /= map.extent(d);
      inside &= at >= 0 && at < int64_t(map.dims[d]);
      byte += at * int64_t(d ? map.strides[d - 1] : size);
    }
    f(place(map.swizzle, i * size), inside ? byte : -1);
  }
}

/// load: one copy in, then shared memory as it is goes to `out`. Otherwise the
/// bytes of `in` go to shared memory as they are, and one copy takes them out.
std::string kernelFor(const Case &c, bool load) {
  unsigned rank = unsigned(c.dims.size());
  std::string coordinates = "{";
  for (unsigned i = 0; i < rank; ++i)
    coordinates += (i ? ", %c" : "%c") + std::to_string(i);
  coordinates += "}";
  std::string dim = std::to_string(rank) + "d";
  std::string text =
      ".version 8.0\n.target sm_90a\n.address_size 64\n"
      ".extern .shared .align 1024 .b8 tile[];\n"
      ".visible .entry k(.param .align 64 .b8 map[128], .param .u64 buffer, "
      ".param .u64 start, .param .u32 bytes)\n{\n"
      ".reg .pred %p<4>; .reg .b32 %r<16>; .reg .b32 %c<5>; .reg .b64 %d<8>;\n"
      "ld.param.u64 %d0, [buffer]; ld.param.u32 %r0, [bytes];\n"
      "mov.b64 %d1, map; cvta.param.u64 %d2, %d1;\n"
      "ld.param.u64 %d3, [start];\n";
  for (unsigned i = 0; i < rank; ++i)
    text += "ld.global.b32 %c" + std::to_string(i) + ", [%d3+" +
            std::to_string(4 * i) + "];\n";
  text += "mov.u32 %r1, %tid.x; setp.ne.u32 %p0, %r1, 0; mov.u32 %r2, tile;\n"
          "add.u32 %r3, %r2, %r0;\n" // the mbarrier lies behind the box
          "and.b32 %r3, %r3, -8;\n";
  std::string loop =
      "shl.b32 %r4, %r1, 2;\n"
      "LOOP: setp.ge.u32 %p1, %r4, %r0;\n@%p1 bra DONE;\n"
      "add.u32 %r5, %r2, %r4; cvt.u64.u32 %d4, %r4; add.u64 %d5, %d0, %d4;\n" +
      std::string(load ? "ld.shared.b32 %r6, [%r5]; st.global.b32 [%d5], %r6;\n"
                       : "ld.global.b32 %r6, [%d5]; st.shared.b32 [%r5], "
                         "%r6;\n") +
      "add.u32 %r4, %r4, 128; bra LOOP;\nDONE:\n";
  if (load)
    text += "@%p0 bra WAIT;\n"
            "prefetch.tensormap [%d2];\n"
            "mbarrier.init.shared.b64 [%r3], 1;\n"
            "fence.mbarrier_init.release.cluster;\n"
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], %r0;\n"
            "cp.async.bulk.tensor." +
            dim +
            ".shared::cluster.global.tile.mbarrier::complete_tx::bytes "
            "[%r2], [%d2, " +
            coordinates +
            "], [%r3];\n"
            "WAIT: bar.sync 0;\n"
            "AGAIN: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0;\n"
            "@!%p2 bra AGAIN;\n" +
            loop;
  else
    text += loop +
            "fence.proxy.async.shared::cta;\nbar.sync 0;\n"
            "@%p0 bra EXIT;\n"
            "cp.async.bulk.tensor." +
            dim + ".global.shared::cta.tile.bulk_group [%d2, " + coordinates +
            "], [%r2];\n"
            "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nEXIT:\n";
  return text + "ret;\n}\n";
}

class TensorCopy : public testing::TestWithParam<Case> {
public:
  TensorMap mapAt(uint64_t address) {
    const Case &c = GetParam();
    TensorMap map = denseMap(address, c.element, c.dims, c.box, c.swizzle);
    for (unsigned i = 0; i < c.strides.size(); ++i)
      map.elementStrides[i] = c.strides[i];
    map.nanFill = c.nanFill;
    return map;
  }
  size_t tensorBytes(const TensorMap &map) {
    return map.rank == 1 ? map.dims[0] * bytesOf(map.element)
                         : map.strides[map.rank - 2] * map.dims[map.rank - 1];
  }
  LaunchReport run(const std::string &text, std::vector<uint8_t> &tensor,
                   std::vector<uint8_t> &buffer, std::vector<int> start,
                   const LaunchOptions &options) {
    Result<Module> module = Module::parse(text);
    EXPECT_TRUE(bool(module)) << module.error().render("kernel");
    Memory memory;
    start.resize(5);
    TensorMap map =
        mapAt(memory.registerHost(tensor.data(), tensor.size(), "tensor"));
    Arguments arguments;
    arguments.add(parameterOf(map))
        .add(memory.registerHost(buffer.data(), buffer.size(), "buffer"))
        .add(memory.registerHost(start.data(), 20, "start"))
        .add(uint32_t(map.boxBytes()));
    LaunchReport report =
        launch(*module, "k", {}, {32, 1, 1}, map.boxBytes() + 16, arguments,
               memory, options);
    EXPECT_TRUE(report.findings.empty()) << show(options.mode) << "\n"
                                         << show(report);
    EXPECT_EQ(report.counters.bulkBytes, map.boxBytes());
    return report;
  }
};

TEST_P(TensorCopy, LoadsABox) {
  const Case &c = GetParam();
  TensorMap map = mapAt(0);
  std::mt19937 random(map.boxBytes());
  std::vector<uint8_t> tensor(tensorBytes(map));
  for (uint8_t &byte : tensor)
    byte = uint8_t(random());
  const unsigned size = bytesOf(c.element);
  std::vector<uint8_t> expected(map.boxBytes());
  eachElement(map, c.start, [&](uint32_t box, int64_t at) {
    const uint8_t nan[] = {0xff, 0xff, 0xff, 0x7f};
    for (unsigned i = 0; i < size; ++i)
      expected[box + i] = at >= 0     ? tensor[size_t(at) + i]
                          : c.nanFill ? nan[i]
                                      : 0;
  });
  std::string text = kernelFor(c, true);
  EXPECT_EQ(assemble(text), "") << text;
  for (const LaunchOptions &options : allModes()) {
    std::vector<uint8_t> out(map.boxBytes(), 0xaa);
    run(text, tensor, out, c.start, options);
    EXPECT_EQ(out, expected) << show(options.mode);
  }
}

TEST_P(TensorCopy, StoresABox) {
  const Case &c = GetParam();
  TensorMap map = mapAt(0);
  std::vector<int> start = c.start;
  for (int &at : start)
    at = std::max(at, 0);
  std::mt19937 random(map.boxBytes() + 1);
  std::vector<uint8_t> in(map.boxBytes());
  for (uint8_t &byte : in)
    byte = uint8_t(random());
  std::vector<uint8_t> expected(tensorBytes(map), 0x55);
  eachElement(map, start, [&](uint32_t box, int64_t at) {
    if (at >= 0)
      std::copy_n(in.begin() + box, bytesOf(c.element), expected.begin() + at);
  });
  std::string text = kernelFor(c, false);
  EXPECT_EQ(assemble(text), "") << text;
  for (const LaunchOptions &options : allModes()) {
    std::vector<uint8_t> tensor(expected.size(), 0x55);
    run(text, tensor, in, start, options);
    EXPECT_EQ(tensor, expected) << show(options.mode);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TensorCopy, testing::ValuesIn(cases),
                         [](const auto &info) { return info.param.name; });

TEST(TensorMaps, RefusesWhatTheDriverRefuses) {
  const TensorMap good =
      denseMap(1024, Element::BF16, {128, 50}, {64, 8}, Swizzle::Bytes128);
  ASSERT_TRUE(bool(good.encode()));
  auto refused = [&](void (*change)(TensorMap &), const char *words) {
    TensorMap map = good;
    change(map);
    auto bytes = map.encode();
    ASSERT_FALSE(bool(bytes)) << words;
    EXPECT_NE(bytes.error().message.find(words), std::string::npos)
        << bytes.error().message;
  };
  refused([](TensorMap &m) { m.rank = 6; }, "rank 1 to 5, found 6");
  refused([](TensorMap &m) { m.address = 1032; }, "multiple of 16 bytes");
  refused([](TensorMap &m) { m.dims[1] = 0; }, "dim 1");
  refused([](TensorMap &m) { m.box[1] = 257; }, "found 257");
  refused([](TensorMap &m) { m.strides[0] = 264; }, "found 264");
  refused([](TensorMap &m) { m.box[0] = 72; }, "at most as many, found 144");
  refused([](TensorMap &m) { m.box[0] = 32; }, "take the swizzle of 64 bytes");
  refused([](TensorMap &m) { m.box[0] = 3; }, "found 6");
  refused([](TensorMap &m) { m.elementStrides[1] = 9; }, "found 9");
}

TEST(TensorMaps, SurvivesItsEncoding) {
  TensorMap map = denseMap(4096, Element::F16, {1ull << 32, 7, 5}, {64, 3, 2},
                           Swizzle::Bytes128);
  map.elementStrides[2] = 2;
  auto bytes = map.encode();
  ASSERT_TRUE(bool(bytes));
  Result<TensorMap> back = TensorMap::decode(bytes->data());
  ASSERT_TRUE(bool(back));
  EXPECT_EQ(back->dims[0], 1ull << 32);
  EXPECT_EQ(back->strides[1], map.strides[1]);
  EXPECT_EQ(back->boxBytes(), 64u * 3 * 1 * 2);
  (*bytes)[9] ^= 1;
  EXPECT_FALSE(bool(TensorMap::decode(bytes->data())));
}

} // namespace
