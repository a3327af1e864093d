//===- SimDeviceTest.cpp - The simulator as a device ----------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/SimDevice.h"
#include "attn/runtime/core/Executable.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <nlohmann/json.hpp>
#include <random>
#include <sys/mman.h>

using namespace attn;
using namespace attn::test;

namespace {

std::unique_ptr<Executable> loadScale(const std::string &options = "",
                                      Manifest manifest = scaleManifest()) {
  Result<std::shared_ptr<Device>> device = openDevice("sim", options);
  EXPECT_TRUE(device) << errorOf(device);
  auto executable =
      Executable::load(*device, *makeBundle(std::move(manifest), scalePtx));
  EXPECT_TRUE(executable) << errorOf(executable);
  return std::move(*executable);
}

Tensor hostTensor(std::vector<float> &memory, std::vector<int64_t> shape,
                  size_t first = 0) {
  return Tensor::rowMajor(ElementType::F32, std::move(shape),
                          reinterpret_cast<uintptr_t>(&memory[first]));
}

std::vector<float> randomFloats(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float &value : values)
    value = static_cast<float>(random() % 2000) / 16 - 60;
  return values;
}

TEST(SimDevice, RunsABundle) {
  for (const char *options :
       {"", "mode=lazy", "mode=random,seed=5", "{\"threads\": 2}"}) {
    auto executable = loadScale(options);
    std::vector<float> in = randomFloats(7 * 64, 1), out(7 * 64, -1);
    Tensor x = hostTensor(in, {7, 64}), y = hostTensor(out, {7, 64});
    ASSERT_TRUE(executable->run({x}, {y}, {-3}));
    for (size_t i = 0; i < out.size(); ++i)
      ASSERT_EQ(out[i], in[i] * 9) << options << " at " << i; // twice -3
  }
}

TEST(SimDevice, RunsOverStridedViewsAndTouchesNothingElse) {
  auto executable = loadScale();
  std::vector<float> in = randomFloats(3 * 100, 2), out(3 * 80 + 16, 5);
  Tensor x = hostTensor(in, {3, 64}, 7), y = hostTensor(out, {3, 64}, 11);
  x.strides[0] = 100;
  y.strides[0] = -70;
  y.byteOffset = 2 * 70 * 4;
  ASSERT_TRUE(executable->run({x}, {y}, {2}));
  std::vector<float> expected(out.size(), 5);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 64; ++j)
      expected[11 + 140 - 70 * i + j] = in[7 + 100 * i + j] * 4;
  EXPECT_EQ(out, expected);
}

TEST(SimDevice, RunsOverStridesPast32Bits) {
  // Rows 2^31 + 64 elements apart, over pages that only exist where touched.
  constexpr int64_t stride = (int64_t(1) << 31) + 64;
  constexpr size_t bytes = (2 * stride + 64) * 4;
  void *memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    GTEST_SKIP() << "no address space for a mapping of 16 GiB";
  auto executable = loadScale();
  std::vector<float> in = randomFloats(3 * 64, 3), out(3 * 64, 0);
  Tensor x = Tensor::rowMajor(ElementType::F32, {3, 64},
                              reinterpret_cast<uintptr_t>(memory));
  x.strides[0] = stride;
  ASSERT_TRUE(copyToTensor(executable->device(), x, in.data()));
  Tensor y = hostTensor(out, {3, 64});
  Status status = executable->run({x}, {y}, {5});
  ASSERT_TRUE(status) << errorOf(status);
  for (size_t i = 0; i < out.size(); ++i)
    ASSERT_EQ(out[i], in[i] * 25) << i;
  ::munmap(memory, bytes);
}

/// One block copies each 8 x 32 tile of x to y through shared memory.
const char *tilePtx = R"(.version 8.0
.target sm_90a
.address_size 64
.shared .align 1024 .b8 tile[1024];
.shared .align 8 .b64 full;
.visible .entry copyTile(.param .u64 rows, .param .align 64 .b8 from[128],
                         .param .align 64 .b8 to[128])
{
  .reg .pred %p<3>;
  .reg .b32 %r<8>;
  .reg .b64 %d<4>;
  mov.b64 %d0, from;
  cvta.param.u64 %d0, %d0;
  mov.b64 %d1, to;
  cvta.param.u64 %d1, %d1;
  mov.u32 %r0, %ctaid.x;
  shr.u32 %r1, %r0, 1;
  shl.b32 %r1, %r1, 3;
  and.b32 %r0, %r0, 1;
  shl.b32 %r0, %r0, 5;
  mov.u32 %r2, tile;
  mov.u32 %r3, full;
  mbarrier.init.shared.b64 [%r3], 1;
  mbarrier.arrive.expect_tx.shared.b64 _, [%r3], 1024;
  cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r2], [%d0, {%r0, %r1}], [%r3];
