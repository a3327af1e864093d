//===- CudaDeviceTest.cpp - The cuda device over a fake driver ------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Executable.h"
#include "attn/runtime/cuda/Driver.h"
#include "attn/test/runtime/core/FakeLibcuda.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>

using namespace attn;
using namespace attn::test;

namespace {

class CudaDeviceTest : public testing::Test {
protected:
  void SetUp() override {
    void *library = ::dlopen(ATTN_FAKE_LIBCUDA, RTLD_NOW);
    ASSERT_TRUE(library) << ::dlerror();
    auto state =
        reinterpret_cast<FakeCuda *(*)()>(::dlsym(library, "attnFakeCuda"));
    ASSERT_TRUE(state);
    fake = state();
    *fake = FakeCuda();
    ::setenv("ATTN_CACHE", "0", 1); // CudaCodeCacheTest.cpp turns it on
  }
  void TearDown() override { EXPECT_EQ(fake->contexts, 0); }

  Result<std::shared_ptr<Device>> open(const std::string &name = "cuda") {
    return openDevice(name, std::string("library=") + ATTN_FAKE_LIBCUDA);
  }
  /// The recorded calls that start with `prefix`.
  std::vector<std::string> calls(const std::string &prefix) {
    std::vector<std::string> found;
    for (const std::string &call : fake->calls)
      if (call.compare(0, prefix.size(), prefix) == 0)
        found.push_back(call);
    return found;
  }
  using Strings = std::vector<std::string>;

