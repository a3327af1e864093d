//===- ReferenceTest.cpp - functions of attention ops, evaluated ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/Reference.h"

#include "RandomProblem.h"
#include "attn/dialect/Attn.h"
#include "attn/dialect/Source.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::reference;
using ::attn::reference::Problem;
using ::attn::reference::RandomProblem;
using ::attn::reference::Shape;
using ::attn::reference::Solution;
using ::attn::reference::View;

namespace {

class ReferenceTest : public testing::Test {
protected:
  ReferenceTest() {
    context.loadDialect<AttnDialect, affine::AffineDialect, arith::ArithDialect,
                        func::FuncDialect, tensor::TensorDialect>();
  }

  func::FuncOp parse(StringRef text) {
    module = parseSourceString<ModuleOp>(prepareSource(text), &context);
    EXPECT_TRUE(module);
    return module ? *module->getOps<func::FuncOp>().begin() : func::FuncOp();
  }

  std::vector<Output> run(StringRef text, ArrayRef<Tensor> inputs) {
    func::FuncOp function = parse(text);
    FailureOr<std::vector<Output>> outputs = evaluateFunction(function, inputs);
    EXPECT_TRUE(succeeded(outputs));
    return succeeded(outputs) ? std::move(*outputs) : std::vector<Output>();
  }

  /// The first diagnostic, with the line it points at.
  std::string error(StringRef text, ArrayRef<Tensor> inputs) {
    func::FuncOp function = parse(text);
    std::string message;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (message.empty()) {
        if (auto loc = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
          message = std::to_string(loc.getLine()) + ": ";
        message += diagnostic.str();
      }
      return success();
    });
    EXPECT_TRUE(failed(evaluateFunction(function, inputs)));
    return message;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

Tensor tensorOf(const View &view, const std::vector<double> &values) {
  return {{view.shape.begin(), view.shape.end()}, values};
}

std::vector<Tensor> inputsOf(const RandomProblem &r) {
  return {tensorOf(r.problem.q, r.q), tensorOf(r.problem.k, r.k),
          tensorOf(r.problem.v, r.v)};
}

Tensor scalar(double value) { return {{}, {value}}; }

TEST_F(ReferenceTest, MaskScaleAlignmentAndSymbols) {
  RandomProblem r({2, 4, 2, 5, 7, 16, 24}, Format::F16);
  r.problem.scale = 0.5;
  r.problem.live = [](int64_t, int64_t p, int64_t j) {
    return j <= p && j >= p - 3;
  };
  StringRef format = R"(
func.func @f(%q: tensor<2x4x?x16xf16>, %k: tensor<2x2x?x16xf16>, %v: tensor<2x2x?x24xf16>, %n: index)
    -> (tensor<2x4x?x24xf16>, tensor<2x4x?xf32>) {
  %c1 = arith.constant 1 : index
  %w = arith.subi %n, %c1 : index
  %o, %lse = attn.attention %q, %k, %v mask(causal & window<%w, 0>) scale(0.5)
      : (tensor<2x4x?x16xf16>, tensor<2x2x?x16xf16>, tensor<2x2x?x24xf16>) -> (tensor<2x4x?x24xf16>, tensor<2x4x?xf32>)
  return %o, %lse : tensor<2x4x?x24xf16>, tensor<2x4x?xf32>
})";
  std::vector<Tensor> inputs = inputsOf(r);
  inputs.push_back(scalar(4));
  std::vector<Output> outputs = run(format, inputs);
  ASSERT_EQ(outputs.size(), 2u);
  Solution exact = ::attn::reference::evaluate(r.problem);
  Solution naive = ::attn::reference::evaluateNaive(r.problem, Format::F16);
  EXPECT_EQ(outputs[0].exact.values, exact.o);
  EXPECT_EQ(outputs[0].naive.values, naive.o);
  EXPECT_EQ(outputs[0].exact.shape, r.outShape());
  EXPECT_FALSE(outputs[0].isLse);
  EXPECT_EQ(outputs[1].exact.values, exact.lse);
  EXPECT_EQ(outputs[1].exact.shape, r.rowShape());
  EXPECT_TRUE(outputs[1].isLse);
  EXPECT_EQ(outputs[1].inputFormat, Format::F16);
  // The verdict takes the rule for the kind.
  EXPECT_TRUE(judge(outputs[0].naive, outputs[0]).passed);
  EXPECT_TRUE(judge(outputs[1].naive, outputs[1]).passed);
  Tensor wrong = outputs[1].naive;
  wrong.values[3] += 0.002;
  EXPECT_FALSE(judge(wrong, outputs[1]).passed);
  wrong = outputs[0].naive;
  std::swap(wrong.shape[0], wrong.shape[1]);
  EXPECT_FALSE(judge(wrong, outputs[0]).passed);
}

TEST_F(ReferenceTest, DefaultScaleAndStartAlignment) {
  RandomProblem r({1, 2, 2, 4, 9, 64, 16}, Format::BF16);
  r.problem.live = ::attn::reference::causal;
  r.problem.offsets = {0};
  std::vector<Output> outputs = run(R"(
func.func @f(%q: tensor<1x2x4x64xbf16>, %k: tensor<1x2x9x64xbf16>, %v: tensor<1x2x9x16xbf16>) -> tensor<1x2x4x16xbf16> {
  %o = attn.attention %q, %k, %v mask(causal) align(start)
      : (tensor<1x2x4x64xbf16>, tensor<1x2x9x64xbf16>, tensor<1x2x9x16xbf16>) -> tensor<1x2x4x16xbf16>
  return %o : tensor<1x2x4x16xbf16>
})",
                                    inputsOf(r));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].exact.values, ::attn::reference::evaluate(r.problem).o);
  EXPECT_EQ(outputs[0].format, Format::BF16);
}

