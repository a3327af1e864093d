//===- Union.h - masks as unions of intersections ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_UNION_H
#define ATTN_DIALECT_MASK_UNION_H

#include "attn/dialect/mask/MaskAnalysis.h"

namespace mlir::attn {

/// Masks whose union is `mask`, each an intersection of atoms and complements
/// of atoms; the mask alone if that takes too many.
llvm::SmallVector<MaskAttr> getTerms(MaskAttr mask);

/// The union of terms, what all of them intersect written once.
MaskAttr joinTerms(llvm::ArrayRef<MaskAttr> terms);

/// The formula as a mask of literal sets.
MaskAttr getMaskOf(MLIRContext *context, const MaskPredicate &predicate);

/// The pairs of `mask` that are not in `other`. What `mask` implies anyway is
/// left out: `causal` without `window<4, 0>` is `window<inf, -5>`.
MaskAttr subtract(MaskAttr mask, MaskAttr other);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_UNION_H
