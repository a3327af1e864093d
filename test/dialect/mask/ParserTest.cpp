//===- ParserTest.cpp - masks as text ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "attn/dialect/mask/MaskParser.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;

TEST(MaskParser, Precedence) {
  const std::pair<const char *, const char *> cases[] = {
      {"causal|keys<0,4>&stride<2>", "causal | keys<0, 4> & stride<2>"},
      {"(causal|keys<0,4>)&stride<2>", "(causal | keys<0, 4>) & stride<2>"},
      {"!causal&stride<2>", "!causal & stride<2>"},
      {"!(causal&stride<2>)", "!(causal & stride<2>)"},
      {"((causal))", "causal"},
      {"causal & (stride<2> & stride<3>)", "causal & stride<2> & stride<3>"},
      {"-causal * stride<2>", "!causal & stride<2>"},
      {"window<-3, inf>", "window<-3, inf>"},
      {"fixed<128, 8>", "causal & (same_block<128> | summary<128, 8>)"},
      {"streaming<4, s1>", "causal & (keys<0, 4> | window<s1, 0>)"},
      {"affine_set<(h, i, j)[a] : (i - j - a >= 0)>(s0)",
       "affine_set<(d0, d1, d2)[s0] : (d1 - d2 - s0 >= 0)>(s0)"},
  };
  MLIRContext context;
  for (auto [text, expected] : cases)
    EXPECT_EQ(parseMask(context, text).str(), expected);
}

TEST(MaskParser, RandomMasksSurvivePrinting) {
  constexpr unsigned seed = 3;
  std::mt19937 rng(seed);
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  for (int round = 0; round < 2000; ++round) {
    RandomMaskOptions options;
    options.depth = round % 5;
    options.numSymbols = 3;
    MaskAttr mask = randomMask(context, rng, options);
    std::string attribute;
    llvm::raw_string_ostream os(attribute);
    os << Attribute(mask);
    ASSERT_EQ(parseAttribute(attribute, &context), mask)
        << "seed " << seed << " round " << round << " " << attribute;
    ASSERT_EQ(parseMask(context, mask.str()), mask)
        << "seed " << seed << " round " << round << " " << mask.str();
  }
}

TEST(MaskParser, ErrorsHaveAPlace) {
  struct Case {
    const char *text;
    size_t offset;
    const char *message;
  };
  const Case cases[] = {
      {"", 0, "expected a mask"},
      {"causal & ", 9, "expected a mask"},
      {"causl", 0, "unknown mask 'causl'; did you mean 'causal'?"},
      {"causal & windw<1, 2>", 9,
       "unknown mask 'windw'; did you mean 'window'?"},
      {"something_else", 0, "unknown mask 'something_else'"},
      {"window", 6, "expected '<' after 'window', which takes 2 parameters"},
      {"window<1>", 8, "expected ',' in 'window', which takes 2 parameters"},
      {"window<1, 2, 3>", 11,
       "expected '>' to close 'window', which takes 2 parameters"},
      {"stride<inf>", 7, "parameter 1 of 'stride' must be finite"},
      {"keys<inf, 3>", 5, "parameter 1 of 'keys' must be finite"},
      {"stride<s0>", 7,
       "parameter 1 of 'stride' must be a constant: a modulus that is a "
       "run-time value has no integer set"},
      {"stride<0>", 0, "the stride of 'stride' must be at least 1, found 0"},
      {"dilated<1, 1, -2>", 0,
       "the step of 'dilated' must be at least 1, found -2"},
      {"causal & same_block<0>", 9,
       "the block length of 'same_block' must be at least 1, found 0"},
      {"summary<8, 9>", 0,
       "the summary length 9 of 'summary' exceeds the block length 8"},
      {"global<-1>", 0,
       "the number of tokens of 'global' must be at least 0, found -1"},
      {"keys<9, 3>", 0, "the range of 'keys' is reversed: 9 > 3"},
      {"window<1099511627777, 0>", 0,
       "parameter 1099511627777 of 'window' is beyond +-2^40"},
      {"window<99999999999999999999, 0>", 7,
       "expected an integer, 'inf' or a symbol that fits in 64 bits, found "
       "'99999999999999999999'"},
      {"window<x, 0>", 7,
       "expected an integer, 'inf' or a symbol that fits in 64 bits, found "
       "'x'"},
      {"(causal", 7, "expected ')' to close the parenthesis"},
      {"affine_set<(i, j) : (i - j >= 0)>", 11,
       "expected a set of three dimensions (head, query position, key "
       "position), found 2"},
      {"affine_set<(h, i, j)[n] : (i - n >= 0)>", 11,
       "the set has 1 symbols, but 0 values are given after it"},
      {"affine_set<(h, i, j) : (i - j >= 0", 23,
       "expected ')' to close the constraints"},
      {"affine_set<\"(h, i, j) : (i - j >= 0)>", 11,
       "expected '\"' to close the set"},
      {"keys<s64, 1>", 5, "a mask has at most 64 symbols"},
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  for (const Case &c : cases) {
    unsigned calls = 0;
    auto emitError = [&](size_t offset, const Twine &message) {
      ++calls;
      // The label of the constraint ends the message.
      std::string text = message.str();
      EXPECT_TRUE(StringRef(text).ends_with(")")) << text;
      EXPECT_EQ(StringRef(text).rsplit(" (M").first.str(), c.message) << c.text;
      EXPECT_EQ(offset, c.offset) << c.text;
    };
    EXPECT_TRUE(failed(parseMaskExpression(c.text, MaskSymbolSyntax::Numbered,
                                           &context, emitError)))
        << c.text;
    EXPECT_EQ(calls, 1u) << c.text;
  }
  // What cannot continue the expression is left alone.
  FailureOr<ParsedMask> parsed =
      parseMaskExpression("causal | %w", MaskSymbolSyntax::Named, &context,
                          [](size_t, const Twine &) {});
  EXPECT_TRUE(failed(parsed));
  parsed =
      parseMaskExpression("window<%w, %v> ) scale", MaskSymbolSyntax::Named,
                          &context, [](size_t, const Twine &) {});
  ASSERT_TRUE(succeeded(parsed));
  EXPECT_EQ(parsed->length, 14u);
  EXPECT_EQ(parsed->symbolNames.size(), 2u);
}

TEST(MaskPredicate, RandomMasksAgreeWithTheTable) {
  constexpr unsigned seed = 11;
  std::mt19937 rng(seed);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  MLIRContext context;
  context.getOrLoadDialect<AttnDialect>();
  for (int round = 0; round < 3000; ++round) {
    RandomMaskOptions options;
    options.depth = pick(0, 4);
    MaskAttr mask = randomMask(context, rng, options);
    MaskPredicate predicate = getMaskPredicate(mask);
    for (int sample = 0; sample < 100; ++sample) {
      int64_t symbols[] = {pick(-3, 30), pick(0, 45)};
      int64_t h = pick(0, 4), p = pick(-20, 60), j = pick(0, 60);
      ASSERT_EQ(holds(predicate, {h, p, j}, symbols),
                isLive(mask, symbols, h, p, j))
          << "seed " << seed << " round " << round << " " << mask.str()
          << " at " << h << ", " << p << ", " << j;
    }
  }
}
