//===- LinearSpace.h - integer linear expressions ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_LINEARSPACE_H
#define ATTN_DIALECT_MASK_LINEARSPACE_H

#include "attn/dialect/mask/MaskAnalysis.h"

#include <deque>

namespace mlir::attn {

/// A linear expression over the columns of a LinearSpace; columns past the end
/// of `coefs` have coefficient 0.
struct LinearExpr {
  llvm::SmallVector<int64_t, 8> coefs;
  int64_t constant = 0;

  LinearExpr() = default;
  LinearExpr(int64_t constant) : constant(constant) {}

  int64_t coef(unsigned column) const {
    return column < coefs.size() ? coefs[column] : 0;
  }
  bool isConstant() const {
    return llvm::all_of(coefs, [](int64_t c) { return c == 0; });
  }
};

/// A conjunction: every `equalities` is 0 and every `inequalities` is at least
/// 0.
struct Conjunction {
  llvm::SmallVector<LinearExpr, 4> equalities;
  llvm::SmallVector<LinearExpr, 8> inequalities;
};

/// The columns of linear expressions: variables, and floor divisions of
/// expressions by positive constants. It also holds the budget of the decisions
/// made over it: when the budget is spent, or a coefficient leaves 64 bits, the
/// questions below get their safe answer ("not known").
class LinearSpace {
public:
  explicit LinearSpace(int64_t budget) : budget(budget) {}

  unsigned addVariable();
  LinearExpr variable(unsigned column) const;
  unsigned getNumColumns() const { return columns.size(); }
  bool isDivision(unsigned column) const {
    return columns[column].divisor != 0;
  }
  const LinearExpr &getNumerator(unsigned column) const {
    return columns[column].numerator;
  }
  int64_t getDivisor(unsigned column) const { return columns[column].divisor; }

  /// a * x + b * y.
  LinearExpr combine(int64_t a, const LinearExpr &x, int64_t b,
                     const LinearExpr &y);
  LinearExpr add(const LinearExpr &x, const LinearExpr &y) {
    return combine(1, x, 1, y);
  }
  LinearExpr subtract(const LinearExpr &x, const LinearExpr &y) {
    return combine(1, x, -1, y);
  }
  LinearExpr scale(const LinearExpr &x, int64_t a) {
    return combine(a, x, 0, x);
  }
  /// floor(x / divisor); what is a multiple of the divisor is taken out of the
  /// division.
  LinearExpr floorDivide(const LinearExpr &x, int64_t divisor);
  /// `expr` with its dimensions and symbols replaced.
  LinearExpr fromAffine(AffineExpr expr, llvm::ArrayRef<LinearExpr> dims,
                        llvm::ArrayRef<LinearExpr> symbols);
  /// The reverse; `variables[c]` stands for the variable in column c.
  AffineExpr toAffine(const LinearExpr &x, llvm::ArrayRef<AffineExpr> variables,
                      MLIRContext *context) const;

  /// Whether `column` occurs in x, inside divisions too.
  bool dependsOn(const LinearExpr &x, unsigned column) const;
  /// Divides `x >= 0` by the greatest common divisor of its coefficients,
  /// rounding the constant down.
  void tighten(LinearExpr &x);

  /// Whether no rational point satisfies `set`, its divisions taken as
  /// rationals within their bounds. The answer false may also mean that the
  /// budget is spent.
  bool isInfeasible(const Conjunction &set);
  /// Whether every rational point of `set` satisfies x >= 0; false may mean
  /// "not known".
  bool implies(const Conjunction &set, const LinearExpr &x);
  bool implies(const Conjunction &set, const Conjunction &other);

  /// Whether a coefficient left 64 bits: results are then meaningless.
  bool hasOverflowed() const { return overflowed; }
  /// The budget counts entries of the systems that are decided, about 0.1 us
  /// each.
  void setBudget(int64_t entries) { budget = entries; }
  void spend(int64_t entries) { budget -= entries; }
  bool isBudgetSpent() const { return budget <= 0; }

private:
  struct Column {
    LinearExpr numerator;
    int64_t divisor = 0;
  };

  std::deque<Column> columns;
  int64_t budget;
  bool overflowed = false;
};

/// The disjuncts of `predicate` (of its complement if `negate`), each a
/// conjunction that is not known to be empty within `context`; no disjunct is
/// known to lie in another. nullopt if there are more than `limit` or a budget
/// is spent.
std::optional<llvm::SmallVector<Conjunction, 4>>
getDisjuncts(const MaskPredicate &predicate, bool negate, LinearSpace &space,
             llvm::ArrayRef<LinearExpr> dims,
             llvm::ArrayRef<LinearExpr> symbols, const Conjunction &context,
             unsigned limit);

/// Adds `x` to `set` unless it is constant; false if the constant contradicts.
bool addInequality(LinearSpace &space, Conjunction &set, LinearExpr x);
/// Removes inequalities which the others and `context` imply; `mayRemove`
/// limits which are tried.
void removeRedundant(LinearSpace &space, Conjunction &set,
                     const Conjunction &context,
                     llvm::function_ref<bool(const LinearExpr &)> mayRemove);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_LINEARSPACE_H
