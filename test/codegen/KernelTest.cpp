//===- KernelTest.cpp - kernels against the definition, in the simulator ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/codegen/KernelRunner.h"

#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;
using ::attn::sim::Mode;

namespace {
const auto causal = [](int64_t, int64_t p, int64_t j) { return j <= p; };

class Kernel : public ::testing::Test {
protected:
  Kernel() : context(getRegistry(), MLIRContext::Threading::DISABLED) {}

  static DialectRegistry getRegistry() {
    DialectRegistry registry;
    nvptx::registerNvptxDialects(registry);
    return registry;
  }

  /// Runs the case in one of the simulator's modes and checks everything but conflicts.
  Outcome check(const Case &problem) {
    static unsigned number = 0;
    Mode modes[] = {Mode::Lazy, Mode::Random, Mode::Eager};
    Outcome outcome = runCase(context, problem, modes[number % 3], number);
    ++number;
    SCOPED_TRACE(getSource(problem) + " Nq " + std::to_string(problem.queries) + " Nk " + std::to_string(problem.keys));
    EXPECT_EQ(outcome.problem, "");
    EXPECT_TRUE(outcome.o.passed) << toText(outcome.o);
    EXPECT_TRUE(outcome.lse.passed) << toText(outcome.lse);
    for (const ::attn::sim::Finding &finding : outcome.report.findings)
      ADD_FAILURE() << name(finding.kind) << " in line " << finding.line << ": " << finding.message;
    EXPECT_EQ(outcome.report.counters.mma, outcome.idealMma);
    return outcome;
  }

  /// Bank conflicts nowhere, and K and V in whole sectors.
  void checkMemory(const Outcome &outcome) {
    for (const auto &[line, counters] : outcome.report.counters.byLine) {
      EXPECT_EQ(counters.bankConflicts, 0u) << counters.opcode << " in line " << line;
      if (StringRef(counters.opcode).starts_with("cp.async"))
        EXPECT_EQ(counters.globalSectors, counters.idealSectors) << counters.opcode << " in line " << line;
    }
  }

  MLIRContext context;
};

TEST_F(Kernel, HeadSizes) {
  for (int64_t headSize : {16, 24, 32, 40, 64, 72, 80, 96, 128, 160, 192, 224, 256}) {
    Case problem;
    problem.headSize = headSize;
    problem.queries = 130;
    problem.keys = 150;
    problem.heads = problem.kvHeads = 1;
    problem.mask = "causal";
    problem.live = causal;
    problem.type = headSize % 16 ? "f16" : "bf16";
    Outcome outcome = check(problem);
    if (headSize % 16 == 0)
      checkMemory(outcome);
  }
}
} // namespace
