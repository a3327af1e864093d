//===- HostDeviceTest.cpp - The CPU as a device ---------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Executable.h"
#include "attn/runtime/core/File.h"
#include "attn/runtime/host/Cpu.h"
#include "attn/runtime/host/ObjectFile.h"
#include "attn/runtime/host/ThreadPool.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cstring>
#include <set>

using namespace attn;
using host::ObjectFile;
using host::ThreadPool;

namespace {

std::string readObject(const char *path) {
  Result<std::string> bytes = readFile(path);
  EXPECT_TRUE(bytes.ok());
  return bytes ? *bytes : std::string();
}

/// A bundle of the test kernel, which multiplies element i of f32[n] by a
/// factor that depends on i and adds n.
Bundle makeScaleBundle(const std::string &target = "x86-64") {
  Manifest m;
  m.compiler = "test 1";
  m.target = target;
  m.function = "scale";
  m.code.kind = "object";
  m.code.file = "scale.o";
  m.buffers.resize(2);
  m.buffers[0] = {BufferRole::Argument, 0, "x", ElementType::F32, {"n"}, 4};
  m.buffers[1] = {BufferRole::Result, 0, "y", ElementType::F32, {"n"}, 4};
  LaunchDesc launch;
  launch.entry = "scale_items";
  launch.grid = Expression("n");
  launch.threads = 1;
  launch.shared = 64;
  launch.params = {ParamDesc::pointer(0), ParamDesc::pointer(1),
                   ParamDesc::size(0, 0)};
  m.launches.push_back(launch);
  Result<Bundle> bundle = makeBundle(m, readObject(ATTN_TEST_OBJECT));
  EXPECT_TRUE(bundle.ok()) << (bundle ? "" : bundle.error().message);
  return bundle ? *bundle : Bundle();
}

std::vector<float> runScale(const std::string &options, int64_t n) {
  auto device = openDevice("host", options);
  EXPECT_TRUE(device.ok());
  auto executable = Executable::load(*device, makeScaleBundle());
  EXPECT_TRUE(executable.ok())
      << (executable ? "" : executable.error().message);
  std::vector<float> x, y(size_t(n), -1.0f);
  for (int64_t i = 0; i < n; ++i)
    x.push_back(0.25f * float(i) - 3.0f);
  Tensor from = Tensor::rowMajor(ElementType::F32, {n},
                                 reinterpret_cast<uintptr_t>(x.data()));
  Tensor to = Tensor::rowMajor(ElementType::F32, {n},
                               reinterpret_cast<uintptr_t>(y.data()));
  Status status = (*executable)->run({from}, {to}, {});
  EXPECT_TRUE(status.ok()) << (status ? "" : status.error().message);
  return y;
}

TEST(HostDevice, RunsEveryItemOnce) {
  const float factors[] = {0.5f, 2.0f, -3.0f, 0.25f};
  for (const char *options : {"threads=1", "threads=2", "threads=7", ""})
    for (int64_t n : {0, 1, 2, 1000}) {
      std::vector<float> y = runScale(options, n);
      for (int64_t i = 0; i < n; ++i)
        EXPECT_EQ(y[size_t(i)],
                  factors[i % 4] * (0.25f * float(i) - 3.0f) + float(n))
            << options << ", item " << i << " of " << n;
    }
}

TEST(HostDevice, LaunchesFromSeveralThreads) {
  auto device = openDevice("host", "threads=3");
  ASSERT_TRUE(device.ok());
  auto executable = Executable::load(*device, makeScaleBundle());
  ASSERT_TRUE(executable.ok());
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&, caller] {
      for (int64_t n = 1; n < 200; n += 7) {
        std::vector<float> x(static_cast<size_t>(n), float(caller));
        std::vector<float> y(static_cast<size_t>(n), 0.0f);
        Tensor from = Tensor::rowMajor(ElementType::F32, {n},
                                       reinterpret_cast<uintptr_t>(x.data()));
        Tensor to = Tensor::rowMajor(ElementType::F32, {n},
                                     reinterpret_cast<uintptr_t>(y.data()));
        if (!(*executable)->run({from}, {to}, {}))
          ++wrong;
        for (int64_t i = 0; i < n; i += 4)
          wrong += y[size_t(i)] != 0.5f * float(caller) + float(n);
      }
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(wrong, 0);
}

/// Fresh pages for every launch cost more than many a kernel.
TEST(HostDevice, KeepsFreedMemoryForTheNextLaunch) {
  auto device = openDevice("host");
  ASSERT_TRUE(device.ok());
  auto first = (*device)->allocate(1000000, nullptr);
  auto other = (*device)->allocate(1000000, nullptr);
  ASSERT_TRUE(first.ok() && other.ok());
  EXPECT_NE(*first, *other);
  ASSERT_TRUE((*device)->free(*first, nullptr).ok());
  EXPECT_FALSE((*device)->free(*first, nullptr).ok());
  // Too much of it would lie idle.
  auto small = (*device)->allocate(1000, nullptr);
  ASSERT_TRUE(small.ok());
  EXPECT_NE(*small, *first);
  auto again = (*device)->allocate(900000, nullptr);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *first);
  for (uint64_t address : {*other, *small, *again})
    EXPECT_TRUE((*device)->free(address, nullptr).ok());
}

