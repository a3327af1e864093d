//===- ScoreTest.cpp - random score changes, run on both targets ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Score.h"
#include "attn/dialect/Source.h"
#include "attn/test/support/Elements.h"
#include "attn/test/support/Random.h"
#include "attn/test/support/Trial.h"
#include "attn/tools/support/Registry.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <cmath>
#include <sstream>

using namespace mlir;
using namespace ::attn::test;

namespace {

/// A tensor of the function that is drawn, or an index if it has no element
/// type.
struct Input {
  std::string name, element;
  std::vector<int64_t> shape;
  /// As the type says it: -1 for '?'.
  std::vector<int64_t> typeShape;
  double spread = 1;
  /// One element in so many is -inf.
  int64_t masked = 0;
  int64_t integer = 0;
  /// Elements between the end of a row and the next.
  int64_t gap = 0;

  std::string type() const {
    return element.empty() ? "index" : tensorType(typeShape, element);
  }

  Argument draw(Random &random) const {
    if (element.empty())
      return Argument::index(integer);
    Argument argument{elementOf(element), {shape, {}}};
    int64_t count = 1;
    for (int64_t extent : shape)
      count *= extent;
    for (int64_t i = 0; i < count; ++i)
      argument.value.values.push_back(
          masked && random.below(masked) == 0
              ? -INFINITY
              : ::attn::reference::round(spread * random.normal(),
                                         formatOf(argument.element)));
    std::vector<int64_t> padded = shape;
    padded.back() += gap;
    argument.strides = ::attn::rowMajorStrides(padded);
    return argument;
  }
};

struct Problem {
  std::string element = "bf16", clauses, target = "sm_80";
  int64_t batches = 1, kvHeads = 1, groups = 1, queries = 64, keys = 64,
          headSize = 32;
  bool dynamic = true, lse = true;
  std::vector<Input> arguments;

  int64_t heads() const { return kvHeads * groups; }
  Input qkv(const char *name, int64_t numHeads, int64_t rows) const {
    return {name,
            element,
            {batches, numHeads, rows, headSize},
            {dynamic ? -1 : batches, dynamic ? -1 : numHeads,
             dynamic ? -1 : rows, headSize}};
  }
  /// Adds q, k and v in front.
  void addTensors() {
    Input first[] = {qkv("q", heads(), queries), qkv("k", kvHeads, keys),
                     qkv("v", kvHeads, keys)};
    arguments.insert(arguments.begin(), std::begin(first), std::end(first));
  }
  std::string source() const {
    std::ostringstream os;
    os << "func.func @f(";
    for (size_t i = 0; i < arguments.size(); ++i)
      os << (i ? ", " : "") << "%" << arguments[i].name << ": "
         << arguments[i].type();
    std::string q = arguments[0].type(), k = arguments[1].type();
    std::string lseType =
        tensorType(dynamic ? std::vector<int64_t>{-1, -1, -1}
                           : std::vector<int64_t>{batches, heads(), queries},
                   "f32");
    std::string results = q + (lse ? ", " + lseType : "");
    os << ") -> (" << results << ") {\n  %o" << (lse ? ", %l" : "")
       << " = attn.attention %q, %k, %v " << clauses << "\n    : (" << q << ", "
       << k << ", " << k << ") -> (" << results << ")\n  return %o"
       << (lse ? ", %l" : "") << " : " << results << "\n}\n";
    return os.str();
  }
};

class Generator : public Random {
public:
  using Random::Random;

