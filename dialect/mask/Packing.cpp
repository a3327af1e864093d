//===- Packing.cpp - see Packing.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/Packing.h"
#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/Union.h"

#include "llvm/Support/MathExtras.h"
#include <array>
#include <map>
#include <numeric>
#include <set>

using namespace mlir;
using namespace mlir::attn;
using llvm::divideCeilSigned;
using llvm::divideFloorSigned;

/// Products of larger moduli could leave 64 bits, and no sequence has so many
/// classes.
static constexpr int64_t maxModulus = int64_t(1) << 40;

//===----------------------------------------------------------------------===//
// Which modulus
//===----------------------------------------------------------------------===//

static void collectModuli(const MaskPredicate &predicate,
                          std::set<int64_t> &moduli) {
  if (predicate.expr)
    predicate.expr.walk([&](AffineExpr expr) {
      auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
      if (!binary || expr.getKind() == AffineExprKind::Add ||
          expr.getKind() == AffineExprKind::Mul)
        return;
      auto divisor = dyn_cast<AffineConstantExpr>(binary.getRHS());
      if (divisor && divisor.getValue() > 1 && divisor.getValue() <= maxModulus)
        moduli.insert(divisor.getValue());
    });
  for (const MaskPredicate &operand : predicate.operands)
    collectModuli(operand, moduli);
}

/// The value divided by each of its small prime factors.
static SmallVector<int64_t> getSmallerDivisors(int64_t value) {
  SmallVector<int64_t> divisors;
  for (int64_t prime : {2, 3, 5, 7, 11, 13})
    if (value % prime == 0 && value > prime)
      divisors.push_back(value / prime);
  return divisors;
}

/// The least common multiple, or `a` if that is too large.
static int64_t getCommonMultiple(int64_t a, int64_t b) {
  int64_t factor = b / std::gcd(a, b);
  return a <= maxModulus / factor ? a * factor : a;
}

/// What intersections and unions of the two atoms show without a proof.
static int64_t getModulusOfParts(MaskAttr mask) {
  switch (mask.getKind()) {
  case MaskKind::Stride:
    return mask.getBounds()[0].getConstant();
  case MaskKind::Dilated:
    return mask.getBounds()[2].getConstant();
  case MaskKind::And: {
    int64_t modulus = 1;
    for (MaskAttr operand : mask.getOperands())
      modulus = getCommonMultiple(modulus, getModulusOfParts(operand));
    return modulus;
  }
  case MaskKind::Or: {
    int64_t modulus = 0;
    for (MaskAttr operand : mask.getOperands())
      modulus = std::gcd(modulus, getModulusOfParts(operand));
    return modulus;
  }
  default:
    return 1;
  }
}

int64_t mlir::attn::getResidueModulus(MaskAttr mask) {
  std::set<int64_t> moduli;
  collectModuli(getMaskPredicate(mask), moduli);
  std::set<int64_t> candidates = moduli;
  for (int64_t a : moduli)
    for (int64_t b : moduli)
      candidates.insert(std::gcd(a, b));
  int64_t found = getModulusOfParts(mask);
  constexpr int maxQuestions = 24;
  for (int question = 0; question < maxQuestions && !candidates.empty();) {
    auto largest = std::prev(candidates.end());
    int64_t candidate = *largest;
    candidates.erase(largest);
    if (found % candidate == 0)
      continue;
    ++question;
    MaskAttr stride = MaskAttr::getAtom(mask.getContext(), MaskKind::Stride,
                                        MaskBound::constant(candidate));
    if (isSubset(mask, stride).value_or(false)) {
      found = getCommonMultiple(found, candidate);
    } else {
      for (int64_t divisor : getSmallerDivisors(candidate))
        candidates.insert(divisor);
    }
  }
  return found;
}