WAIT:
  mbarrier.try_wait.parity.shared.b64 %p0, [%r3], 0;
  @!%p0 bra WAIT;
  cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%d1, {%r0, %r1}], [%r2];
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group 0;
  ret;
}
)";

std::unique_ptr<Executable> loadTiles(const char *options) {
  Manifest m;
  m.compiler = "test 1";
  m.target = "sm_90a";
  m.function = "copy";
  m.code.file = "copy.ptx";
  m.buffers = {{BufferRole::Argument, 0, "x", ElementType::F32, {"n", 64}, 4},
               {BufferRole::Result, 0, "y", ElementType::F32, {"n", 64}, 4}};
  LaunchDesc l;
  l.entry = "copyTile";
  l.grid = mulExpr(ceilDivExpr(std::string("n"), 8), 2);
  l.threads = 1;
  l.params = {ParamDesc::size(0, 0), ParamDesc::tensorMap(0, {8, 32}, 128),
              ParamDesc::tensorMap(1, {8, 32}, 128)};
  m.launches = {l};
  Result<std::shared_ptr<Device>> device = openDevice("sim", options);
  EXPECT_TRUE(device) << errorOf(device);
  auto executable = Executable::load(*device, *makeBundle(m, tilePtx));
  EXPECT_TRUE(executable) << errorOf(executable);
  return std::move(*executable);
}

TEST(SimDevice, PassesTensorMaps) {
  for (const char *options : {"target=sm_90a", "target=sm_90a,mode=lazy",
                              "target=sm_90a,mode=random,seed=3"}) {
    auto executable = loadTiles(options);
    // Rows apart from each other; 13 is no multiple of the box.
    std::vector<float> in = randomFloats(13 * 80 + 16, 5), out(13 * 72, 7);
    alignas(16) float room[13 * 80 + 16], target[13 * 72];
    std::copy(in.begin(), in.end(), room);
    std::copy(out.begin(), out.end(), target);
    Tensor x = Tensor::rowMajor(ElementType::F32, {13, 64},
                                reinterpret_cast<uintptr_t>(room));
    x.strides[0] = 80;
    x.byteOffset = 32;
    Tensor y = Tensor::rowMajor(ElementType::F32, {13, 64},
                                reinterpret_cast<uintptr_t>(target));
    y.strides[0] = 72;
    Status status = executable->run({x}, {y}, {});
    ASSERT_TRUE(status) << errorOf(status);
    for (size_t i = 0; i < 13; ++i)
      for (size_t j = 0; j < 72; ++j)
        ASSERT_EQ(target[72 * i + j], j < 64 ? in[8 + 80 * i + j] : 7)
            << options << " " << i << " " << j;
  }
}

TEST(SimDevice, SaysWhatATensorMapCannotAddress) {
  auto executable = loadTiles("target=sm_90a");
  alignas(16) static float memory[13 * 80];
  Tensor y = Tensor::rowMajor(ElementType::F32, {13, 64},
                              reinterpret_cast<uintptr_t>(memory));
  alignas(16) static float other[13 * 80];
  Tensor x = Tensor::rowMajor(ElementType::F32, {13, 64},
                              reinterpret_cast<uintptr_t>(other));
  x.strides[0] = 66;
  EXPECT_EQ(errorOf(executable->run({x}, {y}, {})),
            "argument 0 'x': dimension 0 has a stride of 66 elements, a tensor "
            "map needs a multiple of 4, at least 0 and less than 2^40 bytes");
  x.strides[0] = 64;
  x.byteOffset = 4;
  EXPECT_EQ(errorOf(executable->run({x}, {y}, {})),
            "argument 0 'x': a tensor map needs an address that is a multiple "
            "of 16 bytes");
  // One row: its stride does not matter. No row: nothing is launched.
  x.byteOffset = 0;
  x.shape[0] = y.shape[0] = 1;
  x.strides[0] = 7;
  EXPECT_EQ(errorOf(executable->run({x}, {y}, {})), "no error");
  x.shape[0] = y.shape[0] = 0;
  EXPECT_EQ(errorOf(executable->run({x}, {y}, {})), "no error");
}

