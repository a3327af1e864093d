//===- ScoreVectors.cpp - see ScoreVectors.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/ScoreVectors.h"

#include "attn/dialect/Attn.h"
#include "attn/dialect/Score.h"
#include "attn/passes/TileBuilder.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// Parts relative to a tile stay below this, so that their sums fit 32 bits;
/// scalars that they are compared with are clamped to twice as much.
constexpr int64_t tileLimit = int64_t(1) << 29;

/// A value of the region for every pair of the tile, in the smallest shape that
/// holds it: a scalar, M x 1, 1 x N or M x N.
struct Lanes {
  /// The value, or null for an integer that is `base + row * i + column * j`
  /// for row i and column j of the tile, `base` an index, `type` its type.
  Value value;
  Value base = {};
  int64_t row = 0, column = 0;
  Type type = {};

  bool isAffine() const { return !value; }
};

class ScoreVectorizer {
public:
  ScoreVectorizer(ImplicitLocOpBuilder &b, OnlineAttentionOp op, Value scores)
      : b(b), op(op), scores(scores), type(cast<VectorType>(scores.getType())),
        rows(type.getDimSize(0)), columns(type.getDimSize(1)) {}

  Value run();

private:
  VectorType vectorOf(bool alongRows, bool alongColumns, Type element) {
    return VectorType::get({alongRows ? rows : 1, alongColumns ? columns : 1},
                           element);
  }
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value toType(Value value, Type to) {
    return value.getType() == to
               ? value
               : Value(arith::IndexCastOp::create(b, to, value));
  }
  /// `value` seen in a shape that holds it.
  Value broadcast(Value value, VectorType to) {
    return value.getType() == to
               ? value
               : Value(vector::BroadcastOp::create(b, to, value));
  }
  /// factor * 0, factor * 1, ... along the rows or the columns.
  Value steps(bool alongRows, int64_t factor, Type element);
  bool isSmall(int64_t row, int64_t column) {
    return std::abs(row) < tileLimit / rows &&
           std::abs(column) < tileLimit / columns;
  }
  Value materialize(const Lanes &lanes);
  /// As base + row * i + column * j, if it is known to be that.
  std::optional<Lanes> toAffine(const Lanes &lanes);

  std::optional<Lanes> buildAffine(Operation &inner);
  Value buildFloat(const Lanes &lanes);
  Value buildComparison(arith::CmpIPredicate predicate, const Lanes &lhs,
                        const Lanes &rhs);
  Lanes build(Operation &inner);

  ImplicitLocOpBuilder &b;
  OnlineAttentionOp op;
  Value scores;
  VectorType type;
  int64_t rows, columns;
  DenseMap<Value, Lanes> known;
};

Value ScoreVectorizer::steps(bool alongRows, int64_t factor, Type element) {
  int64_t count = alongRows ? rows : columns;
  Value value =
      vector::StepOp::create(b, VectorType::get({count}, b.getIndexType()));
  auto flat = VectorType::get({count}, element);
  value = toType(value, flat);
  if (factor != 1)
    value = arith::MulIOp::create(
        b, value, splat(b, flat, b.getIntegerAttr(element, factor)));
  return vector::ShapeCastOp::create(
      b, vectorOf(alongRows, !alongRows, element), value);
}

Value ScoreVectorizer::materialize(const Lanes &lanes) {
  if (!lanes.isAffine())
    return lanes.value;
  Value base = toType(lanes.base, lanes.type);
  if (!lanes.row && !lanes.column)
    return base;
  Value row, column;
  if (lanes.row)
    row = steps(/*alongRows=*/true, lanes.row, lanes.type);
  if (lanes.column)
    column = steps(/*alongRows=*/false, lanes.column, lanes.type);
  Value &first = row ? row : column;
  auto firstType = cast<VectorType>(first.getType());
  first = arith::AddIOp::create(b, first, broadcast(base, firstType));
  if (!row || !column)
    return first;
  auto pairs = vectorOf(true, true, lanes.type);
  return arith::AddIOp::create(b, broadcast(row, pairs),
                               broadcast(column, pairs));
}

