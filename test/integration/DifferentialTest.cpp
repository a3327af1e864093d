//===- DifferentialTest.cpp - random attention, compiled, simulated and judged
//---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/support/Elements.h"
#include "attn/test/support/Random.h"
#include "attn/test/support/Trial.h"

#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <optional>

using namespace attn::test;

namespace {

/// One random schedule; with roles where there are registers for them.
struct Schedule {
  int64_t rows, keys, warps, stages;
  bool queryInRegisters = false;
  int64_t producerRegisters = 0, consumerRegisters = 0;
  bool overlap = false, turns = false, weightsInShared = false,
       persistent = false;
  int64_t heads = 1;

  std::string clause() const {
    std::string text;
    llvm::raw_string_ostream stream(text);
    auto flag = [](bool value) { return value ? "true" : "false"; };
    stream << "schedule(#attn.schedule<q_tile = " << rows
           << ", kv_tile = " << keys << ", warps = " << warps
           << ", stages = " << stages
           << ", q_in_registers = " << flag(queryInRegisters);
    if (hasRoles())
      stream << ", producer_registers = " << producerRegisters
             << ", consumer_registers = " << consumerRegisters
             << ", overlap = " << flag(overlap) << ", turns = " << flag(turns)
             << ", weights_in_shared = " << flag(weightsInShared)
             << ", persistent = " << flag(persistent);
    if (heads != 1)
      stream << ", heads = " << heads;
    stream << ">)";
    return text;
  }

  bool hasRoles() const { return consumerRegisters != 0; }

  /// What the tiles take in shared memory, without whatever barriers and
  /// padding there are.
  int64_t sharedBytes(const std::string &element, int64_t headSize,
                      int64_t valueSize) const {
    int64_t queries = rows * headSize, output = rows * valueSize;
    int64_t rings = stages * keys * (headSize + valueSize);
    if (element == "f32")
      return 4 * (queries + rings);
    if (!hasRoles())
      return 2 * std::max(queries + rings, output);
    return 2 * (std::max(queries, output) + rings +
                (weightsInShared ? rows * keys : 0));
  }
};

/// One random problem.
struct Problem {
  std::string element, mask, alignment, scale, target = "sm_80";
  /// Empty for the default one.
  std::optional<Schedule> schedule = {};
  int64_t batches, kvHeads, groups, queries, keys, headSize, valueSize, symbol;
  bool lse;
  int64_t multiprocessors = 132;
  /// Which extents are dynamic: batches, heads, queries, keys.
  bool dynamic[4];
  /// How q, k, v and o lie in memory.
  Layout layout[4];

  std::string type(int64_t heads, int64_t rows, int64_t columns, bool isQuery,
                   const std::string &elementType) const {
    std::vector<int64_t> extents = {dynamic[0] ? -1 : batches,
                                    dynamic[1] ? -1 : heads,
                                    dynamic[isQuery ? 2 : 3] ? -1 : rows};
    if (columns)
      extents.push_back(columns);
    return tensorType(extents, elementType);
  }

  std::string source() const {
    std::string q = type(kvHeads * groups, queries, headSize, true, element);
    std::string k = type(kvHeads, keys, headSize, false, element);
    std::string v = type(kvHeads, keys, valueSize, false, element);
    std::string results =
        type(kvHeads * groups, queries, valueSize, true, element);
    if (lse)
      results = "(" + results + ", " +
                type(kvHeads * groups, queries, 0, true, "f32") + ")";
    std::string names = lse ? "%o, %lse" : "%o";
    std::string types = lse ? results.substr(1, results.size() - 2) : results;
    return "func.func @f(%q: " + q + ", %k: " + k + ", %v: " + v +
           ", %w: index) -> " + results + " {\n  " + names +
           " = attn.attention %q, %k, %v " + mask + " " + scale + " " +
           alignment + " " + (schedule ? schedule->clause() : "") +
           "\n    : (" + q + ", " + k + ", " + v + ") -> " + results +
           "\n  return " + names + " : " + types + "\n}\n";
  }

