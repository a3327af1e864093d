//===- ExpressionTest.cpp - Expressions, targets, hashes ------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Expression.h"
#include "attn/runtime/core/Sha256.h"
#include "attn/runtime/core/Target.h"
#include "attn/test/runtime/core/TestSupport.h"

using namespace attn;
using namespace attn::test;

namespace {

int64_t valueOf(const Expression &e, const Bindings &bindings = {}) {
  Result<int64_t> value = evaluate(e, bindings);
  EXPECT_TRUE(value) << errorOf(value);
  return value ? *value : -12345;
}

TEST(Expression, Evaluates) {
  Bindings bindings = {{"d0", 257}, {"d1", 3}};
  EXPECT_EQ(valueOf(5), 5);
  EXPECT_EQ(valueOf(std::string("d0"), bindings), 257);
  EXPECT_EQ(valueOf(mulExpr(ceilDivExpr(std::string("d0"), 128), 16), bindings),
            48);
  EXPECT_EQ(valueOf(addExpr(minExpr(std::string("d0"), 7), std::string("d1")),
                    bindings),
            10);
  EXPECT_EQ(valueOf(maxExpr(std::string("d1"), -4), bindings), 3);
  EXPECT_EQ(valueOf({Expression::Kind::Add, {1, 2, 3, 4}}), 10);
  EXPECT_EQ(valueOf(ceilDivExpr(0, 9)), 0);
  EXPECT_EQ(valueOf(ceilDivExpr(9, 9)), 1);
  EXPECT_EQ(valueOf(ceilDivExpr(10, 9)), 2);
  EXPECT_EQ(valueOf(ceilDivExpr(-10, 9)), -1);
  EXPECT_EQ(valueOf(ceilDivExpr(INT64_MAX, 2)), int64_t(1) << 62);
}

TEST(Expression, RefusesOverflowAndBadOperands) {
  EXPECT_EQ(errorOf(evaluate(addExpr(INT64_MAX, 1), {})),
            "the value of add(9223372036854775807, 1) does not fit in 64 bits");
  EXPECT_EQ(errorOf(evaluate(mulExpr(std::string("n"), std::string("n")),
                             {{"n", int64_t(1) << 32}})),
            "the value of mul(n, n) does not fit in 64 bits");
  EXPECT_EQ(errorOf(evaluate(ceilDivExpr(1, std::string("n")), {{"n", 0}})),
            "the divisor of ceildiv(1, n) is 0, expected a positive number");
  EXPECT_EQ(errorOf(evaluate(std::string("m"), {{"n", 0}})),
            "'m' is not bound by any argument's shape");
}

TEST(Target, Parses) {
  EXPECT_EQ(parseTarget("sm_80")->number(), 80);
  EXPECT_EQ(parseTarget("sm_90a")->suffix, 'a');
  EXPECT_EQ(parseTarget("sm_120f")->major, 12);
  EXPECT_EQ(parseTarget("sm_120f")->text(), "sm_120f");
  for (const char *bad : {"", "sm_", "sm_8", "sm_080", "sm_80b", "sm_1000",
                          "sm_8x", "compute_80", "SM_80", "sm_80a "})
    EXPECT_FALSE(parseTarget(bad)) << bad;
}

TEST(Target, DecidesWhatRunsWhere) {
  EXPECT_TRUE(checkRunsOn("sm_80", "A", 8, 0));
  EXPECT_TRUE(checkRunsOn("sm_80", "A", 12, 0));
  EXPECT_TRUE(checkRunsOn("sm_90a", "A", 9, 0));
  EXPECT_TRUE(checkRunsOn("sm_100f", "A", 10, 3));
  EXPECT_FALSE(checkRunsOn("sm_103f", "A", 10, 0));
  EXPECT_FALSE(checkRunsOn("sm_100f", "A", 12, 0));
  EXPECT_EQ(errorOf(checkRunsOn("sm_90a", "Card", 10, 0)),
            "code for sm_90a cannot run on 'Card' (compute capability 10.0); "
            "targets that can: sm_80, sm_86, sm_89, sm_90");
  EXPECT_EQ(errorOf(checkRunsOn("sm_89", "Card", 8, 6)),
            "code for sm_89 cannot run on 'Card' (compute capability 8.6); "
            "targets that can: sm_80, sm_86");
  EXPECT_EQ(errorOf(checkRunsOn("sm_80", "Old", 7, 5)),
            "code for sm_80 cannot run on 'Old' (compute capability 7.5); this "
            "device needs to be of compute capability 8.0 or later");
}

// FIPS 180-4 examples and the NIST long-message vector.
TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(sha256(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991"
            "b7852b855");
  EXPECT_EQ(sha256("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410"
            "ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhij"
                   "klmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Every position of the padding; values from Python's hashlib.
TEST(Sha256, LengthsAroundTheBlock) {
  std::string chain;
  for (size_t n = 50; n <= 130; ++n)
    chain += sha256(std::string(n, 'x'));
  EXPECT_EQ(sha256(chain),
            "bfae5272365759c9a8be930eaeaf8ac59f98a0969612db286641d5e114d94e14");
}

} // namespace