  FakeCuda *fake = nullptr;
};

TEST_F(CudaDeviceTest, OpensAndDescribes) {
  fake->count = 3;
  {
    Result<std::shared_ptr<Device>> device = open("cuda:2");
    ASSERT_TRUE(device) << errorOf(device);
    const DeviceProperties &p = (*device)->properties();
    EXPECT_EQ(p.name, "Fake GPU");
    EXPECT_EQ(p.major, 9);
    EXPECT_EQ(p.minor, 0);
    EXPECT_EQ(p.multiprocessors, 132);
    EXPECT_EQ(p.sharedMemoryPerBlock, 232448);
    EXPECT_EQ(p.threadsPerBlock, 1024);
    EXPECT_EQ(toText(p.memory), "cuda:2");
    EXPECT_EQ(calls("cuDeviceGet "), Strings{"cuDeviceGet 2"});
    EXPECT_EQ(errorOf((*device)->report(false)),
              "'Fake GPU' makes no report; the device 'sim' does");
    EXPECT_TRUE(calls("cuDevicePrimaryCtxRelease").empty());
  }
  EXPECT_EQ(calls("cuDevicePrimaryCtxRelease"),
            Strings{"cuDevicePrimaryCtxRelease_v2 102"});
}

TEST_F(CudaDeviceTest, NamesWhatIsMissing) {
  fake->count = 2;
  EXPECT_EQ(errorOf(open("cuda:2")), "no GPU number 2, expected 0 to 1");
  fake->count = 0;
  EXPECT_EQ(errorOf(open()), "the CUDA driver finds no GPU; the device 'sim' "
                             "needs none");
  fake->count = 1;
  fake->failures["cuDevicePrimaryCtxRetain"] = 46;
  EXPECT_EQ(errorOf(open()),
            "cuDevicePrimaryCtxRetain: CUDA_ERROR_FAKE (as the test wished)");
  fake->failures = {{"cuDeviceGetCount", 999}};
  EXPECT_EQ(errorOf(open()),
            "cuDeviceGetCount: unknown CUDA error (no description)");
  EXPECT_EQ(errorOf(openDevice("cuda", "library=/no/such/lib.so")),
            "no CUDA driver: cannot open '/no/such/lib.so' (/no/such/lib.so: "
            "cannot open shared object file: No such file or directory); the "
            "device 'sim' needs no GPU");
  EXPECT_EQ(
      errorOf(openDevice("cuda", "color=red")),
      "unknown option 'color' of device 'cuda', expected library, cache or "
      "cache_dir");
  EXPECT_EQ(errorOf(openDevice("cuda", "cache=maybe")),
            "option 'cache': expected on or off, found 'maybe'");
  for (const char *name : {"cudax", "cuda:", "cuda:-1", "cuda:1x", "", "gpu"})
    EXPECT_EQ(errorOf(openDevice(name)),
              "unknown device '" + std::string(name) +
                  "', expected cuda, cuda:<number>, host or sim");
}

TEST_F(CudaDeviceTest, ALibraryThatIsNotADriver) {
  // libm is there wherever this test runs, and has none of the symbols.
  EXPECT_EQ(errorOf(openDevice("cuda", "library=libm.so.6")),
            "the CUDA driver 'libm.so.6' has no cuInit, expected one of CUDA "
            "11.2 or later");
}

TEST_F(CudaDeviceTest, TheEnvironmentNamesTheLibrary) {
  ::setenv("ATTN_LIBCUDA", "/no/driver/here.so", 1);
  std::string message = errorOf(openDevice("cuda"));
  ::setenv("ATTN_LIBCUDA", ATTN_FAKE_LIBCUDA, 1);
  EXPECT_TRUE(openDevice("cuda"));
  ::unsetenv("ATTN_LIBCUDA");
  EXPECT_EQ(message.find("no CUDA driver: cannot open '/no/driver/here.so'"),
            0u);
}

TEST_F(CudaDeviceTest, RunsABundle) {
  std::shared_ptr<Device> device = *open();
  Manifest m = scaleManifest();
  for (LaunchDesc &l : m.launches)
    l.shared = l.params[0].index == 0 ? 70000 : 60000;
  auto executable = Executable::load(device, *makeBundle(m, scalePtx));
  ASSERT_TRUE(executable) << errorOf(executable);
  EXPECT_EQ(fake->code, scalePtx);
  EXPECT_EQ(calls("cuModuleGetFunction"), Strings{"cuModuleGetFunction scale"});
  // Both launches use one kernel: the larger need stays.
  EXPECT_EQ(calls("cuFuncSetAttribute"), Strings{"cuFuncSetAttribute 8=70000"});

  MemorySpace gpu = device->properties().memory;
  Tensor x = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x10000, gpu);
  Tensor y = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x20000, gpu);
  x.strides[0] = int64_t(1) << 33;
  fake->parameterCount = 5;
  fake->calls.clear();
  auto stream = reinterpret_cast<Stream>(0x51);
  ASSERT_TRUE((*executable)->run({x}, {y}, {3}, stream));
  EXPECT_EQ(fake->calls, (Strings{"cuMemAllocAsync 1280 on 81",
                                  "cuLaunchKernel 5x1x1 64x1x1 70000 on 81",
                                  "cuLaunchKernel 5x1x1 64x1x1 60000 on 81",
                                  "cuMemFreeAsync on 81"}));
  ASSERT_EQ(fake->parameters.size(), 5u);
  EXPECT_EQ(fake->parameters[1], 0x20000u);
  EXPECT_EQ(fake->parameters[2], 64u);
  EXPECT_EQ(fake->parameters[4], 3u);

  fake->failures["cuLaunchKernel"] = 700;
  EXPECT_EQ(errorOf((*executable)->run({x}, {y}, {3})),
            "kernel 'scale': cuLaunchKernel: CUDA_ERROR_FAKE (as the test "
            "wished)");
  executable->reset();
  EXPECT_EQ(calls("cuModuleUnload").size(), 1u);
}