  Trial trial(Random &random, const std::string &deviceOptions) const {
    Trial trial;
    trial.source = source();
    trial.target = target;
    trial.deviceOptions = deviceOptions;
    attn::ElementType type = elementOf(element);
    const std::vector<int64_t> shapes[] = {
        {batches, kvHeads * groups, queries, headSize},
        {batches, kvHeads, keys, headSize},
        {batches, kvHeads, keys, valueSize}};
    for (size_t i = 0; i < 3; ++i) {
      std::vector<double> values(shapes[i][0] * shapes[i][1] * shapes[i][2] *
                                 shapes[i][3]);
      for (double &value : values)
        value = attn::reference::round(random.normal(), formatOf(type));
      trial.arguments.push_back({type,
                                 {shapes[i], std::move(values)},
                                 stridesOf(layout[i], shapes[i])});
    }
    trial.arguments.push_back(Argument::index(symbol));
    trial.resultStrides =
        stridesOf(layout[3], {batches, kvHeads * groups, queries, valueSize});
    return trial;
  }
};

int64_t sharedBytesOf(const std::string &target) {
  int64_t kilobytes = target == "sm_80"                        ? 163
                      : target == "sm_86" || target == "sm_89" ? 99
                                                               : 227;
  return kilobytes * 1024;
}

/// Whether `message` is the compiler's on a schedule that cannot run: its tiles
/// have no room, its roles too few registers, or it has roles and the mask
/// makes the op run in parts.
bool isRightlyRefused(const Problem &problem, const std::string &message) {
  if (!problem.schedule)
    return false;
  const Schedule &schedule = *problem.schedule;
  auto has = [&](const std::string &text) {
    return message.find(text) != std::string::npos;
  };
  // Head sizes are padded to multiples of 32, barriers take less than 1 KB.
  int64_t room = sharedBytesOf(problem.target),
          least = schedule.sharedBytes(problem.element, problem.headSize,
                                       problem.valueSize),
          most = schedule.sharedBytes(problem.element, problem.headSize + 31,
                                      problem.valueSize + 31) +
                 1024;
  if (has("KB of shared memory, " + problem.target + " has"))
    return most > room;
  if (has("expected consumer_registers of at least"))
    return schedule.hasRoles() &&
           schedule.consumerRegisters < (schedule.warps == 12 ? 128 : 168);
  if (has("expected 8 warps that compute for values of"))
    return schedule.warps == 12 && problem.valueSize > 192;
  if (has("expected a schedule without producer and consumer registers for "
          "this op on sm_90a"))
    return schedule.hasRoles() && !problem.mask.empty();
  if (has("cannot have tiles with the rows of")) {
    int64_t queries = schedule.rows / schedule.heads;
    if (has("the 16 rows of a warp"))
      return schedule.hasRoles() && queries % 16 != 0 && 16 % queries != 0;
    if (has("a group of"))
      return problem.groups > schedule.heads &&
             problem.groups % schedule.heads != 0;
    if (has("score region"))
      return problem.scale.find("softcap") != std::string::npos;
    return schedule.heads > 1 && !problem.mask.empty() &&
           (has("depends on the head") || has("parts or residue classes"));
  }
  EXPECT_LE(least, room) << "expected to be refused";
  return false;
}

class Generator : public Random {
public:
  using Random::Random;

