//===- CudaCodeCacheTest.cpp - Machine code kept on disk ------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Executable.h"
#include "attn/runtime/core/File.h"
#include "attn/runtime/cuda/Driver.h"
#include "attn/test/runtime/core/FakeLibcuda.h"
#include "attn/test/runtime/core/PrivateFolder.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <algorithm>
#include <dlfcn.h>
#include <fcntl.h>
#include <random>
#include <sys/stat.h>
#include <thread>

using namespace attn;
using namespace attn::test;
namespace fs = std::filesystem;

namespace {

class CudaCodeCacheTest : public testing::Test {
protected:
  void SetUp() override {
    if (scratch.path.empty())
      GTEST_SKIP() << "no folder that only the user may write to";
    // A copy, so that its name and time are this test's.
    library = scratch.path + "/libfake.so.1.0";
    fs::copy_file(ATTN_FAKE_LIBCUDA, library);
    use(library);
    folder = scratch.path + "/cache";
    ::unsetenv("ATTN_CACHE");
  }
  void TearDown() override {
    ::setenv("ATTN_CACHE", "0", 1);
    if (fake)
      EXPECT_EQ(fake->contexts, 0);
  }

  void use(const std::string &path) {
    void *handle = ::dlopen(path.c_str(), RTLD_NOW);
    ASSERT_TRUE(handle) << ::dlerror();
    fake = reinterpret_cast<FakeCuda *(*)()>(::dlsym(handle, "attnFakeCuda"))();
    *fake = FakeCuda();
  }

  /// As a new process does: a device, the bundle, one kernel.
  std::string load(const std::string &ptx = scalePtx,
                   const std::string &more = "") {
    Result<std::shared_ptr<Device>> device = openDevice(
        "cuda", "library=" + library + ",cache_dir=" + folder + more);
    if (!device)
      return errorOf(device);
    return errorOf(
        Executable::load(*device, *makeBundle(scaleManifest(), ptx)));
  }
  std::vector<std::string> entries() {
    std::vector<std::string> names;
    if (fs::exists(folder))
      for (const fs::directory_entry &file : fs::directory_iterator(folder))
        names.push_back(file.path());
    return names;
  }
  static constexpr const char *fine = "no error";

  PrivateFolder scratch;
  std::string library, folder;
  FakeCuda *fake = nullptr;
};

TEST_F(CudaCodeCacheTest, AWarmStartAssemblesNothing) {
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, 1);
  EXPECT_NE(fake->code.find("FAKE "), std::string::npos);
  std::string code = fake->code;
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, 1);
  EXPECT_EQ(fake->code, code);
  ASSERT_EQ(entries().size(), 1u);
  struct stat info;
  ASSERT_EQ(::stat(entries()[0].c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  // As many links are destroyed as were created.
  EXPECT_EQ(std::count(fake->calls.begin(), fake->calls.end(), "cuLinkDestroy"),
            1);
}

TEST_F(CudaCodeCacheTest, MachineCodeOfABundleIsLoadedAsItIs) {
  const std::string code = "\177ELF of the scale kernel";
  Manifest manifest = scaleManifest();
  manifest.code.kind = "cubin";
  manifest.target = "sm_90";
  auto loadOn = [&](const std::string &name, const std::string &options) {
    Result<std::shared_ptr<Device>> device = openDevice(name, options);
    return device
               ? errorOf(Executable::load(*device, *makeBundle(manifest, code)))
               : errorOf(device);
  };
  const std::string options = "library=" + library + ",cache_dir=" + folder;
  EXPECT_EQ(loadOn("cuda", options), fine);
  EXPECT_EQ(fake->assembled, 0);
  EXPECT_EQ(fake->code, code);
  EXPECT_TRUE(entries().empty());
  // Of another generation, and where PTX is executed.
  manifest.target = "sm_80";
  EXPECT_NE(loadOn("cuda", options).find("machine code for sm_80 does not run"),
            std::string::npos);
  manifest.target = "sm_90";
  EXPECT_NE(loadOn("sim", "").find("machine code for sm_90 does not run"),
            std::string::npos);
}

TEST_F(CudaCodeCacheTest, TheKeySaysEverything) {
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(load(std::string(scalePtx) + "// another\n"), fine);
  EXPECT_EQ(fake->assembled, 2);
  fake->name = "Other GPU";
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, 3);
  fake->minor = 1;
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, 4);
  // Another version of the driver.
  std::string newer = scratch.path + "/libfake.so.1.1";
  fs::copy_file(ATTN_FAKE_LIBCUDA, newer);
  library = newer;
  use(library);
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, 1);
  EXPECT_EQ(entries().size(), 5u);
  // A link to the driver is the driver.
  std::string link = scratch.path + "/libfake.so";
  fs::create_symlink(newer, link);
  library = link;
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, 1);
}