TEST_F(CudaDeviceTest, PassesTensorsAddresses) {
  std::shared_ptr<Device> device = *open();
  Manifest m = scaleManifest();
  m.launches = {m.launches[0]};
  m.launches[0].params[1] = ParamDesc::pointer(1);
  auto executable = Executable::load(device, *makeBundle(m, scalePtx));
  ASSERT_TRUE(executable);
  MemorySpace gpu = device->properties().memory;
  Tensor x = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x10000, gpu);
  Tensor y = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x20000, gpu);
  x.strides[0] = int64_t(1) << 33;
  x.byteOffset = 36;
  fake->parameterCount = 5;
  ASSERT_TRUE((*executable)->run({x}, {y}, {-1}));
  EXPECT_EQ(fake->parameters,
            (std::vector<unsigned long long>{0x10024, 0x20000,
                                             uint64_t(1) << 33, 64, ~0ull}));
}

TEST_F(CudaDeviceTest, EncodesTensorMaps) {
  std::shared_ptr<Device> device = *open();
  Manifest m = scaleManifest();
  m.target = "sm_90";
  m.launches = {m.launches[0]};
  m.launches[0].params = {ParamDesc::pointer(1),
                          ParamDesc::tensorMap(0, {8, 32}, 128),
                          ParamDesc::scalar(1)};
  auto executable = Executable::load(device, *makeBundle(m, scalePtx));
  ASSERT_TRUE(executable) << errorOf(executable);
  MemorySpace gpu = device->properties().memory;
  Tensor x = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x10000, gpu);
  Tensor y = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x20000, gpu);
  x.strides[0] = int64_t(1) << 33;
  x.byteOffset = 32;
  fake->parameterCount = 3;
  ASSERT_TRUE((*executable)->run({x}, {y}, {-1}));
  EXPECT_EQ(calls("cuTensorMapEncodeTiled"),
            Strings{"cuTensorMapEncodeTiled 7 at 65568; 64 by 1 box 32/1; 5 by "
                    "34359738368 box 8/1 0 3 2 0"});
  EXPECT_EQ(fake->parameters,
            (std::vector<unsigned long long>{0x20000, 0xABC2, ~0ull}));
  fake->failures["cuTensorMapEncodeTiled"] = 1;
  EXPECT_EQ(errorOf((*executable)->run({x}, {y}, {-1})),
            "kernel 'scale': 'x': cuTensorMapEncodeTiled: CUDA_ERROR_FAKE (as "
            "the test wished)");
}

// 5 rows in classes modulo 3: all have one, the first two have another.
TEST_F(CudaDeviceTest, EncodesTensorMapsOfClasses) {
  std::shared_ptr<Device> device = *open();
  Manifest m = scaleManifest();
  m.target = "sm_90";
  m.launches = {m.launches[0]};
  m.launches[0].params = {ParamDesc::pointer(1),
                          ParamDesc::tensorMap(0, {8, 32}, 128, 3, false),
                          ParamDesc::tensorMap(0, {8, 32}, 128, 3, true)};
  auto executable = Executable::load(device, *makeBundle(m, scalePtx));
  ASSERT_TRUE(executable) << errorOf(executable);
  MemorySpace gpu = device->properties().memory;
  Tensor x = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x10000, gpu);
  Tensor y = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x20000, gpu);
  fake->parameterCount = 3;
  ASSERT_TRUE((*executable)->run({x}, {y}, {1}));
  EXPECT_EQ(calls("cuTensorMapEncodeTiled"),
            (Strings{"cuTensorMapEncodeTiled 7 at 65536; 64 by 1 box 32/1; 3 "
                     "by 256 box 1/1; 1 by 16 box 8/1 0 3 2 0",
                     "cuTensorMapEncodeTiled 7 at 65536; 64 by 1 box 32/1; 2 "
                     "by 256 box 1/1; 2 by 768 box 8/1 0 3 2 0"}));
  x.strides[0] = 66;
  EXPECT_EQ(errorOf((*executable)->run({x}, {y}, {1})),
            "argument 0 'x': dimension 0 has a stride of 66 elements, a tensor "
            "map needs a multiple of 4, at least 0 and less than 2^40 bytes");
  x.strides[0] = int64_t(1) << 37;
  EXPECT_EQ(errorOf((*executable)->run({x}, {y}, {1})),
            "argument 0 'x': dimension 0 has a stride of 137438953472 "
            "elements, times 3 classes, a tensor map needs less than 2^40 "
            "bytes");
}