int64_t mlir::attn::chooseModulus(int64_t modulus, const PackingShape &shape) {
  // Long enough for every other consideration to vanish.
  constexpr int64_t unknown = int64_t(1) << 24, maxClasses = 4096;
  int64_t numQueries = std::min(shape.numQueries.value_or(unknown), unknown);
  int64_t numKeys = std::min(shape.numKeys.value_or(unknown), unknown);
  int64_t best = 1, fewest = 0;
  for (int64_t d = 1; d <= std::min(modulus, maxClasses); ++d) {
    if (modulus % d != 0)
      continue;
    int64_t tiles =
        std::min(d, numQueries) *
        divideCeilSigned(divideCeilSigned(numQueries, d), shape.rowsPerTile) *
        divideCeilSigned(divideCeilSigned(numKeys, d), shape.keysPerTile);
    if (d == 1 || tiles < fewest) {
      best = d;
      fewest = tiles;
    }
  }
  return best;
}

//===----------------------------------------------------------------------===//
// One class
//===----------------------------------------------------------------------===//

namespace {

/// Puts d p' + r and d j' + r for p and j.
class ClassBuilder {
public:
  ClassBuilder(MLIRContext *context, int64_t modulus, MaskBound residue)
      : context(context), modulus(modulus), residue(residue) {}

  MaskAttr build(MaskAttr mask) {
    ArrayRef<MaskBound> b = mask.getBounds();
    auto known = [&](const MaskBound &bound) { return !bound.isSymbol(); };
    switch (mask.getKind()) {
    case MaskKind::All:
    case MaskKind::Causal:
    case MaskKind::Heads:
      return mask;
    case MaskKind::Window:
      if (llvm::all_of(b, known))
        return atom(MaskKind::Window,
                    {divide(b[0], 1, modulus), divide(b[1], 1, modulus)});
      break;
    case MaskKind::Dilated: {
      int64_t step = b[2].getConstant(), common = std::gcd(step, modulus);
      auto scaled = [&](const MaskBound &bound) {
        return divide(bound, common, modulus);
      };
      if (common == modulus)
        return atom(MaskKind::Dilated,
                    {b[0], b[1], MaskBound::constant(step / modulus)});
      if (known(b[0]) && known(b[1]))
        return atom(MaskKind::Dilated, {scaled(b[0]), scaled(b[1]),
                                        MaskBound::constant(step / common)});
      break;
    }
    case MaskKind::Stride: {
      int64_t n = b[0].getConstant();
      return atom(MaskKind::Stride,
                  MaskBound::constant(n / std::gcd(n, modulus)));
    }
    case MaskKind::SameBlock: {
      int64_t length = b[0].getConstant();
      if (length % modulus == 0)
        return atom(MaskKind::SameBlock, MaskBound::constant(length / modulus));
      break;
    }
    case MaskKind::And:
    case MaskKind::Or:
    case MaskKind::Not: {
      auto operands = llvm::map_to_vector(
          mask.getOperands(), [&](MaskAttr operand) { return build(operand); });
      return combine(mask.getKind(), operands);
    }
    default:
      break;
    }
    return getMaskOf(context, substitute(getMaskPredicate(mask)));
  }

private:
  MaskAttr atom(MaskKind kind, ArrayRef<MaskBound> bounds) {
    return MaskAttr::getAtom(context, kind, bounds);
  }

  static MaskAttr combine(MaskKind kind, ArrayRef<MaskAttr> operands) {
    return kind == MaskKind::And  ? MaskAttr::getAnd(operands)
           : kind == MaskKind::Or ? MaskAttr::getOr(operands)
                                  : MaskAttr::getNot(operands.front());
  }

  /// floor(bound * factor / divisor); parameters stay below 2^41 and the factor
  /// divides the divisor.
  static MaskBound divide(const MaskBound &bound, int64_t factor,
                          int64_t divisor) {
    return bound.isInfinity() ? bound
                              : MaskBound::constant(divideFloorSigned(
                                    bound.getConstant(), divisor / factor));
  }

  MaskPredicate substitute(MaskPredicate predicate) {
    if (predicate.expr) {
      AffineExpr r = residue.isConstant()
                         ? getAffineConstantExpr(residue.getConstant(), context)
                         : getAffineSymbolExpr(residue.getSymbol(), context);
      AffineExpr h = getAffineDimExpr(0, context);
      AffineExpr p = getAffineDimExpr(1, context) * modulus + r;
      AffineExpr j = getAffineDimExpr(2, context) * modulus + r;
      predicate.expr = predicate.expr.replaceDims({h, p, j});
    }
    for (MaskPredicate &operand : predicate.operands)
      operand = substitute(operand);
    return predicate;
  }

