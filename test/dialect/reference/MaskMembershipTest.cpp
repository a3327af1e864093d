//===- MaskMembershipTest.cpp - every atom as a picture ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/MaskMembership.h"

#include "attn/dialect/mask/MaskParser.h"

#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

class MaskMembership : public testing::Test {
protected:
  MaskMembership() { context.loadDialect<AttnDialect>(); }

  MaskAttr parse(StringRef text) {
    FailureOr<ParsedMask> parsed =
        parseMaskExpression(text, MaskSymbolSyntax::Numbered, &context,
                            [&](size_t offset, const Twine &message) {
                              ADD_FAILURE() << message.str();
                            });
    EXPECT_TRUE(succeeded(parsed)) << text.str();
    return succeeded(parsed) ? parsed->mask : MaskAttr::getAll(&context);
  }

  /// One row for each query position from `firstPosition`, `x` for a live key.
  std::vector<std::string> draw(StringRef text, int64_t firstPosition,
                                int64_t rows, int64_t keys,
                                ArrayRef<int64_t> symbols = {},
                                int64_t head = 0) {
    MaskAttr mask = parse(text);
    std::vector<std::string> picture;
    for (int64_t p = firstPosition; p < firstPosition + rows; ++p) {
      std::string &row = picture.emplace_back();
      for (int64_t j = 0; j < keys; ++j)
        row += reference::contains(mask, symbols, head, p, j) ? 'x' : '.';
    }
    return picture;
  }

  MLIRContext context;
};

using Picture = std::vector<std::string>;

TEST_F(MaskMembership, AllAndCausal) {
  EXPECT_EQ(draw("all", -1, 2, 3), (Picture{"xxx", "xxx"}));
  EXPECT_EQ(draw("causal", -1, 4, 3), (Picture{"...", "x..", "xx.", "xxx"}));
}

TEST_F(MaskMembership, Window) {
  EXPECT_EQ(
      draw("window<2, 1>", 0, 6, 6),
      (Picture{"xx....", "xxx...", "xxxx..", ".xxxx.", "..xxxx", "...xxx"}));
  EXPECT_EQ(draw("window<0, 0>", 0, 3, 3), (Picture{"x..", ".x.", "..x"}));
  EXPECT_EQ(draw("window<inf, 0>", 0, 3, 3), (Picture{"x..", "xx.", "xxx"}));
  EXPECT_EQ(draw("window<1, inf>", 0, 3, 4), (Picture{"xxxx", "xxxx", ".xxx"}));
  EXPECT_EQ(draw("window<-1, 2>", 0, 3, 4), (Picture{".xx.", "..xx", "...x"}));
  EXPECT_EQ(draw("window<s1, s0>", 0, 3, 4, {2, 0}),
            (Picture{"xxx.", ".xxx", "..xx"}));
}

TEST_F(MaskMembership, Dilated) {
  // Two keys to the left, one to the right, every third position.
  EXPECT_EQ(draw("dilated<2, 1, 3>", 0, 8, 8),
            (Picture{"x..x....", ".x..x...", "..x..x..", "x..x..x.", ".x..x..x",
                     "..x..x..", "x..x..x.", ".x..x..x"}));
  EXPECT_EQ(draw("dilated<inf, 0, 2>", 3, 2, 6), (Picture{".x.x..", "x.x.x."}));
  // A reach that does not fit 64 bits.
  EXPECT_EQ(
      draw("dilated<1099511627776, 1099511627776, 1099511627776>", 0, 2, 3),
      (Picture{"x..", ".x."}));
}

TEST_F(MaskMembership, StrideAndBlocks) {
  EXPECT_EQ(draw("stride<3>", -1, 4, 6),
            (Picture{"..x..x", "x..x..", ".x..x.", "..x..x"}));
  EXPECT_EQ(draw("same_block<3>", -1, 5, 7),
            (Picture{".......", "xxx....", "xxx....", "xxx....", "...xxx."}));
  EXPECT_EQ(draw("summary<4, 1>", 0, 1, 9), (Picture{"...x...x."}));
  EXPECT_EQ(draw("summary<3, 2>", 0, 1, 7), (Picture{".xx.xx."}));
  EXPECT_EQ(draw("summary<3, 0>", 0, 1, 7), (Picture{"......."}));
}

