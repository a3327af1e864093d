//===- HostDifferentialTest.cpp - random attention on the CPU, judged -----===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/runtime/host/Cpu.h"
#include "attn/test/codegen/host/HostProblem.h"
#include "gtest/gtest.h"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <unistd.h>

using namespace attn::test;

namespace {

/// What is running, for the handler of a stray access.
char current[4096];

void nameProblem(int signal) {
  (void)!write(STDERR_FILENO, current, std::strlen(current));
  std::signal(signal, SIG_DFL);
  raise(signal);
}

std::vector<std::string> usableTargets() {
  std::vector<std::string> usable;
  for (const std::string &target : attn::host::cpuTargets())
    if (attn::host::checkCpu(target))
      usable.push_back(target);
  return usable;
}

TEST(HostDifferential, RandomProblemsAgreeWithTheReference) {
  std::vector<std::string> targets = usableTargets();
  ASSERT_FALSE(targets.empty())
      << "no instruction set of the host target runs here";
  int64_t count = environment("ATTN_DIFFERENTIAL_COUNT", 500);
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1);
  HostRunner runner;
  int64_t failures = 0;
  std::signal(SIGSEGV, nameProblem);
  for (int64_t i = 0, ran = 0; ran < count && failures < 10; ++i) {
    Random random(uint64_t(first + i));
    HostProblem problem = HostProblem::random(random);
    problem.cpu = targets[size_t(random.below(int64_t(targets.size())))];
    problem.threads = {1, 2};
    std::snprintf(current, sizeof current, "stray access: seed %lld, %s\n",
                  static_cast<long long>(first + i),
                  problem.describe().c_str());
    // What the types leave open is drawn again: compiling takes longest.
    std::vector<HostProblem> others;
    HostProblem other = problem;
    while (others.size() < 2 && other.redraw(random))
      others.push_back(other);
    ran += 1 + int64_t(others.size());
    std::string message = runner.run(problem, random, others);
    failures += !message.empty();
    EXPECT_EQ(message, "") << "seed " << first + i << ", "
                           << problem.describe();
  }
}

/// Parts that continue each other from memory, and key sets that are gathered.
TEST(HostDifferential, UnionsInPartsAgreeWithTheReference) {
  std::vector<std::string> targets = usableTargets();
  HostRunner runner;
  uint64_t seed = 100;
  for (const char *mask :
       {"strided<16>", "fixed<16, 3>", "causal & summary<40, 7>",
        "window<30, 4> | stride<9> | summary<12, 1>",
        "window<%w, 0> | affine_set<(h, i, j) : ((j - 3) mod 20 == 0)>",
        "fixed<50, 1> & queries<20, 120> | dilated<9, inf, 8>"})
    for (int repetition = 0; repetition < 6; ++repetition) {
      Random random(++seed);
      HostProblem problem = HostProblem::random(random);
      problem.cpu = targets[seed % targets.size()];
      problem.mask = std::string("mask(") + mask + ")";
      problem.dynamic[2] = problem.dynamic[3] = repetition % 3 != 0;
      problem.threads = {1, 2};
      EXPECT_EQ(runner.run(problem, random), "")
          << "seed " << seed << ", " << problem.describe();
    }
}

/// A union of intervals of which some hold under a condition only, and whose
/// lower bounds are negative where it fails.
TEST(HostDifferential, ConditionalIntervalsOfKeyTiles) {
  HostRunner runner;
  for (const std::string &target : usableTargets()) {
    HostProblem problem;
    problem.cpu = target;
    problem.mask = "mask(!(window<57, -3> | queries<105, 170>))";
    problem.queries = 257;
    problem.keys = 49;
    problem.qTile = 80;
    problem.kvTile = 16;
    problem.lse = true;
    problem.threads = {1, 2, 3};
    Random random(1);
    EXPECT_EQ(runner.run(problem, random), "") << problem.describe();
  }
}

/// The judge must notice what is wrong: one element of one result, changed by 1
/// %.
TEST(HostDifferential, NoticesWrongResults) {
  HostRunner runner;
  HostProblem problem;
  problem.cpu = usableTargets().back();
  problem.queries = problem.keys = 33;
  problem.corruptResult = true;
  Random random(1);
  EXPECT_NE(runner.run(problem, random), "");
}

} // namespace