  Problem problem() {
    Problem p;
    p.element = oneOf<std::string>({"f16", "bf16"});
    p.batches = 1 + below(2);
    p.kvHeads = 1 + below(2);
    p.groups = oneOf<int64_t>({1, 1, 2, 3, 7});
    auto length = [&] {
      return oneOf<int64_t>({1, 2, 15, 16, 17, 31, 47, 63, 64, 65, 97, 127, 128,
                             129, 131, 191, 193, 257});
    };
    p.queries = length();
    p.keys = below(20) == 0 ? 0 : length();
    p.headSize = oneOf<int64_t>(
        {16, 24, 32, 40, 64, 64, 72, 80, 96, 128, 128, 136, 192, 256});
    p.valueSize = below(3) == 0
                      ? oneOf<int64_t>({16, 24, 56, 64, 80, 128, 160, 256})
                      : p.headSize;
    p.symbol = below(150);
    p.mask = below(8) == 0 ? "" : "mask(" + mask(2, p.kvHeads * p.groups) + ")";
    p.alignment =
        oneOf<std::string>({"", "", "align(end)", "align(start)", "align(%w)"});
    p.scale =
        oneOf<std::string>({"", "", "scale(0.3)", "scale(-0.2)", "scale(0.0)"});
    p.lse = below(3) != 0;
    for (bool &open : p.dynamic)
      open = below(2);
    for (Layout &layout : p.layout)
      layout = Layout(below(Count));
    p.target = oneOf<std::string>({"sm_80", "sm_90a", "sm_86", "sm_90"});
    return p;
  }

  Problem problemF32() {
    Problem p = problem();
    p.element = "f32";
    return p;
  }

  /// One whose mask has residue classes.
  Problem packedProblem() {
    Problem p = problem();
    // Lengths that the types leave open count as long.
    p.dynamic[2] = p.dynamic[3] = below(5) != 0;
    std::string classes = oneOf<std::string>(
        {"stride<2>", "stride<3>", "stride<5>", "stride<8>", "stride<33>",
         "stride<64>", "stride<300>", "dilated<9, 9, 8>", "dilated<%w, 2, 3>",
         "dilated<40, 0, 2>", "stride<4> & stride<6>",
         "(stride<9> | dilated<3, inf, 6>)",
         "affine_set<(h, i, j) : ((i - j) mod 4 == 0)>",
         "(heads<0, 1> & stride<4> | !heads<0, 1> & stride<6>)",
         "(heads<0, 1> & dilated<9, 9, 4> | !heads<0, 1> & causal)",
         "(heads<0, 1> & window<20, 5> | !heads<0, 1> & stride<7>)"});
    p.mask = "mask(" + classes +
             (below(3) ? " & " + mask(1, p.kvHeads * p.groups) : "") + ")";
    return p;
  }

