//===- DataCheckTest.cpp - Arguments whose elements are checked -----------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/DataCheck.h"
#include "attn/runtime/core/Executable.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <cstdlib>
#include <cstring>

using namespace attn;
using namespace attn::test;

namespace {

struct AnyKernel : Kernel {};

struct AnyModule : Module {
  Result<Kernel *> kernel(const std::string &, int64_t) override {
    return static_cast<Kernel *>(&only);
  }
  AnyKernel only;
};

/// A GPU whose memory is the host's; counts what it is asked to do.
struct CountingDevice : Device {
  CountingDevice() {
    limits.name = "Fake";
    limits.major = 8;
    limits.sharedMemoryPerBlock = 1000;
    limits.threadsPerBlock = 512;
    limits.memory = {MemorySpace::Kind::Cuda, 0};
  }
  DeviceKind kind() const override { return DeviceKind::Cuda; }
  const DeviceProperties &properties() const override { return limits; }
  Result<uint64_t> allocate(uint64_t, Stream) override {
    ++allocations;
    return uint64_t(4096);
  }
  Status free(uint64_t, Stream) override { return Status(); }
  Status copyIn(const RowCopy &, Stream) override { return Status(); }
  Status copyOut(const RowCopy &copy, Stream stream) override {
    ++copies;
    onStream &= stream == expectedStream;
    for (uint64_t row = 0; row < copy.rows; ++row)
      std::memcpy(
          static_cast<char *>(copy.host) + row * copy.hostPitch,
          reinterpret_cast<const char *>(copy.device + row * copy.devicePitch),
          copy.width);
    return Status::success();
  }
  Result<Stream> createStream() override { return Stream(nullptr); }
  Status destroyStream(Stream) override { return Status(); }
  Status synchronize(Stream) override { return Status(); }
  Result<std::unique_ptr<Module>> loadModule(const std::string &) override {
    return std::unique_ptr<Module>(std::make_unique<AnyModule>());
  }
  Status launch(const LaunchRequest &, Stream) override {
    ++launches;
    return Status::success();
  }

  DeviceProperties limits;
  Stream expectedStream = reinterpret_cast<Stream>(0x77);
  int launches = 0, copies = 0, allocations = 0;
  bool onStream = true;
};

class DataCheck : public testing::Test {
protected:
  void SetUp() override {
    ::unsetenv("ATTN_CHECK_DATA");
    Manifest m;
    m.compiler = "test 1";
    m.target = "sm_80";
    m.function = "f";
    m.code.file = "f.ptx";
    using T = ElementType;
    m.buffers = {
        {BufferRole::Argument, 0, "len", T::I32, {"b"}, 4},
        {BufferRole::Argument, 1, "ids", T::I64, {"b", "n"}, 8},
        {BufferRole::Argument, 2, "row_ptr", T::I32, {"r"}, 4},
        {BufferRole::Argument, 3, "col", T::I32, {"c"}, 4},
        {BufferRole::Temporary, 0, "t", T::F32, {"n"}, 16},
    };
    m.buffers[0].checks = {CheckDesc::range(0, std::string("n"))};
    m.buffers[1].checks = {CheckDesc::sorted()};
    m.buffers[2].checks = {
        CheckDesc::size(0, addExpr(ceilDivExpr(std::string("n"), 4), 1)),
        CheckDesc::sorted(), CheckDesc::range(0, std::string("c"))};
    m.buffers[3].checks = {CheckDesc::range(0, 2), CheckDesc::rising(2)};
    LaunchDesc launch;
    launch.entry = "f_0";
    launch.grid = int64_t(1);
    launch.threads = 32;
    launch.params = {ParamDesc::pointer(0)};
    m.launches = {launch};
    manifest = m;
    device = std::make_shared<CountingDevice>();
    Result<Bundle> bundle = makeBundle(m, "// code");
    ASSERT_TRUE(bundle) << errorOf(bundle);
    auto loaded = Executable::load(device, *bundle);
    ASSERT_TRUE(loaded) << errorOf(loaded);
    executable = std::move(*loaded);
  }
  void TearDown() override { ::unsetenv("ATTN_CHECK_DATA"); }

