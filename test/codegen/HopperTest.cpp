//===- HopperTest.cpp - kernels with roles, in the simulator ---*- C++ -*-===//
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

class Hopper : public ::testing::Test {
protected:
  Hopper() : context(getRegistry(), MLIRContext::Threading::DISABLED) {}

  static DialectRegistry getRegistry() {
    DialectRegistry registry;
    nvptx::registerNvptxDialects(registry);
    return registry;
  }

  /// Runs the case for sm_90a with two of the ways to run the main loop, each
  /// in one of the simulator's modes.
  Outcome check(const Case &problem) {
    checkNext(problem);
    return checkNext(problem);
  }

  Outcome checkNext(Case problem) {
    static unsigned number = 0;
    problem.multiprocessors = 1 + number % 4;
    problem.options.schedule.persistent = number % 7 != 6;
    ++number;
    return run(problem, number, number, number);
  }

  Outcome run(Case problem, unsigned mode, unsigned way, unsigned seed) {
    struct Ways {
      bool overlap, turns, weightsInShared;
    };
    constexpr Ways ways[] = {{true, true, false},
                             {false, false, true},
                             {true, false, false},
                             {true, true, true},
                             {false, false, false}};
    constexpr Mode modes[] = {Mode::Lazy, Mode::Random, Mode::Eager};
    auto [overlap, turns, weightsInShared] = ways[way % std::size(ways)];
    nvptx::ScheduleOverrides &schedule = problem.options.schedule;
    schedule.overlap = overlap;
    schedule.turns = turns;
    schedule.weightsInShared = weightsInShared;
    if (weightsInShared && !schedule.kvTile)
      schedule.kvTile = 48;
    problem.options.target = "sm_90a";
    Outcome outcome = runCase(context, problem, modes[mode % 3], seed);
    SCOPED_TRACE(getSource(problem) + " Nq " + std::to_string(problem.queries) +
                 " Nk " + std::to_string(problem.keys) + ", overlap " +
                 std::to_string(overlap) + ", turns " + std::to_string(turns) +
                 ", weights in shared memory " +
                 std::to_string(weightsInShared));
    EXPECT_EQ(outcome.problem, "");
    EXPECT_TRUE(outcome.o.passed) << toText(outcome.o);
    EXPECT_TRUE(outcome.lse.passed) << toText(outcome.lse);
    for (const ::attn::sim::Finding &finding : outcome.report.findings)
      ADD_FAILURE() << name(finding.kind) << " in line " << finding.line << ": "
                    << finding.message;
    EXPECT_EQ(outcome.report.counters.wgmma, outcome.idealWgmma);
    EXPECT_EQ(outcome.report.counters.mma, outcome.idealMma);
    if (problem.storage != Storage::Unaligned && problem.poison == Poison::None)
      EXPECT_EQ(outcome.report.counters.bankConflicts, 0u);
    return outcome;
  }

  MLIRContext context;
};

TEST_F(Hopper, HeadSizes) {
  int64_t sizes[][2] = {{16, 16},   {64, 64},   {72, 40},  {80, 136},
                        {96, 96},   {128, 128}, {160, 64}, {192, 128},
                        {192, 192}, {256, 256}};
  for (auto [headSize, valueHeadSize] : sizes) {
    Case problem;
    problem.headSize = headSize;
    problem.valueHeadSize = valueHeadSize;
    problem.heads = problem.kvHeads = 1;
    problem.queries = 201;
    problem.keys = 270;
    problem.mask = "causal";
    problem.live = causal;
    problem.type = headSize % 32 ? "f16" : "bf16";
    check(problem);
  }
}

