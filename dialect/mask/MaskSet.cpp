//===- MaskSet.cpp - a mask as a Presburger set ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/MaskSet.h"

#include "mlir/Analysis/FlatLinearValueConstraints.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::presburger;

/// Negation goes down to the constraints: MLIR's complement may take a
/// constraint that is tighter than the bounds of a division for one of these
/// bounds, and is then wrong.
static PresburgerSet build(const MaskPredicate &predicate, bool negate,
                           unsigned numSymbols) {
  using Kind = MaskPredicate::Kind;
  PresburgerSpace space =
      PresburgerSpace::getSetSpace(/*numDims=*/3, numSymbols);
  auto leaf = [&](AffineExpr expr, bool isEquality) {
    IntegerSet set = IntegerSet::get(3, numSymbols, expr, isEquality);
    return PresburgerSet(IntegerPolyhedron(FlatLinearValueConstraints(set)));
  };
  switch (predicate.kind) {
  case Kind::True:
  case Kind::False:
    return (predicate.kind == Kind::True) != negate
               ? PresburgerSet::getUniverse(space)
               : PresburgerSet::getEmpty(space);
  case Kind::Inequality:
    return leaf(negate ? -predicate.expr - 1 : predicate.expr,
                /*isEquality=*/false);
  case Kind::Equality:
    if (!negate)
      return leaf(predicate.expr, /*isEquality=*/true);
    return leaf(predicate.expr - 1, false)
        .unionSet(leaf(-predicate.expr - 1, false));
  case Kind::Data:
    llvm_unreachable("a mask with tensors is no set");
  case Kind::Not:
    return build(predicate.operands.front(), !negate, numSymbols);
  case Kind::And:
  case Kind::Or:
    break;
  }
  PresburgerSet result = build(predicate.operands.front(), negate, numSymbols);
  for (const MaskPredicate &operand : llvm::drop_begin(predicate.operands)) {
    PresburgerSet set = build(operand, negate, numSymbols);
    result = (predicate.kind == Kind::And) != negate ? result.intersect(set)
                                                     : result.unionSet(set);
  }
  return result;
}

PresburgerSet mlir::attn::getMaskSet(MaskAttr mask, unsigned numSymbols) {
  return build(getMaskPredicate(mask), /*negate=*/false, numSymbols);
}

IntegerPolyhedron mlir::attn::getPolyhedron(const LinearSpace &space,
                                            const Conjunction &set,
                                            unsigned numVariables) {
  IntegerPolyhedron polyhedron(PresburgerSpace::getSetSpace(numVariables));
  SmallVector<int> position(space.getNumColumns(), -1);
  for (unsigned i = 0; i < numVariables; ++i)
    position[i] = i;
  auto getRow = [&](const LinearExpr &x) {
    SmallVector<int64_t> row(polyhedron.getNumCols());
    for (auto [column, c] : llvm::enumerate(x.coefs))
      if (c != 0)
        row[position[column]] += c;
    row.back() = x.constant;
    return row;
  };
  std::function<void(const LinearExpr &)> addDivisions =
      [&](const LinearExpr &x) {
        for (auto [column, c] : llvm::enumerate(x.coefs)) {
          if (c == 0 || position[column] >= 0)
            continue;
          addDivisions(space.getNumerator(column));
          position[column] = polyhedron.addLocalFloorDiv(
              getRow(space.getNumerator(column)), space.getDivisor(column));
        }
      };
  for (const LinearExpr &x : set.equalities)
    addDivisions(x);
  for (const LinearExpr &x : set.inequalities)
    addDivisions(x);
  for (const LinearExpr &x : set.equalities)
    polyhedron.addEquality(getRow(x));
  for (const LinearExpr &x : set.inequalities)
    polyhedron.addInequality(getRow(x));
  return polyhedron;
}