  MLIRContext *context;
  int64_t modulus;
  MaskBound residue;
};

} // namespace

MaskAttr mlir::attn::getResidueClass(MaskAttr mask, int64_t modulus,
                                     MaskBound residue) {
  return simplify(
      ClassBuilder(mask.getContext(), modulus, residue).build(mask));
}

ResidueGrid mlir::attn::getResidueGrid(int64_t modulus, int64_t index,
                                       int64_t numQueries, int64_t numKeys,
                                       int64_t offset) {
  int64_t shifted = divideFloorSigned(index + offset, modulus);
  int64_t residue = index + offset - shifted * modulus;
  auto count = [&](int64_t total, int64_t first) {
    return std::max<int64_t>(divideCeilSigned(total - first, modulus), 0);
  };
  return {count(numQueries, index), count(numKeys, residue), shifted, residue};
}

std::optional<int64_t>
mlir::attn::getKnownClassKeys(int64_t modulus,
                              std::optional<int64_t> knownKeys) {
  if (!knownKeys || *knownKeys % modulus != 0)
    return std::nullopt;
  return *knownKeys / modulus;
}

static void addCounts(MaskProblem::TileCounts &sum,
                      const MaskProblem::TileCounts &counts) {
  sum.total += counts.total;
  sum.empty += counts.empty;
  sum.partial += counts.partial;
  sum.full += counts.full;
  sum.executedPairs += counts.executedPairs;
}

MaskProblem::TileCounts mlir::attn::countPackedTiles(
    MaskAttr mask, int64_t modulus, ArrayRef<int64_t> symbols, int64_t head,
    int64_t numQueries, int64_t numKeys, int64_t offset, int64_t rowsPerTile,
    int64_t keysPerTile, std::optional<int64_t> knownKeys) {
  MaskProblem::TileCounts sum;
  // Classes of the same mask, lengths and offset have the same tiles.
  std::map<std::array<int64_t, 4>, MaskProblem::TileCounts> known;
  unsigned number = mask.getNumSymbols();
  MaskAttr general =
      modulus == 1 ? mask
                   : getResidueClass(mask, modulus, MaskBound::symbol(number));
  bool usesResidue = general.getNumSymbols() > number;
  SmallVector<Segment, 1> segments = getSegments(
      general, rowsPerTile, keysPerTile, getKnownClassKeys(modulus, knownKeys));
  SmallVector<int64_t> values(symbols.take_front(number));
  values.push_back(0);
  for (int64_t index = 0; index < std::min(modulus, numQueries); ++index) {
    ResidueGrid grid =
        getResidueGrid(modulus, index, numQueries, numKeys, offset);
    values.back() = usesResidue ? grid.residue : 0;
    auto [counts, isNew] = known.try_emplace(
        {values.back(), grid.numQueries, grid.numKeys, grid.offset});
    if (isNew)
      for (const Segment &segment : segments)
        addCounts(counts->second,
                  MaskProblem(segment.getLocalMask(), values, head,
                              grid.numQueries, segment.countKeys(grid.numKeys),
                              grid.offset)
                      .countTiles(rowsPerTile, keysPerTile));
    addCounts(sum, counts->second);
  }
  return sum;
}

MaskProblem::TileCounts mlir::attn::countPackedTiles(
    ArrayRef<PackedPart> parts, ArrayRef<int64_t> symbols, int64_t head,
    int64_t numQueries, int64_t numKeys, int64_t offset, int64_t rowsPerTile,
    int64_t keysPerTile, std::optional<int64_t> knownKeys) {
  MaskProblem::TileCounts sum;
  for (const PackedPart &part : parts)
    addCounts(sum, countPackedTiles(part.mask, part.modulus, symbols, head,
                                    numQueries, numKeys, offset, rowsPerTile,
                                    keysPerTile, knownKeys));
  return sum;
}
