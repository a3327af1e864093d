//===- AttentionCanonicalize.cpp - the smallest mask ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Constraints.h"
#include "attn/dialect/mask/MaskAnalysis.h"
#include "attn/dialect/mask/MaskData.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::attn;

/// Whether every atom may have its parameters written as they are: `global<-1>`
/// has no syntax.
static bool isWritable(MaskAttr mask) {
  if (mask.getKind() == MaskKind::Global &&
      mask.getBounds().front().isConstant() &&
      mask.getBounds().front().getConstant() < 0)
    return false;
  return llvm::all_of(mask.getOperands(), isWritable);
}

/// Symbols in the order in which the printed mask shows them.
static void collectSymbols(MaskAttr mask, SmallVectorImpl<unsigned> &order) {
  for (const MaskBound &bound : mask.getBounds())
    if (bound.isSymbol() && !llvm::is_contained(order, bound.getSymbol()))
      order.push_back(bound.getSymbol());
  for (MaskAttr operand : mask.getOperands())
    collectSymbols(operand, order);
}

static SmallVector<MaskBound> identity(unsigned count) {
  SmallVector<MaskBound> bounds;
  for (unsigned number = 0; number < count; ++number)
    bounds.push_back(MaskBound::symbol(number));
  return bounds;
}

MaskAttr mlir::attn::bindUsedSymbols(MaskAttr mask, ValueRange values,
                                     SmallVectorImpl<Value> &used) {
  SmallVector<unsigned> order;
  collectSymbols(mask, order);
  SmallVector<MaskBound> renumbered = identity(values.size());
  for (auto [number, symbol] : llvm::enumerate(order)) {
    renumbered[symbol] = MaskBound::symbol(number);
    used.push_back(values[symbol]);
  }
  return mask.replaceSymbols(renumbered);
}

MaskAttr mlir::attn::bindUsedData(MaskAttr mask, ValueRange values,
                                  SmallVectorImpl<Value> &used) {
  return replaceData(mask, [&](MaskAttr atom, bool) {
    SmallVector<unsigned, 2> numbers;
    for (unsigned number : getData(atom)) {
      auto *known = llvm::find(used, values[number]);
      numbers.push_back(known - used.begin());
      if (known == used.end())
        used.push_back(values[number]);
    }
    return withData(atom, numbers);
  });
}

namespace {

/// Puts constant symbols into the mask, simplifies it, and binds only what it
/// uses, in order of appearance, each value once.
struct CanonicalizeMask : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    MaskAttr mask = op.getMask();
    SmallVector<Value> values(op.getSymbols());
    SmallVector<MaskBound> bounds;
    for (auto [number, value] : llvm::enumerate(values))
      bounds.push_back(
          MaskBound::symbol(llvm::find(values, value) - values.begin()));
    mask = mask.replaceSymbols(bounds);
    for (auto [number, value] : llvm::enumerate(values)) {
      constexpr int64_t maxParameter = int64_t(1) << 40;
      APInt constant;
      if (!matchPattern(value, m_ConstantInt(&constant)) ||
          constant.getSignificantBits() > 64 ||
          std::abs(constant.getSExtValue()) > maxParameter)
        continue;
      SmallVector<MaskBound> folded = identity(values.size());
      folded[number] = MaskBound::constant(constant.getSExtValue());
      MaskAttr replaced = mask.replaceSymbols(folded);
      if (isWritable(replaced) && !findHeadsBeyond(op, replaced))
        mask = replaced;
    }
    SmallVector<Value> used, usedData, data(op.getMaskData());
    mask = bindUsedData(mask, data, usedData);
    data = std::exchange(usedData, {});
    mask = bindUsedSymbols(simplify(mask), values, used);
    mask = bindUsedData(mask, data, usedData);
    if (mask == op.getMask() && used == values &&
        usedData == SmallVector<Value>(op.getMaskData()))
      return rewriter.notifyMatchFailure(
          op, "the mask is in its smallest known form");
    rewriter.modifyOpInPlace(op, [&] {
      op.setMaskAttr(mask);
      op.getSymbolsMutable().assign(used);
      op.getMaskDataMutable().assign(usedData);
    });
    return success();
  }
};

} // namespace

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<CanonicalizeMask>(context);
}