  Problem problem() {
    Problem p;
    p.element = oneOf<std::string>({"f16", "bf16"});
    p.batches = 1 + below(2);
    p.kvHeads = 1 + below(2);
    p.groups = oneOf<int64_t>({1, 2, 3});
    auto length = [&] {
      return oneOf<int64_t>({1, 2, 15, 17, 47, 63, 64, 65, 97, 127, 128, 129,
                             131, 191, 193, 257});
    };
    p.queries = length();
    p.keys = length();
    p.headSize = oneOf<int64_t>({16, 24, 32, 64, 80, 128});
    p.dynamic = below(2);
    p.lse = below(4) != 0;
    p.target = oneOf<std::string>({"sm_80", "sm_86", "sm_90", "sm_90a"});
    p.clauses = oneOf<std::string>(
        {"", "mask(causal)", "mask(causal)", "mask(causal & window<40, 0>)",
         "mask(window<33, 20>)", "mask(heads<0, 1> & causal | keys<9, 70>)",
         "mask(stride<3>)", "mask(causal & dilated<30, 0, 4>)",
         "mask(heads<0, 1> & stride<2> | !heads<0, 1> & window<20, 5>)"});
    p.clauses += oneOf<std::string>(
        {"", " align(start)", " align(%x)", " scale(0.3)", " scale(-0.2)"});
    auto give = [&](Input argument) {
      p.arguments.push_back(std::move(argument));
    };
    bool offset = p.clauses.find("%x") != std::string::npos;
    if (below(2))
      p.clauses += " softcap(" + oneOf<std::string>({"1.5", "30.0"}) + ")";
    if (below(3))
      p.clauses += " bias(%b : " + input(p, "b") + ")";
    if (below(2)) {
      give({"s", "f32", {p.heads()}, {p.dynamic ? -1 : p.heads()}, 0.1});
      p.clauses += " alibi(%s : " + p.arguments.back().type() + ")";
    }
    if (below(2))
      p.clauses += region(p);
    if (below(2)) {
      give({"t", "f32", {p.heads()}, {p.dynamic ? -1 : p.heads()}, 2});
      p.clauses += " sinks(%t : " + p.arguments.back().type() + ")";
    }
    if (offset) {
      give({"x", "", {}, {}});
      p.arguments.back().integer = below(200) - 50;
    }
    p.addTensors();
    return p;
  }

private:
  /// An input of some broadcastable shape; its type.
  std::string input(Problem &p, const char *name) {
    Input argument{name, oneOf<std::string>({"f16", "bf16", "f32"}), {}, {}};
    for (int64_t extent : {p.batches, p.heads(), p.queries, p.keys}) {
      bool full = below(3) != 0;
      argument.shape.push_back(full ? extent : 1);
      // A dimension of 1 that is '?' would mean the whole one.
      argument.typeShape.push_back(!full ? 1 : p.dynamic ? -1 : extent);
    }
    argument.masked = below(3) == 0 ? 5 : 0;
    argument.gap = oneOf<int64_t>({0, 0, 3});
    p.arguments.push_back(argument);
    return argument.type();
  }

  std::string region(Problem &p) {
    std::string f = input(p, "f");
    p.arguments.back().masked = 0;
    p.arguments.push_back({"n", "", {}, {}});
    p.arguments.back().integer = below(60);
    std::string body = oneOf<std::string>({R"(
      %c = arith.cmpi slt, %i, %n : index
      %y = arith.mulf %s, %e : f32
      %r = arith.select %c, %y, %s : f32)",
                                           R"(
      %d = arith.subi %i, %j : index
      %d32 = arith.index_cast %d : index to i32
      %c8 = arith.constant 8 : i32
      %bucket = arith.divsi %d32, %c8 : i32
      %bf = arith.sitofp %bucket : i32 to f32
      %c = arith.constant 0.05 : f32
      %z = arith.mulf %bf, %c : f32
      %y = arith.addf %s, %z : f32
      %r = arith.maximumf %y, %e : f32)",
                                           R"(
      %hb = arith.addi %h, %b : index
      %sum = arith.addi %hb, %n : index
      %i64 = arith.index_cast %sum : index to i64
      %sf = arith.sitofp %i64 : i64 to f32
      %c = arith.constant 0.01 : f32
      %y = math.fma %sf, %c, %s : f32
      %z = math.absf %e : f32
      %w = math.sqrt %z : f32
      %r = arith.subf %y, %w : f32)",
                                           R"(
      %two = arith.constant 2 : index
      %parity = arith.remui %j, %two : index
      %zero = arith.constant 0 : index
      %even = arith.cmpi eq, %parity, %zero : index
      %jn = arith.subi %j, %n : index
      %late = arith.cmpi sge, %jn, %i : index
      %c = arith.andi %even, %late : i1
      %y = math.exp %e : f32
      %ninf = arith.constant 0xFF800000 : f32
      %z = arith.select %c, %ninf, %s : f32
      %w = math.exp2 %e : f32
      %v = arith.minnumf %y, %w : f32
      %r = arith.addf %z, %v : f32)",
                                           R"(
      %k = arith.constant 3.0 : f32
      %y = math.powf %e, %k : f32
      %a = math.absf %e : f32
      %one = arith.constant 1.0 : f32
      %b1 = arith.addf %a, %one : f32
      %q = math.rsqrt %b1 : f32
      %l = math.log2 %b1 : f32
      %z = math.log %b1 : f32
      %t = arith.mulf %q, %l : f32
      %u = arith.subf %t, %z : f32
      %neg = arith.negf %u : f32
      %g = arith.cmpf ogt, %y, %neg : f32
      %gi = arith.extui %g : i1 to i32
      %gf = arith.sitofp %gi : i32 to f32
      %w = arith.addf %s, %gf : f32
      %r = arith.divf %w, %b1 : f32)"});
    return " score(%f, %n : " + f +
           ", index) {\n"
           "    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index, %e: "
           "f32, %n: index):" +
           body + "\n      attn.yield %r : f32\n  }";
  }
};

