//===- Projection.cpp - eliminating integer variables ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For x with bounds L <= a * x and b * x <= U (a, b > 0) an integer exists
// exactly if ceil(L / a) <= floor(U / b) for every pair of bounds. A pair is
// linear if a or b is 1: b * L <= a * U (Fourier-Motzkin). Otherwise it is L <=
// a * floor(U / b), or the mirror image, which stays linear in what is
// eliminated later if that part of U is a multiple of b. What remains is split
// by the residue of the variable that stands in the way.
//
//===----------------------------------------------------------------------===//

#include "attn/dialect/mask/Projection.h"

#include <numeric>

using namespace mlir;
using namespace mlir::attn;

bool mlir::attn::isLinearIn(const LinearSpace &space, const LinearExpr &x,
                            unsigned column) {
  for (auto [i, c] : llvm::enumerate(x.coefs))
    if (c != 0 && space.isDivision(i) &&
        space.dependsOn(space.getNumerator(i), column))
      return false;
  return true;
}

namespace {

class Eliminator {
public:
  Eliminator(LinearSpace &space, const Conjunction &context,
             std::optional<unsigned> linear, unsigned maxParts)
      : space(space), context(context), linear(linear), maxParts(maxParts) {}

  Projection run(Conjunction set, ArrayRef<unsigned> columns) {
    SmallVector<unsigned, 8> bound(columns);
    if (expandDivisions(set, bound))
      solve(std::move(set), std::move(bound));
    return std::move(result);
  }

private:
  /// How a pair of bounds turns into inequalities without the variable.
  struct Pair {
    enum Kind { Holds, Contradicts, Exact, Relaxed } kind = Exact;
    bool dividesLinear = false;
    SmallVector<LinearExpr, 2> rows;
  };

  bool isBoundIn(ArrayRef<unsigned> bound, const LinearExpr &x) const {
    return llvm::any_of(bound,
                        [&](unsigned column) { return x.coef(column) != 0; });
  }

  /// Replaces divisions that contain an eliminated variable by new variables.
  bool expandDivisions(Conjunction &set, SmallVectorImpl<unsigned> &bound) {
    DenseMap<unsigned, unsigned> replaced;
    // A division's column comes after the columns in its numerator.
    for (unsigned column = space.getNumColumns(); column-- > 0;) {
      if (!space.isDivision(column))
        continue;
      auto uses = [&](const LinearExpr &x) { return x.coef(column) != 0; };
      if (llvm::none_of(set.equalities, uses) &&
          llvm::none_of(set.inequalities, uses))
        continue;
      LinearExpr numerator = space.getNumerator(column);
      int64_t divisor = space.getDivisor(column);
      if (llvm::none_of(
              bound, [&](unsigned b) { return space.dependsOn(numerator, b); }))
        continue;
      unsigned quotient = space.addVariable();
      LinearExpr q = space.variable(quotient);
      auto substitute = [&](LinearExpr &x) {
        int64_t c = x.coef(column);
        if (c == 0)
          return;
        x.coefs[column] = 0;
        x = space.combine(1, x, c, q);
      };
      llvm::for_each(set.equalities, substitute);
      llvm::for_each(set.inequalities, substitute);
      LinearExpr remainder = space.combine(1, numerator, -divisor, q);
      if (!addInequality(space, set, remainder) ||
          !addInequality(
              space, set,
              space.combine(-1, remainder, 1, LinearExpr(divisor - 1))))
        return false;
      bound.push_back(quotient);
    }
    return true;
  }