TEST(SimDevice, ZeroRows) {
  auto executable = loadScale();
  Tensor x = Tensor::rowMajor(ElementType::F32, {0, 64}, 0);
  EXPECT_TRUE(executable->run({x}, {x}, {1}));
}

// The grid counts items; blocks of this kernel take one each.
TEST(SimDevice, PersistentLaunchesHaveABlockForEachMultiprocessor) {
  for (int64_t multiprocessors : {1, 3, 100}) {
    Manifest m = scaleManifest();
    m.launches = {m.launches[0]};
    m.launches[0].persistent = true;
    auto executable = loadScale(
        ("multiprocessors=" + std::to_string(multiprocessors)).c_str(), m);
    std::vector<float> in = randomFloats(5 * 64, 4), out(5 * 64);
    Tensor x = hostTensor(in, {5, 64}), y = hostTensor(out, {5, 64});
    ASSERT_TRUE(executable->run({x}, {y}, {1}));
    std::string report = *executable->device().report(true);
    int64_t blocks = std::min<int64_t>(multiprocessors, 5);
    EXPECT_NE(report.find("\"blocks\": " + std::to_string(blocks) + ","),
              std::string::npos)
        << report;
  }
}

TEST(SimDevice, FindsAccessesOutsideATensor) {
  // One block too many reads past the argument's last row.
  Manifest m = scaleManifest();
  m.launches[0].grid = addExpr(std::string("n"), 1);
  auto executable = loadScale("", m);
  std::vector<float> in = randomFloats(6 * 64, 4), out(6 * 64);
  Tensor x = hostTensor(in, {5, 64}), y = hostTensor(out, {5, 64});
  Status status = executable->run({x}, {y}, {1});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::Finding);
  EXPECT_EQ(status.error().message.find("kernel 'scale': the simulator found "),
            0u);
  EXPECT_NE(status.error().message.find("out-of-bounds"), std::string::npos)
      << status.error().message;

  // As a report only, the run goes on.
  executable = loadScale("findings=report", m);
  x.strides[0] = 64;
  EXPECT_TRUE(executable->run({x}, {y}, {1}));
  auto &sim = static_cast<SimDevice &>(executable->device());
  std::vector<SimLaunch> launches = sim.launches(false);
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_FALSE(launches[0].report.ok);
  EXPECT_TRUE(launches[1].report.ok);
}

/// Whether a finding says that an access was outside the buffer `name`.
bool isOutside(const SimLaunch &launch, const std::string &name) {
  for (const sim::Finding &finding : launch.report.findings)
    if (finding.kind == sim::FindingKind::OutOfBounds &&
        finding.message.find("'" + name + "'") != std::string::npos)
      return true;
  return false;
}

TEST(SimDevice, GapsBetweenRowsAreOutside) {
  // Twice the threads read twice the columns of each row.
  Manifest m = scaleManifest();
  m.launches.resize(1);
  m.launches[0].threads = 128;
  for (int64_t stride : {64, 128, 200}) {
    auto executable = loadScale("findings=report", m);
    std::vector<float> in(5 * 200), out(5 * 64);
    Tensor x = hostTensor(in, {4, 64}), y = hostTensor(out, {4, 64});
    x.strides[0] = stride;
    ASSERT_TRUE(executable->run({x}, {y}, {1}));
    auto &sim = static_cast<SimDevice &>(executable->device());
    std::vector<SimLaunch> launches = sim.launches(true);
    ASSERT_EQ(launches.size(), 1u);
    EXPECT_TRUE(isOutside(launches[0], "x")) << stride;
    // Row 0 of a dense tensor continues in row 1; the others in a gap.
    bool inFirstRow = false;
    for (const sim::Finding &finding : launches[0].report.findings)
      inFirstRow |= finding.message.find("'x'") != std::string::npos &&
                    finding.block[0] == 0;
    EXPECT_EQ(inFirstRow, stride != 64) << stride;
  }
}