TEST_F(Hopper, Lengths) {
  for (int64_t queries : {0, 1, 64, 193})
    for (int64_t keys : {0, 1, 127, 129, 520}) {
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

TEST_F(Hopper, Masks) {
  struct Mask {
    const char *text;
    std::function<bool(int64_t h, int64_t p, int64_t j)> live;
    int64_t modulus = 1;
    std::function<bool(int64_t p, int64_t j)> inColumns = {};
    int64_t columnStart = 0, columnStep = 1;
  };
  const Mask masks[] = {
      {"causal & window<%x, 0>",
       [](int64_t, int64_t p, int64_t j) { return j <= p && p - j <= 37; }},
      {"longformer<20, 3>",
       [](int64_t, int64_t p, int64_t j) {
         return std::abs(p - j) <= 20 || p < 3 || j < 3;
       }},
      {"dilated<9, 2, 5>",
       [](int64_t, int64_t p, int64_t j) {
         return (p - j) % 5 == 0 && -10 <= p - j && p - j <= 45;
       },
       5},
      // Keys made adjacent, which no box of this head size holds.
      {"fixed<50, 3>",
       [](int64_t, int64_t p, int64_t j) {
         return j <= p && (j / 50 == p / 50 || j % 50 >= 47);
       },
       1, [](int64_t p, int64_t j) { return j / 50 != p / 50; }, 47, 50},
      {"keys<0, 4> | causal & window<60, 0>",
       [](int64_t, int64_t p, int64_t j) {
         return j < 4 || (j <= p && p - j <= 60);
       }},
      {"heads<0, 1> & causal | heads<1, 2> & keys<100, 180>",
       [](int64_t h, int64_t p, int64_t j) {
         return h == 0 ? j <= p : 100 <= j && j < 180;
       }},
      {"keys<7, 7>", [](int64_t, int64_t, int64_t) { return false; }},
  };
  unsigned number = 0;
  for (const Mask &mask : masks) {
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
    problem.queries = 400 - number;
    problem.keys = 410;
    problem.options.schedule.stages = 2 + number % 3;
    problem.options.schedule.kvTile = number % 2 ? 32 : 112;
    problem.options.schedule.qTile = number % 2 ? 192 : 128;
    problem.poison = static_cast<Poison>(number++ % 3);
    check(problem);
  }
}

// Rows that a tensor map can address, and rows that are copied one by one: off
// 16 bytes, and with a stride of 0.
TEST_F(Hopper, Storage) {
  for (Storage storage : {Storage::HeadMajor, Storage::SequenceMajor,
                          Storage::Unaligned, Storage::Huge})
    for (int64_t headSize : {24, 64, 96}) {
      Case problem;
      problem.storage = storage;
      problem.headSize = headSize;
      problem.batches = storage == Storage::Huge ? 1 : 2;
      problem.heads = 4;
      problem.kvHeads = 2;
      problem.queries = storage == Storage::Huge ? 20 : 67;
      problem.keys = storage == Storage::Huge ? 37 : 131;
      problem.mask = "causal";
      problem.live = causal;
      problem.withLse = headSize != 64;
      check(problem);
    }
}

// Residue classes through tensor maps: rows that the modulus does not divide,
// fewer rows than classes, and what no map can address.
TEST_F(Hopper, Classes) {
  struct Lengths {
    int64_t queries, keys;
    Storage storage;
  };
  const Lengths lengths[] = {
      {63, 63, Storage::HeadMajor},   {66, 65, Storage::SequenceMajor},
      {4, 2, Storage::HeadMajor},     {2, 61, Storage::SequenceMajor},
      {130, 500, Storage::HeadMajor}, {1, 0, Storage::HeadMajor},
      {71, 67, Storage::Unaligned},   {19, 18, Storage::Huge},
      {400, 401, Storage::HeadMajor},
  };
  for (auto [queries, keys, storage] : lengths)
    for (const char *mask : {"dilated<9, 2, 3>", "stride<7> & causal"}) {
      int64_t modulus = mask[0] == 'd' ? 3 : 7;
      Case problem;
      problem.headSize = 24;
      problem.heads = problem.kvHeads = storage == Storage::Huge ? 1 : 2;
      problem.queries = queries;
      problem.keys = keys;
      problem.storage = storage;
      problem.mask = mask;
      problem.modulus = modulus;
      problem.live = [modulus](int64_t, int64_t p, int64_t j) {
        return (p - j) % modulus == 0 &&
               (modulus == 3 ? -6 <= p - j && p - j <= 27 : j <= p);
      };
      problem.options.schedule.kvTile = 32;
      problem.options.schedule.qTile = 128;
      Outcome outcome = check(problem);
      EXPECT_EQ(outcome.report.counters.bulkBytes != 0,
                storage != Storage::Unaligned)
          << queries << " " << keys;
    }
}

// The rows of a tile are those of several heads: all of a group, some of them,
// more than it has; a warp has rows of one head or of several, all of them or
// not. Where they are, and what of them exists, is right for boxes and for
// rows.
TEST_F(Hopper, HeadsAsRows) {
  struct Shape {
    int64_t heads, kvHeads, perTile, queries;
    bool inBoxes = true;
  };
  unsigned number = 0;
  for (Shape shape :
       {Shape{8, 2, 4, 45}, Shape{6, 2, 4, 33}, Shape{8, 1, 4, 65},
        Shape{16, 1, 16, 3}, Shape{9, 1, 16, 11, false}, Shape{128, 1, 128, 1},
        Shape{7, 1, 12, 16}, Shape{2, 2, 8, 17}})
    for (Storage storage :
         {Storage::HeadMajor, Storage::SequenceMajor, Storage::Unaligned}) {
      Case problem;
      problem.heads = shape.heads;
      problem.kvHeads = shape.kvHeads;
      problem.queries = shape.queries;
      problem.keys = 130 + number;
      problem.headSize = number % 2 ? 64 : 24;
      problem.storage = storage;
      problem.poison = static_cast<Poison>(number % 3);
      problem.withLse = number % 4 != 3;
      problem.mask = "causal & window<50, 0>";
      problem.live = [](int64_t, int64_t p, int64_t j) {
        return j <= p && p - j <= 50;
      };
      problem.options.schedule.heads = shape.perTile;
      problem.options.schedule.qTile = shape.perTile == 12 ? 192 : 128;
      problem.options.schedule.kvTile = 32;
      Outcome outcome = check(problem);
      EXPECT_EQ(outcome.report.counters.bulkBytes != 0,
                storage != Storage::Unaligned);
      StringRef ptx = outcome.bundle.code;
      EXPECT_EQ(ptx.contains("cp.async.bulk.tensor.4d.global.shared"),
                shape.inBoxes)
          << shape.heads << " " << shape.perTile;
      ++number;
    }
}

// Selected keys, in boxes of adjacent ones: as many as a tile has, some, and
// one; a last block that ends among the selected keys; and keys of which none
// are selected. Rows that no map can address are copied one by one.
TEST_F(Hopper, SelectedKeys) {
  struct Keys {
    int64_t step, count, keys;
    bool inBlocks; ///< all keys of a query's own block as well
    Storage storage;
  };
  const Keys cases[] = {
      {48, 32, 391, true, Storage::HeadMajor},
      {40, 8, 399, true, Storage::SequenceMajor},
      {40, 8, 396, false, Storage::HeadMajor},
      {20, 3, 219, false, Storage::SequenceMajor},
      {50, 12, 349, true, Storage::HeadMajor},
      {64, 64, 300, false, Storage::HeadMajor},
      {60, 5, 40, true, Storage::HeadMajor},
      {40, 8, 230, true, Storage::Unaligned},
      {30, 7, 17, false, Storage::Huge},
  };
  unsigned number = 0;
  for (auto [step, count, keys, inBlocks, storage] : cases) {
    int64_t first = step - count, block = step;
    std::string summary =
        "summary<" + std::to_string(step) + ", " + std::to_string(count) + ">";
    std::string mask = inBlocks
                           ? "causal & (same_block<" + std::to_string(step) +
                                 "> | " + summary + ")"
                           : summary;
    Case problem;
    problem.mask = mask.c_str();
    problem.live = [=, inBlocks = inBlocks](int64_t, int64_t p, int64_t j) {
      bool selected = j % block >= first;
      return inBlocks ? j <= p && (j / block == p / block || selected)
                      : selected;
    };
    // Where all keys are selected they are taken as they are.
    if (count != step) {
      problem.inColumns = [=, inBlocks = inBlocks](int64_t p, int64_t j) {
        return !inBlocks || j / block != p / block;
      };
      problem.columnStart = first;
      problem.columnStep = block;
    }
    problem.headSize = number % 2 ? 64 : 40;
    problem.storage = storage;
    problem.heads = problem.kvHeads = storage == Storage::Huge ? 1 : 2;
    problem.queries = storage == Storage::Huge ? 18 : 217 + number;
    problem.keys = keys;
    problem.poison = static_cast<Poison>(number++ % 3);
    problem.options.schedule.kvTile = 32;
    problem.options.schedule.qTile = 128;
    Outcome outcome = check(problem);
    EXPECT_EQ(outcome.report.counters.bulkBytes != 0,
              storage != Storage::Unaligned)
        << mask;
  }
}

// Blocks that take many items, of different lengths: the same bits however many
// blocks there are, and as many products as items need.
TEST_F(Hopper, Persistent) {
  struct Shape {
    int64_t headSize, queries, keys;
    const char *mask;
    Storage storage;
  };
  const auto global = [](int64_t, int64_t p, int64_t j) {
    return std::abs(p - j) <= 20 || p < 3 || j < 3;
  };
  const Shape shapes[] = {
      {32, 580, 590, "causal", Storage::HeadMajor},
      {256, 140, 150, "causal", Storage::SequenceMajor}, // output over queries
      {32, 390, 400, "longformer<20, 3>", Storage::HeadMajor},
      {32, 300, 290, "causal", Storage::Unaligned},
      {32, 260, 0, "causal", Storage::HeadMajor},
  };
  for (const Shape &shape : shapes) {
    std::vector<double> expected;
    for (int64_t multiprocessors : {1, 5, 0}) {
      Case problem;
      problem.headSize = shape.headSize;
      problem.queries = shape.queries;
      problem.keys = shape.keys;
      problem.mask = shape.mask;
      problem.live = causal;
      if (shape.mask[0] == 'l')
        problem.live = global;
      problem.storage = shape.storage;
      problem.batches = 2;
      problem.heads = 3;
      // The same random numbers and the same way for all.
      problem.multiprocessors = std::max<int64_t>(multiprocessors, 1);
      problem.options.schedule.persistent = multiprocessors != 0;
      Outcome outcome = run(problem, multiprocessors, /*way=*/0, /*seed=*/7);
      EXPECT_EQ(outcome.bundle.manifest.launches[0].persistent,
                multiprocessors != 0);
      if (expected.empty())
        expected = outcome.values;
      EXPECT_TRUE(expected == outcome.values)
          << shape.mask << " " << multiprocessors;
    }
  }
}

TEST_F(Hopper, NonFiniteValues) {
  for (Poison poison : {Poison::Nan, Poison::Infinity})
    for (int64_t headSize : {40, 128, 256}) {
      Case problem;
      problem.type = headSize == 128 ? "f16" : "bf16";
      problem.poison = poison;
      problem.headSize = headSize;
      problem.mask = "causal";
      problem.live = causal;
      problem.queries = 230;
      problem.keys = 260;
      if (headSize == 40) {
        problem.options.schedule.kvTile = 176;
        problem.options.schedule.stages = 2;
      }
      check(problem);
    }
}
} // namespace
