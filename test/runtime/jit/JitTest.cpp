//===- JitTest.cpp - Compiling in a process, with caches ------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/jit/Jit.h"
#include "attn/dialect/reference/Numerics.h"
#include "attn/runtime/core/File.h"
#include "attn/runtime/jit/Compiler.h"
#include "attn/test/runtime/core/PrivateFolder.h"
#include "attn/test/runtime/core/TestSupport.h"

#include <atomic>
#include <cmath>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <random>
#include <sys/wait.h>
#include <thread>

using namespace attn;
using namespace attn::test;

namespace {

AttentionSpec smallSpec(const std::string &mask = "causal") {
  AttentionSpec spec;
  spec.type = ElementType::F16;
  spec.queryHeads = 2;
  spec.kvHeads = 1;
  spec.headSize = 16;
  spec.mask = mask;
  return spec;
}

CompileRequest requestOf(const AttentionSpec &spec,
                         const std::string &target = "sm_80") {
  Result<std::string> source = toMlir(spec);
  EXPECT_TRUE(source) << errorOf(source);
  return {*source, "", target};
}

JitOptions inMemory() {
  JitOptions options;
  options.diskCache = false;
  return options;
}

std::shared_ptr<Device> openSim() {
  Result<std::shared_ptr<Device>> device = openDevice("sim", "threads=1");
  EXPECT_TRUE(device) << errorOf(device);
  return *device;
}

/// The largest difference between the program's result and the definition.
double errorOfRun(const Executable &program, int64_t window) {
  int64_t heads = 2, queries = 37, keys = 53, size = 16;
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  using reference::Format;
  auto fill = [&](int64_t n) {
    std::vector<uint16_t> bits(static_cast<size_t>(n));
    for (uint16_t &value : bits)
      value =
          static_cast<uint16_t>(reference::encode(normal(random), Format::F16));
    return bits;
  };
  auto real = [](uint16_t bits) {
    return reference::decode(bits, Format::F16);
  };
  std::vector<uint16_t> q = fill(heads * queries * size), k = fill(keys * size),
                        v = fill(keys * size), o(q.size(), 0x7fff);
  std::vector<float> lse(static_cast<size_t>(heads * queries));
  auto tensor = [](auto &data, std::vector<int64_t> shape) {
    return Tensor::rowMajor(
        sizeof data[0] == 2 ? ElementType::F16 : ElementType::F32,
        std::move(shape), reinterpret_cast<uint64_t>(data.data()));
  };
  Status status = program.run(
      {tensor(q, {1, heads, queries, size}), tensor(k, {1, 1, keys, size}),
       tensor(v, {1, 1, keys, size})},
      {tensor(o, {1, heads, queries, size}), tensor(lse, {1, heads, queries})},
      {window});
  EXPECT_TRUE(status) << errorOf(status);
  double worst = 0;
  for (int64_t row = 0; row < heads * queries; ++row) {
    int64_t p = row % queries + keys - queries;
    std::vector<double> weights(static_cast<size_t>(keys), 0);
    double sum = 0;
    for (int64_t j = std::max<int64_t>(0, p - window); j <= p; ++j) {
      double score = 0;
      for (int64_t d = 0; d < size; ++d)
        score += real(q[row * size + d]) * real(k[j * size + d]);
      sum += weights[j] = std::exp(score / 4);
    }
    for (int64_t d = 0; d < size; ++d) {
      double expected = 0;
      for (int64_t j = 0; j < keys; ++j)
        expected += weights[j] / sum * real(v[j * size + d]);
      double error = std::abs(expected - real(o[row * size + d]));
      worst = std::max(worst, std::isnan(error) ? 1e9 : error);
    }
    worst = std::max(worst, std::abs(std::log(sum) - lse[row]));
  }
  return worst;
}

TEST(Jit, FromSpecToNumbers) {
  AttentionSpec spec = smallSpec("causal & window<%w, 0>");
  spec.symbols = {"w"};
  spec.lse = true;
  Jit jit(inMemory());
  Result<std::shared_ptr<const Executable>> program =
      jit.load(openSim(), requestOf(spec, ""));
  ASSERT_TRUE(program) << errorOf(program);
  EXPECT_EQ((*program)->manifest().target, "sm_90");
  // One kernel for every window.
  EXPECT_LT(errorOfRun(**program, 1000), 2e-3);
  EXPECT_LT(errorOfRun(**program, 9), 2e-3);
}

TEST(Jit, CompilesForTheHost) {
  Result<std::shared_ptr<Device>> host = openDevice("host");
  if (!host)
    GTEST_SKIP() << errorOf(host);
  AttentionSpec spec = smallSpec("causal & window<%w, 0>");
  spec.symbols = {"w"};
  spec.lse = true;
  Jit jit(inMemory());
  Result<std::shared_ptr<const Executable>> program =
      jit.load(*host, requestOf(spec, ""));
  ASSERT_TRUE(program) << errorOf(program);
  EXPECT_EQ((*program)->manifest().code.kind, "object");
  EXPECT_LT(errorOfRun(**program, 1000), 2e-3);
  EXPECT_LT(errorOfRun(**program, 9), 2e-3);
}

TEST(Jit, RemembersInMemory) {
  Jit jit(inMemory());
  auto first = jit.compile(requestOf(smallSpec()));
  ASSERT_TRUE(first) << errorOf(first);
  auto second = jit.compile(requestOf(smallSpec()));
  ASSERT_TRUE(second);
  EXPECT_EQ(first->get(), second->get());
  auto other = jit.compile(requestOf(smallSpec(), "sm_90"));
  ASSERT_TRUE(other);
  EXPECT_NE((*other)->code, (*first)->code);
  EXPECT_EQ(jit.statistics().compilations, 2u);
  EXPECT_EQ(jit.statistics().memoryHits, 1u);

  std::shared_ptr<Device> a = openSim(), b = openSim();
  auto onA = jit.load(a, requestOf(smallSpec())),
       again = jit.load(a, requestOf(smallSpec())),
       onB = jit.load(b, requestOf(smallSpec()));
  ASSERT_TRUE(onA && again && onB);
  EXPECT_EQ(onA->get(), again->get());
  EXPECT_NE(onA->get(), onB->get());
  EXPECT_EQ(jit.statistics().compilations, 2u);

  // Cleared programs live on in the hands of their users.
  jit.clear();
  EXPECT_EQ((*onA)->manifest().function, "attention");
  ASSERT_TRUE(jit.compile(requestOf(smallSpec())));
  EXPECT_EQ(jit.statistics().compilations, 3u);
}

TEST(Jit, ForgetsTheLeastRecentlyUsed) {
  JitOptions options = inMemory();
  options.memoryEntries = 2;
  Jit jit(options);
  auto compile = [&](const char *mask) {
    EXPECT_TRUE(jit.compile(requestOf(smallSpec(mask))));
    return jit.statistics().compilations;
  };
  EXPECT_EQ(compile("causal"), 1u);
  EXPECT_EQ(compile("all"), 2u);
  EXPECT_EQ(compile("causal"), 2u);
  EXPECT_EQ(compile("window<3, 3>"), 3u);
  EXPECT_EQ(compile("causal"), 3u);
  EXPECT_EQ(compile("all"), 4u);
}

TEST(Jit, SaysWhereAndWhy) {
  Jit jit(inMemory());
  AttentionSpec spec = smallSpec("causal & windw<3, 0>");
  std::string message = errorOf(jit.compile(requestOf(spec)));
  EXPECT_NE(message.find("attention.mlir:3:48: error: "), std::string::npos)
      << message;
  EXPECT_NE(message.find("windw"), std::string::npos) << message;
  // The line is shown as it was written.
  EXPECT_NE(message.find("mask(causal & windw<3, 0>)"), std::string::npos)
      << message;

  spec = smallSpec();
  spec.headSize = 20;
  message = errorOf(jit.compile(requestOf(spec)));
  EXPECT_NE(message.find("attention.mlir:3:8: error: "), std::string::npos)
      << message;
  EXPECT_NE(message.find("(A6)"), std::string::npos) << message;
  // A failure is not remembered as a success, and is the same again.
  EXPECT_EQ(errorOf(jit.compile(requestOf(spec))), message);
  EXPECT_EQ(jit.statistics().memoryHits, 0u);

  message = errorOf(jit.compile(requestOf(smallSpec(), "sm_70")));
  EXPECT_NE(message.find("found sm_70"), std::string::npos) << message;
  EXPECT_EQ(errorOf(jit.compile({"", "", "sm_80"})),
            "expected one public function with a body, or a name, found none");
  std::string two = "func.func @a() { return }\nfunc.func @b() { return }";
  EXPECT_EQ(errorOf(jit.compile({two, "", "sm_80"})),
            "expected one public function with a body, or a name, found 'a', "
            "'b'");
  EXPECT_EQ(errorOf(jit.compile({two, "c", "sm_80"})),
            "expected a public function 'c' with a body, found 'a', 'b'");
  EXPECT_EQ(
      errorOf(jit.compile({two, "a", "sm_80"})).find("attention.mlir:1:1:"),
      0u);
}

TEST(Jit, CompilesOnManyThreadsOnce) {
  Jit jit(inMemory());
  const char *masks[] = {"causal", "all", "window<5, 5>"};
  std::vector<std::string> expected;
  for (const char *mask : masks)
    expected.push_back(
        (*Jit(inMemory()).compile(requestOf(smallSpec(mask))))->code);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 9; ++t)
    threads.emplace_back([&, t] {
      auto bundle = jit.compile(requestOf(smallSpec(masks[t % 3])));
      wrong += !bundle || (*bundle)->code != expected[t % 3];
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(jit.statistics().compilations, 3u);
}

TEST(Jit, CompilingBlocksNoLaunch) {
  Jit jit(inMemory());
  std::shared_ptr<Device> device = openSim();
  AttentionSpec spec = smallSpec("causal & window<%w, 0>");
  spec.symbols = {"w"};
  spec.lse = true;
  CompileRequest ready = requestOf(spec, "");
  ASSERT_TRUE(jit.load(device, ready));

  std::atomic<bool> done{false};
  std::thread compiler([&] {
    for (int w = 1; w < 20; ++w)
      EXPECT_TRUE(jit.compile(
          requestOf(smallSpec("window<" + std::to_string(w) + ", 1>"))));
    done = true;
  });
  // Wait until it is at work, and find that launches go through meanwhile.
  while (jit.statistics().compilations < 2)
    std::this_thread::yield();
  auto program = jit.load(device, ready);
  ASSERT_TRUE(program);
  EXPECT_LT(errorOfRun(**program, 9), 2e-3);
  EXPECT_FALSE(done);
  compiler.join();
}

TEST(Jit, AHitIsCheap) {
  Jit jit(inMemory());
  std::shared_ptr<Device> device = openSim();
  CompileRequest request = requestOf(smallSpec(), "");
  ASSERT_TRUE(jit.load(device, request));
  constexpr int calls = 20000;
  std::clock_t start = std::clock(); // of this process: others do not count
  for (int i = 0; i < calls; ++i)
    ASSERT_TRUE(jit.load(device, request));
  double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
  RecordProperty("microseconds", std::to_string(1e6 * seconds / calls));
  EXPECT_LT(1e6 * seconds / calls, 10);
}

//===----------------------------------------------------------------------===//
// With a disk
//===----------------------------------------------------------------------===//

class JitDiskTest : public testing::Test {
protected:
  void SetUp() override {
    if (scratch.path.empty())
      GTEST_SKIP() << "no folder that only the user may write to";
    ::unsetenv("ATTN_CACHE");
    options.cacheFolder = scratch.path + "/cache";
  }

  PrivateFolder scratch;
  JitOptions options;
};

TEST_F(JitDiskTest, KeepsKernelsOnDisk) {
  CompileRequest request = requestOf(smallSpec());
  Jit first(options);
  ASSERT_TRUE(first.cacheFolder()) << errorOf(first.cacheFolder());
  auto compiled = first.compile(request);
  ASSERT_TRUE(compiled) << errorOf(compiled);

  Jit second(options);
  auto stored = second.compile(request);
  ASSERT_TRUE(stored) << errorOf(stored);
  EXPECT_EQ((*stored)->code, (*compiled)->code);
  EXPECT_TRUE((*stored)->manifest == (*compiled)->manifest);
  EXPECT_EQ(second.statistics().compilations, 0u);
  EXPECT_EQ(second.statistics().diskHits, 1u);

  // Layout, comments and names of values make no difference; all else does.
  std::string source = "// a comment\n" + request.source;
  for (size_t at; (at = source.find("%q")) != std::string::npos;)
    source.replace(at, 2, "%other");
  ASSERT_TRUE(second.compile({source, "attention", "sm_80"}));
  EXPECT_EQ(second.statistics().diskHits, 2u);
  ASSERT_TRUE(second.compile(requestOf(smallSpec("all"))));
  ASSERT_TRUE(second.compile(requestOf(smallSpec(), "sm_86")));
  EXPECT_EQ(second.statistics().compilations, 2u);
}

TEST_F(JitDiskTest, KeepsObjectCodeOnDisk) {
  Result<std::shared_ptr<Device>> host = openDevice("host");
  if (!host)
    GTEST_SKIP() << errorOf(host);
  AttentionSpec spec = smallSpec("causal & window<%w, 0>");
  spec.symbols = {"w"};
  spec.lse = true;
  Jit first(options);
  ASSERT_TRUE(first.load(*host, requestOf(spec, "")));
  EXPECT_EQ(first.statistics().compilations, 1u);

  Jit second(options);
  auto program = second.load(*host, requestOf(spec, ""));
  ASSERT_TRUE(program) << errorOf(program);
  EXPECT_EQ(second.statistics().compilations, 0u);
  EXPECT_EQ(second.statistics().diskHits, 1u);
  EXPECT_EQ((*program)->manifest().code.kind, "object");
  EXPECT_LT(errorOfRun(**program, 9), 2e-3);

  // Another instruction set is another kernel.
  auto limited = openDevice("host", "cpu=x86-64");
  ASSERT_TRUE(limited) << errorOf(limited);
  auto plain = second.load(*limited, requestOf(spec, ""));
  ASSERT_TRUE(plain) << errorOf(plain);
  EXPECT_EQ((*plain)->manifest().target, "x86-64");
  EXPECT_EQ(second.statistics().compilations,
            (*host)->properties().target == "x86-64" ? 0u : 1u);
  EXPECT_LT(errorOfRun(**plain, 9), 2e-3);
}

TEST_F(JitDiskTest, CompilesWithoutADisk) {
  options.cacheFolder = "relative";
  Jit jit(options);
  EXPECT_FALSE(jit.cacheFolder());
  EXPECT_TRUE(jit.compile(requestOf(smallSpec())));

  options.cacheFolder = scratch.path + "/cache";
  ::setenv("ATTN_CACHE", "0", 1);
  Jit off(options);
  ::unsetenv("ATTN_CACHE");
  EXPECT_EQ(errorOf(off.cacheFolder()), "the disk cache is turned off");
  EXPECT_FALSE(std::filesystem::exists(options.cacheFolder));

  ::setenv("ATTN_CACHE_DIR", (scratch.path + "/named").c_str(), 1);
  Jit named;
  ::unsetenv("ATTN_CACHE_DIR");
  ASSERT_TRUE(named.cacheFolder()) << errorOf(named.cacheFolder());
  EXPECT_EQ(*named.cacheFolder(), scratch.path + "/named");
}

TEST_F(JitDiskTest, ManyProcessesShareAColdKey) {
  CompileRequest request = requestOf(smallSpec("window<7, 2>"));
  std::string expected = (*Jit(inMemory()).compile(request))->code;
  constexpr int processes = 64;
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(gate[1]);
      char byte;
      (void)!::read(gate[0], &byte, 1); // until the parent opens the gate
      Jit jit(options);
      auto bundle = jit.compile(request);
      bool right = bundle && (*bundle)->code == expected && jit.cacheFolder();
      ::_exit(right ? 0 : 1);
    }
    children.push_back(child);
  }
  ::close(gate[0]);
  ::close(gate[1]);
  int failures = 0;
  for (pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    failures += status != 0;
  }
  EXPECT_EQ(failures, 0);
  Jit jit(options);
  ASSERT_TRUE(jit.compile(request));
  EXPECT_EQ(jit.statistics().diskHits, 1u);
}