TEST_F(ReferenceTest, OffsetForEachBatchAndFirstHead) {
  RandomProblem r({3, 2, 1, 4, 8, 16, 16}, Format::F32);
  r.problem.offsets = {0, -2, 3};
  r.problem.firstHead = 6;
  r.problem.live = [](int64_t h, int64_t p, int64_t j) {
    return h >= 7 ? j <= p : j >= 2;
  };
  StringRef text = R"(
func.func @f(%q: tensor<3x2x4x16xf32>, %k: tensor<3x1x8x16xf32>, %v: tensor<3x1x8x16xf32>, %x: tensor<?xi32>)
    -> tensor<3x2x4x16xf32> {
  %h = arith.constant 6 : index
  %o = attn.attention %q, %k, %v mask(heads<7, inf> & causal | heads<0, 7> & keys<2, inf>)
      align(%x : tensor<?xi32>) head(%h)
      : (tensor<3x2x4x16xf32>, tensor<3x1x8x16xf32>, tensor<3x1x8x16xf32>) -> tensor<3x2x4x16xf32>
  return %o : tensor<3x2x4x16xf32>
})";
  std::vector<Tensor> inputs = inputsOf(r);
  inputs.push_back({{3}, {0, -2, 3}});
  std::vector<Output> outputs = run(text, inputs);
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].exact.values, ::attn::reference::evaluate(r.problem).o);
  inputs.back() = {{2}, {0, -2}};
  EXPECT_EQ(error(text, inputs), "5: expected one offset "
                                 "for each of the 3 batches, found 2 (R6)");
  inputs.back() = {{3}, {0, -2, 3e12}};
  EXPECT_EQ(
      error(text, inputs),
      "2: input 3: expected integers that fit 'i32', found 3.000000e+12 (R1)");
}

TEST_F(ReferenceTest, ChainedOps) {
  RandomProblem r({1, 2, 2, 6, 6, 16, 16}, Format::F16);
  StringRef text = R"(
func.func @f(%q: tensor<1x2x?x16xf16>, %k: tensor<1x2x?x16xf16>, %v: tensor<1x2x?x16xf16>) -> tensor<1x2x?x16xf16> {
  %0 = attn.attention %q, %k, %v mask(causal)
      : (tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>) -> tensor<1x2x?x16xf16>
  %c2 = arith.constant 2 : index
  %n = tensor.dim %0, %c2 : tensor<1x2x?x16xf16>
  %w = arith.floordivsi %n, %c2 : index
  %1 = attn.attention %0, %k, %0 mask(window<%w, %w>)
      : (tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>) -> tensor<1x2x?x16xf16>
  return %1 : tensor<1x2x?x16xf16>
})";
  std::vector<Output> outputs = run(text, inputsOf(r));
  ASSERT_EQ(outputs.size(), 1u);

  Problem first = r.problem;
  first.live = ::attn::reference::causal;
  Solution exact = ::attn::reference::evaluate(first),
           naive = ::attn::reference::evaluateNaive(first, Format::F16);
  Problem second = r.problem;
  second.live = [](int64_t, int64_t p, int64_t j) {
    return std::abs(p - j) <= 3;
  };
  // In f64 nothing is rounded on the way; the naive intermediate is f16.
  second.q = second.v = View::rowMajor(exact.o.data(), {1, 2, 6, 16});
  EXPECT_EQ(outputs[0].exact.values, ::attn::reference::evaluate(second).o);
  second.q = second.v = View::rowMajor(naive.o.data(), {1, 2, 6, 16});
  EXPECT_EQ(outputs[0].naive.values,
            ::attn::reference::evaluateNaive(second, Format::F16).o);
}