TEST_F(MaskMembership, GlobalAndRanges) {
  EXPECT_EQ(draw("global<2>", 0, 4, 5),
            (Picture{"xxxxx", "xxxxx", "xx...", "xx..."}));
  EXPECT_EQ(draw("keys<1, 3>", 0, 1, 5), (Picture{".xx.."}));
  EXPECT_EQ(draw("keys<2, inf>", 0, 1, 5), (Picture{"..xxx"}));
  EXPECT_EQ(draw("queries<1, 3>", 0, 4, 2), (Picture{"..", "xx", "xx", ".."}));
  for (int64_t head = 0; head < 4; ++head)
    EXPECT_EQ(draw("heads<1, 3>", 0, 1, 1, {}, head),
              (Picture{head == 1 || head == 2 ? "x" : "."}));
}

TEST_F(MaskMembership, LiteralSet) {
  // i stands for the position; floordiv and mod round down.
  EXPECT_EQ(draw("affine_set<(h, i, j)[n] : (i - j * 2 + n >= 0)>(s0)", -2, 4,
                 4, {1}),
            (Picture{"....", "x...", "x...", "xx.."}));
  EXPECT_EQ(
      draw("affine_set<(h, i, j) : ((i - 1) floordiv 2 - j floordiv 2 == 0)>",
           0, 4, 4),
      (Picture{"....", "xx..", "xx..", "..xx"}));
  EXPECT_EQ(draw("affine_set<(h, i, j) : ((i - j) mod 3 - 2 == 0)>", 0, 3, 5),
            (Picture{".x..x", "..x..", "x..x."}));
  EXPECT_EQ(
      draw("affine_set<(h, i, j) : ((j - 1) ceildiv 2 - h >= 0, i - j >= 0)>",
           3, 1, 5, {}, 1),
      (Picture{"..xx."}));
}

TEST_F(MaskMembership, Operators) {
  EXPECT_EQ(draw("causal & !window<1, 0>", 0, 4, 4),
            (Picture{"....", "....", "x...", "xx.."}));
  EXPECT_EQ(draw("keys<0, 1> | causal & keys<2, 9>", 0, 4, 4),
            (Picture{"x...", "x...", "x.x.", "x.xx"}));
  EXPECT_EQ(draw("!(keys<0, 1> | causal)", 0, 2, 3), (Picture{".xx", "..x"}));
  EXPECT_EQ(draw("heads<0, 1> & keys<0, 1> | heads<1, 2> & keys<1, 2>", 0, 1, 3,
                 {}, 1),
            (Picture{".x."}));
}

TEST_F(MaskMembership, Composites) {
  EXPECT_EQ(draw("strided<3>", 4, 2, 7), (Picture{".xxxx..", "..xxxx."}));
  EXPECT_EQ(draw("strided<3>", 6, 1, 7), (Picture{"x..xxxx"}));
  EXPECT_EQ(draw("fixed<3, 1>", 4, 3, 7),
            (Picture{"..xxx..", "..xxxx.", "..x..xx"}));
  EXPECT_EQ(draw("chunked<3>", 4, 3, 7),
            (Picture{"...xx..", "...xxx.", "......x"}));
  EXPECT_EQ(draw("prefix<2>", 0, 3, 4), (Picture{"xx..", "xx..", "xxx."}));
  EXPECT_EQ(draw("longformer<1, 1>", 0, 4, 5),
            (Picture{"xxxxx", "xxx..", "xxxx.", "x.xxx"}));
  EXPECT_EQ(draw("streaming<1, 2>", 3, 2, 6), (Picture{"xxxx..", "x.xxx."}));
}

} // namespace