TEST(SimDevice, AddressesKeepTheirAlignment) {
  // Every thread reads the first two elements at once.
  std::string ptx = scalePtx;
  std::string load = "ld.global.f32 %f1, [%d7];";
  ptx.replace(ptx.find(load), load.size(),
              "ld.global.v2.f32 {%f1, %f3}, [%d0];");
  Manifest m = scaleManifest();
  m.launches.resize(1);
  std::shared_ptr<Device> device = *openDevice("sim");
  auto executable = std::move(*Executable::load(device, *makeBundle(m, ptx)));
  auto memory = reinterpret_cast<float *>(*device->allocate(8000, nullptr));
  std::vector<float> out(5 * 64);
  Tensor y = hostTensor(out, {5, 64});
  for (int64_t stride : {64, 70, 1 << 21})
    for (uint64_t first : {0, 1, 2, 3, 62, 63, 64}) {
      Tensor x = Tensor::rowMajor(ElementType::F32, {5, 64},
                                  reinterpret_cast<uintptr_t>(memory));
      x.strides[0] = stride;
      x.byteOffset = 4 * first;
      Status status = executable->run({x}, {y}, {2});
      EXPECT_EQ(status.ok(), first % 2 == 0) << stride << " " << first;
      if (!status) {
        EXPECT_NE(status.error().message.find("misaligned"), std::string::npos)
            << status.error().message;
      }
    }
  EXPECT_TRUE(device->free(reinterpret_cast<uintptr_t>(memory), nullptr));
}

TEST(SimDevice, TensorsInVeryManyPieces) {
  constexpr int64_t rows = (1 << 14) + 1;
  auto executable = loadScale();
  std::vector<float> in = randomFloats(rows * 65, 8), out(rows * 64);
  Tensor x = hostTensor(in, {rows, 64}), y = hostTensor(out, {rows, 64});
  x.strides[0] = 65;
  ASSERT_TRUE(executable->run({x}, {y}, {2}));
  for (size_t i = 0; i < rows; i += 97)
    for (size_t j = 0; j < 64; ++j)
      ASSERT_EQ(out[64 * i + j], in[65 * i + j] * 4);
  x.strides[0] = 1 << 20;
  EXPECT_EQ(errorOf(executable->run({x}, {y}, {2})),
            "kernel 'scale': the simulator cannot map the memory of 'x': too "
            "many separate pieces over too large a range");
}

TEST(SimDevice, ReportsAsJson) {
  auto executable = loadScale();
  std::vector<float> in = randomFloats(2 * 64, 6), out(2 * 64);
  Tensor x = hostTensor(in, {2, 64}), y = hostTensor(out, {2, 64});
  ASSERT_TRUE(executable->run({x}, {y}, {1}));
  for (bool clear : {false, true}) {
    auto json = nlohmann::json::parse(*executable->device().report(clear));
    EXPECT_EQ(json["device"], "simulated sm_90a");
    ASSERT_EQ(json["launches"].size(), 2u);
    EXPECT_EQ(json["launches"][0]["entry"], "scale");
    EXPECT_EQ(json["launches"][1]["blocks"], 2);
    EXPECT_EQ(json["launches"][1]["threads"], 64);
    EXPECT_TRUE(json["launches"][0]["report"].is_object());
  }
  auto json = nlohmann::json::parse(*executable->device().report(false));
  EXPECT_TRUE(json["launches"].empty());
}

