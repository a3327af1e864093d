//===- KernelTest.cpp - kernels against the definition, in the simulator ---*-
// C++ -*-===//
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

  /// Runs the case in one of the simulator's modes and checks everything but
  /// conflicts.
  Outcome check(const Case &problem) {
    static unsigned number = 0;
    Mode modes[] = {Mode::Lazy, Mode::Random, Mode::Eager};
    Outcome outcome = runCase(context, problem, modes[number % 3], number);
    ++number;
    SCOPED_TRACE(getSource(problem) + " Nq " + std::to_string(problem.queries) +
                 " Nk " + std::to_string(problem.keys));
    EXPECT_EQ(outcome.problem, "");
    EXPECT_TRUE(outcome.o.passed) << toText(outcome.o);
    EXPECT_TRUE(outcome.lse.passed) << toText(outcome.lse);
    for (const ::attn::sim::Finding &finding : outcome.report.findings)
      ADD_FAILURE() << name(finding.kind) << " in line " << finding.line << ": "
                    << finding.message;
    EXPECT_EQ(outcome.report.counters.mma, outcome.idealMma);
    return outcome;
  }

  /// Bank conflicts nowhere, and K and V in whole sectors.
  void checkMemory(const Outcome &outcome) {
    for (const auto &[line, counters] : outcome.report.counters.byLine) {
      EXPECT_EQ(counters.bankConflicts, 0u)
          << counters.opcode << " in line " << line;
      if (StringRef(counters.opcode).starts_with("cp.async"))
        EXPECT_EQ(counters.globalSectors, counters.idealSectors)
            << counters.opcode << " in line " << line;
    }
  }

  MLIRContext context;
};