TEST_F(ReferenceTest, InputsAreRoundedToTheirType) {
  StringRef text = R"(
func.func @f(%q: tensor<1x1x1x16xbf16>, %k: tensor<1x1x1x16xbf16>, %v: tensor<1x1x1x16xbf16>) -> tensor<1x1x1x16xbf16> {
  %o = attn.attention %q, %k, %v
      : (tensor<1x1x1x16xbf16>, tensor<1x1x1x16xbf16>, tensor<1x1x1x16xbf16>) -> tensor<1x1x1x16xbf16>
  return %o : tensor<1x1x1x16xbf16>
})";
  Tensor third = {{1, 1, 1, 16}, std::vector<double>(16, 1.0 / 3)};
  std::vector<Output> outputs = run(text, {third, third, third});
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].exact.values.front(), 0.333984375);
}

TEST_F(ReferenceTest, EmptyLengths) {
  StringRef text = R"(
func.func @f(%q: tensor<?x?x?x16xf16>, %k: tensor<?x?x?x16xf16>, %v: tensor<?x?x?x16xf16>)
    -> (tensor<?x?x?x16xf16>, tensor<?x?x?xf32>) {
  %o, %l = attn.attention %q, %k, %v mask(causal)
      : (tensor<?x?x?x16xf16>, tensor<?x?x?x16xf16>, tensor<?x?x?x16xf16>) -> (tensor<?x?x?x16xf16>, tensor<?x?x?xf32>)
  return %o, %l : tensor<?x?x?x16xf16>, tensor<?x?x?xf32>
})";
  RandomProblem noKeys({2, 2, 1, 3, 0, 16, 16}, Format::F16);
  std::vector<Output> outputs = run(text, inputsOf(noKeys));
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].exact.values, std::vector<double>(2 * 2 * 3 * 16, 0.0));
  EXPECT_EQ(outputs[1].exact.values,
            std::vector<double>(12, -std::numeric_limits<double>::infinity()));
  RandomProblem noQueries({2, 2, 1, 0, 5, 16, 16}, Format::F16);
  EXPECT_TRUE(run(text, inputsOf(noQueries))[0].exact.values.empty());
  RandomProblem noHeads({2, 0, 0, 4, 5, 16, 16}, Format::F16);
  EXPECT_TRUE(run(text, inputsOf(noHeads))[0].exact.values.empty());

  // What sizes known only now break.
  auto withShapes = [&](Shape s, Shape t) {
    RandomProblem a(s, Format::F16), b(t, Format::F16);
    return error(text, {tensorOf(a.problem.q, a.q), tensorOf(a.problem.k, a.k),
                        tensorOf(b.problem.v, b.v)});
  };
  Shape s{2, 4, 2, 3, 5, 16, 16};
  auto with = [&](int64_t Shape::*member, int64_t value) {
    Shape t = s;
    t.*member = value;
    return t;
  };
  EXPECT_EQ(withShapes(s, with(&Shape::batches, 3)),
            "4: expected k and v of one batch size, found "
            "2 and 3 (R2)");
  EXPECT_EQ(withShapes(s, with(&Shape::kvHeads, 4)),
            "4: expected k and v of one number of heads, "
            "found 2 and 4 (R3)");
  EXPECT_EQ(withShapes(with(&Shape::queryHeads, 3), s),
            "4: expected the 3 query heads to be a "
            "multiple of the 2 KV heads (R3)");
  EXPECT_EQ(withShapes(with(&Shape::kvHeads, 0), with(&Shape::kvHeads, 0)),
            "4: expected the 4 query heads to be a "
            "multiple of the 0 KV heads (R3)");
  EXPECT_EQ(withShapes(s, with(&Shape::keys, 6)),
            "4: expected k and v of one length, found 5 "
            "and 6 (R4)");
}

