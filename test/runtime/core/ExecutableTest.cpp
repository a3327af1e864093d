//===- ExecutableTest.cpp - Validation and launch of a bundle -------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Executable.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <set>

using namespace attn;
using namespace attn::test;

namespace {

struct RecordedLaunch {
  std::string entry;
  uint32_t blocks, threads, sharedBytes;
  std::vector<uint64_t> parameters;
  Stream stream;
};

struct FakeKernel : Kernel {
  explicit FakeKernel(std::string name) : name(std::move(name)) {}
  std::string name;
};

struct FakeModule : Module {
  Result<Kernel *> kernel(const std::string &entry, int64_t) override {
    if (entry == "absent")
      return Error{ErrorCode::InvalidBundle, "no such kernel"};
    kernels.push_back(std::make_unique<FakeKernel>(entry));
    return static_cast<Kernel *>(kernels.back().get());
  }
  std::vector<std::unique_ptr<FakeKernel>> kernels;
};

/// Hands out addresses without memory and records launches.
struct FakeDevice : Device {
  FakeDevice() {
    limits.name = "Fake";
    limits.major = 8;
    limits.sharedMemoryPerBlock = 1000;
    limits.threadsPerBlock = 512;
    limits.memory = {MemorySpace::Kind::Cuda, 1};
  }
  DeviceKind kind() const override { return DeviceKind::Cuda; }
  const DeviceProperties &properties() const override { return limits; }
  Result<uint64_t> allocate(uint64_t bytes, Stream) override {
    if (bytes == 0)
      return uint64_t(0);
    if (sizes.size() == failAllocation)
      return Error{ErrorCode::OutOfMemory, "no memory"};
    sizes.push_back(bytes);
    uint64_t address = 0x100000 * sizes.size();
    live.insert(address);
    return address;
  }
  Status free(uint64_t address, Stream) override {
    EXPECT_EQ(live.erase(address), 1u);
    return Status::success();
  }
  Status copyIn(const RowCopy &, Stream) override { return Status(); }
  Status copyOut(const RowCopy &, Stream) override { return Status(); }
  Result<Stream> createStream() override { return Stream(nullptr); }
  Status destroyStream(Stream) override { return Status(); }
  Status synchronize(Stream) override { return Status(); }
  Result<std::unique_ptr<Module>> loadModule(const std::string &ptx) override {
    if (ptx == "bad")
      return Error{ErrorCode::InvalidBundle, "does not assemble"};
    return std::unique_ptr<Module>(std::make_unique<FakeModule>());
  }
  Status launch(const LaunchRequest &request, Stream stream) override {
    if (launches.size() == failLaunch)
      return Error{ErrorCode::Device, "refused"};
    RecordedLaunch l{static_cast<FakeKernel *>(request.kernel)->name,
                     request.blocks,
                     request.threads,
                     request.sharedBytes,
                     {},
                     stream};
    for (const KernelParameter &p : request.parameters)
      l.parameters.push_back(p.pointer ? p.pointer->address() : p.value);
    launches.push_back(std::move(l));
    return Status::success();
  }

  DeviceProperties limits;
  size_t failAllocation = 99, failLaunch = 99;
  std::vector<uint64_t> sizes;
  std::set<uint64_t> live;
  std::vector<RecordedLaunch> launches;
};

/// q: [b, 4, n, 16], k: [b, 2, m, 16] -> o: [b, 4, n, 16], lse: [b, 4, n]; one
/// temporary per q element; a scalar i32 and an index between them.
Manifest attentionManifest() {
  Manifest m;
  m.compiler = "test 1";
  m.target = "sm_80";
  m.function = "f";
  m.code.file = "f.ptx";
  using T = ElementType;
  // Not in signature order: the order must come from the numbers.
  m.buffers = {
      {BufferRole::Result, 1, "lse", T::F32, {"b", 4, "n"}, 4},
      {BufferRole::Argument, 3, "k", T::F16, {"b", 2, "m", 16}, 2},
      {BufferRole::Temporary, 0, "t", T::F32, {"b", "n", "m"}, 16},
      {BufferRole::Argument, 0, "q", T::F16, {"b", 4, "n", 16}, 16},
      {BufferRole::Result, 0, "o", T::F16, {"b", 4, "n", 16}, 2},
  };
  m.scalars = {{2, "w", T::Index}, {1, "c", T::I32}};
  LaunchDesc first;
  first.entry = "first";
  first.grid = mulExpr(ceilDivExpr(std::string("n"), 8), std::string("b"));
  first.threads = 128;
  first.shared = 512;
  first.params = {ParamDesc::pointer(3),   ParamDesc::pointer(1),
                  ParamDesc::pointer(2),   ParamDesc::size(3, 2),
                  ParamDesc::stride(1, 1), ParamDesc::scalar(2),
                  ParamDesc::scalar(1)};
  LaunchDesc second = first;
  second.entry = "second";
  second.grid = std::string("m");
  second.params = {ParamDesc::pointer(2), ParamDesc::stride(2, 0),
                   ParamDesc::pointer(4), ParamDesc::pointer(0)};
  m.launches = {first, second};
  return m;
}

class ExecutableTest : public testing::Test {
protected:
  void load(const Manifest &manifest = attentionManifest()) {
    device = std::make_shared<FakeDevice>();
    Result<Bundle> bundle = makeBundle(manifest, "// code");
    ASSERT_TRUE(bundle) << errorOf(bundle);
    Result<std::unique_ptr<Executable>> loaded =
        Executable::load(device, *bundle);
    ASSERT_TRUE(loaded) << errorOf(loaded);
    executable = std::move(*loaded);
    setSizes(2, 20, 7);
  }
  void SetUp() override { load(); }