TEST_F(Kernel, HeadSizes) {
  for (int64_t headSize :
       {16, 24, 32, 40, 64, 72, 80, 96, 128, 160, 192, 224, 256}) {
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

/// In f32: three products for one, no conflict in the transposed access of V,
/// whole sectors, and all that holds for 16 bits.
TEST_F(Kernel, F32HeadSizes) {
  for (int64_t headSize : {16, 24, 40, 64, 96, 128, 136, 192, 256}) {
    Case problem;
    problem.headSize = headSize;
    problem.valueHeadSize = headSize == 96 ? 24 : headSize == 24 ? 72 : 0;
    problem.queries = 131;
    problem.keys = 150;
    problem.heads = problem.kvHeads = 1;
    problem.mask = "causal";
    problem.live = causal;
    problem.type = "f32";
    problem.options.target = headSize == 136 ? "sm_86" : "sm_90";
    checkMemory(check(problem));
  }
}

TEST_F(Kernel, F32Storage) {
  for (Storage storage : {Storage::HeadMajor, Storage::SequenceMajor,
                          Storage::Unaligned, Storage::Huge})
    for (int64_t headSize : {24, 64}) {
      Case problem;
      problem.type = "f32";
      problem.storage = storage;
      problem.headSize = headSize;
      problem.heads = 2;
      problem.queries = storage == Storage::Huge ? 20 : 67;
      problem.keys = storage == Storage::Huge ? 37 : 131;
      problem.mask = "longformer<20, 3>";
      problem.live = [](int64_t, int64_t p, int64_t j) {
        return std::abs(p - j) <= 20 || p < 3 || j < 3;
      };
      check(problem);
    }
}

TEST_F(Kernel, F32Schedules) {
  struct Tiles {
    int64_t qTile, kvTile, warps, stages;
    bool qInRegisters;
  };
  for (Tiles tiles : {Tiles{16, 16, 1, 2, true}, Tiles{32, 48, 2, 3, false},
                      Tiles{64, 80, 2, 2, false}, Tiles{64, 32, 1, 4, true}})
    for (int64_t headSize : {16, 80}) {
      Case problem;
      problem.type = "f32";
      problem.headSize = headSize;
      problem.valueHeadSize = headSize == 80 ? 24 : headSize;
      problem.mask = "causal";
      problem.live = causal;
      problem.queries = 75;
      problem.keys = 190;
      problem.poison = headSize == 80 ? Poison::Nan : Poison::None;
      problem.options.target = "sm_90";
      problem.options.schedule = {tiles.qTile, tiles.kvTile, tiles.warps,
                                  tiles.stages, tiles.qInRegisters};
      check(problem);
    }
}

TEST_F(Kernel, Lengths) {
  for (int64_t queries : {0, 1, 2, 63, 64, 65, 127, 129})
    for (int64_t keys : {0, 1, 2, 63, 65, 127, 193}) {
      Case problem;
      problem.headSize = 32;
      problem.queries = queries;
      problem.keys = keys;
      problem.type = keys % 2 ? "bf16" : "f16";
      if (queries % 3) {
        problem.mask = "causal";
        problem.live = causal;
      }
      check(problem);
    }
}

TEST_F(Kernel, Masks) {
  struct Mask {
    const char *text;
    std::function<bool(int64_t h, int64_t p, int64_t j)> live;
    int64_t modulus = 1;
    std::function<bool(int64_t p, int64_t j)> inColumns = {};
    int64_t columnStart = 0, columnStep = 1;
  };
  const Mask masks[] = {
      {"causal & window<70, 0>",
       [](int64_t, int64_t p, int64_t j) { return j <= p && p - j <= 70; }},
      {"causal & window<%x, 0>",
       [](int64_t, int64_t p, int64_t j) { return j <= p && p - j <= 37; }},
      {"window<3, 90>",
       [](int64_t, int64_t p, int64_t j) { return p - 3 <= j && j <= p + 90; }},
      {"keys<0, 5> | causal & window<30, 0>",
       [](int64_t, int64_t p, int64_t j) {
         return j < 5 || (j <= p && p - j <= 30);
       }},
      {"longformer<20, 3>",
       [](int64_t, int64_t p, int64_t j) {
         return std::abs(p - j) <= 20 || p < 3 || j < 3;
       }},
      {"causal & stride<70>",
       [](int64_t, int64_t p, int64_t j) {
         return j <= p && (p - j) % 70 == 0;
       },
       70},
      {"dilated<9, 2, 5>",
       [](int64_t, int64_t p, int64_t j) {
         return (p - j) % 5 == 0 && -10 <= p - j && p - j <= 45;
       },
       5},
      {"fixed<50, 3>",
       [](int64_t, int64_t p, int64_t j) {
         return j <= p && (j / 50 == p / 50 || j % 50 >= 47);
       },
       1, [](int64_t p, int64_t j) { return j / 50 != p / 50; }, 47, 50},
      {"!window<40, 40>",
       [](int64_t, int64_t p, int64_t j) { return std::abs(p - j) > 40; }},
      {"heads<0, 1> & causal | heads<1, 2> & keys<100, 180>",
       [](int64_t h, int64_t p, int64_t j) {
         return h == 0 ? j <= p : 100 <= j && j < 180;
       }},
      {"keys<7, 7>", [](int64_t, int64_t, int64_t) { return false; }},
  };
  unsigned number = 0;
  for (const Mask &mask : masks)
    for (int64_t stages : {2, 3, 4}) {
      Case problem;
      problem.headSize = 16;
      problem.mask = mask.text;
      problem.live = mask.live;
      problem.modulus = mask.modulus;
      problem.inColumns = mask.inColumns;
      problem.columnStart = mask.columnStart;
      problem.columnStep = mask.columnStep;
      problem.align = "start";
      problem.offset = 37;
      problem.queries = 200 - number;
      problem.keys = 210;
      problem.options.schedule.stages = stages;
      problem.options.schedule.kvTile = number % 2 ? 32 : 64;
      problem.options.schedule.qTile = 64;
      problem.poison = static_cast<Poison>(number++ % 3);
      check(problem);
    }
}

TEST_F(Kernel, Schedules) {
  struct Tiles {
    int64_t qTile, kvTile, warps, stages;
    bool qInRegisters;
  };
  for (Tiles tiles : {Tiles{16, 16, 1, 2, false}, Tiles{16, 128, 1, 3, true},
                      Tiles{32, 48, 2, 2, true}, Tiles{64, 32, 1, 4, false},
                      Tiles{64, 112, 4, 2, false}, Tiles{128, 128, 8, 3, true},
                      Tiles{128, 64, 2, 2, false}, Tiles{256, 32, 8, 5, false},
                      Tiles{256, 64, 16, 2, false}})
    for (int64_t headSize : {16, 80, 112}) {
      Case problem;
      problem.headSize = headSize;
      problem.valueHeadSize = headSize == 80 ? 24 : headSize;
      problem.mask = "causal";
      problem.live = causal;
      problem.queries = 141;
      problem.keys = 260;
      problem.poison = headSize == 80 ? Poison::Nan : Poison::None;
      problem.options.target = "sm_90";
      problem.options.schedule = {tiles.qTile, tiles.kvTile, tiles.warps,
                                  tiles.stages, tiles.qInRegisters};
      check(problem);
    }
}

TEST_F(Kernel, ValueHeadSizes) {
  int64_t sizes[][2] = {{64, 128}, {128, 64},  {16, 256}, {256, 16},
                        {24, 72},  {192, 128}, {40, 16}};
  for (auto [headSize, valueHeadSize] : sizes) {
    Case problem;
    problem.headSize = headSize;
    problem.valueHeadSize = valueHeadSize;
    problem.queries = 70;
    problem.keys = 133;
    problem.type = "f16";
    check(problem);
  }
}

TEST_F(Kernel, Storage) {
  for (Storage storage :
       {Storage::HeadMajor, Storage::SequenceMajor, Storage::Unaligned})
    for (int64_t headSize : {24, 64, 96}) {
      Case problem;
      problem.storage = storage;
      problem.headSize = headSize;
      problem.batches = 2;
      problem.heads = 6;
      problem.kvHeads = 2;
      problem.queries = 67;
      problem.keys = 131;
      problem.mask = "causal";
      problem.live = causal;
      problem.withLse = headSize != 64;
      check(problem);
    }
}

// The rows of a tile are those of several heads, some of which may not exist.
TEST_F(Kernel, HeadsAsRows) {
  struct Shape {
    int64_t heads, kvHeads, perTile, queries;
  };
  unsigned number = 0;
  for (Shape shape :
       {Shape{8, 2, 4, 45}, Shape{6, 2, 4, 33}, Shape{9, 1, 16, 11},
        Shape{64, 1, 64, 1}, Shape{6, 1, 2, 130}, Shape{2, 2, 8, 9}})
    for (Storage storage :
         {Storage::HeadMajor, Storage::SequenceMajor, Storage::Unaligned}) {
      Case problem;
      problem.heads = shape.heads;
      problem.kvHeads = shape.kvHeads;
      problem.queries = shape.queries;
      problem.keys = 130 + number;
      problem.headSize = number % 2 ? 64 : 24;
      problem.storage = storage;
      problem.type = number % 5 == 4 ? "f32" : number % 2 ? "bf16" : "f16";
      problem.poison = static_cast<Poison>(number % 3);
      problem.withLse = number % 4 != 3;
      problem.mask = number % 2 ? "causal" : "summary<20, 3> & causal";
      bool isSummary = number % 2 == 0;
      problem.live = [isSummary](int64_t, int64_t p, int64_t j) {
        return j <= p && (!isSummary || j % 20 >= 17);
      };
      if (isSummary) {
        problem.inColumns = [](int64_t, int64_t) { return true; };
        problem.columnStart = 17;
        problem.columnStep = 20;
      }
      problem.options.schedule.heads = shape.perTile;
      problem.options.schedule.qInRegisters = number % 3 == 1;
      check(problem);
      ++number;
    }
}

TEST_F(Kernel, HugeStrides) {
  for (const char *mask : {"all", "causal"}) {
    Case problem;
    problem.storage = Storage::Huge;
    problem.headSize = 32;
    problem.heads = 2;
    problem.queries = 20;
    problem.keys = 37;
    problem.mask = mask;
    if (StringRef(mask) == "causal")
      problem.live = causal;
    check(problem);
  }
}

TEST_F(Kernel, Alignment) {
  for (int64_t offset : {-100, -64, 0, 1, 64, 1000}) {
    Case problem;
    problem.headSize = 32;
    problem.align = "%x";
    problem.offset = offset;
    problem.mask = "causal";
    problem.live = causal;
    problem.queries = 150;
    problem.keys = 140;
    check(problem);
  }
}

TEST_F(Kernel, NonFiniteValues) {
  for (const char *type : {"bf16", "f16", "f32"})
    for (Poison poison : {Poison::Nan, Poison::Infinity})
      for (int64_t headSize : {16, 40, 64, 128, 256}) {
        Case problem;
        problem.type = type;
        problem.poison = poison;
        problem.headSize = headSize;
        problem.mask = "causal";
        problem.live = causal;
        problem.queries = 180;
        problem.keys = 170;
        check(problem);
      }
}

TEST_F(Kernel, Targets) {
  for (const nvptx::Target &target : nvptx::getTargets())
    for (int64_t headSize : {64, 128, 192, 256}) {
      Case problem;
      problem.type = headSize == 256 ? "f32" : "bf16";
      problem.options.target = target.name.str();
      problem.headSize = headSize;
      problem.queries = 129;
      problem.keys = 257;
      checkMemory(check(problem));
    }
}
} // namespace