std::optional<Lanes> ScoreVectorizer::toAffine(const Lanes &lanes) {
  if (lanes.isAffine())
    return lanes;
  Type scalar = lanes.value.getType();
  if (!scalar.isIndex() && !scalar.isInteger(32) && !scalar.isInteger(64))
    return std::nullopt;
  return Lanes{{}, toType(lanes.value, b.getIndexType()), 0, 0, scalar};
}

/// Sums, constant multiples and casts of positions stay what they are.
std::optional<Lanes> ScoreVectorizer::buildAffine(Operation &inner) {
  auto operand = [&](unsigned i) {
    return toAffine(known.at(inner.getOperand(i)));
  };
  Type result = inner.getResult(0).getType();
  if (isa<arith::IndexCastOp, arith::ExtSIOp, arith::TruncIOp>(inner)) {
    std::optional<Lanes> x = operand(0);
    if (x)
      x->type = result;
    bool isWide =
        result.isIndex() || result.isInteger(32) || result.isInteger(64);
    return isWide ? x : std::nullopt;
  }
  if (isa<arith::AddIOp, arith::SubIOp>(inner)) {
    std::optional<Lanes> x = operand(0), y = operand(1);
    if (!x || !y)
      return std::nullopt;
    int64_t sign = isa<arith::AddIOp>(inner) ? 1 : -1;
    Value base = sign == 1 ? Value(arith::AddIOp::create(b, x->base, y->base))
                           : Value(arith::SubIOp::create(b, x->base, y->base));
    return Lanes{
        {}, base, x->row + sign * y->row, x->column + sign * y->column, result};
  }
  if (!isa<arith::MulIOp>(inner))
    return std::nullopt;
  for (unsigned i : {0, 1}) {
    const Lanes &constant = known.at(inner.getOperand(i));
    APInt factor;
    std::optional<Lanes> x = operand(1 - i);
    if (!x || constant.isAffine() ||
        !matchPattern(constant.value, m_ConstantInt(&factor)) ||
        factor.getSignificantBits() > 31)
      continue;
    int64_t c = factor.getSExtValue();
    if (!isSmall(x->row, x->column))
      return std::nullopt;
    return Lanes{{},
                 arith::MulIOp::create(b, x->base, index(c)),
                 c * x->row,
                 c * x->column,
                 result};
  }
  return std::nullopt;
}

/// The number as f32: the part that all pairs share and those of the row and
/// the column are converted on their own, and are exact below 2^24 as is their
/// sum.
Value ScoreVectorizer::buildFloat(const Lanes &lanes) {
  Type f32 = b.getF32Type();
  auto convert = [&](Value value) -> Value {
    auto vector = dyn_cast<VectorType>(value.getType());
    return arith::SIToFPOp::create(b, vector ? Type(vector.clone(f32)) : f32,
                                   value);
  };
  Value base = convert(toType(lanes.base, b.getI64Type()));
  bool negative = lanes.column < 0;
  Value column;
  if (lanes.column)
    column = convert(
        steps(/*alongRows=*/false, std::abs(lanes.column), b.getI32Type()));
  Value first = base;
  VectorType to = vectorOf(lanes.row, lanes.column, f32);
  if (lanes.row) {
    Value row = convert(steps(/*alongRows=*/true, lanes.row, b.getI32Type()));
    auto rowType = cast<VectorType>(row.getType());
    first = arith::AddFOp::create(b, row, broadcast(base, rowType));
  }
  if (!column)
    return first;
  first = broadcast(first, to);
  column = broadcast(column, to);
  return negative ? Value(arith::SubFOp::create(b, first, column))
                  : Value(arith::AddFOp::create(b, first, column));
}

/// A comparison of two numbers of the form above: one of their difference's row
/// part with its column part, relative to the tile.
Value ScoreVectorizer::buildComparison(arith::CmpIPredicate predicate,
                                       const Lanes &lhs, const Lanes &rhs) {
  int64_t row = lhs.row - rhs.row, column = lhs.column - rhs.column;
  Value base = arith::SubIOp::create(b, lhs.base, rhs.base);
  if (!row && !column)
    return arith::CmpIOp::create(b, predicate, base, index(0));
  base = arith::MaxSIOp::create(
      b, arith::MinSIOp::create(b, base, index(2 * tileLimit)),
      index(-2 * tileLimit));
  Type i32 = b.getI32Type();
  base = toType(base, i32);
  VectorType to = vectorOf(row, column, i32);
  Value left = base, right = arith::ConstantIntOp::create(b, 0, 32);
  if (row) {
    Value part = steps(/*alongRows=*/true, row, i32);
    left = arith::AddIOp::create(
        b, part, broadcast(base, cast<VectorType>(part.getType())));
  }
  if (column)
    right = steps(/*alongRows=*/false, -column, i32);
  return arith::CmpIOp::create(b, predicate, broadcast(left, to),
                               broadcast(right, to));
}

