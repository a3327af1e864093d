//===- Columns.cpp - see Columns.h ----------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/MaskData.h"

#include "attn/dialect/mask/Estimate.h"
#include "attn/dialect/mask/MaskAnalysis.h"
#include "attn/dialect/mask/Union.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace mlir::attn;
using llvm::divideFloorSigned;
using llvm::mod;
using Kind = MaskPredicate::Kind;

/// Periods beyond this are not looked at: each residue is tried.
static constexpr int64_t maxPeriod = int64_t(1) << 16;

//===----------------------------------------------------------------------===//
// Conditions on the residue of a key
//===----------------------------------------------------------------------===//

static int64_t evaluate(AffineExpr expr, int64_t j) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (isa<AffineDimExpr>(expr))
    return j;
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t x = evaluate(binary.getLHS(), j), y = evaluate(binary.getRHS(), j);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return x + y;
  case AffineExprKind::Mul:
    return x * y;
  case AffineExprKind::Mod:
    return x - y * divideFloorSigned(x, y);
  case AffineExprKind::FloorDiv:
    return divideFloorSigned(x, y);
  default:
    return -divideFloorSigned(-x, y);
  }
}

/// A number that the value of `expr` repeats after, if it depends on j alone,
/// and on j only through remainders of sums of multiples; else 0.
static int64_t getPeriod(AffineExpr expr, bool inRemainder = false) {
  if (isa<AffineConstantExpr>(expr))
    return 1;
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return inRemainder && dim.getPosition() == 2 ? 1 : 0;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return 0;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
  case AffineExprKind::Mul: {
    int64_t x = getPeriod(binary.getLHS(), inRemainder),
            y = getPeriod(binary.getRHS(), inRemainder);
    return x && y ? std::lcm(x, y) : 0;
  }
  case AffineExprKind::Mod: {
    auto divisor = dyn_cast<AffineConstantExpr>(binary.getRHS());
    if (inRemainder || !divisor || divisor.getValue() > maxPeriod ||
        !getPeriod(binary.getLHS(), /*inRemainder=*/true))
      return 0;
    return divisor.getValue();
  }
  default:
    return 0;
  }
}

/// As above, for a formula.
static int64_t getPeriod(const MaskPredicate &predicate) {
  if (predicate.expr)
    return getPeriod(predicate.expr);
  int64_t period = 1;
  for (const MaskPredicate &operand : predicate.operands) {
    int64_t own = getPeriod(operand);
    if (own == 0 || std::lcm(own, period) > maxPeriod)
      return 0;
    period = std::lcm(own, period);
  }
  return period;
}

static bool holds(const MaskPredicate &predicate, int64_t j) {
  auto any = [&](bool wanted) {
    return llvm::any_of(predicate.operands, [&](const MaskPredicate &operand) {
      return holds(operand, j) == wanted;
    });
  };
  switch (predicate.kind) {
  case Kind::True:
    return true;
  case Kind::False:
    return false;
  case Kind::Equality:
    return evaluate(predicate.expr, j) == 0;
  case Kind::Inequality:
    return evaluate(predicate.expr, j) >= 0;
  case Kind::And:
    return !any(false);
  case Kind::Or:
    return any(true);
  case Kind::Not:
    return any(false);
  case Kind::Data:
    break;
  }
  llvm_unreachable("every kind is handled");
}

std::optional<ColumnSet> mlir::attn::getColumnSet(MaskAttr mask) {
  MaskPredicate predicate = getMaskPredicate(mask);
  std::vector<MaskPredicate> factors = {predicate};
  if (predicate.kind == Kind::And)
    factors = predicate.operands;
  int64_t step = 1;
  SmallVector<const MaskPredicate *> used;
  for (const MaskPredicate &factor : factors) {
    int64_t period = getPeriod(factor);
    if (period < 2 || std::lcm(step, period) > maxPeriod)
      continue;
    step = std::lcm(step, period);
    used.push_back(&factor);
  }
  int64_t first = step, last = -1;
  for (int64_t j = 0; j < step; ++j)
    if (llvm::all_of(used, [&](const MaskPredicate *factor) {
          return holds(*factor, j);
        })) {
      first = std::min(first, j);
      last = j;
    }
  if (last < 0 || last - first + 1 == step)
    return std::nullopt;
  return ColumnSet{first, last - first + 1, step};
}

//===----------------------------------------------------------------------===//
// The mask over the columns
//===----------------------------------------------------------------------===//

namespace {

/// Puts `step * (j' floordiv count) + first + j' mod count` for j. A comparison
/// of j with something that is a multiple of the step, but for a constant,
/// becomes one of j' itself.
class ColumnBuilder {
public:
  ColumnBuilder(MLIRContext *context, const ColumnSet &columns)
      : context(context), c(columns), j(getAffineDimExpr(2, context)) {}

