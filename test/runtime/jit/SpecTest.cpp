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
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.symbols = {"1x"}; }),
            "symbols: expected a name other than q, k, v and offset, found "
            "'1x'");
  EXPECT_EQ(refusal([](AttentionSpec &s) { s.symbols = {"q"}; }),
            "symbols: expected a name other than q, k, v and offset, found "
            "'q'");
}

} // namespace