TEST_F(ReferenceTest, InputsThatDoNotMatch) {
  StringRef text = R"(
func.func @f(%q: tensor<1x2x?x16xf16>, %k: tensor<1x2x?x16xf16>, %v: tensor<1x2x?x16xf16>, %w: index) -> tensor<1x2x3x16xf16> {
  %o = attn.attention %q, %k, %v mask(window<%w, 0>)
      : (tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>, tensor<1x2x?x16xf16>) -> tensor<1x2x3x16xf16>
  return %o : tensor<1x2x3x16xf16>
})";
  RandomProblem r({1, 2, 2, 3, 5, 16, 16}, Format::F16);
  std::vector<Tensor> inputs = inputsOf(r);
  EXPECT_EQ(error(text, inputs), "2: expected 4 inputs, found 3 (R1)");
  inputs.push_back(scalar(2.5));
  EXPECT_EQ(error(text, inputs), "2: input 3: expected integers that fit "
                                 "'index', found 2.500000e+00 (R1)");
  inputs.back() = scalar(std::ldexp(1.0, 41));
  EXPECT_EQ(error(text, inputs), "3: expected the symbols of the mask within "
                                 "+-2^40, found 2199023255552 (R7)");
  inputs.back() = {{1}, {2}};
  EXPECT_EQ(error(text, inputs), "2: input 3: expected 'index', found 1 (R1)");
  inputs.back() = scalar(2);
  inputs[1].values.pop_back();
  EXPECT_EQ(error(text, inputs),
            "2: input 1: expected 160 values, found 159 (R1)");
  inputs[1] = {{1, 2, 160}, r.k};
  EXPECT_EQ(error(text, inputs),
            "2: input 1: expected 'tensor<1x2x?x16xf16>', found 1x2x160 (R1)");
  RandomProblem longer({1, 2, 2, 4, 5, 16, 16}, Format::F16);
  inputs = inputsOf(longer);
  inputs.push_back(scalar(2));
  EXPECT_EQ(error(text, inputs), "3: expected o to be "
                                 "'tensor<1x2x3x16xf16>', found 1x2x4x16 (R5)");
}

TEST_F(ReferenceTest, OtherOpsAreRefusedWhereTheyStand) {
  RandomProblem r({1, 1, 1, 2, 2, 16, 16}, Format::F16);
  EXPECT_EQ(error(R"(
func.func @f(%q: tensor<1x1x2x16xf16>, %k: tensor<1x1x2x16xf16>, %v: tensor<1x1x2x16xf16>) -> tensor<1x1x2x16xf16> {
  %s = arith.addf %q, %k : tensor<1x1x2x16xf16>
  %o = attn.attention %s, %k, %v
      : (tensor<1x1x2x16xf16>, tensor<1x1x2x16xf16>, tensor<1x1x2x16xf16>) -> tensor<1x1x2x16xf16>
  return %o : tensor<1x1x2x16xf16>
})",
                  inputsOf(r)),
            "3: expected attn.attention or arithmetic on known scalars, found "
            "'arith.addf'");
}