Lanes ScoreVectorizer::build(Operation &inner) {
  if (std::optional<Lanes> affine = buildAffine(inner))
    return *affine;
  if (auto convert = dyn_cast<arith::SIToFPOp>(inner)) {
    const Lanes &x = known.at(convert.getIn());
    if (x.isAffine() && isSmall(x.row, x.column))
      return {buildFloat(x)};
  }
  if (auto compare = dyn_cast<arith::CmpIOp>(inner)) {
    std::optional<Lanes> x = toAffine(known.at(compare.getLhs())),
                         y = toAffine(known.at(compare.getRhs()));
    if (x && y && compare.getPredicate() < arith::CmpIPredicate::ult &&
        isSmall(x->row, x->column) && isSmall(y->row, y->column) &&
        isSmall(x->row - y->row, x->column - y->column))
      return {buildComparison(compare.getPredicate(), *x, *y)};
  }
  SmallVector<Value> operands;
  bool isVector = false, alongRows = false, alongColumns = false;
  for (Value operand : inner.getOperands()) {
    operands.push_back(materialize(known.at(operand)));
    if (auto shape = dyn_cast<VectorType>(operands.back().getType())) {
      isVector = true;
      alongRows |= shape.getDimSize(0) != 1;
      alongColumns |= shape.getDimSize(1) != 1;
    }
  }
  IRMapping mapping;
  for (auto [operand, value] : llvm::zip_equal(inner.getOperands(), operands)) {
    if (isVector)
      value = broadcast(value,
                        vectorOf(alongRows, alongColumns, operand.getType()));
    mapping.map(operand, value);
  }
  Operation *copy = b.clone(inner, mapping);
  if (isVector)
    copy->getResult(0).setType(
        vectorOf(alongRows, alongColumns, inner.getResult(0).getType()));
  return {copy->getResult(0)};
}

Value ScoreVectorizer::run() {
  Block &block = op.getScore().front();
  Type indexType = b.getIndexType();
  known[block.getArgument(kScore)] = {scores};
  // Tiles are of one batch, and regions that care have been told which.
  known[block.getArgument(kBatch)] = {index(0)};
  known[block.getArgument(kHead)] = {op.getHead() ? op.getHead() : index(0)};
  known[block.getArgument(kQuery)] = {{}, op.getRows()[0], 1, 0, indexType};
  known[block.getArgument(kKey)] = {{}, op.getKeys()[0], 0, 1, indexType};
  for (auto [input, argument] :
       llvm::zip_equal(op.getScoreInputs(),
                       block.getArguments().drop_front(kFirstScoreInput))) {
    Value value = input;
    // Read here, after the product of q and k, it does not occupy registers
    // during it.
    if (Operation *read = value.getDefiningOp<vector::TransferReadOp>();
        read && read->getBlock() == b.getInsertionBlock() && value.hasOneUse())
      read->moveBefore(b.getInsertionBlock(), b.getInsertionPoint());
    if (auto vector = dyn_cast<VectorType>(value.getType());
        vector && !vector.getElementType().isF32())
      value = arith::ExtFOp::create(b, vector.clone(b.getF32Type()), value);
    known[argument] = {value};
  }
  for (Operation &inner : block.without_terminator()) {
    Lanes lanes = build(inner);
    known[inner.getResult(0)] = lanes;
  }
  Lanes result = known.at(block.getTerminator()->getOperand(0));
  return broadcast(materialize(result), type);
}

} // namespace

Value mlir::attn::buildScores(ImplicitLocOpBuilder &builder,
                              OnlineAttentionOp op, Value scores) {
  return ScoreVectorizer(builder, op, scores).run();
}