TEST_F(CudaCodeCacheTest, CanBeTurnedOff) {
  EXPECT_EQ(load(scalePtx, ",cache=off"), fine);
  EXPECT_EQ(fake->assembled, 0);
  EXPECT_EQ(fake->code, scalePtx);
  ::setenv("ATTN_CACHE", "0", 1);
  EXPECT_EQ(load(), fine);
  ::unsetenv("ATTN_CACHE");
  EXPECT_EQ(fake->assembled, 0);
  EXPECT_TRUE(entries().empty());
  // A folder that others can write to is not used.
  folder = scratch.path + "/shared/cache";
  fs::create_directory(scratch.path + "/shared");
  fs::permissions(scratch.path + "/shared", fs::perms::all);
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, 0);
  EXPECT_EQ(fake->code, scalePtx);
}

TEST_F(CudaCodeCacheTest, AnythingWrongIsAMiss) {
  ASSERT_EQ(load(), fine);
  std::string entry = entries().at(0), bytes = *readFile(entry);
  std::string right = fake->code;
  auto write = [&](const std::string &damaged) {
    int fd = ::open(entry.c_str(), O_WRONLY | O_TRUNC);
    ASSERT_EQ(::write(fd, damaged.data(), damaged.size()),
              static_cast<ssize_t>(damaged.size()));
    ::close(fd);
  };
  int expected = 1;
  std::mt19937 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    std::string damaged = bytes;
    if (trial % 2)
      damaged.resize(random() % damaged.size());
    else
      damaged[random() % damaged.size()] ^=
          static_cast<char>(1 << trial / 2 % 8);
    write(damaged);
    ASSERT_EQ(load(), fine);
    ASSERT_EQ(fake->assembled, ++expected);
    ASSERT_EQ(fake->code, right);
    // It is whole again.
    ASSERT_EQ(*readFile(entry), bytes);
  }
  // Well kept, but the driver does not take it.
  fake->calls.clear();
  fake->failures["cuModuleLoadDataEx"] = 0;
  std::string key = fs::path(entry).filename();
  Result<std::unique_ptr<DiskCache>> cache = DiskCache::open(folder, 1 << 20);
  ASSERT_TRUE(cache);
  ASSERT_TRUE((*cache)->storeBytes(key, "\x7f"
                                        "FAKE of old"));
  EXPECT_EQ(load(), fine);
  EXPECT_EQ(fake->assembled, expected + 1);
  EXPECT_EQ(*readFile(entry), bytes);
}

TEST_F(CudaCodeCacheTest, FailuresAreNotKept) {
  fake->jitError = "ptxas application ptx input, line 7; error: nonsense";
  for (const char *call :
       {"cuLinkCreate_v2", "cuLinkAddData_v2", "cuLinkComplete"}) {
    fake->failures = {{call, 218}};
    std::string message = load();
    std::string name = std::string(call).substr(0, std::string(call).find('_'));
    EXPECT_EQ(message, "code of 'scale': " + name +
                           ": CUDA_ERROR_FAKE (as the test wished)\n" +
                           fake->jitError +
                           "\n(driver of CUDA 12.4 on 'Fake GPU')");
  }
  fake->failures = {{"cuModuleLoadDataEx", 2}};
  EXPECT_NE(load(), fine);
  EXPECT_TRUE(entries().empty());
  auto count = [&](const char *call) {
    return std::count(fake->calls.begin(), fake->calls.end(), call);
  };
  EXPECT_EQ(count("cuLinkDestroy"), count("cuLinkCreate_v2") - 1);
  fake->failures = {{"cuCtxPushCurrent_v2", 201}};
  EXPECT_NE(load().find("cuCtxPushCurrent"), std::string::npos);
  fake->failures.clear();
  EXPECT_EQ(load(), fine);
}

} // namespace