/// Against the formulas, written out: the cap, the bias, slopes, the region;
/// positions and heads as the mask sees them.
TEST_F(ReferenceTest, Scores) {
  RandomProblem r({2, 4, 2, 5, 7, 16, 16}, Format::F16);
  r.problem.live = [](int64_t, int64_t p, int64_t j) { return j <= p; };
  r.problem.firstHead = 3;
  const std::vector<double> slopes = {0.5, 0.25, 2, 0},
                            sinks = {1, -2, 0.5, -INFINITY};
  Tensor bias{{1, 4, 5, 1}, {}};
  for (int i = 0; i < 20; ++i)
    bias.values.push_back(i % 7 - 2.5);
  r.problem.sinks = sinks;
  r.problem.score = [&](double s, int64_t b, int64_t h, int64_t i, int64_t j) {
    int64_t p = i + 2;
    double y = 2 * std::tanh(s / 2) + bias.values[h * 5 + i] -
               slopes[h] * std::abs(double(p - j));
    return (h + 3) * 10 + j < 42 && p > 3 ? y : y * (b + 0.5);
  };
  StringRef text = R"(
func.func @f(%q: tensor<2x4x?x16xf16>, %k: tensor<2x2x?x16xf16>, %v: tensor<2x2x?x16xf16>, %b: tensor<1x4x?x1xf32>, %s: tensor<4xf32>, %t: tensor<?xf32>, %h: index)
    -> (tensor<2x4x?x16xf16>, tensor<2x4x?xf32>) {
  %o, %lse = attn.attention %q, %k, %v mask(causal) softcap(2.0) bias(%b : tensor<1x4x?x1xf32>)
      alibi(%s : tensor<4xf32>) sinks(%t : tensor<?xf32>) head(%h) score(%h : index) {
    ^bb0(%x: f32, %batch: index, %head: index, %i: index, %j: index, %first: index):
      %ten = arith.constant 10 : index
      %h10 = arith.muli %head, %ten : index
      %sum = arith.addi %h10, %j : index
      %c42 = arith.constant 42 : index
      %less = arith.cmpi slt, %sum, %c42 : index
      %late = arith.cmpi ugt, %i, %first : index
      %both = arith.andi %less, %late : i1
      %b64 = arith.index_cast %batch : index to i64
      %bf = arith.sitofp %b64 : i64 to f32
      %half = arith.constant 0.5 : f32
      %factor = arith.addf %bf, %half : f32
      %y = arith.mulf %x, %factor : f32
      %r = arith.select %both, %x, %y : f32
      attn.yield %r : f32
  } : (tensor<2x4x?x16xf16>, tensor<2x2x?x16xf16>, tensor<2x2x?x16xf16>) -> (tensor<2x4x?x16xf16>, tensor<2x4x?xf32>)
  return %o, %lse : tensor<2x4x?x16xf16>, tensor<2x4x?xf32>
})";
  std::vector<Tensor> inputs = inputsOf(r);
  inputs.push_back(bias);
  inputs.push_back({{4}, slopes});
  inputs.push_back({{4}, sinks});
  inputs.push_back(scalar(3));
  std::vector<Output> outputs = run(text, inputs);
  ASSERT_EQ(outputs.size(), 2u);
  Solution exact = ::attn::reference::evaluate(r.problem);
  ASSERT_EQ(outputs[0].exact.values.size(), exact.o.size());
  for (size_t i = 0; i < exact.o.size(); ++i)
    EXPECT_NEAR(outputs[0].exact.values[i], exact.o[i], 1e-12);
  for (size_t i = 0; i < exact.lse.size(); ++i)
    EXPECT_NEAR(outputs[1].exact.values[i], exact.lse[i], 1e-12);
  EXPECT_EQ(outputs[0].maxFactor, 3);
  EXPECT_TRUE(judge(outputs[0].naive, outputs[0]).passed);

  inputs[3].shape = {1, 4, 1, 5};
  EXPECT_EQ(error(text, inputs),
            "2: input 3: expected 'tensor<1x4x?x1xf32>', found 1x4x1x5 (R1)");
  inputs[3] = {{1, 4, 4, 1}, std::vector<double>(16)};
  EXPECT_EQ(error(text, inputs),
            "4: expected score input 0 to be "
            "broadcastable to 2x4x5x7, found 1x4x4x1 (R8)");
  inputs[3] = bias;
  inputs[5] = {{3}, {1, 2, 3}};
  EXPECT_EQ(error(text, inputs), "4: expected one sink for each of the 4 query "
                                 "heads, found 3 (R9)");
}

/// Rows without a score above -inf, with and without a live key, a sink or a
/// NaN in v.
TEST_F(ReferenceTest, RowsOfMinusInfinity) {
  RandomProblem r({1, 1, 1, 3, 4, 16, 16}, Format::F16);
  r.v[5] = NAN;
  for (double sink : {double(-INFINITY), 0.75}) {
    r.problem.sinks = {sink};
    r.problem.live = [](int64_t, int64_t p, int64_t) { return p != 2; };
    r.problem.score = [](double s, int64_t, int64_t, int64_t i, int64_t j) {
      return i == 0 || (i == 2 && j != 1) ? double(-INFINITY) : s;
    };
    Solution exact = ::attn::reference::evaluate(r.problem);
    EXPECT_EQ(exact.lse[0], sink); // live keys, none above -inf
    EXPECT_EQ(exact.lse[1], sink); // no live key: positions begin at 1
    EXPECT_TRUE(std::isfinite(exact.lse[2]));
    EXPECT_EQ(exact.o[0], 0);
    EXPECT_TRUE(std::isnan(exact.o[5]));
    EXPECT_EQ(exact.o[16 + 5], 0);
    EXPECT_TRUE(std::isnan(exact.o[32 + 5]));
    double share = 1 - (std::isinf(sink) ? 0 : std::exp(sink - exact.lse[2]));
    EXPECT_NEAR(exact.o[32], share * r.v[16], 1e-12);
  }
}

} // namespace