  /// One with a schedule of its own, mostly one that shared memory has room
  /// for.
  Problem scheduledProblem() {
    int64_t kind = below(6);
    Problem p = kind == 0   ? packedProblem()
                : kind == 1 ? unionProblem()
                            : problem();
    p.headSize = 16 + 8 * below(31);
    p.valueSize = below(2) ? p.headSize : 16 + 8 * below(31);
    // The stages wrap around several times.
    if (below(6) == 0)
      p.keys = 300 + below(500);
    // Of very few elements the naive computation may have none that is bad.
    if (p.batches * p.kvHeads * p.groups * p.queries < 8)
      p.batches = 8;
    p.multiprocessors = oneOf<int64_t>({1, 2, 132});
    Schedule s;
    if (below(5) < 3) {
      p.target = "sm_90a";
      int64_t groups = 2 + below(2), pool = groups == 2 ? 504 : 512;
      s.warps = 4 * groups;
      s.rows = 64 * groups;
      s.producerRegisters = 24 + 8 * below(6);
      s.consumerRegisters = std::min<int64_t>(
          240, (pool - s.producerRegisters) / groups / 8 * 8 - 8 * below(4));
      s.overlap = below(2);
      s.turns = s.overlap && below(2);
      s.weightsInShared = below(3) == 0;
      s.persistent = below(2);
    } else {
      if (below(5) == 0) {
        p.element = "f32";
        // Large scores leave little of what J5 allows.
        p.scale = "";
      }
      if (below(5) == 0)
        p.scale += " softcap(4.0)";
      s.warps = 1 << below(5);
      s.rows = 16 * s.warps * (1 + below(s.warps < 8 ? 3 : 2));
      s.queryInRegisters = below(2);
    }
    s.keys = 16 + 16 * below(s.hasRoles() ? 12 : 8);
    s.stages = 2 + below(below(8) ? 3 : 7);
    bool shrink = below(16);
    auto fits = [&] {
      return s.sharedBytes(p.element, p.headSize + 16, p.valueSize + 16) <=
             sharedBytesOf(p.target);
    };
    while (shrink && s.keys > 16 && !fits())
      s.keys -= 16;
    while (shrink && s.stages > 2 && !fits())
      --s.stages;
    // The rows of a tile are those of several heads: of a whole group or not.
    // Few of those that cannot be, as the heads differ or the mask is packed.
    bool canHaveHeads = kind > 1 && p.mask.find("heads<") == std::string::npos;
    if (below(canHaveHeads ? 2 : 12) == 0) {
      s.heads = oneOf<int64_t>({2, 3, 4, 4, 6, 8, 12, 16, 32});
      while (s.rows % s.heads != 0)
        --s.heads;
      p.dynamic[1] = false;
      int64_t groups =
          oneOf<int64_t>({s.heads, s.heads - 1, s.heads, 1 + s.heads / 2,
                          s.heads < 5 ? 2 * s.heads : s.heads, 3});
      // Ranges of heads are those of the problem as it was.
      if (p.mask.find("heads<") == std::string::npos)
        p.groups = std::max<int64_t>(groups, 1);
      if (p.groups > 4)
        p.queries = std::min<int64_t>(p.queries, 33);
    }
    p.schedule = s;
    return p;
  }

  /// One whose mask is a union of parts that are packed each in its own way.
  Problem unionProblem() {
    Problem p = problem();
    auto term = [&] {
      return oneOf<std::string>(
          {"stride<2>", "stride<5>", "stride<64>", "dilated<9, 2, 8>",
           "summary<16, 1>", "summary<40, 3>", "summary<7, 2>",
           "affine_set<(h, i, j) : ((j - 3) mod 20 == 0)>",
           "affine_set<(h, i, j) : (i - j >= 0, 5 - j mod 24 >= 0, j mod 24 - "
           "2 >= 0)>"});
    };
    auto dense = [&] {
      return oneOf<std::string>({"window<20, 3>", "window<%w, 0>",
                                 "same_block<16>", "same_block<40>",
                                 "keys<0, 9>", "keys<30, 60>"});
    };
    // A scale of 0 makes all weights of a part one number: its rounding would
    // be that of every element, for which the rule on mean errors has no room.
    if (p.scale == "scale(0.0)")
      p.scale = "";
    if (below(2))
      p.target = "sm_90a";
    // Lengths that the types leave open count as long.
    p.dynamic[2] = p.dynamic[3] = below(5) != 0;
    p.mask = dense() + " | " + term();
    if (below(2))
      p.mask += " | " + term();
    p.mask = "(" + p.mask + ")";
    if (below(3))
      p.mask = "causal & " + p.mask;
    if (below(5) == 0)
      p.mask = "heads<1, " + std::to_string(p.kvHeads * p.groups) + "> & " +
               p.mask + " | heads<0, 1> & " + dense();
    p.mask = "mask(" + p.mask + ")";
    return p;
  }
};

/// How many schedules the compiler refused as it should, and how many with
/// roles it did not.
struct Tally {
  int64_t refused = 0, withRoles = 0, withHeads = 0;
};

/// Runs `count` problems, `make` them from a generator, in all three modes.
Tally runMany(TrialRunner &runner, int64_t count,
              Problem (Generator::*make)()) {
  Tally tally;
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1);
  const char *modes[] = {"mode=eager", "mode=lazy", "mode=random"};
  for (int64_t i = 0; i < count; ++i) {
    Generator generator(uint64_t(first + i));
    Problem problem = (generator.*make)();
    std::string device = modes[i % 3];
    if (i % 3 == 2)
      device += ",seed=" + std::to_string(first + i);
    device += ",multiprocessors=" + std::to_string(problem.multiprocessors);
    std::string message = runner.run(problem.trial(generator, device));
    if (isRightlyRefused(problem, message)) {
      ++tally.refused;
      continue;
    }
    tally.withRoles += problem.schedule && problem.schedule->hasRoles();
    tally.withHeads += problem.schedule && problem.schedule->heads > 1;
    EXPECT_EQ(message, "") << "seed " << first + i << ", " << device << ", "
                           << problem.target << ", " << problem.batches
                           << " batches, " << problem.kvHeads << " x "
                           << problem.groups << " heads, " << problem.queries
                           << " x " << problem.keys
                           << ", w = " << problem.symbol << ", layouts "
                           << problem.layout[0] << problem.layout[1]
                           << problem.layout[2] << problem.layout[3] << "\n"
                           << problem.source();
  }
  return tally;
}

