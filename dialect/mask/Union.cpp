//===- Union.cpp - see Union.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/Union.h"

#include "attn/dialect/mask/MaskAnalysis.h"

using namespace mlir;
using namespace mlir::attn;

/// More terms than this are not worth taking apart.
static constexpr size_t maxTerms = 8;

//===----------------------------------------------------------------------===//
// Terms
//===----------------------------------------------------------------------===//

namespace {
/// A term as the list of what it intersects.
using Term = SmallVector<MaskAttr, 4>;
} // namespace

/// Appends the terms of `mask`, or of its complement; false if there are too
/// many.
static bool collectTerms(MaskAttr mask, bool negate,
                         SmallVectorImpl<Term> &terms) {
  switch (mask.getKind()) {
  case MaskKind::Not:
    return collectTerms(mask.getOperands().front(), !negate, terms);
  case MaskKind::And:
  case MaskKind::Or: {
    bool isUnion = (mask.getKind() == MaskKind::Or) != negate;
    SmallVector<Term> result;
    if (!isUnion)
      result.emplace_back();
    for (MaskAttr operand : mask.getOperands()) {
      SmallVector<Term> own;
      if (!collectTerms(operand, negate, own))
        return false;
      if (isUnion) {
        llvm::append_range(result, own);
      } else {
        SmallVector<Term> products;
        for (const Term &left : result)
          for (const Term &right : own) {
            Term &product = products.emplace_back(left);
            llvm::append_range(product, right);
          }
        result = std::move(products);
      }
      if (result.size() > maxTerms)
        return false;
    }
    llvm::append_range(terms, result);
    return true;
  }
  default:
    terms.push_back({negate ? MaskAttr::getNot(mask) : mask});
    return true;
  }
}

SmallVector<MaskAttr> mlir::attn::getTerms(MaskAttr mask) {
  SmallVector<Term> terms;
  if (!collectTerms(mask, /*negate=*/false, terms))
    return {mask};
  return llvm::map_to_vector(
      terms, [](const Term &term) { return MaskAttr::getAnd(term); });
}

MaskAttr mlir::attn::joinTerms(ArrayRef<MaskAttr> terms) {
  auto getFactors = [](const MaskAttr &term) {
    return term.getKind() == MaskKind::And ? term.getOperands()
                                           : ArrayRef(term);
  };
  SmallVector<MaskAttr> common, rests;
  if (terms.size() > 1)
    for (MaskAttr factor : getFactors(terms.front()))
      if (llvm::all_of(terms, [&](MaskAttr term) {
            ArrayRef<MaskAttr> factors = getFactors(term);
            return factors.size() > 1 && llvm::is_contained(factors, factor);
          }))
        common.push_back(factor);
  for (MaskAttr term : terms) {
    SmallVector<MaskAttr> rest;
    for (MaskAttr factor : getFactors(term))
      if (!llvm::is_contained(common, factor))
        rest.push_back(factor);
    if (rest.empty())
      return MaskAttr::getAnd(common);
    rests.push_back(MaskAttr::getAnd(rest));
  }
  common.push_back(MaskAttr::getOr(rests));
  return simplify(MaskAttr::getAnd(common));
}

//===----------------------------------------------------------------------===//
// Literal sets
//===----------------------------------------------------------------------===//

/// expr >= 0, or expr == 0.
static MaskAttr getLeaf(AffineExpr expr, bool isEquality) {
  MLIRContext *context = expr.getContext();
  // The set has symbols of its own, bound to those of the mask that it uses.
  SmallVector<MaskBound> bounds;
  SmallVector<AffineExpr> symbols;
  expr.walk([&](AffineExpr part) {
    auto symbol = dyn_cast<AffineSymbolExpr>(part);
    if (!symbol)
      return;
    symbols.resize(std::max<size_t>(symbols.size(), symbol.getPosition() + 1),
                   getAffineConstantExpr(0, context));
    AffineExpr &own = symbols[symbol.getPosition()];
    if (isa<AffineConstantExpr>(own)) {
      own = getAffineSymbolExpr(bounds.size(), context);
      bounds.push_back(MaskBound::symbol(symbol.getPosition()));
    }
  });
  AffineExpr result =
      simplifyAffineExpr(expr.replaceSymbols(symbols), 3, bounds.size());
  // Simplification may have removed a symbol.
  if (llvm::any_of(llvm::seq<unsigned>(0, bounds.size()), [&](unsigned number) {
        return !result.isFunctionOfSymbol(number);
      })) {
    SmallVector<AffineExpr> original;
    for (const MaskBound &bound : bounds)
      original.push_back(getAffineSymbolExpr(bound.getSymbol(), context));
    return getLeaf(result.replaceSymbols(original), isEquality);
  }
  if (auto constant = dyn_cast<AffineConstantExpr>(result)) {
    bool holds =
        isEquality ? constant.getValue() == 0 : constant.getValue() >= 0;
    MaskAttr all = MaskAttr::getAll(context);
    return holds ? all : MaskAttr::getNot(all);
  }
  return MaskAttr::getSet(IntegerSet::get(3, bounds.size(), result, isEquality),
                          bounds);
}