TEST_F(JitDiskTest, DamageIsAMissAndIsRepaired) {
  CompileRequest request = requestOf(smallSpec("window<5, 5>"));
  std::string expected;
  {
    Jit jit(options);
    auto bundle = jit.compile(request);
    ASSERT_TRUE(bundle) << errorOf(bundle);
    expected = (*bundle)->code;
  }
  std::string entry;
  for (const auto &file :
       std::filesystem::directory_iterator(options.cacheFolder))
    entry = file.path();
  std::string bytes = *readFile(entry);
  std::mt19937 random(5);
  for (int trial = 0; trial < 6; ++trial) {
    if (trial % 2) {
      std::filesystem::resize_file(entry, random() % bytes.size());
    } else {
      int fd = ::open(entry.c_str(), O_WRONLY);
      size_t at = random() % bytes.size();
      char wrong = static_cast<char>(bytes[at] ^ 1 << trial);
      ASSERT_EQ(::pwrite(fd, &wrong, 1, static_cast<off_t>(at)), 1);
      ::close(fd);
    }
    Jit jit(options);
    auto bundle = jit.compile(request);
    ASSERT_TRUE(bundle) << errorOf(bundle);
    EXPECT_EQ((*bundle)->code, expected);
    EXPECT_EQ(jit.statistics().compilations, 1u);
    EXPECT_EQ(*readFile(entry), bytes);
  }
}

/// ATTN_CACHE_TRIALS=500 for the long form.
TEST_F(JitDiskTest, SurvivesKillsWhileCompiling) {
  const char *text = std::getenv("ATTN_CACHE_TRIALS");
  int trials = text ? std::atoi(text) : 6;
  std::mt19937 random(9);
  for (int trial = 0; trial < trials; ++trial) {
    CompileRequest request =
        requestOf(smallSpec("window<" + std::to_string(trial) + ", 2>"));
    auto expected = Jit(inMemory()).compile(request);
    ASSERT_TRUE(expected) << errorOf(expected);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Jit jit(options);
      (void)jit.compile(request);
      ::_exit(0);
    }
    ::usleep(random() % 150000);
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    Jit jit(options);
    auto bundle = jit.compile(request);
    ASSERT_TRUE(bundle) << errorOf(bundle);
    ASSERT_EQ((*bundle)->code, (*expected)->code);
  }
}

} // namespace