TEST(Differential, RandomProblemsAgreeWithTheReference) {
  TrialRunner runner;
  runMany(runner, environment("ATTN_DIFFERENTIAL_COUNT", 60),
          &Generator::problem);
}

TEST(Differential, F32AgreesWithTheReference) {
  TrialRunner runner;
  runMany(runner, environment("ATTN_DIFFERENTIAL_COUNT", 60) / 2,
          &Generator::problemF32);
}

TEST(Differential, PackedMasksAgreeWithTheReference) {
  TrialRunner runner;
  int64_t count = environment("ATTN_DIFFERENTIAL_COUNT", 60);
  runMany(runner, count, &Generator::packedProblem);
  // Very short ones stay as they are.
  EXPECT_GE(runner.countRemarks("residue classes, each"), count / 2);
}

TEST(Differential, UnionsInPartsAgreeWithTheReference) {
  TrialRunner runner;
  int64_t count = environment("ATTN_DIFFERENTIAL_COUNT", 60);
  runMany(runner, count, &Generator::unionProblem);
  EXPECT_GE(runner.countRemarks("are made adjacent"), count / 6);
  EXPECT_GE(runner.countRemarks("part 1 of "), count / 6);
}

TEST(Differential, RandomSchedulesAgreeWithTheReference) {
  TrialRunner runner;
  int64_t count = environment("ATTN_DIFFERENTIAL_COUNT", 60);
  Tally tally = runMany(runner, count, &Generator::scheduledProblem);
  // Most must run, and some be refused.
  EXPECT_LE(tally.refused, count / 3);
  EXPECT_GE(tally.refused, count / 60);
  EXPECT_GE(tally.withRoles, count / 4);
  EXPECT_GE(tally.withHeads, count / 12);
}

