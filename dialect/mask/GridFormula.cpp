//===- GridFormula.cpp - counting points of a grid ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// In one row most literals change at one or two x; between such breaks only
// conditions on residues stay open, and these are counted in closed form or
// over one period. Along rows that are a period apart every break moves
// linearly. Two rows in which the breaks come in the same order therefore have
// linear counts between them: order is a matter of signs of linear functions,
// and a sign that is equal at both ends is equal in between. Bisection finds
// such stretches. Where the period is long, neighbouring rows take its place,
// and every quotient joins what must be equal at both ends.
//
//===----------------------------------------------------------------------===//

#include "attn/dialect/mask/GridFormula.h"

#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace mlir::attn;

using Wide = __int128;

int64_t mlir::attn::getCommonPeriod(int64_t a, int64_t b) {
  constexpr int64_t limit = int64_t(1) << 32;
  if (a == 0 || b == 0)
    return 0;
  Wide result = Wide(a) / std::gcd(a, b) * b;
  return result > limit ? 0 : int64_t(result);
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

GridFormula::Sum GridFormula::convert(const LinearExpr &expr) {
  Sum sum;
  sum.constant = expr.constant;
  for (auto [i, c] : llvm::enumerate(expr.coefs)) {
    if (c == 0)
      continue;
    if (i == column)
      sum.byX = c;
    else if (i == row)
      sum.byY = c;
    else
      sum.terms.push_back({c, convertDivision(i)});
  }
  return sum;
}

unsigned GridFormula::convertDivision(unsigned spaceColumn) {
  assert(space.isDivision(spaceColumn) &&
         "only the row and the column may be variables");
  for (auto [known, index] : divisionOfColumn)
    if (known == spaceColumn)
      return index;
  Division division;
  division.numerator = convert(space.getNumerator(spaceColumn));
  division.divisor = space.getDivisor(spaceColumn);
  const Sum &sum = division.numerator;
  division.nestsX = llvm::any_of(sum.terms, [&](const Term &term) {
    return divisions[term.division].usesX;
  });
  division.usesX = sum.byX != 0 || division.nestsX;
  auto quotientPeriod = [&](int64_t by, int64_t Division::*period) -> int64_t {
    int64_t base = 1;
    for (const Term &term : sum.terms)
      base = getCommonPeriod(base, divisions[term.division].*period);
    // A sub-quotient rises by an integer over its period, so the divisor as a
    // factor always suffices.
    bool plain = sum.terms.empty();
    int64_t factor = plain ? division.divisor / std::gcd(division.divisor, by)
                           : division.divisor;
    return base == 0 || factor > (int64_t(1) << 32) / base ? 0 : base * factor;
  };
  division.periodX = quotientPeriod(sum.byX, &Division::periodX);
  division.periodY = quotientPeriod(sum.byY, &Division::periodY);
  divisions.push_back(std::move(division));
  divisionOfColumn.emplace_back(spaceColumn, divisions.size() - 1);
  return divisions.size() - 1;
}

GridFormula::Node GridFormula::addLiteral(const LinearExpr &expr,
                                          bool isEquality) {
  Literal literal;
  literal.sum = convert(expr);
  literal.isEquality = isEquality;
  const Sum &sum = literal.sum;
  SmallVector<Term, 2> inX;
  for (const Term &term : sum.terms)
    if (divisions[term.division].usesX)
      inX.push_back(term);
  auto isSimple = [&] {
    return inX.size() == 1 && !divisions[inX.front().division].nestsX;
  };
  if (inX.empty()) {
    literal.shape = sum.byX == 0 ? Literal::RowOnly : Literal::Affine;
  } else if (isSimple() && sum.byX == 0) {
    literal.shape = Literal::Staircase;
  } else {
    for (const Term &term : inX)
      literal.periodX =
          getCommonPeriod(literal.periodX, divisions[term.division].periodX);
    if (literal.periodX != 0) {
      RowState origin;
      prepareRow(origin, 0, 0, 0);
      literal.rise =
          evaluate(sum, origin, literal.periodX) - evaluate(sum, origin, 0);
    }
    constexpr Wide limit = Wide(1) << 61;
    SmallVector<int64_t, 4> deviation(divisions.size());
    for (auto [i, division] : llvm::enumerate(divisions)) {
      Wide inner = 0;
      for (const Term &term : division.numerator.terms)
        inner += Wide(std::abs(term.factor)) * deviation[term.division];
      deviation[i] = std::min<Wide>(limit, inner / division.divisor + 2);
    }
    Wide total = 0;
    for (const Term &term : inX)
      total += Wide(std::abs(term.factor)) * deviation[term.division];
    literal.deviation = std::min<Wide>(limit, total);
    const Division &first = divisions[inX.front().division];
    if (isSimple() && Wide(sum.byX) * first.divisor +
                              Wide(inX.front().factor) * first.numerator.byX ==
                          0)
      literal.shape = Literal::Residue;
    else
      literal.shape = literal.periodX == 0 || literal.rise == 0
                          ? Literal::Periodic
                          : Literal::Trend;
  }
  literals.push_back(std::move(literal));
  nodes.push_back({isEquality ? MaskPredicate::Kind::Equality
                              : MaskPredicate::Kind::Inequality,
                   unsigned(literals.size() - 1),
                   {}});
  return nodes.size() - 1;
}

GridFormula::Node GridFormula::addNode(MaskPredicate::Kind kind,
                                       ArrayRef<Node> operands) {
  nodes.push_back({kind, 0, SmallVector<Node, 4>(operands)});
  return nodes.size() - 1;
}

GridFormula::Node GridFormula::addPredicate(const MaskPredicate &predicate,
                                            ArrayRef<LinearExpr> dims) {
  using Kind = MaskPredicate::Kind;
  if (predicate.kind == Kind::Inequality || predicate.kind == Kind::Equality)
    return addLiteral(space.fromAffine(predicate.expr, dims, {}),
                      predicate.kind == Kind::Equality);
  SmallVector<Node, 4> operands;
  for (const MaskPredicate &operand : predicate.operands)
    operands.push_back(addPredicate(operand, dims));
  return addNode(predicate.kind, operands);
}

GridFormula::Node GridFormula::addUnion(ArrayRef<Conjunction> parts) {
  SmallVector<Node, 4> disjuncts;
  for (const Conjunction &part : parts) {
    SmallVector<Node, 8> conjuncts;
    for (const LinearExpr &x : part.equalities)
      conjuncts.push_back(addLiteral(x, /*isEquality=*/true));
    for (const LinearExpr &x : part.inequalities)
      conjuncts.push_back(addLiteral(x, /*isEquality=*/false));
    disjuncts.push_back(addNode(MaskPredicate::Kind::And, conjuncts));
  }
  return addNode(MaskPredicate::Kind::Or, disjuncts);
}

void GridFormula::setRoot(Node node) {
  root = node;
  for (const Division &division : divisions)
    rowPeriod = getCommonPeriod(rowPeriod, division.periodY);
  for (const Literal &literal : literals) {
    if (literal.shape == Literal::Affine)
      rowPeriod = getCommonPeriod(rowPeriod, std::abs(literal.sum.byX));
    if (literal.shape == Literal::Residue ||
        literal.shape == Literal::Periodic || literal.shape == Literal::Trend)
      columnPeriod = getCommonPeriod(columnPeriod, literal.periodX);
  }
  rowPeriod = getCommonPeriod(rowPeriod, columnPeriod);
}

//===----------------------------------------------------------------------===//
// Many rows
//===----------------------------------------------------------------------===//

/// Whether the breaks of neighbouring rows move linearly while no quotient
/// changes.
bool GridFormula::allowsNeighbours() const {
  for (unsigned index = 0; index < literals.size(); ++index) {
    const Literal &literal = literals[index];
    switch (literal.shape) {
    case Literal::RowOnly:
      break;
    case Literal::Affine:
      if (std::abs(literal.sum.byX) != 1)
        return false;
      break;
    case Literal::Staircase:
      for (const Term &term : literal.sum.terms)
        if (divisions[term.division].usesX &&
            (std::abs(term.factor) != 1 ||
             std::abs(divisions[term.division].numerator.byX) != 1))
          return false;
      break;
    case Literal::Residue:
      if (!isUnitResidue(index))
        return false;
      break;
    case Literal::Periodic:
    case Literal::Trend:
      return false;
    }
  }
  return true;
}

void GridFormula::forEachRun(
    int64_t y0, int64_t y1, int64_t x0, int64_t x1,
    function_ref<void(int64_t, int64_t, int64_t)> visit) const {
  x1 = std::max(x0, x1);
  if (y0 >= y1)
    return;
  RowState low, high;
  int64_t rows = y1 - y0;
  // The number of stretches, roughly: a few for each residue, or a few for each
  // value of each quotient.
  Wide byPeriod =
      rowPeriod == 0 ? rows : std::min<Wide>(rows, Wide(4) * rowPeriod);
  Wide byNeighbours = allowsNeighbours() ? 4 : rows;
  for (const Division &division : divisions)
    byNeighbours += Wide(3) * rows *
                    std::max<int64_t>(1, std::abs(division.numerator.byY)) /
                    division.divisor;
  low.neighbours = high.neighbours = byNeighbours < byPeriod;
  int64_t step = low.neighbours ? 1 : rowPeriod;
  if (std::min(byPeriod, byNeighbours) >= rows || step == 0) {
    low.neighbours = false;
    for (int64_t y = y0; y < y1; ++y) {
      prepareRow(low, y, x0, x1);
      int64_t count = countSegments(low);
      visit(count, count, 1);
    }
    return;
  }
  for (int64_t residue = 0; residue < std::min(step, rows); ++residue) {
    int64_t origin = y0 + residue;
    int64_t begin = 0, total = (y1 - 1 - origin) / step + 1;
    while (begin < total) {
      prepareRow(low, origin + begin * step, x0, x1);
      int64_t first = countSegments(low), last = first;
      auto isLinearTo = [&](int64_t k) {
        prepareRow(high, origin + k * step, x0, x1);
        // Counting adds to the signature of neighbours.
        int64_t count = low.neighbours ? countSegments(high) : 0;
        if (high.signature != low.signature || high.phase != low.phase)
          return false;
        last = low.neighbours ? count : countSegments(high);
        return true;
      };
      // The last row known to belong, and the first known not to.
      int64_t end = begin, bad = total;
      if (begin + 1 < total && !isLinearTo(begin + 1))
        bad = begin + 1;
      else if (begin + 1 < total)
        end = begin + 1;
      // Galloping, then halving.
      for (int64_t reach = 2; end + 1 < bad;
           reach = std::min(2 * reach, total)) {
        int64_t k = bad == total ? std::min(begin + reach, total - 1)
                                 : end + (bad - end) / 2;
        if (isLinearTo(k))
          end = k;
        else
          bad = k;
      }
      visit(first, last, end - begin + 1);
      begin = end + 1;
    }
  }
}

int64_t GridFormula::count(int64_t y0, int64_t y1, int64_t x0,
                           int64_t x1) const {
  int64_t total = 0;
  forEachRun(y0, y1, x0, x1, [&](int64_t first, int64_t last, int64_t rows) {
    total += int64_t((Wide(first) + last) * rows / 2);
  });
  return total;
}