/// What went wrong on a device, or nothing. `expectedSource` is what the
/// reference evaluates, if not the same.
std::string run(TrialRunner &runner, const Problem &problem, Random &random,
                const std::string &device, const std::string &deviceOptions,
                const std::string &expectedSource = {}) {
  Trial trial;
  trial.source = problem.source();
  trial.expectedSource = expectedSource;
  for (const Input &input : problem.arguments)
    trial.arguments.push_back(input.draw(random));
  trial.target = device == "host" ? "host" : problem.target;
  trial.device = device;
  trial.deviceOptions = deviceOptions;
  return runner.run(trial);
}

TEST(Score, RandomChangesAgreeWithTheReference) {
  TrialRunner runner;
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1),
          count = environment("ATTN_DIFFERENTIAL_COUNT", 40);
  const char *modes[] = {"mode=eager", "mode=lazy", "mode=random"};
  for (int64_t i = 0; i < count; ++i) {
    Generator generator(uint64_t(first + i));
    Problem problem = generator.problem();
    bool host = i % 4 == 3;
    if (host && generator.below(2))
      for (Input &argument : problem.arguments) {
        problem.element = "f32";
        if (argument.name == "q" || argument.name == "k" ||
            argument.name == "v")
          argument.element = "f32";
      }
    std::string message = run(runner, problem, generator, host ? "host" : "sim",
                              host ? "" : modes[i % 3]);
    EXPECT_EQ(message, "") << "seed " << first + i << ", " << problem.target
                           << (host ? " host, " : " sim, ") << problem.batches
                           << " batches, " << problem.kvHeads << " x "
                           << problem.groups << " heads, " << problem.queries
                           << " x " << problem.keys << "\n"
                           << problem.source();
  }
  EXPECT_GE(runner.countRemarks("residue classes, each"), count / 10);
}

Problem fixedProblem(const std::string &clauses) {
  Problem p;
  p.groups = 2;
  p.queries = 70;
  p.keys = 90;
  p.clauses = clauses;
  p.arguments = {
      {"b", "bf16", {1, 2, 70, 90}, {1, 2, -1, -1}, 2},
      {"s", "f32", {2}, {2}, 0.1},
      {"t", "f32", {2}, {2}, 2},
  };
  p.addTensors();
  return p;
}

/// Whatever is computed wrongly is noticed: each pair of clauses differs in one
/// thing.
TEST(Score, AWrongFormulaIsFound) {
  const std::string body =
      "^bb0(%x: f32, %bb: index, %h: index, %i: index, %j: index";
  const std::string type = "tensor<1x2x?x?xbf16>";
  const std::string right[] = {
      // The cap before the bias.
      "mask(causal) softcap(2.0) bias(%b : " + type + ")",
      "mask(causal) alibi(%s : tensor<2xf32>)",
      "mask(causal) sinks(%t : tensor<2xf32>)",
      "mask(stride<3>) alibi(%s : tensor<2xf32>)",
  };
  const std::string wrong[] = {
      "mask(causal) score(%b : " + type + ") {\n" + body + R"(, %e: f32):
        %y = arith.addf %x, %e : f32
        %c = arith.constant 2.0 : f32
        %z = arith.divf %y, %c : f32
        %t = math.tanh %z : f32
        %r = arith.mulf %t, %c : f32
        attn.yield %r : f32 })",
      // Keys counted from 1.
      "mask(causal) score(%s : tensor<2xf32>) {\n" + body + R"(, %e: f32):
        %one = arith.constant 1 : index
        %d0 = arith.subi %i, %j : index
        %d1 = arith.subi %d0, %one : index
        %d = arith.index_cast %d1 : index to i64
        %f = arith.sitofp %d : i64 to f32
        %a = math.absf %f : f32
        %p = arith.mulf %e, %a : f32
        %r = arith.subf %x, %p : f32
        attn.yield %r : f32 })",
      "mask(causal)",
      // Positions of the residue class.
      "mask(stride<3>) score(%s : tensor<2xf32>) {\n" + body + R"(, %e: f32):
        %three = arith.constant 3 : index
        %d0 = arith.subi %i, %j : index
        %d1 = arith.divsi %d0, %three : index
        %d = arith.index_cast %d1 : index to i64
        %f = arith.sitofp %d : i64 to f32
        %a = math.absf %f : f32
        %p = arith.mulf %e, %a : f32
        %r = arith.subf %x, %p : f32
        attn.yield %r : f32 })",
  };
  for (size_t i = 0; i < std::size(right); ++i)
    for (const char *device : {"sim", "host"}) {
      TrialRunner runner;
      Problem problem = fixedProblem(right[i]);
      Random same(i), other(i);
      EXPECT_EQ(run(runner, problem, same, device, ""), "") << right[i];
      EXPECT_NE(run(runner, problem, other, device, "",
                    fixedProblem(wrong[i]).source()),
                "")
          << right[i];
    }
}