/// One op continues what it is given, in f32 and of any layout, and hands it on
/// to another one; rows that nothing was known of, and all keys of some rows,
/// are left out.
TEST(Differential, ResultsAreContinued) {
  TrialRunner runner;
  const char *modes[] = {"mode=eager", "mode=lazy", "mode=random"};
  for (int64_t i = 0; i < 16; ++i) {
    Generator generator{uint64_t(i)};
    Problem problem = generator.problem();
    problem.target = i % 4 ? "sm_90a" : "sm_80";
    problem.lse = true;
    problem.scale = problem.alignment = problem.mask = "";
    Trial trial = problem.trial(generator, modes[i % 3]);
    std::vector<int64_t> shape = {problem.batches,
                                  problem.kvHeads * problem.groups,
                                  problem.queries, problem.valueSize};
    std::vector<int64_t> rows(shape.begin(), shape.end() - 1);
    Argument lse{attn::ElementType::F32, {rows, {}}};
    Argument output{attn::ElementType::F32,
                    {shape, {}},
                    stridesOf(Layout(generator.below(Count)), shape)};
    for (int64_t row = 0; row < rows[0] * rows[1] * rows[2]; ++row) {
      bool known = generator.below(5) != 0;
      lse.value.values.push_back(known ? float(2 * generator.normal())
                                       : -INFINITY);
      for (int64_t column = 0; column < problem.valueSize; ++column)
        output.value.values.push_back(known ? float(generator.normal()) : 0);
    }
    trial.arguments.pop_back();
    trial.arguments.push_back(output);
    trial.arguments.push_back(lse);

    std::string q = problem.type(shape[1], problem.queries, problem.headSize,
                                 true, problem.element);
    std::string k = problem.type(problem.kvHeads, problem.keys,
                                 problem.headSize, false, problem.element);
    std::string v = problem.type(problem.kvHeads, problem.keys,
                                 problem.valueSize, false, problem.element);
    auto result = [&](const std::string &element) {
      return problem.type(shape[1], problem.queries, problem.valueSize, true,
                          element);
    };
    std::string o = result(problem.element), f = result("f32"),
                l = problem.type(shape[1], problem.queries, 0, true, "f32");
    std::string split = std::to_string(generator.below(problem.keys + 1));
    auto part = [&](const std::string &mask, const std::string &number,
                    const std::string &from, const std::string &type) {
      return "  %o" + number + ", %l" + number +
             " = attn.attention %q, %k, %v mask(" + mask + ") init(%o" + from +
             ", %l" + from + " : " + f + ", " + l + ")\n    : (" + q + ", " +
             k + ", " + v + ") -> (" + type + ", " + l + ")\n";
    };
    trial.source = "func.func @f(%q: " + q + ", %k: " + k + ", %v: " + v +
                   ", %o0: " + f + ", %l0: " + l + ") -> (" + o + ", " + l +
                   ") {\n" +
                   part("causal & keys<0, " + split + ">", "1", "0", f) +
                   part("keys<" + split + ", inf>", "2", "1", o) +
                   "  return %o2, %l2 : " + o + ", " + l + "\n}\n";
    EXPECT_EQ(runner.run(trial), "")
        << i << ", " << problem.target << ", " << problem.queries << " x "
        << problem.keys << "\n"
        << trial.source;
  }
}

/// The offset decides which keys a class of queries sees.
TEST(Differential, AWrongOffsetOfThePackingIsFound) {
  for (const char *mask :
       {"stride<4>", "dilated<8, 8, 3>", "causal & stride<7>"}) {
    Generator generator(5);
    Problem problem = generator.problem();
    problem.mask = std::string("mask(") + mask + ")";
    problem.alignment = "align(%w)";
    problem.scale = "";
    problem.queries = 193;
    problem.keys = 257;
    problem.symbol = 30;
    TrialRunner runner;
    Trial trial = problem.trial(generator, "mode=eager");
    EXPECT_EQ(runner.run(trial), "");
    EXPECT_EQ(runner.countRemarks("residue classes, each"), 1);
    trial.spoil = [](std::vector<Argument> &arguments) {
      arguments.back().value.values.front() += 1;
    };
    EXPECT_NE(runner.run(trial), "") << mask;
  }
}

TEST(Differential, StridesPast32BitsAreFollowed) {
  TrialRunner runner;
  for (const char *mask : {"", "mask(causal)"}) {
    Generator generator(3);
    Problem problem = generator.problem();
    problem.mask = mask;
    problem.alignment = problem.scale = "";
    problem.target = "sm_80";
    problem.batches = problem.kvHeads = problem.groups = 1;
    problem.queries = 3;
    problem.keys = 5;
    problem.headSize = problem.valueSize = 32;
    for (Layout &layout : problem.layout)
      layout = Far;
    EXPECT_EQ(runner.run(problem.trial(generator, "mode=lazy")), "")
        << problem.source();
  }
}

} // namespace