  Pair combinePair(const LinearExpr &lower, const LinearExpr &upper, unsigned x,
                   ArrayRef<unsigned> bound, const Conjunction &given) {
    int64_t a = lower.coef(x), b = -upper.coef(x);
    LinearExpr minusL = lower, U = upper;
    minusL.coefs[x] = 0;
    U.coefs[x] = 0;
    Pair pair;
    int64_t common = std::gcd(a, b);
    LinearExpr shadow = space.combine(b / common, minusL, a / common, U);
    if (shadow.isConstant() && shadow.constant < 0) {
      pair.kind = Pair::Contradicts;
      return pair;
    }
    if (a == 1 || b == 1) {
      pair.kind = shadow.isConstant() ? Pair::Holds : Pair::Exact;
      if (!shadow.isConstant())
        pair.rows.push_back(std::move(shadow));
      return pair;
    }
    // a * U - b * L >= (a - 1) * (b - 1) leaves room for an integer; for a = b
    // a distance of a - 1 does.
    LinearExpr dark =
        a == b ? space.combine(1, space.add(minusL, U), 1, LinearExpr(1 - a))
               : space.combine(1, space.combine(b, minusL, a, U), 1,
                               LinearExpr(-(a - 1) * (b - 1)));
    if (dark.isConstant() ? dark.constant >= 0 : space.implies(given, dark)) {
      pair.kind = Pair::Holds;
      return pair;
    }
    auto isOutside = [&](const LinearExpr &e, int64_t divisor,
                         bool withLinear) {
      for (auto [i, c] : llvm::enumerate(e.coefs)) {
        bool mustBe = llvm::is_contained(bound, i) ||
                      (withLinear && i == linear) ||
                      (withLinear && linear && space.isDivision(i) &&
                       space.dependsOn(space.getNumerator(i), *linear));
        if (mustBe && c % divisor != 0)
          return false;
      }
      return true;
    };
    for (bool withLinear : {true, false}) {
      std::optional<LinearExpr> row;
      if (isOutside(U, b, withLinear))
        row = space.combine(a, space.floorDivide(U, b), 1, minusL);
      else if (isOutside(minusL, a, withLinear))
        row = space.combine(b, space.floorDivide(minusL, a), 1, U);
      if (!row)
        continue;
      pair.dividesLinear = !withLinear;
      if (row->isConstant()) {
        pair.kind = row->constant >= 0 ? Pair::Holds : Pair::Contradicts;
        return pair;
      }
      pair.rows.push_back(std::move(*row));
      if (!withLinear && !shadow.isConstant())
        pair.rows.push_back(std::move(shadow));
      return pair;
    }
    pair.kind = Pair::Relaxed;
    if (!shadow.isConstant())
      pair.rows.push_back(std::move(shadow));
    return pair;
  }

  /// Uses an equality in which an eliminated variable has coefficient +-1;
  /// false if there is none.
  bool substituteEquality(Conjunction &set, SmallVectorImpl<unsigned> &bound) {
    for (auto [e, equality] : llvm::enumerate(set.equalities)) {
      for (auto [k, column] : llvm::enumerate(bound)) {
        int64_t c = equality.coef(column);
        if (c != 1 && c != -1)
          continue;
        LinearExpr solved = equality; // c * x + rest = 0
        set.equalities.erase(set.equalities.begin() + e);
        unsigned x = column;
        bound.erase(bound.begin() + k);
        auto substitute = [&](LinearExpr &y) {
          y = space.combine(1, y, -c * y.coef(x), solved);
        };
        llvm::for_each(set.equalities, substitute);
        Conjunction old = std::move(set);
        set = Conjunction();
        set.equalities = std::move(old.equalities);
        for (LinearExpr &y : old.inequalities) {
          substitute(y);
          if (!addInequality(space, set, std::move(y)))
            contradiction = true;
        }
        return true;
      }
    }
    return false;
  }

  void solve(Conjunction set, SmallVector<unsigned, 8> bound) {
    if (space.hasOverflowed()) {
      result.exact = false;
      return;
    }
    contradiction = false;
    while (substituteEquality(set, bound)) {
      if (contradiction)
        return;
    }
    for (LinearExpr &equality : set.equalities)
      if (!addInequality(space, set, equality) ||
          !addInequality(space, set, space.scale(equality, -1)))
        return;
    set.equalities.clear();
    while (!bound.empty()) {
      std::optional<Step> best;
      Conjunction given = context;
      for (const LinearExpr &row : set.inequalities)
        if (!isBoundIn(bound, row))
          given.inequalities.push_back(row);
      for (unsigned x : bound) {
        Step step = tryStep(set, x, bound, given);
        if (step.contradicts)
          return;
        if (!best || step.cost < best->cost)
          best = std::move(step);
      }
      if (best->relaxed != 0 && split(set, *best, bound))
        return;
      if (best->relaxed != 0)
        result.exact = false;
      unsigned x = best->x;
      Conjunction next;
      for (LinearExpr &row : set.inequalities)
        if (row.coef(x) == 0 && !addInequality(space, next, std::move(row)))
          return;
      for (LinearExpr &row : best->rows)
        if (!addInequality(space, next, std::move(row)))
          return;
      bound.erase(llvm::find(bound, x));
      if (next.inequalities.size() > maxRows)
        removeRedundant(space, next, context,
                        [](const LinearExpr &) { return true; });
      if (next.inequalities.size() >
              (space.isBudgetSpent() ? maxRows : 2 * maxRows) ||
          space.hasOverflowed()) {
        result.exact = false;
        result.parts.emplace_back();
        return;
      }
      set = std::move(next);
    }
    Conjunction within = set;
    llvm::append_range(within.inequalities, context.inequalities);
    if (!space.isInfeasible(within))
      result.parts.push_back(std::move(set));
  }

