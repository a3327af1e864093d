//===- TestMasks.cpp - masks and an oracle ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TestMasks.h"

#include "attn/dialect/mask/MaskParser.h"
#include "llvm/Support/MathExtras.h"
#include <cstdlib>
#include <gtest/gtest.h>

using namespace mlir;
using namespace mlir::attn;
using llvm::divideCeilSigned;
using llvm::divideFloorSigned;

int test::getRounds(int otherwise) {
  const char *text = std::getenv("ATTN_PROPERTY_COUNT");
  return text ? std::atoi(text) : otherwise;
}

MaskAttr test::parseMask(MLIRContext &context, StringRef text) {
  context.getOrLoadDialect<AttnDialect>();
  auto emitError = [&](size_t offset, const Twine &message) {
    ADD_FAILURE() << text.str() << ":" << offset << ": " << message.str();
  };
  FailureOr<ParsedMask> parsed = parseMaskExpression(
      text, MaskSymbolSyntax::Numbered, &context, emitError);
  if (failed(parsed))
    return MaskAttr::getAll(&context);
  EXPECT_EQ(parsed->length, text.size()) << text.str();
  return parsed->mask;
}

int64_t test::evaluate(AffineExpr expr, ArrayRef<int64_t> dims,
                       ArrayRef<int64_t> symbols) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dims[dim.getPosition()];
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbols[symbol.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t left = evaluate(binary.getLHS(), dims, symbols),
          right = evaluate(binary.getRHS(), dims, symbols);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return left + right;
  case AffineExprKind::Mul:
    return left * right;
  case AffineExprKind::FloorDiv:
    return divideFloorSigned(left, right);
  case AffineExprKind::CeilDiv:
    return divideCeilSigned(left, right);
  default:
    return left - right * divideFloorSigned(left, right);
  }
}

bool test::contains(IntegerSet set, ArrayRef<int64_t> dims,
                    ArrayRef<int64_t> symbols) {
  for (auto [index, constraint] : llvm::enumerate(set.getConstraints())) {
    int64_t value = evaluate(constraint, dims, symbols);
    if (set.isEq(index) ? value != 0 : value < 0)
      return false;
  }
  return true;
}

bool test::holds(const MaskPredicate &predicate, ArrayRef<int64_t> dims,
                 ArrayRef<int64_t> symbols) {
  auto operandHolds = [&](const MaskPredicate &operand) {
    return holds(operand, dims, symbols);
  };
  switch (predicate.kind) {
  case MaskPredicate::Kind::True:
    return true;
  case MaskPredicate::Kind::False:
    return false;
  case MaskPredicate::Kind::Inequality:
    return evaluate(predicate.expr, dims, symbols) >= 0;
  case MaskPredicate::Kind::Equality:
    return evaluate(predicate.expr, dims, symbols) == 0;
  case MaskPredicate::Kind::And:
    return llvm::all_of(predicate.operands, operandHolds);
  case MaskPredicate::Kind::Or:
    return llvm::any_of(predicate.operands, operandHolds);
  case MaskPredicate::Kind::Data:
    llvm_unreachable("a mask without tensors");
  case MaskPredicate::Kind::Not:
    return !operandHolds(predicate.operands.front());
  }
  return false;
}

bool test::isLive(MaskAttr mask, ArrayRef<int64_t> symbols, int64_t h,
                  int64_t p, int64_t j) {
  auto value = [&](unsigned i) {
    const MaskBound &bound = mask.getBounds()[i];
    constexpr int64_t huge = int64_t(1) << 58;
    return bound.isConstant() ? bound.getConstant()
           : bound.isSymbol() ? symbols[bound.getSymbol()]
                              : huge;
  };
  auto mod = [](int64_t a, int64_t n) {
    return a - n * divideFloorSigned(a, n);
  };
  auto inRange = [&](int64_t x) { return value(0) <= x && x < value(1); };
  switch (mask.getKind()) {
  case MaskKind::All:
    return true;
  case MaskKind::Causal:
    return j <= p;
  case MaskKind::Window:
    return p - value(0) <= j && j <= p + value(1);
  case MaskKind::Dilated: {
    auto reach = [&](unsigned i) {
      return mask.getBounds()[i].isInfinity() ? value(i) : value(i) * value(2);
    };
    return mod(p - j, value(2)) == 0 && -reach(1) <= p - j && p - j <= reach(0);
  }
  case MaskKind::Stride:
    return mod(p - j, value(0)) == 0;
  case MaskKind::SameBlock:
    return divideFloorSigned(j, value(0)) == divideFloorSigned(p, value(0));
  case MaskKind::Summary:
    return mod(j, value(0)) >= value(0) - value(1);
  case MaskKind::Global:
    return p < value(0) || j < value(0);
  case MaskKind::Keys:
    return inRange(j);
  case MaskKind::Queries:
    return inRange(p);
  case MaskKind::Heads:
    return inRange(h);
  case MaskKind::Set: {
    SmallVector<int64_t> values;
    for (unsigned i = 0; i < mask.getBounds().size(); ++i)
      values.push_back(value(i));
    return contains(mask.getSet(), {h, p, j}, values);
  }
  case MaskKind::And:
    return llvm::all_of(mask.getOperands(), [&](MaskAttr operand) {
      return isLive(operand, symbols, h, p, j);
    });
  case MaskKind::Or:
    return llvm::any_of(mask.getOperands(), [&](MaskAttr operand) {
      return isLive(operand, symbols, h, p, j);
    });
  case MaskKind::Lengths:
  case MaskKind::Documents:
  case MaskKind::Blocks:
  case MaskKind::Bits:
    llvm_unreachable("a mask without tensors");
  case MaskKind::Not:
    return !isLive(mask.getOperands().front(), symbols, h, p, j);
  }
  return false;
}

