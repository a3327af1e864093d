//===- BrokenTest.cpp - every broken kernel is found out -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// broken/*.ptx and broken90/*.ptx each hold one kernel with `// EXPECT:
// kind[, kind]` on the lines that may be named in a finding. In every mode
// (`modes=` in the LAUNCH line may name some of them) there must be a finding
// of the kind that is named first, or of one of those where it is `kind |
// kind`; and each finding must have a kind that its line announces. A TENSOR
// line gives the kernel a tensor map of its buffer.
#include "Hopper.h"

#include <filesystem>
#include <map>
#include <set>
#include <sstream>

using namespace attn::sim;

namespace {

struct Expectation {
  std::map<unsigned, std::set<std::string>> byLine;
  std::set<std::string> main; ///< the kinds named first: one is always found
  std::string modes;          ///< those that must find it, all if empty
  TensorMap map;              ///< of rank 0 if there is none
  bool random = false;        ///< contents of the buffer, else zeros
  unsigned block = 32, grid = 1, shared = 0, buffer = 8192;
  uint64_t budget = 1000000;
};

void readKinds(const std::string &text, std::set<std::string> &kinds,
               std::set<std::string> *main) {
  std::istringstream words(text);
  for (std::string kind; words >> kind;) {
    if (kind == "|")
      continue;
    bool last = kind.back() == ',';
    if (last)
      kind.pop_back();
    kinds.insert(kind);
    if (main)
      main->insert(kind);
    if (last)
      main = nullptr;
  }
}

std::vector<uint64_t> numbers(const std::string &text) {
  std::vector<uint64_t> result;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');)
    result.push_back(std::stoull(word));
  return result;
}

/// `dims=64,32 box=64,8 type=bf16 swizzle=128`
TensorMap readTensor(const std::string &text) {
  std::map<std::string, std::string> values;
  std::istringstream settings(text);
  for (std::string setting; settings >> setting;) {
    size_t equal = setting.find('=');
    values[setting.substr(0, equal)] = setting.substr(equal + 1);
  }
  std::vector<uint64_t> box = numbers(values["box"]);
  const int swizzle = std::stoi(values["swizzle"]);
  return denseMap(0,
                  values["type"] == "bf16" ? TensorMap::Element::BF16
                                           : TensorMap::Element::F32,
                  numbers(values["dims"]),
                  std::vector<uint32_t>(box.begin(), box.end()),
                  swizzle == 128  ? TensorMap::Swizzle::Bytes128
                  : swizzle == 64 ? TensorMap::Swizzle::Bytes64
                  : swizzle == 32 ? TensorMap::Swizzle::Bytes32
                                  : TensorMap::Swizzle::None);
}

Expectation readExpectation(const std::string &text) {
  Expectation result;
  result.map.rank = 0;
  std::istringstream lines(text);
  std::string line;
  for (unsigned number = 1; std::getline(lines, line); ++number) {
    if (size_t at = line.find("// EXPECT: "); at != std::string::npos)
      readKinds(line.substr(at + 11), result.byLine[number],
                result.main.empty() ? &result.main : nullptr);
    if (size_t at = line.find("// TENSOR: "); at != std::string::npos)
      result.map = readTensor(line.substr(at + 11));
    if (size_t at = line.find("// LAUNCH: "); at != std::string::npos) {
      std::istringstream settings(line.substr(at + 11));
      for (std::string setting; settings >> setting;) {
        size_t equal = setting.find('=');
        std::string key = setting.substr(0, equal);
        if (key == "modes") {
          result.modes = setting.substr(equal + 1);
          continue;
        }
        unsigned value = unsigned(std::stoul(setting.substr(equal + 1)));
        if (key == "budget")
          result.budget = value;
        else if (key == "fill")
          result.random = value;
        else
          (key == "block"    ? result.block
           : key == "grid"   ? result.grid
           : key == "shared" ? result.shared
                             : result.buffer) = value;
      }
    }
  }
  return result;
}

/// `broken/name` or `broken90/name`.
std::vector<std::string> brokenKernels() {
  std::vector<std::string> names;
  for (const char *folder : {"broken/", "broken90/"})
    for (const auto &file : std::filesystem::directory_iterator(
             std::string(ATTN_SIM_TESTS "/") + folder))
      if (file.path().extension() == ".ptx")
        names.push_back(folder + file.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

LaunchReport runBroken(const std::string &text, const Expectation &expectation,
                       LaunchOptions options) {
  Result<Module> module = Module::parse(text);
  EXPECT_TRUE(bool(module)) << (module ? "" : module.error().render("kernel"));
  if (!module)
    return {};
  Memory memory;
  std::vector<uint8_t> data(expectation.buffer);
  std::mt19937 random(7);
  if (expectation.random)
    for (uint8_t &byte : data)
      byte = uint8_t(random());
  uint64_t buffer = memory.registerHost(data.data(), data.size(), "buffer");
  Arguments arguments;
  arguments.add(buffer);
  if (expectation.map.rank) {
    TensorMap map = expectation.map;
    map.address = buffer;
    arguments.add(parameterOf(map));
  }
  options.instructionBudget = expectation.budget;
  return launch(*module, "kernel", {expectation.grid, 1, 1},
                {expectation.block, 1, 1}, expectation.shared, arguments,
                memory, options);
}

class Broken : public testing::TestWithParam<std::string> {};

TEST_P(Broken, IsFound) {
  std::string text = readText(ATTN_SIM_TESTS "/" + GetParam() + ".ptx");
  if (GetParam().compare(0, 9, "broken90/") == 0)
    EXPECT_EQ(assemble(text), "");
  Expectation expectation = readExpectation(text);
  ASSERT_FALSE(expectation.byLine.empty());
  for (const LaunchOptions &options : allModes()) {
    LaunchReport report = runBroken(text, expectation, options);
    bool must = expectation.modes.empty() ||
                expectation.modes.find(show(options.mode)) != std::string::npos;
    bool found = false;
    for (const Finding &finding : report.findings)
      found |= expectation.main.count(name(finding.kind)) != 0;
    if (must) {
      EXPECT_FALSE(report.ok) << show(options.mode);
      EXPECT_TRUE(found) << show(options.mode) << ": no "
                         << *expectation.main.begin() << " among\n"
                         << show(report);
    }
    for (const Finding &finding : report.findings)
      EXPECT_TRUE(finding.severity == Severity::Warning ||
                  expectation.byLine[finding.line].count(name(finding.kind)))
          << show(options.mode) << " seed " << options.seed << ": "
          << name(finding.kind) << " line " << finding.line << ": "
          << finding.message;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Broken, testing::ValuesIn(brokenKernels()),
                         [](const auto &info) {
                           std::string label = info.param;
                           for (char &c : label)
                             c = c == '-' || c == '/' ? '_' : c;
                           return label;
                         });

/// The checks are what finds them: without, the same kernels pass.
TEST(Checks, CanBeSwitchedOff) {
  for (const char *kernel : {"race-shared-read", "race-between-blocks",
                             "copy-without-wait", "uninitialised-shared"}) {
    std::string text =
        readText(std::string(ATTN_SIM_TESTS "/broken/") + kernel + ".ptx");
    LaunchOptions options;
    options.checkRaces = options.checkInitialised = false;
    LaunchReport report = runBroken(text, readExpectation(text), options);
    EXPECT_TRUE(report.ok) << kernel << "\n" << show(report);
  }
}

TEST(Checks, DeadlockNamesEveryBarrier) {
  std::string text =
      readText(ATTN_SIM_TESTS "/broken/deadlock-two-barriers.ptx");
  LaunchReport report = runBroken(text, readExpectation(text), {});
  ASSERT_EQ(report.findings.size(), 1u);
  const std::string &message = report.findings[0].message;
  EXPECT_NE(message.find("barrier 1: 1 of 2 warps arrived (waiting: 0)"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("barrier 2: 1 of 2 warps arrived (waiting: 1)"),
            std::string::npos)
      << message;
}

TEST(Checks, OutOfBoundsNamesTheAllocation) {
  std::string text = readText(ATTN_SIM_TESTS "/broken/out-of-bounds-read.ptx");
  LaunchReport report = runBroken(text, readExpectation(text), {});
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].lane, 31u);
  EXPECT_EQ(report.findings[0].warp, 1u);
  EXPECT_NE(report.findings[0].message.find("0 bytes past the end of 'buffer'"),
            std::string::npos)
      << report.findings[0].message;
}

TEST(Checks, DeadlockNamesEveryMbarrier) {
  std::string text = readText(ATTN_SIM_TESTS "/broken90/mbarrier-deadlock.ptx");
  LaunchReport report = runBroken(text, readExpectation(text), {});
  ASSERT_EQ(report.findings.size(), 1u);
  const std::string &message = report.findings[0].message;
  for (const char *part :
       {"mbarrier at shared address 0x2400 (line 33): phase 0, 32 of 64 "
        "arrivals missing, tx-count 0",
        "mbarrier at shared address 0x2408 (line 34): phase 0, 64 of 64",
        "warp 1: lanes 0xffffffff wait at line 43 for phase 0 (parity 0) of "
        "the mbarrier at shared address 0x2400"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

/// Too few arrivals for a last phase that nobody waits for.
TEST(Checks, PhaseLeftIncompleteIsAWarning) {
  std::string text = readText(ATTN_SIM_TESTS "/clean90/mbarrier-drop.ptx");
  size_t at = text.find("LEAVE:");
  text.insert(at, "  @!%p0 mbarrier.arrive.shared.b64 _, [%r3];\n");
  LaunchReport report = runBroken(text, readExpectation(text), {});
  EXPECT_TRUE(report.ok) << show(report);
  ASSERT_EQ(report.findings.size(), 1u) << show(report);
  EXPECT_EQ(report.findings[0].severity, Severity::Warning);
  EXPECT_NE(report.findings[0].message.find("phase 2, 31 of 32 arrivals"),
            std::string::npos)
      << report.findings[0].message;
}

/// The poison of a copy in flight is visible to whoever reads it too early.
TEST(Checks, LazyCopiesPoisonTheirDestination) {
  std::string text =
      readText(ATTN_SIM_TESTS "/broken/copy-own-without-wait.ptx");
  size_t at = text.find("  ret;");
  text.insert(at, "  st.global.u32 [%rd2], %r6;\n");
  Result<Module> module = Module::parse(text);
  ASSERT_TRUE(bool(module));
  for (Mode mode : {Mode::Eager, Mode::Lazy}) {
    std::vector<uint32_t> data(1024, 7);
    Memory memory;
    LaunchOptions options;
    options.mode = mode;
    launch(*module, "kernel", {}, {64, 1, 1}, 0,
           Arguments().add(memory.registerHost(data.data(), 4096)), memory,
           options);
    EXPECT_EQ(data[4], mode == Mode::Eager ? 7u : ~0u);
  }
}

} // namespace
