//===- MaskPredicate.cpp - a mask as a formula ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/MaskAnalysis.h"

using namespace mlir;
using namespace mlir::attn;

using Kind = MaskPredicate::Kind;

static MaskPredicate getConstant(bool value) {
  return {value ? Kind::True : Kind::False, {}, {}};
}

static MaskPredicate getLeaf(Kind kind, AffineExpr expr) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return getConstant(kind == Kind::Equality ? constant.getValue() == 0
                                              : constant.getValue() >= 0);
  return {kind, expr, {}};
}

static MaskPredicate getNary(Kind kind, ArrayRef<MaskPredicate> operands) {
  Kind neutral = kind == Kind::And ? Kind::True : Kind::False;
  Kind absorbing = kind == Kind::And ? Kind::False : Kind::True;
  MaskPredicate result{kind, {}, {}};
  for (const MaskPredicate &operand : operands) {
    if (operand.kind == absorbing)
      return getConstant(absorbing == Kind::True);
    if (operand.kind == kind)
      llvm::append_range(result.operands, operand.operands);
    else if (operand.kind != neutral)
      result.operands.push_back(operand);
  }
  if (result.operands.empty())
    return getConstant(neutral == Kind::True);
  return result.operands.size() == 1 ? MaskPredicate(result.operands.front())
                                     : result;
}

static MaskPredicate getNegation(const MaskPredicate &operand) {
  switch (operand.kind) {
  case Kind::True:
  case Kind::False:
    return getConstant(operand.kind == Kind::False);
  case Kind::Not:
    return operand.operands.front();
  case Kind::Inequality:
    return getLeaf(Kind::Inequality, -operand.expr - 1);
  default:
    return {Kind::Not, {}, {operand}};
  }
}

namespace {

class PredicateBuilder {
public:
  explicit PredicateBuilder(MLIRContext *context)
      : context(context), h(getAffineDimExpr(0, context)),
        p(getAffineDimExpr(1, context)), j(getAffineDimExpr(2, context)) {}

  MaskPredicate build(MaskAttr mask) {
    ArrayRef<MaskBound> b = mask.getBounds();
    switch (mask.getKind()) {
    case MaskKind::All:
      return getConstant(true);
    case MaskKind::Causal:
      return atLeastZero(p - j);
    case MaskKind::Window:
      return getNary(Kind::And, {withinReach(j - p, b[0], 1),
                                 withinReach(p - j, b[1], 1)});
    case MaskKind::Dilated: {
      int64_t step = b[2].getConstant();
      return getNary(Kind::And,
                     {multipleOf(step), withinReach(j - p, b[0], step),
                      withinReach(p - j, b[1], step)});
    }
    case MaskKind::Stride:
      return multipleOf(b[0].getConstant());
    case MaskKind::SameBlock: {
      int64_t length = b[0].getConstant();
      return getLeaf(Kind::Equality, p.floorDiv(length) - j.floorDiv(length));
    }
    case MaskKind::Summary: {
      int64_t length = b[0].getConstant(), kept = b[1].getConstant();
      if (kept == 0 || kept == length)
        return getConstant(kept != 0);
      return atLeastZero(j % length - (length - kept));
    }
    case MaskKind::Global:
      return getNary(Kind::Or, {below(p, b[0]), below(j, b[0])});
    case MaskKind::Keys:
      return range(j, b);
    case MaskKind::Queries:
      return range(p, b);
    case MaskKind::Heads:
      return range(h, b);
    case MaskKind::Set:
      return literal(mask.getSet(), b);
    case MaskKind::Lengths:
    case MaskKind::Documents:
    case MaskKind::Blocks:
    case MaskKind::Bits:
      return {Kind::Data, {}, {}, mask};
    case MaskKind::And:
    case MaskKind::Or: {
      SmallVector<MaskPredicate, 4> operands;
      for (MaskAttr operand : mask.getOperands())
        operands.push_back(build(operand));
      return getNary(mask.getKind() == MaskKind::And ? Kind::And : Kind::Or,
                     operands);
    }
    case MaskKind::Not:
      return getNegation(build(mask.getOperands().front()));
    }
    llvm_unreachable("every kind is handled");
  }

private:
  AffineExpr constant(int64_t value) {
    return getAffineConstantExpr(value, context);
  }
  AffineExpr expr(const MaskBound &bound) {
    return bound.isConstant() ? constant(bound.getConstant())
                              : getAffineSymbolExpr(bound.getSymbol(), context);
  }
  MaskPredicate atLeastZero(AffineExpr e) {
    return getLeaf(Kind::Inequality, e);
  }
  MaskPredicate multipleOf(int64_t step) {
    return getLeaf(Kind::Equality, (p - j) % step);
  }
  MaskPredicate below(AffineExpr x, const MaskBound &end) {
    return atLeastZero(expr(end) - 1 - x);
  }

  MaskPredicate range(AffineExpr x, ArrayRef<MaskBound> b) {
    if (b[1].isInfinity())
      return atLeastZero(x - expr(b[0]));
    if (b[0].isConstant() && b[1].isConstant() &&
        b[0].getConstant() >= b[1].getConstant())
      return getConstant(false);
    return getNary(Kind::And, {atLeastZero(x - expr(b[0])), below(x, b[1])});
  }

  /// `difference` reaches down to -count * step.
  MaskPredicate withinReach(AffineExpr difference, const MaskBound &count,
                            int64_t step) {
    if (count.isInfinity())
      return getConstant(true);
    if (count.isSymbol())
      return atLeastZero(difference + expr(count) * step);
    // No difference of positions comes near 2^50; past it the product could
    // leave 64 bits.
    constexpr int64_t far = int64_t(1) << 50;
    if (std::abs(count.getConstant()) > far / step)
      return getConstant(count.getConstant() > 0);
    return atLeastZero(difference + count.getConstant() * step);
  }

  MaskPredicate literal(IntegerSet set, ArrayRef<MaskBound> b) {
    SmallVector<AffineExpr> dims{h, p, j};
    auto symbols = llvm::map_to_vector(
        b, [&](const MaskBound &bound) { return expr(bound); });
    SmallVector<MaskPredicate> leaves;
    for (auto [index, constraint] : llvm::enumerate(set.getConstraints()))
      leaves.push_back(
          getLeaf(set.isEq(index) ? Kind::Equality : Kind::Inequality,
                  constraint.replaceDimsAndSymbols(dims, symbols)));
    return getNary(Kind::And, leaves);
  }

  MLIRContext *context;
  AffineExpr h, p, j;
};

} // namespace

MaskPredicate mlir::attn::getMaskPredicate(MaskAttr mask) {
  return PredicateBuilder(mask.getContext()).build(mask);
}
