//===- Simplify.cpp - inclusion, smaller equal masks ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/MaskSet.h"
#include "attn/dialect/mask/Projection.h"

using namespace mlir;
using namespace mlir::attn;

/// Whether the conjunction of `predicate` with j >= 0 and h >= 0 has no integer
/// point; nullopt if that takes too much.
static std::optional<bool> isEmptySet(const MaskPredicate &predicate,
                                      unsigned numSymbols) {
  constexpr int64_t budget = 8000;
  constexpr unsigned maxDisjuncts = 32, maxParts = 24;
  LinearSpace space(budget);
  SmallVector<LinearExpr> dims, symbols;
  SmallVector<unsigned> variables;
  for (unsigned i = 0; i < 3 + numSymbols; ++i) {
    variables.push_back(space.addVariable());
    (i < 3 ? dims : symbols).push_back(space.variable(variables.back()));
  }
  Conjunction domain;
  domain.inequalities = {dims[0], dims[2]};
  auto disjuncts = getDisjuncts(predicate, /*negate=*/false, space, dims,
                                symbols, domain, maxDisjuncts);
  if (!disjuncts)
    return std::nullopt;
  std::optional<bool> answer = true;
  for (Conjunction &disjunct : *disjuncts) {
    llvm::append_range(disjunct.inequalities, domain.inequalities);
    Projection projection = eliminate(space, disjunct, variables, Conjunction(),
                                      std::nullopt, maxParts);
    if (space.hasOverflowed())
      return std::nullopt;
    if (projection.parts.empty())
      continue;
    if (projection.exact)
      return false;
    // Small systems that elimination cannot settle go to the general procedure.
    constexpr unsigned maxRows = 16, maxColumns = 12;
    presburger::IntegerPolyhedron polyhedron =
        getPolyhedron(space, disjunct, variables.size());
    if (polyhedron.getNumConstraints() > maxRows ||
        polyhedron.getNumVars() > maxColumns)
      answer = std::nullopt;
    else if (!polyhedron.isIntegerEmpty())
      return false;
  }
  return answer;
}

std::optional<bool> mlir::attn::isSubset(MaskAttr a, MaskAttr b) {
  if (a == b)
    return true;
  MaskAttr difference = MaskAttr::getAnd({a, MaskAttr::getNot(b)});
  bool isOpen = hasData(difference);
  if (isOpen)
    difference = getHullWithoutData(difference, /*outer=*/true);
  std::optional<bool> isEmpty =
      isEmptySet(getMaskPredicate(difference), difference.getNumSymbols());
  // What tensors may hold is not always there.
  return isOpen && !isEmpty.value_or(true) ? std::nullopt : isEmpty;
}

std::optional<bool> mlir::attn::isEqual(MaskAttr a, MaskAttr b) {
  std::optional<bool> forward = isSubset(a, b);
  if (forward && !*forward)
    return false;
  std::optional<bool> backward = isSubset(b, a);
  if (backward && !*backward)
    return false;
  return forward && backward ? std::optional(true) : std::nullopt;
}

namespace {

class Simplifier {
public:
  explicit Simplifier(MLIRContext *context)
      : all(MaskAttr::getAll(context)), none(MaskAttr::getNot(all)),
        context(context) {}

  MaskAttr run(MaskAttr mask) {
    MaskPredicate predicate = getMaskPredicate(mask);
    if (predicate.kind == MaskPredicate::Kind::True)
      return all;
    if (predicate.kind == MaskPredicate::Kind::False)
      return none;
    switch (mask.getKind()) {
    case MaskKind::And:
    case MaskKind::Or: {
      auto operands = llvm::map_to_vector(
          mask.getOperands(), [&](MaskAttr operand) { return run(operand); });
      return combine(mask.getKind(), std::move(operands));
    }
    case MaskKind::Not: {
      MaskAttr operand = run(mask.getOperands().front());
      if (operand.getKind() == MaskKind::Not)
        return operand.getOperands().front();
      return MaskAttr::getNot(operand);
    }
    default:
      return simplifyAtom(mask);
    }
  }

private:
  MaskAttr simplifyAtom(MaskAttr mask) {
    ArrayRef<MaskBound> b = mask.getBounds();
    auto atom = [&](MaskKind kind, ArrayRef<MaskBound> bounds = {}) {
      return MaskAttr::getAtom(context, kind, bounds);
    };
    switch (mask.getKind()) {
    case MaskKind::Dilated:
      if (b[2].getConstant() == 1)
        return simplifyAtom(atom(MaskKind::Window, b.take_front(2)));
      if (b[0].isInfinity() && b[1].isInfinity())
        return atom(MaskKind::Stride, b[2]);
      break;
    case MaskKind::Window:
      if (b[0].isInfinity() && b[1] == MaskBound::constant(0))
        return atom(MaskKind::Causal);
      break;
    case MaskKind::Causal:
    case MaskKind::Global:
      return mask;
    default:
      break;
    }
    if (isKnown(isSubset(all, mask)))
      return all;
    return isKnown(isSubset(mask, none)) ? none : mask;
  }

