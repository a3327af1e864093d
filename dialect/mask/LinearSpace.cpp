//===- LinearSpace.cpp - integer linear expressions ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/LinearSpace.h"

#include "mlir/Analysis/Presburger/Simplex.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace mlir::attn;
using llvm::DynamicAPInt;

unsigned LinearSpace::addVariable() {
  columns.emplace_back();
  return columns.size() - 1;
}

LinearExpr LinearSpace::variable(unsigned column) const {
  LinearExpr result;
  result.coefs.resize(column + 1, 0);
  result.coefs[column] = 1;
  return result;
}

LinearExpr LinearSpace::combine(int64_t a, const LinearExpr &x, int64_t b,
                                const LinearExpr &y) {
  auto mix = [&](int64_t u, int64_t v) {
    int64_t left, right, sum;
    // Half of the range stays free, for negation and for adding one.
    if (__builtin_mul_overflow(a, u, &left) ||
        __builtin_mul_overflow(b, v, &right) ||
        __builtin_add_overflow(left, right, &sum) || sum > INT64_MAX / 2 ||
        sum < INT64_MIN / 2) {
      overflowed = true;
      return (a < 0) != (u < 0) ? INT64_MIN / 2 : INT64_MAX / 2;
    }
    return sum;
  };
  LinearExpr result(mix(x.constant, y.constant));
  size_t size = std::max(x.coefs.size(), y.coefs.size());
  result.coefs.resize(size);
  for (size_t i = 0; i < size; ++i)
    result.coefs[i] = mix(x.coef(i), y.coef(i));
  while (!result.coefs.empty() && result.coefs.back() == 0)
    result.coefs.pop_back();
  return result;
}

LinearExpr LinearSpace::floorDivide(const LinearExpr &x, int64_t divisor) {
  assert(divisor > 0);
  int64_t common = divisor;
  for (int64_t c : x.coefs)
    common = std::gcd(common, c);
  LinearExpr outside, inside;
  int64_t reduced = divisor / common;
  outside.coefs.resize(x.coefs.size(), 0);
  inside.coefs.resize(x.coefs.size(), 0);
  bool allOutside = true;
  // floor((common * u + k) / (common * d)) = floor((u + floor(k / common)) / d)
  for (auto [i, c] : llvm::enumerate(x.coefs)) {
    int64_t scaled = c / common;
    // Rounding towards zero leaves p - j as it is.
    int64_t whole = scaled / reduced;
    outside.coefs[i] = whole;
    inside.coefs[i] = scaled - whole * reduced;
    allOutside &= inside.coefs[i] == 0;
  }
  int64_t constant = llvm::divideFloorSigned(x.constant, common);
  outside.constant = llvm::divideFloorSigned(constant, reduced);
  inside.constant = constant - outside.constant * reduced;
  auto trim = [](LinearExpr &e) {
    while (!e.coefs.empty() && e.coefs.back() == 0)
      e.coefs.pop_back();
  };
  trim(outside);
  trim(inside);
  if (allOutside)
    return outside;
  // floor(e / d) = -floor((d - 1 - e) / d): one form for both signs, the one
  // whose first coefficient is positive.
  bool negated =
      *llvm::find_if(inside.coefs, [](int64_t c) { return c != 0; }) < 0;
  if (negated)
    inside = combine(-1, inside, 1, LinearExpr(reduced - 1));
  unsigned column = columns.size();
  for (auto [i, known] : llvm::enumerate(columns))
    if (known.divisor == reduced &&
        known.numerator.constant == inside.constant &&
        known.numerator.coefs == inside.coefs)
      column = i;
  if (column == columns.size())
    columns.push_back({inside, reduced});
  return combine(1, outside, negated ? -1 : 1, variable(column));
}

