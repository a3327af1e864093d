//===- BrokenTest.cpp - every broken kernel is found out -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// broken/*.ptx each hold one kernel with `// EXPECT: kind[, kind]` on the lines
// that may be named in a finding. In every mode there must be a finding of the
// kind that is named first, and each finding must have a kind that its line
// announces.
#include "Harness.h"

#include <filesystem>
#include <map>
#include <set>
#include <sstream>

using namespace attn::sim;

namespace {

struct Expectation {
  std::map<unsigned, std::set<std::string>> byLine;
  std::string main; ///< the kind named first: always found
  unsigned block = 32, grid = 1, shared = 0, buffer = 8192;
  uint64_t budget = 1000000;
};

Expectation readExpectation(const std::string &text) {
  Expectation result;
  std::istringstream lines(text);
  std::string line;
  for (unsigned number = 1; std::getline(lines, line); ++number) {
    if (size_t at = line.find("// EXPECT: "); at != std::string::npos) {
      std::istringstream kinds(line.substr(at + 11));
      for (std::string kind; kinds >> kind;) {
        if (kind.back() == ',')
          kind.pop_back();
        if (result.main.empty())
          result.main = kind;
        result.byLine[number].insert(kind);
      }
    }
    if (size_t at = line.find("// LAUNCH: "); at != std::string::npos) {
      std::istringstream settings(line.substr(at + 11));
      for (std::string setting; settings >> setting;) {
        size_t equal = setting.find('=');
        unsigned value = unsigned(std::stoul(setting.substr(equal + 1)));
        std::string key = setting.substr(0, equal);
        if (key == "budget")
          result.budget = value;
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

std::vector<std::string> brokenKernels() {
  std::vector<std::string> names;
  for (const auto &file :
       std::filesystem::directory_iterator(ATTN_SIM_TESTS "/broken"))
    if (file.path().extension() == ".ptx")
      names.push_back(file.path().stem().string());
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
  uint64_t buffer = memory.allocate(expectation.buffer, "buffer");
  options.instructionBudget = expectation.budget;
  return launch(*module, "kernel", {expectation.grid, 1, 1},
                {expectation.block, 1, 1}, expectation.shared,
                Arguments().add(buffer), memory, options);
}

class Broken : public testing::TestWithParam<std::string> {};

TEST_P(Broken, IsFound) {
  std::string text = readText(ATTN_SIM_TESTS "/broken/" + GetParam() + ".ptx");
  Expectation expectation = readExpectation(text);
  ASSERT_FALSE(expectation.byLine.empty());
  for (const LaunchOptions &options : allModes()) {
    LaunchReport report = runBroken(text, expectation, options);
    EXPECT_FALSE(report.ok) << show(options.mode);
    bool found = false;
    for (const Finding &finding : report.findings)
      found |= name(finding.kind) == expectation.main;
    EXPECT_TRUE(found) << show(options.mode) << ": no " << expectation.main
                       << " among\n"
                       << show(report);
    for (const Finding &finding : report.findings)
      EXPECT_TRUE(expectation.byLine[finding.line].count(name(finding.kind)))
          << show(options.mode) << " seed " << options.seed << ": "
          << name(finding.kind) << " line " << finding.line << ": "
          << finding.message;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Broken, testing::ValuesIn(brokenKernels()),
                         [](const auto &info) {
                           std::string label = info.param;
                           for (char &c : label)
                             c = c == '-' ? '_' : c;
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