  static bool isKnown(std::optional<bool> answer) {
    return answer.value_or(false);
  }

  /// isSubset within the number of questions that one mask may ask.
  bool isInside(MaskAttr a, MaskAttr b) {
    constexpr unsigned maxQuestions = 48;
    return numQuestions++ < maxQuestions && isKnown(isSubset(a, b));
  }

  MaskAttr combine(MaskKind kind, SmallVector<MaskAttr> operands) {
    bool isAnd = kind == MaskKind::And;
    MaskAttr neutral = isAnd ? all : none, absorbing = isAnd ? none : all;
    auto join = [&](ArrayRef<MaskAttr> parts) {
      return parts.empty() ? neutral
             : isAnd       ? MaskAttr::getAnd(parts)
                           : MaskAttr::getOr(parts);
    };
    SmallVector<MaskAttr> parts;
    for (MaskAttr operand : operands) {
      ArrayRef<MaskAttr> flat =
          operand.getKind() == kind ? operand.getOperands() : ArrayRef(operand);
      for (MaskAttr part : flat)
        if (part != neutral && !llvm::is_contained(parts, part))
          parts.push_back(part);
    }
    if (llvm::is_contained(parts, absorbing))
      return absorbing;
    mergeRanges(parts, isAnd);
    if (parts.size() < 2)
      return join(parts);
    if (isAnd ? isInside(join(parts), none) : isInside(all, join(parts)))
      return absorbing;
    // One part that makes the others superfluous, or else every part that the
    // others make superfluous.
    for (size_t i = 0; i < parts.size(); ++i) {
      SmallVector<MaskAttr> others = parts;
      others.erase(others.begin() + i);
      if (isAnd ? isInside(parts[i], join(others))
                : isInside(join(others), parts[i]))
        return parts[i];
    }
    for (size_t count = parts.size(); count-- > 0 && parts.size() > 1;) {
      SmallVector<MaskAttr> others = parts;
      others.erase(others.begin() + count);
      MaskAttr rest = join(others);
      if (isAnd ? isInside(rest, parts[count]) : isInside(parts[count], rest))
        parts = std::move(others);
    }
    return join(parts);
  }

  /// The intersection of intervals of the same kind with constant ends is one
  /// interval.
  void mergeRanges(SmallVectorImpl<MaskAttr> &parts, bool isAnd) {
    if (!isAnd)
      return;
    for (MaskKind kind : {MaskKind::Window, MaskKind::Keys, MaskKind::Queries,
                          MaskKind::Heads}) {
      std::optional<size_t> into;
      for (size_t i = 0; i < parts.size();) {
        std::optional<SmallVector<MaskBound, 2>> bounds =
            getInterval(parts[i], kind);
        std::optional<SmallVector<MaskBound, 2>> known;
        if (bounds && into)
          known = getInterval(parts[*into], kind);
        if (!known) {
          if (bounds)
            into = i;
          ++i;
          continue;
        }
        bool window = kind == MaskKind::Window;
        MaskBound low =
            getTighter((*known)[0], (*bounds)[0], /*smaller=*/window);
        MaskBound high =
            getTighter((*known)[1], (*bounds)[1], /*smaller=*/true);
        parts[*into] = run(MaskAttr::getAtom(context, kind, {low, high}));
        parts.erase(parts.begin() + i);
      }
    }
    llvm::erase_if(parts, [&](MaskAttr part) { return part == all; });
  }

  std::optional<SmallVector<MaskBound, 2>> getInterval(MaskAttr mask,
                                                       MaskKind kind) {
    if (kind == MaskKind::Window && mask.getKind() == MaskKind::Causal)
      return SmallVector<MaskBound, 2>{MaskBound::infinity(),
                                       MaskBound::constant(0)};
    if (mask.getKind() != kind ||
        llvm::any_of(mask.getBounds(),
                     [](const MaskBound &bound) { return bound.isSymbol(); }))
      return std::nullopt;
    return SmallVector<MaskBound, 2>(mask.getBounds());
  }

  static MaskBound getTighter(const MaskBound &a, const MaskBound &b,
                              bool smaller) {
    if (a.isInfinity() || b.isInfinity())
      return a.isInfinity() ? b : a;
    int64_t x = a.getConstant(), y = b.getConstant();
    return MaskBound::constant(smaller ? std::min(x, y) : std::max(x, y));
  }

  MaskAttr all, none;
  MLIRContext *context;
  unsigned numQuestions = 0;
};

} // namespace

MaskAttr mlir::attn::simplify(MaskAttr mask) {
  return Simplifier(mask.getContext()).run(mask);
}