TEST_F(CudaDeviceTest, TellsKernelsWhetherTensorMapsFit) {
  std::shared_ptr<Device> device = *open();
  Manifest m = scaleManifest();
  m.target = "sm_90a";
  m.launches = {m.launches[0]};
  m.launches[0].params = {ParamDesc::tensorMapsFit(),
                          ParamDesc::tensorMap(0, {8, 32}, 128),
                          ParamDesc::tensorMap(1, {8, 32}, 128)};
  auto executable = Executable::load(device, *makeBundle(m, scalePtx));
  ASSERT_TRUE(executable) << errorOf(executable);
  MemorySpace gpu = device->properties().memory;
  Tensor x = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x10000, gpu);
  Tensor y = Tensor::rowMajor(ElementType::F32, {5, 64}, 0x20000, gpu);
  fake->parameterCount = 3;
  ASSERT_TRUE((*executable)->run({x}, {y}, {-1}));
  EXPECT_EQ(fake->parameters[0], 1u);
  EXPECT_NE(fake->parameters[1], 0u);
  EXPECT_NE(fake->parameters[2], 0u);
  size_t encoded = calls("cuTensorMapEncodeTiled").size();
  EXPECT_EQ(encoded, 2u);
  // One that does not fit: no map is made.
  y.strides[0] = 65;
  ::setenv("ATTN_REMARKS", "1", 1);
  testing::internal::CaptureStderr();
  ASSERT_TRUE((*executable)->run({x}, {y}, {-1}));
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "attn: remark: kernel 'scale' copies row by row: result 0 'y': "
            "dimension 0 has a stride of 65 elements, a tensor map needs a "
            "multiple of 4, at least 0 and less than 2^40 bytes\n");
  ::unsetenv("ATTN_REMARKS");
  EXPECT_EQ(fake->parameters, (std::vector<unsigned long long>{0, 0, 0}));
  EXPECT_EQ(calls("cuTensorMapEncodeTiled").size(), encoded);
}

TEST_F(CudaDeviceTest, ShowsTheAssemblersLog) {
  std::shared_ptr<Device> device = *open();
  fake->failures["cuModuleLoadDataEx"] = 218;
  fake->jitError = "ptxas application ptx input, line 7; error: nonsense";
  fake->jitInfo = std::string(100000, 'i'); // longer than the buffer
  std::string message =
      errorOf(Executable::load(device, *makeBundle(scaleManifest(), "x")));
  EXPECT_EQ(message.find("code of 'scale': cuModuleLoadDataEx: CUDA_ERROR_FAKE "
                         "(as the test wished)\nptxas application ptx input, "
                         "line 7; error: nonsense\niiii"),
            0u)
      << message;
  EXPECT_NE(message.find("\n(driver of CUDA 12.4 on 'Fake GPU')"),
            std::string::npos);
  EXPECT_LT(message.size(), 20000u);
}

TEST_F(CudaDeviceTest, ChecksTheTargetAndTheSharedMemory) {
  Manifest m = scaleManifest();
  m.target = "sm_90a";
  EXPECT_TRUE(Executable::load(*open(), *makeBundle(m, "x")));
  fake->major = 10;
  EXPECT_EQ(errorOf(Executable::load(*open(), *makeBundle(m, "x"))),
            "code for sm_90a cannot run on 'Fake GPU' (compute capability "
            "10.0); targets that can: sm_80, sm_86, sm_89, sm_90");
  // The kernel's 64 static bytes count as well.
  m.target = "sm_80";
  m.launches[1].shared = 232448 - 63;
  EXPECT_EQ(
      errorOf(Executable::load(*open(), *makeBundle(m, "x"))),
      "kernel 'scale': needs 64 static and 232385 dynamic bytes of shared "
      "memory, 'Fake GPU' has 232448");
  m.launches[1].shared -= 1;
  EXPECT_TRUE(Executable::load(*open(), *makeBundle(m, "x")));
}