TEST(SimDevice, RefusesBadCode) {
  std::shared_ptr<Device> device = *openDevice("sim");
  auto load = [&](std::string ptx, Manifest m = scaleManifest()) {
    return errorOf(Executable::load(device, *makeBundle(m, std::move(ptx))));
  };
  std::string broken = scalePtx;
  broken.replace(broken.find("mul.f32"), 7, "frob.f32");
  std::string message = load(broken);
  EXPECT_EQ(message.find("code of 'scale': ptx:"), 0u) << message;
  EXPECT_NE(message.find("frob"), std::string::npos) << message;

  Manifest m = scaleManifest();
  m.launches[1].entry = "other";
  EXPECT_EQ(load(scalePtx, m),
            "kernel 'other': the code has no such entry, it has: scale");

  std::string greedy = scalePtx;
  greedy.insert(greedy.find(".reg"), ".shared .align 4 .b8 pool[4096];\n  ");
  m = scaleManifest();
  m.launches[1].shared = 227 * 1024 - 4095;
  EXPECT_EQ(load(greedy, m),
            "kernel 'scale': needs 4096 static and 228353 dynamic bytes of "
            "shared memory, 'simulated sm_90a' has 232448");
  m.launches[1].shared -= 1;
  EXPECT_EQ(load(greedy, m), "no error");

  m = scaleManifest();
  m.launches[0].params.pop_back();
  auto executable = loadScale("", m);
  std::vector<float> in(64), out(64);
  Tensor x = hostTensor(in, {1, 64}), y = hostTensor(out, {1, 64});
  EXPECT_EQ(errorOf(executable->run({x}, {y}, {1})),
            "kernel 'scale': the manifest has 4 parameters of 8 bytes, or 128 "
            "for tensor "
            "maps, the code "
            "declares 5 parameters of 40 bytes in all");
}

TEST(SimDevice, SimulatesTheLimitsOfATarget) {
  std::shared_ptr<Device> device = *openDevice("sim", "target=sm_86");
  EXPECT_EQ(device->properties().sharedMemoryPerBlock, 99 * 1024);
  Manifest m = scaleManifest();
  m.target = "sm_89";
  EXPECT_EQ(
      errorOf(Executable::load(device, *makeBundle(m, scalePtx))),
      "code for sm_89 cannot run on 'simulated sm_86' (compute capability "
      "8.6); targets that can: sm_80, sm_86");
  EXPECT_EQ((*openDevice("sim"))->properties().sharedMemoryPerBlock,
            227 * 1024);
}

TEST(SimDevice, RefusesBadOptions) {
  auto open = [](const char *options) {
    return errorOf(openDevice("sim", options));
  };
  EXPECT_EQ(open("mode=slow"), "device option 'mode': expected eager, lazy or "
                               "random, found 'slow'");
  EXPECT_EQ(open("seed=x"), "device option 'seed': expected a number of at "
                            "least 0, found 'x'");
  EXPECT_EQ(open("budget=-1"),
            "device option 'budget': expected a number of at "
            "least 0, found '-1'");
  EXPECT_EQ(open("checks=maybe"),
            "device option 'checks': expected off or on, found 'maybe'");
  EXPECT_EQ(open("target=gfx"),
            "device option 'target': expected a GPU such as "
            "sm_80 or sm_90a, found 'gfx'");
  EXPECT_EQ(open("speed=9"), "unknown option 'speed' of device 'sim', expected "
                             "mode, seed, budget, threads, multiprocessors, "
                             "checks, findings or target");
  EXPECT_EQ(open("multiprocessors=0"),
            "device option 'multiprocessors': expected a number of at least 1, "
            "found '0'");
  EXPECT_EQ(open("mode"), "device options: expected key=value, found 'mode'");
  EXPECT_EQ(open("seed=1,seed=2"), "device option 'seed' is given twice");
  EXPECT_EQ(open("{\"seed\": 1.5}"),
            "device option 'seed': expected a text, an "
            "integer or a boolean");
  EXPECT_EQ(open("{\"seed\": "),
            "device options: not a valid JSON object: {\"seed\":");
  EXPECT_EQ(open(" mode = random , seed = 3, checks=off "), "no error");
  EXPECT_EQ(open("{\"checks\": true, \"seed\": 3, \"mode\": \"lazy\"}"),
            "no error");
}

TEST(SimDevice, Memory) {
  std::shared_ptr<Device> device = *openDevice("sim");
  uint64_t address = *device->allocate(1000, nullptr);
  EXPECT_EQ(address % 256, 0u);
  EXPECT_EQ(*reinterpret_cast<uint32_t *>(address), 0xFFFFFFFFu);
  EXPECT_EQ(errorOf(device->free(address + 8, nullptr)),
            "the address to free is not an allocation of this device");
  EXPECT_TRUE(device->free(address, nullptr));
  EXPECT_FALSE(device->free(address, nullptr));
  EXPECT_EQ(*device->allocate(0, nullptr), 0u);
  Result<uint64_t> huge = device->allocate(UINT64_MAX, nullptr);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, ErrorCode::OutOfMemory);
}

} // namespace