  template <typename T>
  Tensor tensor(ElementType type, std::vector<int64_t> shape, T &data) {
    return Tensor::rowMajor(type, std::move(shape),
                            reinterpret_cast<uintptr_t>(data.data()),
                            device->limits.memory);
  }
  Status run() {
    int64_t n = int64_t(ids.size()) / 2;
    Tensor idTensor = tensor(ElementType::I64, {2, n}, ids);
    return executable->run(
        {tensor(ElementType::I32, {2}, lengths), idTensor,
         tensor(ElementType::I32, {int64_t(rows.size())}, rows),
         tensor(ElementType::I32, {int64_t(columns.size())}, columns)},
        {}, {}, device->expectedStream);
  }
  void expectError(const std::string &message) {
    EXPECT_EQ(errorOf(run()), message);
    EXPECT_EQ(device->launches, 0);
    EXPECT_EQ(device->allocations, 0);
  }

  Manifest manifest;
  std::shared_ptr<CountingDevice> device;
  std::unique_ptr<Executable> executable;
  std::vector<int32_t> lengths = {6, 0}, rows = {0, 2, 3}, columns = {0, 2, 1};
  std::vector<int64_t> ids = {-1, 0, 0, 5, 9, 9, 3, 3, 3, 4, 4, 5};
};

TEST_F(DataCheck, ValidArgumentsAreLaunched) {
  ASSERT_TRUE(run()) << errorOf(run());
  EXPECT_EQ(device->launches, 1);
  EXPECT_EQ(device->copies, 4);
  EXPECT_TRUE(device->onStream);
}

TEST_F(DataCheck, EachErrorNamesItsArgumentAndLaunchesNothing) {
  lengths[1] = 7;
  expectError("argument 0 'len': expected elements in 0..6, found 7 at 1");
  lengths[1] = -1;
  expectError("argument 0 'len': expected elements in 0..6, found -1 at 1");
  lengths[1] = 0;
  std::swap(ids[8], ids[10]);
  expectError("argument 1 'ids': expected elements that do not decrease, found "
              "3 after 4 at 10");
  std::swap(ids[8], ids[10]);
  rows.push_back(3);
  expectError("argument 2 'row_ptr': dimension 0: expected size 3, found 4");
  rows = {0, 3, 2};
  expectError("argument 2 'row_ptr': expected elements that do not decrease, "
              "found 2 after 3 at 2");
  rows = {0, 2, 4};
  expectError("argument 2 'row_ptr': expected elements in 0..3, found 4 at 2");
  rows = {0, 2, 3};
  columns[1] = 3;
  expectError("argument 3 'col': expected elements in 0..2, found 3 at 1");
  columns[1] = 0;
  expectError("argument 3 'col': expected rising elements in row 0, found 0 "
              "after 0 at 1");
}

TEST_F(DataCheck, TheEnvironmentTurnsThemOff) {
  lengths[1] = 7;
  ::setenv("ATTN_CHECK_DATA", "0", 1);
  EXPECT_TRUE(run());
  EXPECT_EQ(device->launches, 1);
  EXPECT_EQ(device->copies, 0);
  ::setenv("ATTN_CHECK_DATA", "1", 1);
  EXPECT_FALSE(run());
}

TEST_F(DataCheck, ManifestsKeepThem) {
  Result<Bundle> bundle = makeBundle(manifest, "// code");
  ASSERT_TRUE(bundle);
  Result<std::string> json = writeManifest(bundle->manifest);
  ASSERT_TRUE(json) << errorOf(json);
  Result<Manifest> back = parseManifest(*json);
  ASSERT_TRUE(back) << errorOf(back);
  EXPECT_TRUE(*back == bundle->manifest);

  auto refusal = [&](const char *from, const char *to) {
    std::string text = *json;
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, std::strlen(from), to);
    return errorOf(parseManifest(text));
  };
  EXPECT_EQ(
      refusal("\"sorted\"", "\"prime\""),
      "buffers[1].checks[0].kind: expected range, sorted, rising, size or "
      "multiple, found 'prime'");
  EXPECT_EQ(refusal("\"rows\": 2", "\"rows\": 7"),
            "buffers[3].checks[1].rows: argument 7 is not a tensor of i32 or "
            "i64 with dimensions");
  EXPECT_EQ(refusal("\"max\": \"n\"", "\"max\": \"z\""),
            "buffers[0].checks[0].max: 'z' is not bound by any argument's "
            "shape");
  EXPECT_EQ(refusal("\"dim\": 0", "\"dim\": 1"),
            "buffers[2].checks[0].dim: expected a dimension below 1, found 1");
  manifest.buffers[4].checks = {CheckDesc::sorted()};
  EXPECT_FALSE(makeBundle(manifest, "// code"));
}

} // namespace