/// Scores of -inf are what some use as a mask. Rows that have no other score
/// are 0, in partial and in full tiles alike.
TEST(Score, RowsOfMinusInfinityAreZero) {
  for (const char *mask : {"", "mask(causal)",
                           "mask(causal) sinks(%t : "
                           "tensor<2xf32>)"})
    for (const char *device : {"sim", "host"}) {
      Problem problem =
          fixedProblem(std::string(mask) + " bias(%b : tensor<1x2x?x?xbf16>)");
      problem.arguments[3].masked = 1;
      TrialRunner runner;
      Random generator(3);
      EXPECT_EQ(run(runner, problem, generator, device, ""), "") << mask;
    }
}

/// With few queries the host makes heads rows of one tile, and splits long
/// keys: neither where values of a head, or sinks, would be those of others.
TEST(Score, FewQueriesOnTheHost) {
  struct Change {
    const char *clauses;
    Input argument;
  };
  const Change changes[] = {
      {"softcap(3.0)", {"b", "f32", {8}, {8}}},
      {"alibi(%b : tensor<8xf32>)", {"b", "f32", {8}, {8}, 0.1}},
      {"sinks(%b : tensor<8xf32>)", {"b", "f32", {8}, {8}, 9}},
      {"bias(%b : tensor<1x8x3x1xf16>) softcap(2.0)",
       {"b", "f16", {1, 8, 3, 1}, {1, 8, 3, 1}}},
      {"bias(%b : tensor<1x8x1x1xf32>) sinks(%b2 : tensor<8xf32>)",
       {"b", "f32", {1, 8, 1, 1}, {1, 8, 1, 1}, 5}},
      {"bias(%b : tensor<1x1x1x2500xf32>)",
       {"b", "f32", {1, 1, 1, 2500}, {1, 1, 1, 2500}}},
  };
  for (const Change &change : changes) {
    Problem p;
    p.kvHeads = 2;
    p.groups = 4;
    p.queries = 3;
    p.keys = 2500;
    p.headSize = 16;
    p.dynamic = false;
    p.clauses = std::string("mask(window<2000, 0>) ") + change.clauses;
    p.arguments = {change.argument, {"b2", "f32", {8}, {8}, 9}};
    p.addTensors();
    TrialRunner runner;
    Random generator(7);
    EXPECT_EQ(run(runner, p, generator, "host", ""), "") << change.clauses;
  }
}

/// What the builder makes is what the clauses are read as.
TEST(Score, BuilderAndClausesAgree) {
  DialectRegistry registry;
  mlir::attn::registerCompilerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  auto parse = [&](const std::string &clauses) {
    Problem p = fixedProblem(clauses);
    p.lse = false;
    return parseSourceString<ModuleOp>(p.source(), ParserConfig(&context));
  };
  const std::string region = R"( score(%t : tensor<2xf32>) {
    ^bb0(%x: f32, %bb: index, %h: index, %i: index, %j: index, %e: f32):
      %r = arith.mulf %x, %e : f32
      attn.yield %r : f32 })";
  auto expected = parse("softcap(4.0) bias(%b : tensor<1x2x?x?xbf16>) "
                        "alibi(%s : tensor<2xf32>)" +
                        region);
  auto built = parse(region);
  ASSERT_TRUE(expected && built);
  auto op = *(*built->getOps<func::FuncOp>().begin())
                 .getOps<mlir::attn::AttentionOp>()
                 .begin();
  ValueRange arguments =
      op->getParentOfType<func::FuncOp>().getBody().front().getArguments();
  mlir::attn::ScoreBuilder score(op.getLoc());
  EXPECT_TRUE(score.isEmpty());
  score.addSoftCap(4);
  score.addBias(arguments[3]);
  score.addAlibi(arguments[4]);
  score.addRegion(op.getScore(), arguments[5]);
  EXPECT_FALSE(score.isEmpty());
  mlir::attn::AttentionParts parts(op);
  parts.scoreInputs.assign(score.getInputs().begin(), score.getInputs().end());
  parts.score = &score.finish();
  OpBuilder builder(op);
  auto whole = mlir::attn::AttentionOp::create(
      builder, op.getLoc(), op.getO().getType(), Type(), parts);
  op.getO().replaceAllUsesWith(whole.getO());
  op->erase();
  auto text = [](ModuleOp module) {
    std::string result;
    llvm::raw_string_ostream os(result);
    module.print(os);
    return result;
  };
  EXPECT_EQ(text(*built), text(*expected));
}

} // namespace
