//===- SpecTest.cpp - Specifications as MLIR text -------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/jit/Spec.h"
#include "attn/test/runtime/core/TestSupport.h"

using namespace attn;
using namespace attn::test;

namespace {

TEST(Spec, WritesEverything) {
  AttentionSpec spec;
  spec.type = ElementType::BF16;
  spec.queryHeads = 8;
  spec.kvHeads = 2;
  spec.keys = 100;
  spec.headSize = 64;
  spec.valueHeadSize = 48;
  spec.mask = "causal & window<%w, 0>";
  spec.symbols = {"w"};
  spec.scale = 0.25;
  spec.alignment = AttentionSpec::Alignment::OffsetPerBatch;
  spec.lse = true;
  EXPECT_EQ(
      *toMlir(spec),
      "func.func @attention(%q: tensor<?x8x?x64xbf16>, %k: "
      "tensor<?x2x100x64xbf16>, %v: tensor<?x2x100x48xbf16>, %w: index, "
      "%offset: tensor<?xi64>)\n"
      "    -> (tensor<?x8x?x48xbf16>, tensor<?x8x?xf32>) {\n"
      "  %o, %lse = attn.attention %q, %k, %v mask(causal & window<%w, 0>) "
      "scale(2.5000000000000000e-01) align(%offset : tensor<?xi64>)\n"
      "      : (tensor<?x8x?x64xbf16>, tensor<?x2x100x64xbf16>, "
      "tensor<?x2x100x48xbf16>) -> (tensor<?x8x?x48xbf16>, tensor<?x8x?xf32>)\n"
      "  return %o, %lse : tensor<?x8x?x48xbf16>, tensor<?x8x?xf32>\n"
      "}\n");
}

std::string refusal(void (*change)(AttentionSpec &)) {
  AttentionSpec spec;
  spec.headSize = 64;
  change(spec);
  return errorOf(toMlir(spec));
}

TEST(Spec, RefusesWhatCannotBeWritten) {
  EXPECT_EQ(refusal([](AttentionSpec &) {}), "no error");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.type = ElementType::I32; }),
            "expected element type f16, bf16 or f32, found i32");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.keys = -7; }),
            "keys: expected a size, or -1 for one that is known at run time, "
            "found -7");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.headSize = 0; }),
            "expected head sizes of at least 1, found 0");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.scale = 1.0 / 0.0; }),
            "scale: expected a finite number");
  // A mask must not end its clause and begin another.
  for (const char *mask : {"causal) scale(3.0", "causal)", "(causal",
                           "causal // all", "causal\n"}) {
    AttentionSpec spec;
    spec.headSize = 64;
    spec.mask = mask;
    EXPECT_EQ(errorOf(toMlir(spec)),
              std::string("mask: expected one line with balanced parentheses, "
                          "found '") +
                  mask + "'");
  }
  for (const char *name : {"1x", "q", "lse", ""}) {
    AttentionSpec spec;
    spec.headSize = 64;
    spec.symbols = {name};
    EXPECT_EQ(errorOf(toMlir(spec)),
              std::string("symbols: expected a name other than q, k, v, o, "
                          "lse, offset and those before it, found '") +
                  name + "'");
  }
}

TEST(Spec, WritesTensorsAndChangesOfScores) {
  AttentionSpec spec;
  spec.queryHeads = spec.kvHeads = 4;
  spec.headSize = 64;
  // Types follow the mask's order, each once; arguments the list's.
  spec.mask = "documents(%ids, %ids) & lengths(%n) | keys<0, %w>";
  spec.symbols = {"w"};
  spec.tensors = {{"n", ElementType::I32, {-1}},
                  {"ids", ElementType::I64, {-1, -1}},
                  {"x", ElementType::F16, {1, 4, -1, 1}},
                  {"t", ElementType::F32, {4}}};
  spec.alignment = AttentionSpec::Alignment::Start;
  spec.softcap = 30;
  spec.bias = "x";
  spec.alibi = spec.sinks = "t";
  spec.scoreInputs = {"x", "w"};
  spec.score = "      attn.yield %x : f32";
  EXPECT_EQ(
      *toMlir(spec),
      "func.func @attention(%q: tensor<?x4x?x64xf16>, %k: "
      "tensor<?x4x?x64xf16>, %v: tensor<?x4x?x64xf16>, %w: index, %n: "
      "tensor<?xi32>, %ids: tensor<?x?xi64>, %x: tensor<1x4x?x1xf16>, %t: "
      "tensor<4xf32>)\n"
      "    -> tensor<?x4x?x64xf16> {\n"
      "  %o = attn.attention %q, %k, %v mask(documents(%ids, %ids) & "
      "lengths(%n) | keys<0, %w>) align(start) "
      "softcap(3.0000000000000000e+01) bias(%x : tensor<1x4x?x1xf16>) "
      "alibi(%t : tensor<4xf32>) sinks(%t : tensor<4xf32>) score(%x, %w : "
      "tensor<1x4x?x1xf16>, index) {\n"
      "    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index, %x: f32, "
      "%w: index):\n"
      "      attn.yield %x : f32\n"
      "    }\n"
      "      : (tensor<?x4x?x64xf16>, tensor<?x4x?x64xf16>, "
      "tensor<?x4x?x64xf16>, tensor<?x?xi64>, tensor<?xi32>) -> "
      "tensor<?x4x?x64xf16>\n"
      "  return %o : tensor<?x4x?x64xf16>\n"
      "}\n");
}

TEST(Spec, RefusesTensorsAndScoresThatCannotBeWritten) {
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.softcap = 0; }),
            "softcap: expected a finite number above 0");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.softcap = 1.0 / 0.0; }),
            "softcap: expected a finite number above 0");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.bias = "x"; }),
            "bias: expected the name of a tensor, found 'x'");
  EXPECT_EQ(refusal([](AttentionSpec &s) {
              s.symbols = {"x"};
              s.tensors = {{"x", ElementType::F32, {1}}};
            }),
            "tensors: expected a name other than q, k, v, o, lse, offset and "
            "those before it, found 'x'");
  EXPECT_EQ(refusal([](AttentionSpec &s) {
              s.tensors = {{"x", ElementType::F32, {-2}}};
            }),
            "tensors: x: expected a size, or -1 for one that is known at run "
            "time, found -2");
  EXPECT_EQ(refusal([](AttentionSpec &s) {
              s.tensors = {{"x", ElementType::Index, {}}};
            }),
            "tensors: expected an element type other than index for 'x'");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.scoreInputs = {"x"}; }),
            "score inputs: expected none without a score, found 'x'");
  EXPECT_EQ(refusal([](AttentionSpec &s) {
              s.score = "attn.yield %s : f32";
              s.scoreInputs = {"x"};
            }),
            "score inputs: expected the name of a tensor or a symbol, found "
            "'x'");
  EXPECT_EQ(refusal([](AttentionSpec &s) {
              s.score = "attn.yield %s : f32";
              s.symbols = s.scoreInputs = {"h"};
            }),
            "score inputs: expected names other than s, b, h, i, j and those "
            "before it, found 'h'");
  // A region must not end before its text does.
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.score = "} {"; }),
            "score: expected ops with balanced braces, found '} {'");
}

} // namespace