  MaskAttr build(MaskAttr mask) {
    switch (mask.getKind()) {
    case MaskKind::All:
    case MaskKind::Queries:
    case MaskKind::Heads:
      return mask;
    case MaskKind::And:
    case MaskKind::Or:
    case MaskKind::Not: {
      auto operands = llvm::map_to_vector(
          mask.getOperands(), [&](MaskAttr operand) { return build(operand); });
      return mask.getKind() == MaskKind::And  ? MaskAttr::getAnd(operands)
             : mask.getKind() == MaskKind::Or ? MaskAttr::getOr(operands)
                                              : MaskAttr::getNot(operands[0]);
    }
    default:
      return getMaskOf(context, build(getMaskPredicate(mask)));
    }
  }

private:
  AffineExpr constant(int64_t value) {
    return getAffineConstantExpr(value, context);
  }
  static MaskPredicate atLeastZero(AffineExpr expr) {
    return {Kind::Inequality, expr, {}};
  }

  MaskPredicate build(const MaskPredicate &predicate) {
    MaskPredicate result = predicate;
    if (!predicate.expr) {
      for (MaskPredicate &operand : result.operands)
        operand = build(operand);
      return result;
    }
    if (!predicate.expr.isFunctionOfDim(2))
      return result;
    if (std::optional<MaskPredicate> compared = compare(predicate))
      return *compared;
    result.expr = simplify(substitute(predicate.expr));
    if (int64_t period = getPeriod(result)) {
      int64_t live = 0;
      for (int64_t residue = 0; residue < period; ++residue)
        live += holds(result, residue);
      if (live == 0 || live == period)
        return {live == 0 ? Kind::False : Kind::True, {}, {}};
    }
    return result;
  }

  AffineExpr simplify(AffineExpr expr) {
    unsigned numSymbols = 0;
    expr.walk([&](AffineExpr part) {
      if (auto symbol = dyn_cast<AffineSymbolExpr>(part))
        numSymbols = std::max(numSymbols, symbol.getPosition() + 1);
    });
    return simplifyAffineExpr(expr, 3, numSymbols);
  }

  //===--------------------------------------------------------------------===//
  // Comparisons of j
  //===--------------------------------------------------------------------===//

  /// `expr` as factor * term + rest, where term is j or (j + shift) floordiv
  /// divisor and rest is free of j.
  struct Split {
    int64_t factor = 0, shift = 0, divisor = 1;
    AffineExpr rest;
  };
  bool split(AffineExpr expr, int64_t factor, Split &into) {
    if (!expr.isFunctionOfDim(2)) {
      into.rest = into.rest + expr * factor;
      return true;
    }
    auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
    auto number = binary ? dyn_cast<AffineConstantExpr>(binary.getRHS())
                         : AffineConstantExpr();
    if (binary && expr.getKind() == AffineExprKind::Add)
      return split(binary.getLHS(), factor, into) &&
             split(binary.getRHS(), factor, into);
    if (number && expr.getKind() == AffineExprKind::Mul)
      return split(binary.getLHS(), factor * number.getValue(), into);
    int64_t shift = 0, divisor = 1;
    if (number && expr.getKind() == AffineExprKind::FloorDiv) {
      std::optional<int64_t> found = getShift(binary.getLHS());
      if (!found)
        return false;
      shift = *found;
      divisor = number.getValue();
    } else if (expr != j) {
      return false;
    }
    if (into.factor != 0 && (into.shift != shift || into.divisor != divisor))
      return false;
    into.factor += factor;
    into.shift = shift;
    into.divisor = divisor;
    return true;
  }

  /// k if `expr` is j + k.
  std::optional<int64_t> getShift(AffineExpr expr) {
    auto shift =
        dyn_cast<AffineConstantExpr>(simplifyAffineExpr(expr - j, 3, 0));
    if (expr.isSymbolicOrConstant() || !shift)
      return std::nullopt;
    return shift.getValue();
  }

  /// How many columns lie below `bound`; null if that is not count times a
  /// quotient plus a constant.
  AffineExpr getRank(AffineExpr bound) {
    AffineExpr beyond = simplify((bound - c.first) % c.step);
    auto constantPart = dyn_cast<AffineConstantExpr>(beyond);
    if (!constantPart)
      return {};
    return simplify((bound - c.first).floorDiv(c.step) * c.count +
                    std::min(c.count, constantPart.getValue()));
  }

  std::optional<MaskPredicate> compare(const MaskPredicate &leaf) {
    Split parts;
    parts.rest = constant(0);
    if (!split(leaf.expr, 1, parts) || parts.factor == 0)
      return std::nullopt;
    bool isEquality = leaf.kind == Kind::Equality;
    if (isEquality && std::abs(parts.factor) != 1)
      return std::nullopt;
    // term >= low, and, for an equality, term < low + 1.
    if (parts.factor > 0 || isEquality) {
      AffineExpr low = parts.factor == -1 && isEquality
                           ? parts.rest
                           : -parts.rest.floorDiv(parts.factor);
      AffineExpr from = getRank(low * parts.divisor - parts.shift);
      if (!from)
        return std::nullopt;
      MaskPredicate above = atLeastZero(simplify(j - from));
      if (!isEquality)
        return above;
      AffineExpr to = getRank((low + 1) * parts.divisor - parts.shift);
      if (!to)
        return std::nullopt;
      return MaskPredicate{
          Kind::And, {}, {above, atLeastZero(simplify(to - 1 - j))}};
    }
    AffineExpr end = parts.rest.floorDiv(-parts.factor) + 1;
    AffineExpr to = getRank(end * parts.divisor - parts.shift);
    if (!to)
      return std::nullopt;
    return atLeastZero(simplify(to - 1 - j));
  }

