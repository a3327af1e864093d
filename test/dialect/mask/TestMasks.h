//===- TestMasks.h - masks and an oracle ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_DIALECT_MASK_TESTMASKS_H
#define ATTN_TEST_DIALECT_MASK_TESTMASKS_H

#include "attn/dialect/mask/MaskAnalysis.h"

#include <random>
#include <string>
#include <vector>

namespace mlir::attn::test {

/// Reads a mask, failing the test if it is malformed.
MaskAttr parseMask(MLIRContext &context, llvm::StringRef text);

/// How many random masks a test looks at: ATTN_PROPERTY_COUNT, if that is set.
int getRounds(int otherwise);

/// Membership straight from the table in the documentation of the attribute.
bool isLive(MaskAttr mask, llvm::ArrayRef<int64_t> symbols, int64_t h,
            int64_t p, int64_t j);

int64_t evaluate(AffineExpr expr, llvm::ArrayRef<int64_t> dims,
                 llvm::ArrayRef<int64_t> symbols);
bool contains(IntegerSet set, llvm::ArrayRef<int64_t> dims,
              llvm::ArrayRef<int64_t> symbols);
bool holds(const MaskPredicate &predicate, llvm::ArrayRef<int64_t> dims,
           llvm::ArrayRef<int64_t> symbols);

/// The tiles in [0, count) that the loops described by `bounds` visit, and
/// those they take as full. `dims` are h, p0, p1 and n.
struct VisitedTiles {
  std::vector<bool> live, full;
  /// An interval reached outside [0, count).
  bool outOfRange = false;
};
VisitedTiles visitTiles(const TileBounds &bounds, llvm::ArrayRef<int64_t> dims,
                        llvm::ArrayRef<int64_t> symbols, int64_t count);

struct RandomMaskOptions {
  int64_t size = 40;
  int depth = 3;
  unsigned numSymbols = 2;
  bool sets = true;
};
MaskAttr randomMask(MLIRContext &context, std::mt19937 &rng,
                    const RandomMaskOptions &options);

} // namespace mlir::attn::test

#endif // ATTN_TEST_DIALECT_MASK_TESTMASKS_H
