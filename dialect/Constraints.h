//===- Constraints.h - constraints that two ops share ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_CONSTRAINTS_H
#define ATTN_DIALECT_CONSTRAINTS_H

#include "attn/dialect/Attn.h"

namespace mlir::attn {

/// Every symbol of the mask has a value, and every value is that of a symbol
/// that occurs. `label` ends the diagnostic.
LogicalResult verifySymbols(Operation *op, MaskAttr mask, OperandRange symbols,
                            llvm::StringRef label);

/// The same for the mask's tensors.
LogicalResult verifyMaskData(Operation *op, MaskAttr mask, OperandRange tensors,
                             llvm::StringRef label);

/// The mask with its symbols numbered in order of appearance; `used` gets their
/// values, picked from `values`.
MaskAttr bindUsedSymbols(MaskAttr mask, ValueRange values,
                         llvm::SmallVectorImpl<Value> &used);

/// The mask with its tensors numbered in order of appearance, each value once;
/// `used` gets their values, picked from `values`.
MaskAttr bindUsedData(MaskAttr mask, ValueRange values,
                      llvm::SmallVectorImpl<Value> &used);

/// A `heads<a, b>` in `mask` with a constant bound outside 0..Hq; null if there
/// is none, or if `op` cannot tell. A tile, which has `head(...)`, holds only
/// some of the heads that the mask speaks of.
MaskAttr findHeadsBeyond(AttentionOp op, MaskAttr mask);

/// The scale is a number.
LogicalResult verifyScale(Operation *op, const llvm::APFloat &scale,
                          llvm::StringRef label);

/// What the diagnostics on a score region end with.
struct ScoreLabels {
  llvm::StringRef arguments, result, ops;
};

/// The region is scalar arithmetic from (score, batch, head, positions,
/// elements of `inputs`) to one f32.
LogicalResult
verifyScoreRegion(MLIRContext *context,
                  llvm::function_ref<InFlightDiagnostic()> emitError,
                  Region &region, TypeRange inputs, const ScoreLabels &labels);

/// Score inputs, score region and sinks.
LogicalResult verifyScore(AttentionOp op);
/// Score inputs and score region.
LogicalResult verifyScore(OnlineAttentionOp op);

} // namespace mlir::attn

#endif // ATTN_DIALECT_CONSTRAINTS_H