  //===--------------------------------------------------------------------===//
  // Substitution
  //===--------------------------------------------------------------------===//

  AffineExpr getBlock() { return j.floorDiv(c.count); }
  AffineExpr getInside() { return j % c.count; }

  AffineExpr substitute(AffineExpr expr) {
    if (!expr.isFunctionOfDim(2))
      return expr;
    if (expr == j)
      return getBlock() * (c.step - c.count) + j + c.first;
    auto binary = cast<AffineBinaryOpExpr>(expr);
    if (expr.getKind() == AffineExprKind::Mod ||
        expr.getKind() == AffineExprKind::FloorDiv)
      if (AffineExpr known = divide(binary))
        return known;
    return getAffineBinaryOpExpr(expr.getKind(), substitute(binary.getLHS()),
                                 substitute(binary.getRHS()));
  }

  /// (j + k) divided by m, where m divides the step or the step divides m, and
  /// no block of m or of the step ends between the columns of one block.
  AffineExpr divide(AffineBinaryOpExpr expr) {
    auto divisor = dyn_cast<AffineConstantExpr>(expr.getRHS());
    std::optional<int64_t> shift = getShift(expr.getLHS());
    if (!divisor || !shift)
      return {};
    bool isRemainder = expr.getKind() == AffineExprKind::Mod;
    int64_t m = divisor.getValue(), from = c.first + *shift;
    int64_t length = std::min(m, c.step);
    int64_t block = divideFloorSigned(from, length);
    if (std::max(m, c.step) % length != 0 ||
        divideFloorSigned(from + c.count - 1, length) != block)
      return {};
    AffineExpr inside = getInside() + (from - block * length);
    if (m <= c.step)
      return isRemainder ? inside : getBlock() * (c.step / m) + block;
    AffineExpr number = getBlock() + block;
    return isRemainder ? (number % (m / c.step)) * c.step + inside
                       : number.floorDiv(m / c.step);
  }

  MLIRContext *context;
  ColumnSet c;
  AffineExpr j;
};

} // namespace

MaskAttr mlir::attn::compactColumns(MaskAttr mask, const ColumnSet &columns) {
  return simplify(ColumnBuilder(mask.getContext(), columns).build(mask));
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

int64_t Segment::countKeys(int64_t numKeys) const {
  return columns ? SelectRowsOp::countRows(numKeys, columns->first,
                                           columns->count, columns->step)
                 : numKeys;
}

bool mlir::attn::keepsKeysInOrder(AttentionOp op) {
  // Lengths are symbols where this matters.
  return !op.getScore().empty() ||
         llvm::any_of(getDataAtoms(op.getMask()), [](MaskAttr atom) {
           return atom.getKind() != MaskKind::Lengths;
         });
}

SmallVector<Segment, 1>
mlir::attn::getSegments(MaskAttr mask, int64_t rowsPerTile, int64_t keysPerTile,
                        std::optional<int64_t> numKeys, bool inOrder) {
  if (inOrder)
    return {Segment{mask, std::nullopt}};
  SmallVector<MaskAttr> terms = getTerms(mask);
  SmallVector<std::pair<std::optional<ColumnSet>, SmallVector<MaskAttr>>>
      groups = {{std::nullopt, {}}};
  for (MaskAttr term : terms) {
    std::optional<ColumnSet> columns = getColumnSet(term);
    auto group = llvm::find_if(
        groups, [&](const auto &known) { return known.first == columns; });
    if (group == groups.end())
      group = groups.insert(groups.end(), {columns, {}});
    group->second.push_back(term);
  }
  // Each segment is two more loops in the kernel.
  constexpr size_t maxSegments = 3;
  SmallVector<Segment, 1> whole = {{mask, std::nullopt}};
  if (groups.size() == 1 || groups.size() > maxSegments)
    return whole;
  MaskAttr none = MaskAttr::getNot(MaskAttr::getAll(mask.getContext()));
  SmallVector<Segment, 1> segments;
  for (const auto &[columns, group] : groups) {
    if (group.empty())
      continue;
    MaskAttr part = joinTerms(group);
    for (const Segment &earlier : segments)
      part = subtract(part, earlier.mask);
    if (part != none)
      segments.push_back({part, columns});
  }
  auto count = [&](ArrayRef<Segment> candidates) {
    int64_t length = numKeys.value_or(modelLength), tiles = 0;
    for (const Segment &segment : candidates)
      tiles += estimateTiles(
          segment.getLocalMask(),
          {length, segment.countKeys(length), 0, rowsPerTile, keysPerTile});
    return tiles;
  };
  return count(segments) < count(whole) ? segments : whole;
}