LinearExpr LinearSpace::fromAffine(AffineExpr expr, ArrayRef<LinearExpr> dims,
                                   ArrayRef<LinearExpr> symbols) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return LinearExpr(constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dims[dim.getPosition()];
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbols[symbol.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  LinearExpr left = fromAffine(binary.getLHS(), dims, symbols);
  LinearExpr right = fromAffine(binary.getRHS(), dims, symbols);
  if (expr.getKind() == AffineExprKind::Add)
    return add(left, right);
  // A pure affine expression multiplies and divides by constants only.
  if (expr.getKind() == AffineExprKind::Mul)
    return right.isConstant() ? scale(left, right.constant)
                              : scale(right, left.constant);
  int64_t divisor = right.constant;
  assert(right.isConstant() && divisor > 0);
  if (expr.getKind() == AffineExprKind::FloorDiv)
    return floorDivide(left, divisor);
  if (expr.getKind() == AffineExprKind::CeilDiv)
    return floorDivide(add(left, divisor - 1), divisor);
  return combine(1, left, -divisor, floorDivide(left, divisor));
}

AffineExpr LinearSpace::toAffine(const LinearExpr &x,
                                 ArrayRef<AffineExpr> variables,
                                 MLIRContext *context) const {
  AffineExpr sum = getAffineConstantExpr(0, context);
  for (auto [column, c] : llvm::enumerate(x.coefs)) {
    if (c == 0)
      continue;
    AffineExpr value = isDivision(column)
                           ? toAffine(getNumerator(column), variables, context)
                                 .floorDiv(getDivisor(column))
                           : variables[column];
    sum = sum + value * c;
  }
  return sum + x.constant;
}

bool LinearSpace::dependsOn(const LinearExpr &x, unsigned column) const {
  if (x.coef(column) != 0)
    return true;
  for (auto [i, c] : llvm::enumerate(x.coefs))
    if (c != 0 && isDivision(i) && dependsOn(getNumerator(i), column))
      return true;
  return false;
}

void LinearSpace::tighten(LinearExpr &x) {
  int64_t common = 0;
  for (int64_t c : x.coefs)
    common = std::gcd(common, c);
  if (common <= 1)
    return;
  for (int64_t &c : x.coefs)
    c /= common;
  x.constant = llvm::divideFloorSigned(x.constant, common);
}

/// Whether a <= b pointwise, shown by the constants alone.
static bool isBelow(const LinearExpr &a, const LinearExpr &b) {
  return a.coefs == b.coefs && a.constant <= b.constant;
}

/// Whether x + y is a negative constant.
static bool contradict(const LinearExpr &x, const LinearExpr &y) {
  return x.coefs.size() == y.coefs.size() && x.constant + y.constant < 0 &&
         llvm::all_of_zip(
             x.coefs, y.coefs, [](int64_t a, int64_t b) { return a == -b; });
}

bool LinearSpace::isInfeasible(const Conjunction &set) {
  for (auto [i, x] : llvm::enumerate(set.inequalities))
    for (const LinearExpr &y : llvm::drop_begin(set.inequalities, i + 1))
      if (contradict(x, y))
        return true;
  spend((set.inequalities.size() + set.equalities.size()) *
        (1 + columns.size() / 8));
  // Columns in use, with those inside divisions.
  SmallVector<int, 16> position(columns.size(), -1);
  SmallVector<unsigned, 16> used;
  auto use = [&](const LinearExpr &x) {
    for (auto [i, c] : llvm::enumerate(x.coefs))
      if (c != 0 && position[i] < 0) {
        position[i] = used.size();
        used.push_back(i);
      }
  };
  for (const LinearExpr &x : set.equalities)
    use(x);
  for (const LinearExpr &x : set.inequalities) {
    if (x.isConstant() && x.constant < 0)
      return true;
    use(x);
  }
  for (size_t i = 0; i < used.size(); ++i)
    if (isDivision(used[i]))
      use(getNumerator(used[i]));
  for (const LinearExpr &x : set.equalities)
    if (x.isConstant() && x.constant != 0)
      return true;
  if (used.empty())
    return false;
  if (isBudgetSpent())
    return false;
  spend((set.inequalities.size() + set.equalities.size() + 2) *
        (used.size() + 2));
  presburger::Simplex simplex(used.size());
  SmallVector<DynamicAPInt, 16> row;
  auto fill = [&](const LinearExpr &x, int64_t sign) {
    row.assign(used.size() + 1, DynamicAPInt(0));
    for (auto [i, c] : llvm::enumerate(x.coefs))
      if (c != 0)
        row[position[i]] = DynamicAPInt(sign * c);
    row.back() = DynamicAPInt(sign * x.constant);
  };
  for (const LinearExpr &x : set.equalities) {
    fill(x, 1);
    simplex.addEquality(row);
  }
  for (const LinearExpr &x : set.inequalities) {
    fill(x, 1);
    simplex.addInequality(row);
    if (simplex.isEmpty())
      return true;
  }
  for (auto [i, column] : llvm::enumerate(used)) {
    if (!isDivision(column))
      continue;
    const LinearExpr &numerator = getNumerator(column);
    DynamicAPInt divisor(getDivisor(column));
    fill(numerator, 1);
    row[i] -= divisor;
    simplex.addInequality(row);
    fill(numerator, -1);
    row[i] += divisor;
    row.back() += divisor - DynamicAPInt(1);
    simplex.addInequality(row);
    if (simplex.isEmpty())
      return true;
  }
  return simplex.isEmpty();
}

bool LinearSpace::implies(const Conjunction &set, const LinearExpr &x) {
  if (x.isConstant() && x.constant >= 0)
    return true;
  if (llvm::any_of(set.inequalities,
                   [&](const LinearExpr &y) { return isBelow(y, x); }))
    return true;
  if (isBudgetSpent())
    return false;
  Conjunction counterexample = set;
  counterexample.inequalities.push_back(combine(-1, x, 1, LinearExpr(-1)));
  tighten(counterexample.inequalities.back());
  return isInfeasible(counterexample);
}

bool LinearSpace::implies(const Conjunction &set, const Conjunction &other) {
  return llvm::all_of(other.inequalities,
                      [&](const LinearExpr &x) { return implies(set, x); }) &&
         llvm::all_of(other.equalities, [&](const LinearExpr &x) {
           return implies(set, x) && implies(set, scale(x, -1));
         });
}

bool mlir::attn::addInequality(LinearSpace &space, Conjunction &set,
                               LinearExpr x) {
  if (x.isConstant())
    return x.constant >= 0;
  space.tighten(x);
  for (LinearExpr &known : set.inequalities) {
    if (known.coefs != x.coefs)
      continue;
    known.constant = std::min(known.constant, x.constant);
    return true;
  }
  set.inequalities.push_back(std::move(x));
  return true;
}

void mlir::attn::removeRedundant(
    LinearSpace &space, Conjunction &set, const Conjunction &context,
    function_ref<bool(const LinearExpr &)> mayRemove) {
  for (size_t i = 0; i < set.inequalities.size() && !space.isBudgetSpent();) {
    if (!mayRemove(set.inequalities[i])) {
      ++i;
      continue;
    }
    Conjunction others = context;
    llvm::append_range(others.equalities, set.equalities);
    for (auto [k, x] : llvm::enumerate(set.inequalities))
      if (k != i)
        others.inequalities.push_back(x);
    if (space.implies(others, set.inequalities[i]))
      set.inequalities.erase(set.inequalities.begin() + i);
    else
      ++i;
  }
}

namespace {

class DisjunctBuilder {
public:
  using Disjuncts = SmallVector<Conjunction, 4>;

  DisjunctBuilder(LinearSpace &space, ArrayRef<LinearExpr> dims,
                  ArrayRef<LinearExpr> symbols, const Conjunction &context,
                  unsigned limit)
      : space(space), dims(dims), symbols(symbols), context(context),
        limit(limit) {}

  std::optional<Disjuncts> build(const MaskPredicate &predicate, bool negate) {
    using Kind = MaskPredicate::Kind;
    switch (predicate.kind) {
    case Kind::True:
    case Kind::False:
      return (predicate.kind == Kind::True) != negate ? Disjuncts(1)
                                                      : Disjuncts();
    case Kind::Data:
      llvm_unreachable("a mask with tensors is no set");
    case Kind::Not:
      return build(predicate.operands.front(), !negate);
    case Kind::And:
    case Kind::Or:
      return (predicate.kind == Kind::And) != negate
                 ? intersect(predicate.operands, negate)
                 : unite(predicate.operands, negate);
    case Kind::Inequality:
    case Kind::Equality:
      break;
    }
    LinearExpr x = space.fromAffine(predicate.expr, dims, symbols);
    Disjuncts result;
    auto addHalf = [&](int64_t sign, int64_t shift) {
      Conjunction half;
      if (addInequality(space, half,
                        space.combine(sign, x, 1, LinearExpr(shift))))
        result.push_back(std::move(half));
    };
    if (predicate.kind == Kind::Inequality) {
      addHalf(negate ? -1 : 1, negate ? -1 : 0);
    } else if (negate) {
      addHalf(1, -1);
      addHalf(-1, -1);
    } else if (x.isConstant()) {
      result.resize(x.constant == 0 ? 1 : 0);
    } else {
      result.emplace_back().equalities.push_back(std::move(x));
    }
    return prune(std::move(result));
  }

private:
  std::optional<Disjuncts> intersect(ArrayRef<MaskPredicate> operands,
                                     bool negate) {
    Disjuncts result(1);
    for (const MaskPredicate &operand : operands) {
      std::optional<Disjuncts> factor = build(operand, negate);
      if (!factor || factor->size() * result.size() > 4 * limit)
        return std::nullopt;
      Disjuncts product;
      for (const Conjunction &a : result)
        for (const Conjunction &b : *factor) {
          Conjunction both = a;
          llvm::append_range(both.equalities, b.equalities);
          bool possible =
              llvm::all_of(b.inequalities, [&](const LinearExpr &x) {
                return addInequality(space, both, x);
              });
          if (possible)
            product.push_back(std::move(both));
        }
      std::optional<Disjuncts> pruned = prune(std::move(product));
      if (!pruned)
        return std::nullopt;
      result = std::move(*pruned);
    }
    return result;
  }

  std::optional<Disjuncts> unite(ArrayRef<MaskPredicate> operands,
                                 bool negate) {
    Disjuncts result;
    for (const MaskPredicate &operand : operands) {
      std::optional<Disjuncts> part = build(operand, negate);
      if (!part)
        return std::nullopt;
      llvm::append_range(result, *part);
    }
    return prune(std::move(result));
  }

  /// Drops empty disjuncts and those that lie in another.
  std::optional<Disjuncts> prune(Disjuncts disjuncts) {
    Disjuncts kept;
    for (Conjunction &candidate : disjuncts) {
      Conjunction within = candidate;
      llvm::append_range(within.inequalities, context.inequalities);
      if (space.isInfeasible(within))
        continue;
      if (llvm::any_of(kept, [&](const Conjunction &other) {
            return space.implies(within, other);
          }))
        continue;
      llvm::erase_if(kept, [&](Conjunction &other) {
        Conjunction otherWithin = other;
        llvm::append_range(otherWithin.inequalities, context.inequalities);
        return space.implies(otherWithin, candidate);
      });
      kept.push_back(std::move(candidate));
    }
    if (kept.size() > limit)
      return std::nullopt;
    return kept;
  }

  LinearSpace &space;
  ArrayRef<LinearExpr> dims, symbols;
  const Conjunction &context;
  unsigned limit;
};

} // namespace

std::optional<SmallVector<Conjunction, 4>>
mlir::attn::getDisjuncts(const MaskPredicate &predicate, bool negate,
                         LinearSpace &space, ArrayRef<LinearExpr> dims,
                         ArrayRef<LinearExpr> symbols,
                         const Conjunction &context, unsigned limit) {
  auto disjuncts = DisjunctBuilder(space, dims, symbols, context, limit)
                       .build(predicate, negate);
  if (!disjuncts || space.hasOverflowed())
    return std::nullopt;
  return disjuncts;
}