MaskAttr mlir::attn::getMaskOf(MLIRContext *context,
                               const MaskPredicate &predicate) {
  using Kind = MaskPredicate::Kind;
  auto operands = llvm::map_to_vector(predicate.operands,
                                      [&](const MaskPredicate &operand) {
                                        return getMaskOf(context, operand);
                                      });
  MaskAttr all = MaskAttr::getAll(context);
  switch (predicate.kind) {
  case Kind::True:
    return all;
  case Kind::False:
    return MaskAttr::getNot(all);
  case Kind::Equality:
  case Kind::Inequality:
    return getLeaf(predicate.expr, predicate.kind == Kind::Equality);
  case Kind::And:
    return MaskAttr::getAnd(operands);
  case Kind::Or:
    return MaskAttr::getOr(operands);
  case Kind::Not:
    return MaskAttr::getNot(operands.front());
  case Kind::Data:
    return predicate.atom;
  }
  llvm_unreachable("every kind is handled");
}

//===----------------------------------------------------------------------===//
// Difference
//===----------------------------------------------------------------------===//

namespace {

/// Splits the complement of an atom into pieces that one inequality describes.
class Complement {
public:
  explicit Complement(MLIRContext *context) : context(context) {}

  SmallVector<MaskAttr> get(MaskAttr mask) {
    ArrayRef<MaskBound> b = mask.getBounds();
    bool isConstant = llvm::none_of(
        b, [](const MaskBound &bound) { return bound.isSymbol(); });
    SmallVector<MaskAttr> pieces;
    switch (mask.getKind()) {
    case MaskKind::Not:
      return {mask.getOperands().front()};
    case MaskKind::Causal:
      return {atom(MaskKind::Window, at(-1), inf())};
    case MaskKind::Window:
      if (!isConstant)
        break;
      if (!b[0].isInfinity())
        pieces.push_back(
            atom(MaskKind::Window, inf(), at(-1 - b[0].getConstant())));
      if (!b[1].isInfinity())
        pieces.push_back(
            atom(MaskKind::Window, at(-1 - b[1].getConstant()), inf()));
      return pieces;
    case MaskKind::SameBlock: {
      AffineExpr p = getAffineDimExpr(1, context).floorDiv(b[0].getConstant()),
                 j = getAffineDimExpr(2, context).floorDiv(b[0].getConstant());
      return {set(p - j - 1, 0, {}), set(j - p - 1, 0, {})};
    }
    case MaskKind::Set: {
      IntegerSet constraints = mask.getSet();
      for (auto [index, expr] : llvm::enumerate(constraints.getConstraints())) {
        pieces.push_back(set(-expr - 1, constraints.getNumSymbols(), b));
        if (constraints.isEq(index))
          pieces.push_back(set(expr - 1, constraints.getNumSymbols(), b));
      }
      return pieces;
    }
    default:
      break;
    }
    return {MaskAttr::getNot(mask)};
  }

private:
  static MaskBound at(int64_t value) { return MaskBound::constant(value); }
  static MaskBound inf() { return MaskBound::infinity(); }
  MaskAttr atom(MaskKind kind, MaskBound first, MaskBound second) {
    return MaskAttr::getAtom(context, kind, {first, second});
  }
  /// expr >= 0, over as many of the symbols as it uses.
  MaskAttr set(AffineExpr expr, unsigned numSymbols,
               ArrayRef<MaskBound> bounds) {
    SmallVector<MaskBound> used;
    SmallVector<AffineExpr> symbols;
    for (unsigned number = 0; number < numSymbols; ++number) {
      symbols.push_back(getAffineSymbolExpr(used.size(), context));
      if (expr.isFunctionOfSymbol(number))
        used.push_back(bounds[number]);
    }
    expr = simplifyAffineExpr(expr.replaceSymbols(symbols), 3, used.size());
    return MaskAttr::getSet(
        IntegerSet::get(3, used.size(), expr, /*eqFlags=*/false), used);
  }

  MLIRContext *context;
};

} // namespace

MaskAttr mlir::attn::subtract(MaskAttr mask, MaskAttr other) {
  MaskAttr none = MaskAttr::getNot(MaskAttr::getAll(mask.getContext()));
  SmallVector<Term> terms;
  if (!collectTerms(other, /*negate=*/false, terms))
    return simplify(MaskAttr::getAnd({mask, MaskAttr::getNot(other)}));
  SmallVector<MaskAttr> parts = {mask};
  for (const Term &term : terms) {
    SmallVector<MaskAttr> outside;
    for (MaskAttr operand : term)
      for (MaskAttr piece : Complement(mask.getContext()).get(operand))
        if (!isSubset(MaskAttr::getAnd({mask, piece}), none).value_or(false))
          outside.push_back(piece);
    if (outside.empty())
      return none;
    parts.push_back(outside.size() == 1 ? outside.front()
                                        : MaskAttr::getOr(outside));
  }
  return simplify(MaskAttr::getAnd(parts));
}