TEST(HostDevice, RefusesBadOptions) {
  for (const char *options : {"threads=0", "threads=-1",
                              "threads=", "threads=two", "threads=99999"}) {
    auto device = openDevice("host", options);
    ASSERT_FALSE(device.ok()) << options;
    EXPECT_NE(device.error().message.find("expected 1 to 4096, found"),
              std::string::npos)
        << device.error().message;
    EXPECT_NE(device.error().message.find("processors"), std::string::npos);
  }
  auto unknown = openDevice("host", "speed=11");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(
      unknown.error().message,
      "device 'host' has no option 'speed', it has: cpu, poison, threads");
  for (const char *options : {"poison=256", "poison=-1", "poison="})
    EXPECT_FALSE(openDevice("host", options).ok()) << options;
}

TEST(HostDevice, NamesBothSidesOfAMismatch) {
  auto device = openDevice("host");
  ASSERT_TRUE(device.ok());
  // Code for a GPU.
  Status gpu = (*device)->checkTarget("sm_80");
  ASSERT_FALSE(gpu.ok());
  EXPECT_NE(gpu.error().message.find("code for sm_80 cannot run on the CPU '" +
                                     host::cpuName() + "'"),
            std::string::npos)
      << gpu.error().message;
  // Code for the CPU on a simulated GPU.
  auto sim = openDevice("sim");
  ASSERT_TRUE(sim.ok());
  auto executable = Executable::load(*sim, makeScaleBundle());
  ASSERT_FALSE(executable.ok());
  EXPECT_NE(executable.error().message.find("code for x86-64 cannot run on"),
            std::string::npos)
      << executable.error().message;
}

/// As on a CPU that lacks a feature: never an illegal instruction.
TEST(HostDevice, RefusesCodeForABetterCpu) {
  auto device = openDevice("host", "cpu=x86-64");
  ASSERT_TRUE(device.ok());
  EXPECT_EQ((*device)->properties().target, "x86-64");
  EXPECT_TRUE(Executable::load(*device, makeScaleBundle()).ok());
  auto executable = Executable::load(*device, makeScaleBundle("x86-64-v3"));
  ASSERT_FALSE(executable.ok());
  EXPECT_EQ(executable.error().message,
            "code for x86-64-v3 cannot run on the CPU '" + host::cpuName() +
                "', which is limited to x86-64 and lacks avx2, fma, bmi, bmi2, "
                "f16c, lzcnt, movbe; targets that can: x86-64");
  if (host::checkCpu("x86-64-v3")) {
    Status status = host::checkCpu("x86-64-v4", "x86-64-v3");
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().message.find(
                  "lacks avx512f, avx512bw, avx512cd, avx512dq, avx512vl; "
                  "targets that can: x86-64, x86-64-v3"),
              std::string::npos)
        << status.error().message;
  }
  auto unknown = openDevice("host", "cpu=sm_80");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("targets for CPUs: x86-64, "),
            std::string::npos)
      << unknown.error().message;
}

TEST(HostDevice, KnowsItsCpu) {
  Result<std::string> best = host::bestCpuTarget();
  ASSERT_TRUE(best.ok());
  bool reached = false;
  for (const std::string &target : host::cpuTargets()) {
    EXPECT_TRUE(host::isCpuTarget(target));
    Status status = host::checkCpu(target);
    // All up to the best work, and none after it.
    EXPECT_EQ(status.ok(), !reached) << target;
    if (!status)
      EXPECT_NE(status.error().message.find("which lacks avx"),
                std::string::npos)
          << status.error().message;
    reached |= target == *best;
  }
  EXPECT_FALSE(host::isCpuTarget("x86-64-v9"));
  EXPECT_EQ((*openDevice("host"))->properties().target, *best);
}

