//===- MaskAgreementTest.cpp - three readings of one definition ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/MaskMembership.h"
#include "attn/test/dialect/mask/TestMasks.h"

#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// The reference, the predicate that partial tiles are coded from, and the
/// exact procedure agree on random masks.
TEST(MaskAgreement, ReferencePredicateAndProcedure) {
  MLIRContext context;
  context.loadDialect<AttnDialect>();
  std::mt19937 rng(20);
  constexpr int64_t size = 20;
  for (int round = 0; round < 300; ++round) {
    MaskAttr mask = test::randomMask(context, rng, {size, 3, 2, true});
    int64_t symbols[] = {int64_t(rng() % 12) - 3, int64_t(rng() % 24)};
    int64_t head = rng() % 3, offset = int64_t(rng() % 11) - 5;
    MaskPredicate predicate = getMaskPredicate(mask);
    MaskProblem problem(mask, symbols, head, size, size, offset);
    int64_t numLive = 0;
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < size; ++j) {
        bool expected = reference::contains(mask, symbols, head, i + offset, j);
        numLive += expected;
        ASSERT_EQ(problem.isLive(i, j), expected)
            << mask.str() << " at " << i << ", " << j;
        ASSERT_EQ(test::holds(predicate, {head, i + offset, j}, symbols),
                  expected)
            << mask.str() << " at " << i << ", " << j;
      }
    ASSERT_EQ(problem.countLivePairs(), numLive) << mask.str();
  }
}

} // namespace
