//===- MaskSet.cpp - a mask as a Presburger set ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/MaskSet.h"

#include "mlir/Analysis/FlatLinearValueConstraints.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::presburger;

static PresburgerSet build(const MaskPredicate &predicate, unsigned numSymbols) {
  using Kind = MaskPredicate::Kind;
  PresburgerSpace space = PresburgerSpace::getSetSpace(/*numDims=*/3, numSymbols);
  switch (predicate.kind) {
  case Kind::True:
    return PresburgerSet::getUniverse(space);
  case Kind::False:
    return PresburgerSet::getEmpty(space);
  case Kind::Inequality:
  case Kind::Equality: {
    IntegerSet set = IntegerSet::get(3, numSymbols, predicate.expr, predicate.kind == Kind::Equality);
    return PresburgerSet(IntegerPolyhedron(FlatLinearValueConstraints(set)));
  }
  case Kind::Not:
    return build(predicate.operands.front(), numSymbols).complement();
  case Kind::And:
  case Kind::Or:
    break;
  }
  PresburgerSet result = build(predicate.operands.front(), numSymbols);
  for (const MaskPredicate &operand : llvm::drop_begin(predicate.operands)) {
    PresburgerSet set = build(operand, numSymbols);
    result = predicate.kind == Kind::And ? result.intersect(set) : result.unionSet(set);
  }
  return result;
}

PresburgerSet mlir::attn::getMaskSet(MaskAttr mask, unsigned numSymbols) {
  return build(getMaskPredicate(mask), numSymbols);
}

IntegerPolyhedron mlir::attn::getPolyhedron(const LinearSpace &space, const Conjunction &set, unsigned numVariables) {
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
  std::function<void(const LinearExpr &)> addDivisions = [&](const LinearExpr &x) {
    for (auto [column, c] : llvm::enumerate(x.coefs)) {
      if (c == 0 || position[column] >= 0)
        continue;
      addDivisions(space.getNumerator(column));
      position[column] = polyhedron.addLocalFloorDiv(getRow(space.getNumerator(column)), space.getDivisor(column));
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