  struct Step {
    unsigned x = 0;
    uint64_t cost = 0;
    unsigned relaxed = 0;
    bool contradicts = false;
    SmallVector<LinearExpr, 8> rows;
    /// The pairs that stay inexact.
    SmallVector<std::pair<LinearExpr, LinearExpr>, 2> obstacles;
  };

  Step tryStep(const Conjunction &set, unsigned x, ArrayRef<unsigned> bound,
               const Conjunction &given) {
    Step step;
    step.x = x;
    SmallVector<unsigned, 8> rest;
    for (unsigned column : bound)
      if (column != x)
        rest.push_back(column);
    SmallVector<const LinearExpr *, 8> lowers, uppers;
    for (const LinearExpr &row : set.inequalities) {
      if (row.coef(x) > 0)
        lowers.push_back(&row);
      else if (row.coef(x) < 0)
        uppers.push_back(&row);
    }
    space.spend(4 * lowers.size() * uppers.size());
    for (const LinearExpr *lower : lowers)
      for (const LinearExpr *upper : uppers) {
        Pair pair = combinePair(*lower, *upper, x, rest, given);
        if (pair.kind == Pair::Contradicts) {
          step.contradicts = true;
          return step;
        }
        if (pair.kind == Pair::Relaxed) {
          ++step.relaxed;
          step.obstacles.emplace_back(*lower, *upper);
        }
        step.cost += pair.kind == Pair::Relaxed ? 1000
                     : pair.dividesLinear       ? 100
                                                : pair.rows.size();
        llvm::append_range(step.rows, pair.rows);
      }
    return step;
  }

  /// Replaces a variable in the way of the step by m * y + r, for every residue
  /// r; false if that is too much.
  bool split(const Conjunction &set, const Step &step,
             ArrayRef<unsigned> bound) {
    int64_t modulus = 0;
    unsigned column = 0;
    auto consider = [&](const LinearExpr &e, int64_t divisor) {
      for (unsigned candidate : bound) {
        int64_t c = e.coef(candidate);
        if (candidate == step.x || c % divisor == 0)
          continue;
        int64_t m = divisor / std::gcd(divisor, c);
        if (modulus == 0 || m < modulus) {
          modulus = m;
          column = candidate;
        }
      }
    };
    for (auto &[lower, upper] : step.obstacles) {
      consider(upper, -upper.coef(step.x));
      consider(lower, lower.coef(step.x));
    }
    if (modulus == 0 || numSplits + modulus > maxParts || space.isBudgetSpent())
      return false;
    numSplits += modulus;
    unsigned y = space.addVariable();
    for (int64_t r = 0; r < modulus; ++r) {
      Conjunction part;
      bool possible = true;
      for (const LinearExpr &row : set.inequalities) {
        LinearExpr replaced = row;
        int64_t c = row.coef(column);
        if (c != 0) {
          replaced.coefs[column] = 0;
          LinearExpr value =
              space.combine(modulus, space.variable(y), 1, LinearExpr(r));
          replaced = space.combine(1, replaced, c, value);
        }
        possible &= addInequality(space, part, std::move(replaced));
      }
      if (!possible)
        continue;
      SmallVector<unsigned, 8> partBound(bound);
      *llvm::find(partBound, column) = y;
      solve(std::move(part), std::move(partBound));
    }
    return true;
  }

  static constexpr unsigned maxRows = 20;

  LinearSpace &space;
  const Conjunction &context;
  std::optional<unsigned> linear;
  unsigned maxParts;
  unsigned numSplits = 0;
  bool contradiction = false;
  Projection result;
};

} // namespace

Projection mlir::attn::eliminate(LinearSpace &space, const Conjunction &set,
                                 ArrayRef<unsigned> columns,
                                 const Conjunction &context,
                                 std::optional<unsigned> linear,
                                 unsigned maxParts) {
  Projection result =
      Eliminator(space, context, linear, maxParts).run(set, columns);
  if (space.hasOverflowed()) {
    result.parts.assign(1, Conjunction());
    result.exact = false;
  }
  return result;
}