test::VisitedTiles test::visitTiles(const TileBounds &bounds,
                                    ArrayRef<int64_t> dims,
                                    ArrayRef<int64_t> symbols, int64_t count) {
  VisitedTiles result;
  auto mark = [&](const TileInterval &interval, std::vector<bool> &tiles) {
    tiles.resize(count);
    if (!contains(interval.condition, dims, symbols))
      return;
    int64_t lower = INT64_MIN, upper = INT64_MAX;
    for (AffineExpr e : interval.lower.getResults())
      lower = std::max(lower, evaluate(e, dims, symbols));
    for (AffineExpr e : interval.upper.getResults())
      upper = std::min(upper, evaluate(e, dims, symbols));
    if (lower < upper && (lower < 0 || upper > count))
      result.outOfRange = true;
    for (int64_t t = std::max<int64_t>(lower, 0); t < std::min(upper, count);
         ++t)
      tiles[t] = true;
  };
  result.live.resize(count);
  result.full.resize(count);
  for (const TileInterval &interval : bounds.live)
    mark(interval, result.live);
  for (const TileInterval &interval : bounds.full)
    mark(interval, result.full);
  if (!bounds.filter.empty())
    for (int64_t t = 0; t < count; ++t) {
      SmallVector<int64_t> point(dims);
      point.push_back(t);
      result.live[t] =
          result.live[t] && llvm::any_of(bounds.filter, [&](IntegerSet set) {
            return contains(set, point, symbols);
          });
    }
  return result;
}

MaskAttr test::randomMask(MLIRContext &context, std::mt19937 &rng,
                          const RandomMaskOptions &options) {
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  auto bound = [&](int64_t low, int64_t high) {
    if (options.numSymbols != 0 && pick(0, 4) == 0)
      return MaskBound::symbol(pick(0, options.numSymbols - 1));
    return MaskBound::constant(pick(low, high));
  };
  auto reach = [&](int64_t high) {
    return pick(0, 5) == 0 ? MaskBound::infinity() : bound(-2, high);
  };
  auto atom = [&](MaskKind kind, ArrayRef<MaskBound> bounds = {}) {
    return MaskAttr::getAtom(&context, kind, bounds);
  };
  auto constant = MaskBound::constant;
  int64_t size = options.size;
  if (options.depth > 0 && pick(0, 9) < 6 + options.depth) {
    RandomMaskOptions inner = options;
    inner.depth = options.depth - 1;
    if (pick(0, 4) == 0)
      return MaskAttr::getNot(randomMask(context, rng, inner));
    SmallVector<MaskAttr> operands;
    for (int64_t i = pick(2, 3); i > 0; --i)
      operands.push_back(randomMask(context, rng, inner));
    return pick(0, 1) ? MaskAttr::getAnd(operands) : MaskAttr::getOr(operands);
  }
  auto range = [&](MaskKind kind, int64_t high) {
    MaskBound a = bound(kind == MaskKind::Queries ? -high / 2 : 0, high);
    MaskBound b = pick(0, 4) == 0
                      ? MaskBound::infinity()
                      : bound(a.isConstant() ? a.getConstant() : 0, high);
    return atom(kind, {a, b});
  };
  switch (pick(0, options.sets ? 12 : 11)) {
  case 0:
    return MaskAttr::getAll(&context);
  case 1:
  case 2:
    return atom(MaskKind::Causal);
  case 3:
  case 4:
    return atom(MaskKind::Window, {reach(size / 2), reach(size / 2)});
  case 5:
    return atom(MaskKind::Dilated,
                {reach(size / 6), reach(size / 6), constant(pick(1, 9))});
  case 6:
    return atom(MaskKind::Stride, constant(pick(1, 12)));
  case 7:
    return atom(MaskKind::SameBlock, constant(pick(1, size / 2)));
  case 8: {
    int64_t length = pick(1, 16);
    return atom(MaskKind::Summary,
                {constant(length), constant(pick(0, length))});
  }
  case 9:
    return atom(MaskKind::Global, bound(0, size / 3));
  case 10:
    return range(pick(0, 1) ? MaskKind::Keys : MaskKind::Queries, size);
  case 11:
    return range(MaskKind::Heads, 4);
  default:
    break;
  }
  AffineExpr h = getAffineDimExpr(0, &context),
             p = getAffineDimExpr(1, &context),
             j = getAffineDimExpr(2, &context);
  AffineExpr s = getAffineSymbolExpr(0, &context);
  int64_t m = pick(2, 7);
  AffineExpr choices[] = {
      p * pick(1, 3) - j * pick(1, 3) + pick(-9, 9),
      (p - j * pick(1, 2)) % m - pick(0, m - 1),
      p.floorDiv(m) - j.floorDiv(pick(2, 9)) + pick(-2, 2),
      j % m - h,
      (p + j * pick(1, 3) + s).floorDiv(m) - pick(0, size / 4),
      s - j + h * pick(-3, 3),
      ((p.floorDiv(m) + j) % pick(2, 5)) - 1,
      p + j - pick(0, 2 * size),
  };
  SmallVector<AffineExpr> constraints;
  SmallVector<bool> isEquality;
  for (int64_t i = pick(1, 2); i > 0; --i) {
    constraints.push_back(choices[pick(0, std::size(choices) - 1)]);
    isEquality.push_back(pick(0, 3) == 0);
  }
  return MaskAttr::getSet(IntegerSet::get(3, 1, constraints, isEquality),
                          bound(0, size));
}