  void setSizes(int64_t b, int64_t n, int64_t m) {
    MemorySpace gpu = device->limits.memory;
    q = Tensor::rowMajor(ElementType::F16, {b, 4, n, 16}, 0x10000000, gpu);
    k = Tensor::rowMajor(ElementType::F16, {b, 2, m, 16}, 0x20000000, gpu);
    o = Tensor::rowMajor(ElementType::F16, {b, 4, n, 16}, 0x30000000, gpu);
    lse = Tensor::rowMajor(ElementType::F32, {b, 4, n}, 0x40000000, gpu);
  }
  Status run(std::vector<int64_t> scalars = {-5, int64_t(1) << 40}) {
    return executable->run({q, k}, {o, lse}, scalars, stream);
  }
  /// Runs, expects this error and that nothing was touched.
  void expectError(const std::string &message) {
    EXPECT_EQ(errorOf(run()), message);
    EXPECT_TRUE(device->launches.empty());
    EXPECT_TRUE(device->sizes.empty());
  }

  std::shared_ptr<FakeDevice> device;
  std::unique_ptr<Executable> executable;
  Tensor q, k, o, lse;
  Stream stream = reinterpret_cast<Stream>(0x77);
};

TEST_F(ExecutableTest, LaunchesInOrderWithEveryParameter) {
  k.strides = {9000, 1000, 48, 1};
  k.byteOffset = 64;
  ASSERT_TRUE(run()) << errorOf(run());
  ASSERT_EQ(device->launches.size(), 2u);
  const RecordedLaunch &first = device->launches[0];
  EXPECT_EQ(first.entry, "first");
  EXPECT_EQ(first.blocks, 6u); // ceildiv(20, 8) * 2
  EXPECT_EQ(first.threads, 128u);
  EXPECT_EQ(first.sharedBytes, 512u);
  EXPECT_EQ(first.stream, stream);
  EXPECT_EQ(first.parameters,
            (std::vector<uint64_t>{0x10000000, 0x20000040, 0x100000, 20, 1000,
                                   uint64_t(1) << 40, uint64_t(-5)}));
  const RecordedLaunch &second = device->launches[1];
  EXPECT_EQ(second.entry, "second");
  EXPECT_EQ(second.blocks, 7u);
  EXPECT_EQ(second.parameters,
            (std::vector<uint64_t>{0x100000, 140, 0x30000000, 0x40000000}));
  EXPECT_EQ(device->sizes, std::vector<uint64_t>{2 * 20 * 7 * 4});
  EXPECT_TRUE(device->live.empty());
}

TEST_F(ExecutableTest, ResultShapes) {
  auto shapes = executable->resultShapes({{2, 4, 9, 16}, {2, 2, 0, 16}});
  ASSERT_TRUE(shapes);
  EXPECT_EQ((*shapes)[0], (std::vector<int64_t>{2, 4, 9, 16}));
  EXPECT_EQ((*shapes)[1], (std::vector<int64_t>{2, 4, 9}));
  EXPECT_EQ(errorOf(executable->resultShapes({{2, 4, 9, 16}})),
            "expected 2 tensor arguments, found 1");
}

TEST_F(ExecutableTest, ZeroSizedTensors) {
  setSizes(2, 20, 0);
  k.data = 0;
  ASSERT_TRUE(run()) << errorOf(run());
  ASSERT_EQ(device->launches.size(), 1u); // the second grid is empty
  EXPECT_EQ(device->launches[0].parameters[1], 0u);
  EXPECT_EQ(device->launches[0].parameters[2], 0u); // an empty temporary
  EXPECT_TRUE(device->sizes.empty());
  device->launches.clear();
  setSizes(2, 0, 0);
  q.data = k.data = o.data = lse.data = 0;
  EXPECT_TRUE(run());
  EXPECT_TRUE(device->launches.empty());
}

TEST_F(ExecutableTest, SizesPast32Bits) {
  setSizes(1, (int64_t(1) << 33), 3);
  o.data = uint64_t(1) << 50, lse.data = uint64_t(1) << 51;
  q.data = uint64_t(1) << 52;
  ASSERT_TRUE(run()) << errorOf(run());
  EXPECT_EQ(device->launches[0].blocks, 1u << 30);
  EXPECT_EQ(device->launches[0].parameters[3], uint64_t(1) << 33);
  EXPECT_EQ(device->sizes[0], (uint64_t(1) << 33) * 3 * 4);
}

TEST_F(ExecutableTest, ChecksCounts) {
  EXPECT_EQ(errorOf(executable->run({q}, {o, lse}, {1, 2})),
            "expected 2 tensor arguments, found 1");
  EXPECT_EQ(errorOf(executable->run({q, k}, {o}, {1, 2})),
            "expected 2 results, found 1");
  EXPECT_EQ(errorOf(run({1})), "expected 2 scalars, found 1");
}

TEST_F(ExecutableTest, ChecksRank) {
  q.shape.pop_back(), q.strides.pop_back();
  expectError("argument 0 'q': expected rank 4, found 3");
}

TEST_F(ExecutableTest, ChecksType) {
  k.type = ElementType::BF16;
  expectError("argument 3 'k': expected element type f16, found bf16");
}

TEST_F(ExecutableTest, ChecksFixedSizes) {
  k.shape[1] = 4;
  expectError("argument 3 'k': dimension 1: expected size 2, found 4");
}

TEST_F(ExecutableTest, ChecksBoundNames) {
  k.shape[0] = 3;
  expectError("argument 3 'k': dimension 0: expected size 2 ('b', from "
              "argument 0 'q', dimension 0), found 3");
}

TEST_F(ExecutableTest, ChecksResults) {
  lse.shape[2] = 19;
  expectError("result 1 'lse': dimension 2: expected size 20 ('n', from "
              "argument 0 'q', dimension 2), found 19");
}

TEST_F(ExecutableTest, ChecksNegativeSizes) {
  q.shape[2] = -1;
  expectError("argument 0 'q': dimension 2 has the negative size -1");
}

TEST_F(ExecutableTest, ChecksTheNumberOfStrides) {
  q.strides.pop_back();
  expectError("argument 0 'q': expected as many strides as dimensions (4), "
              "found 3");
}

TEST_F(ExecutableTest, ChecksTheLastStride) {
  k.strides[3] = 2;
  expectError("argument 3 'k': the last dimension must be contiguous: expected "
              "stride 1, found 2");
}

TEST_F(ExecutableTest, ChecksAddressSpace) {
  k.strides[0] = INT64_MAX;
  expectError("argument 3 'k': its elements reach outside the 64-bit address "
              "space");
}

TEST_F(ExecutableTest, ChecksAlignment) {
  q.byteOffset = 10;
  expectError("argument 0 'q': expected an address that is a multiple of 16, "
              "found one that is 10 bytes past such a multiple");
  q.byteOffset = 0;
  lse.data += 2;
  expectError("result 1 'lse': expected an address that is a multiple of 4, "
              "found one that is 2 bytes past such a multiple");
}

TEST_F(ExecutableTest, ChecksTheDevice) {
  q.space = {MemorySpace::Kind::Host, 0};
  expectError("argument 0 'q': expected memory of cuda:1, the device 'Fake', "
              "found host");
  q.space = {MemorySpace::Kind::Cuda, 0};
  expectError("argument 0 'q': expected memory of cuda:1, the device 'Fake', "
              "found cuda:0");
}

TEST_F(ExecutableTest, ChecksForData) {
  o.data = 0;
  expectError("result 0 'o': the tensor has elements but no data");
}

TEST_F(ExecutableTest, BroadcastsArgumentsOnly) {
  k.strides[1] = 0;
  EXPECT_TRUE(run());
  device->launches.clear(), device->sizes.clear();
  o.strides[1] = 0;
  expectError("result 0 'o': elements of a result must not share memory, found "
              "strides (1280, 0, 16, 1) for f16[2x4x20x16]");
}

TEST_F(ExecutableTest, ResultsMayNotOverlap) {
  o.data = q.data;
  expectError("result 0 'o': its memory overlaps that of argument 0 'q'");
  o.data = lse.data + 16;
  expectError("result 0 'o': its memory overlaps that of result 1 'lse'");
  // Interleaved views of one buffer are not an overlap.
  setSizes(2, 20, 7);
  q.strides = o.strides = {4 * 20 * 32, 20 * 32, 32, 1};
  o.data = q.data + 32;
  EXPECT_TRUE(run());
}

TEST_F(ExecutableTest, ChecksScalarsOfNarrowTypes) {
  EXPECT_EQ(errorOf(run({int64_t(1) << 31, 0})),
            "argument 1 'c': 2147483648 does not fit in i32");
  EXPECT_TRUE(device->launches.empty());
}

TEST_F(ExecutableTest, ChecksGrids) {
  setSizes(1, 3, int64_t(1) << 31);
  o.data = uint64_t(1) << 50, lse.data = uint64_t(1) << 51;
  expectError("grid of kernel 'second': expected 0 to 2147483647 blocks, found "
              "2147483648 from m");
  Manifest m = attentionManifest();
  m.launches[1].grid = addExpr(std::string("n"), -100);
  load(m);
  expectError("grid of kernel 'second': expected 0 to 2147483647 blocks, found "
              "-80 from add(n, -100)");
  m.launches[1].grid = mulExpr(std::string("n"), INT64_MAX);
  load(m);
  expectError("grid of kernel 'second': the value of mul(n, "
              "9223372036854775807) does not fit in 64 bits");
}

TEST_F(ExecutableTest, ChecksTheSizeOfTemporaries) {
  setSizes(2, int64_t(1) << 32, int64_t(1) << 31);
  q.strides = k.strides = {0, 0, 0, 1};
  q.shape[3] = 16;
  o.data = uint64_t(1) << 60, lse.data = uint64_t(1) << 61;
  expectError("temporary 't': the number of elements does not fit in 64 bits");
}

TEST_F(ExecutableTest, GivesTemporariesBackAfterAFailure) {
  Manifest m = attentionManifest();
  m.buffers.push_back(
      {BufferRole::Temporary, 0, "u", ElementType::F32, {"n"}, 16});
  load(m);
  device->failAllocation = 1;
  EXPECT_EQ(errorOf(run()), "temporary 'u': no memory");
  EXPECT_TRUE(device->launches.empty());
  EXPECT_TRUE(device->live.empty());
  device->failAllocation = 99;
  device->failLaunch = 1;
  EXPECT_EQ(errorOf(run()), "kernel 'second': refused");
  EXPECT_EQ(device->launches.size(), 1u);
  EXPECT_TRUE(device->live.empty());
}

TEST(ExecutableLoad, RefusesWhatTheDeviceCannotRun) {
  auto load = [](auto change, const char *code = "// code") {
    Manifest m = attentionManifest();
    change(m);
    return errorOf(
        Executable::load(std::make_shared<FakeDevice>(), *makeBundle(m, code)));
  };
  EXPECT_EQ(load([](Manifest &m) { m.target = "sm_90a"; }),
            "code for sm_90a cannot run on 'Fake' (compute capability 8.0); "
            "targets that can: sm_80");
  EXPECT_EQ(load([](Manifest &m) { m.launches[1].shared = 1001; }),
            "kernel 'second' needs 1001 bytes of shared memory, 'Fake' has "
            "1000");
  EXPECT_EQ(load([](Manifest &m) { m.launches[0].threads = 544; }),
            "kernel 'first' needs 544 threads in a block, 'Fake' has 512");
  EXPECT_EQ(load([](Manifest &m) { m.launches[1].entry = "absent"; }),
            "kernel 'absent': no such kernel");
  EXPECT_EQ(load([](Manifest &) {}, "bad"), "code of 'f': does not assemble");
}

} // namespace