TEST_F(CudaDeviceTest, AllocatesWithoutPoolsToo) {
  fake->pools = 0;
  std::shared_ptr<Device> device = *open();
  fake->calls.clear();
  Result<uint64_t> address = device->allocate(100, nullptr);
  ASSERT_TRUE(address);
  EXPECT_TRUE(device->free(*address, reinterpret_cast<Stream>(9)));
  EXPECT_EQ(fake->calls, (Strings{"cuMemAlloc_v2 100", "cuStreamSynchronize 9",
                                  "cuMemFree_v2"}));
  EXPECT_EQ(*device->allocate(0, nullptr), 0u);
  EXPECT_TRUE(device->free(0, nullptr));
}

TEST_F(CudaDeviceTest, ReportsAFullMemory) {
  std::shared_ptr<Device> device = *open();
  fake->failures["cuMemAllocAsync"] = 2;
  Result<uint64_t> address = device->allocate(12345, nullptr);
  ASSERT_FALSE(address);
  EXPECT_EQ(address.error().code, ErrorCode::OutOfMemory);
  EXPECT_EQ(address.error().message,
            "cannot allocate 12345 bytes: cuMemAllocAsync: "
            "CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
}

TEST_F(CudaDeviceTest, CopiesRows) {
  std::shared_ptr<Device> device = *open();
  uint64_t memory = *device->allocate(4096, nullptr);
  Tensor t = Tensor::rowMajor(ElementType::F32, {3, 5}, memory,
                              device->properties().memory);
  std::vector<float> in(15), out(15);
  for (size_t i = 0; i < in.size(); ++i)
    in[i] = static_cast<float>(i * i) - 7;
  fake->calls.clear();
  EXPECT_TRUE(copyToTensor(*device, t, in.data()));
  EXPECT_TRUE(copyFromTensor(*device, out.data(), t));
  EXPECT_EQ(out, in);
  EXPECT_EQ(fake->calls,
            (Strings{"cuMemcpyHtoDAsync_v2 60", "cuStreamSynchronize 0",
                     "cuMemcpyDtoHAsync_v2 60", "cuStreamSynchronize 0"}));
  t.strides[0] = 9;
  fake->calls.clear();
  std::fill(out.begin(), out.end(), 0.0f);
  EXPECT_TRUE(copyToTensor(*device, t, in.data()));
  EXPECT_TRUE(copyFromTensor(*device, out.data(), t));
  EXPECT_EQ(out, in);
  EXPECT_EQ(calls("cuMemcpy"),
            (Strings{"cuMemcpy2DAsync_v2 20x3", "cuMemcpy2DAsync_v2 20x3"}));
  EXPECT_TRUE(device->free(memory, nullptr));
}

TEST_F(CudaDeviceTest, Streams) {
  std::shared_ptr<Device> device = *open();
  Result<Stream> stream = device->createStream();
  ASSERT_TRUE(stream);
  EXPECT_EQ(calls("cuStreamCreate"), Strings{"cuStreamCreate 1"});
  EXPECT_TRUE(device->synchronize(*stream));
  EXPECT_TRUE(device->destroyStream(*stream));
  EXPECT_TRUE(device->destroyStream(nullptr));
  EXPECT_EQ(calls("cuStreamDestroy").size(), 1u);
  fake->failures["cuCtxPushCurrent_v2"] = 201;
  EXPECT_EQ(errorOf(device->createStream()),
            "cuCtxPushCurrent: CUDA_ERROR_FAKE (as the test wished)");
  fake->failures.clear();
}

} // namespace