TEST(HostBundle, ChecksTargetAndLimits) {
  Bundle good = makeScaleBundle();
  auto problem = [&](auto change) {
    Manifest m = good.manifest;
    change(m);
    Status status = verifyManifest(m);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(problem([](Manifest &) {}), "");
  EXPECT_EQ(problem([](Manifest &m) { m.target = "sm_80"; }),
            "target: expected a target such as x86-64 or x86-64-v4, found "
            "'sm_80'");
  EXPECT_EQ(problem([](Manifest &m) { m.code.kind = "ptx"; }),
            "target: expected a target such as sm_80 or sm_90a, found "
            "'x86-64'");
  EXPECT_EQ(problem([](Manifest &m) { m.launches[0].threads = 2; }),
            "launches[0].threads: expected 1 to 1, found 2");
  EXPECT_EQ(problem([](Manifest &m) { m.launches[0].shared = 1 << 21; }), "");
  EXPECT_NE(problem([](Manifest &m) { m.launches[0].shared = 1ll << 31; }), "");
  Result<std::string> text = writeManifest(good.manifest);
  ASSERT_TRUE(text.ok());
  Result<Manifest> back = parseManifest(*text);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(*back == good.manifest);
}

//===----------------------------------------------------------------------===//
// The loader
//===----------------------------------------------------------------------===//

TEST(ObjectFile, FindsFunctions) {
  auto object = ObjectFile::load(readObject(ATTN_TEST_OBJECT));
  ASSERT_TRUE(object.ok()) << object.error().message;
  EXPECT_NE((*object)->find("scale_items"), nullptr);
  EXPECT_EQ((*object)->find("scale"), nullptr); // not global
  EXPECT_EQ((*object)->find("missing"), nullptr);
  EXPECT_EQ((*object)->names(), std::vector<std::string>{"scale_items"});
}

TEST(ObjectFile, RefusesWhatIsMissingOutside) {
  auto object = ObjectFile::load(readObject(ATTN_TEST_NEEDS_SYMBOL));
  ASSERT_FALSE(object.ok());
  EXPECT_EQ(object.error().message,
            "object file: the code needs 'from_outside' from outside");
}

TEST(ObjectFile, RefusesOtherFiles) {
  EXPECT_EQ(ObjectFile::load("").error().message,
            "object file: not an ELF file");
  EXPECT_EQ(ObjectFile::load(".version 7.0\n.target sm_80\n").error().message,
            "object file: not an ELF file");
  std::string bytes = readObject(ATTN_TEST_OBJECT);
  bytes[18] = char(0xb7); // e_machine: AArch64
  auto other = ObjectFile::load(bytes);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().message,
            "object file: expected a relocatable file for x86-64, found type 1 "
            "for machine 183");
}

/// Cut or damaged files are refused or loaded, and nothing outside of them is
/// read; the sanitizers watch.
TEST(ObjectFile, SurvivesDamage) {
  const std::string good = readObject(ATTN_TEST_OBJECT);
  for (size_t length = 0; length < good.size(); length += 7)
    EXPECT_FALSE(ObjectFile::load(good.substr(0, length)).ok()) << length;
  uint64_t state = 12345;
  auto draw = [&](uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  int64_t refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    for (uint64_t changes = 1 + draw(8); changes-- > 0;)
      bytes[draw(bytes.size())] = char(draw(256));
    refused += !ObjectFile::load(bytes).ok();
  }
  EXPECT_GT(refused, 100);
}

//===----------------------------------------------------------------------===//
// The thread pool
//===----------------------------------------------------------------------===//

TEST(ThreadPool, DrawsEachItemOnceInOrder) {
  for (int64_t threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t total : {0, 1, 3, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(total));
      pool.run(total, [&](ThreadPool::Items &items) {
        int64_t last = -1;
        for (int64_t item = 0; items.next(item); last = item) {
          EXPECT_GT(item, last);
          ++seen[size_t(item)];
        }
      });
      for (std::atomic<int> &count : seen)
        EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, NeverHasMoreThreadsThanAskedFor) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  for (int run = 0; run < 50; ++run)
    pool.run(64, [&](ThreadPool::Items &items) {
      for (int64_t item = 0; items.next(item);) {
        std::lock_guard<std::mutex> lock(mutex);
        ids.insert(std::this_thread::get_id());
      }
    });
  EXPECT_LE(ids.size(), 3u);
}

TEST(ThreadPool, ANestedRunUsesItsOwnThread) {
  ThreadPool pool(4);
  std::atomic<int64_t> done{0};
  pool.run(8, [&](ThreadPool::Items &items) {
    for (int64_t item = 0; items.next(item);) {
      std::thread::id self = std::this_thread::get_id();
      pool.run(16, [&](ThreadPool::Items &inner) {
        EXPECT_EQ(std::this_thread::get_id(), self);
        for (int64_t i = 0; inner.next(i);)
          ++done;
      });
    }
  });
  EXPECT_EQ(done, 8 * 16);
}

} // namespace
