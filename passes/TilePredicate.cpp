//===- TilePredicate.cpp - see TilePredicate.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/TilePredicate.h"

#include "attn/dialect/mask/MaskAnalysis.h"
#include "attn/passes/TileBuilder.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// What the values inside a tile stay below in 32 bits. Scalars are clamped to
/// it: beyond, they decide alone.
constexpr int64_t kNarrowLimit = int64_t(1) << 30;
/// The same in 64 bits, where scalars are not clamped.
constexpr int64_t kWideLimit = int64_t(1) << 60;

/// Values that differ along some dimensions of the tile: vector<Mx1>,
/// vector<1xN> or vector<MxN> of integers in [low, high]. No value is 0
/// everywhere.
struct Lanes {
  Value value = {};
  int64_t low = 0, high = 0;

  explicit operator bool() const { return bool(value); }
};

/// base + a * i + b * n + row + column + pair, for row i and column n of the
/// tile. `base` is over the dimensions (h, p0, j0) and the symbols.
struct TileSum {
  AffineExpr base = {};
  int64_t a = 0, b = 0;
  Lanes row = {}, column = {}, pair = {};

  bool variesAlongRows() const { return a != 0 || row; }
  bool variesAlongColumns() const { return b != 0 || column; }
  bool isScalar() const {
    return !variesAlongRows() && !variesAlongColumns() && !pair;
  }
};

/// Evaluates the expressions of one constraint with vectors of one integer
/// type.
class SumBuilder {
public:
  SumBuilder(ImplicitLocOpBuilder &builder, const TilePosition &position,
             unsigned width)
      : builder(builder), position(position),
        type(builder.getIntegerType(width)),
        limit(width == 32 ? kNarrowLimit : kWideLimit) {}

  /// Whether some value may leave the range of the type.
  bool overflows() const { return overflow; }

  FailureOr<TileSum> evaluate(AffineExpr expr);
  /// An i1, vector<Mx1xi1>, vector<1xNxi1> or vector<MxNxi1>: `sum >= 0`, or
  /// `sum == 0`.
  Value compare(const TileSum &sum, bool isEquality);
  /// As above: `sum mod divisor == 0`.
  Value compareMod(const TileSum &sum, int64_t divisor);

private:
  VectorType rowType() { return VectorType::get({position.rows, 1}, type); }
  VectorType columnType() {
    return VectorType::get({1, position.columns}, type);
  }
  VectorType pairType() {
    return VectorType::get({position.rows, position.columns}, type);
  }

  Value constant(Type vectorType, int64_t value) {
    return splat(builder, cast<VectorType>(vectorType),
                 builder.getIntegerAttr(type, value));
  }
  void checkRange(int64_t low, int64_t high) {
    overflow |= low <= -limit || high >= limit;
  }
  Lanes checked(Lanes lanes) {
    checkRange(lanes.low, lanes.high);
    return lanes;
  }
  Lanes addConstant(Lanes lanes, int64_t value);
  Lanes addScalar(Lanes lanes, OpFoldResult scalar, int64_t low, int64_t high);
  Lanes multiply(Lanes lanes, int64_t factor);
  Lanes add(Lanes lhs, Lanes rhs);
  Lanes toPairs(Lanes lanes);
  Lanes getStep(bool isRow, int64_t factor);
  Lanes getRow(const TileSum &sum) {
    return add(getStep(true, sum.a), sum.row);
  }
  Lanes getColumn(const TileSum &sum) {
    return add(getStep(false, sum.b), sum.column);
  }
  OpFoldResult evaluateScalar(AffineExpr expr);

  TileSum addSums(const TileSum &lhs, const TileSum &rhs);
  TileSum multiplySum(const TileSum &sum, int64_t factor);
  TileSum divide(const TileSum &sum, int64_t divisor, bool wantRemainder);

  /// value = quotient * divisor + remainder, after `shift` * divisor was added
  /// to make it non-negative.
  struct Division {
    Lanes quotient, remainder;
    int64_t shift = 0;
  };
  Division divideLanes(Lanes lanes, int64_t divisor);

  ImplicitLocOpBuilder &builder;
  const TilePosition &position;
  IntegerType type;
  int64_t limit;
  bool overflow = false;
};

int64_t saturatingMul(int64_t a, int64_t b) {
  int64_t result;
  if (!llvm::MulOverflow(a, b, result))
    return result;
  return (a < 0) == (b < 0) ? INT64_MAX / 2 : INT64_MIN / 2;
}

int64_t saturatingAdd(int64_t a, int64_t b) {
  int64_t result;
  if (!llvm::AddOverflow(a, b, result))
    return result;
  return a > 0 ? INT64_MAX / 2 : INT64_MIN / 2;
}

Lanes SumBuilder::addConstant(Lanes lanes, int64_t value) {
  if (value == 0)
    return lanes;
  Value sum = arith::AddIOp::create(builder, lanes.value,
                                    constant(lanes.value.getType(), value));
  return checked(
      {sum, saturatingAdd(lanes.low, value), saturatingAdd(lanes.high, value)});
}

Lanes SumBuilder::addScalar(Lanes lanes, OpFoldResult scalar, int64_t low,
                            int64_t high) {
  if (std::optional<int64_t> value = getConstantIntValue(scalar))
    return addConstant(lanes, *value);
  Value narrow = arith::IndexCastOp::create(builder, type, cast<Value>(scalar));
  Value wide =
      vector::BroadcastOp::create(builder, lanes.value.getType(), narrow);
  Value sum = arith::AddIOp::create(builder, lanes.value, wide);
  return checked(
      {sum, saturatingAdd(lanes.low, low), saturatingAdd(lanes.high, high)});
}

Lanes SumBuilder::multiply(Lanes lanes, int64_t factor) {
  if (!lanes || factor == 1)
    return lanes;
  int64_t x = saturatingMul(lanes.low, factor),
          y = saturatingMul(lanes.high, factor);
  Value product = arith::MulIOp::create(
      builder, lanes.value, constant(lanes.value.getType(), factor));
  return checked({product, std::min(x, y), std::max(x, y)});
}

Lanes SumBuilder::add(Lanes lhs, Lanes rhs) {
  if (!lhs || !rhs)
    return lhs ? lhs : rhs;
  if (lhs.value.getType() != rhs.value.getType()) {
    lhs = toPairs(lhs);
    rhs = toPairs(rhs);
  }
  Value sum = arith::AddIOp::create(builder, lhs.value, rhs.value);
  return checked({sum, saturatingAdd(lhs.low, rhs.low),
                  saturatingAdd(lhs.high, rhs.high)});
}

Lanes SumBuilder::toPairs(Lanes lanes) {
  if (lanes.value.getType() != pairType())
    lanes.value = vector::BroadcastOp::create(builder, pairType(), lanes.value);
  return lanes;
}

Lanes SumBuilder::getStep(bool isRow, int64_t factor) {
  if (factor == 0)
    return {};
  int64_t size = isRow ? position.rows : position.columns;
  Value step = vector::StepOp::create(
      builder, VectorType::get({size}, builder.getIndexType()));
  step =
      arith::IndexCastOp::create(builder, VectorType::get({size}, type), step);
  step = vector::ShapeCastOp::create(builder, isRow ? rowType() : columnType(),
                                     step);
  if (isRow && position.queries != size) {
    size = position.queries;
    step = arith::RemUIOp::create(builder, step, constant(rowType(), size));
  }
  return multiply({step, 0, size - 1}, factor);
}

OpFoldResult SumBuilder::evaluateScalar(AffineExpr expr) {
  SmallVector<OpFoldResult> operands = {position.head, position.row,
                                        position.column};
  llvm::append_range(operands, position.symbols);
  if (position.numKeys)
    operands.push_back(position.numKeys);
  auto map = AffineMap::get(3, operands.size() - 3, expr);
  return affine::makeComposedFoldedAffineApply(builder, builder.getLoc(), map,
                                               operands);
}

TileSum SumBuilder::addSums(const TileSum &lhs, const TileSum &rhs) {
  return {lhs.base + rhs.base,         saturatingAdd(lhs.a, rhs.a),
          saturatingAdd(lhs.b, rhs.b), add(lhs.row, rhs.row),
          add(lhs.column, rhs.column), add(lhs.pair, rhs.pair)};
}

TileSum SumBuilder::multiplySum(const TileSum &sum, int64_t factor) {
  if (factor == 0)
    return {sum.base * 0};
  return {sum.base * factor,
          saturatingMul(sum.a, factor),
          saturatingMul(sum.b, factor),
          multiply(sum.row, factor),
          multiply(sum.column, factor),
          multiply(sum.pair, factor)};
}

SumBuilder::Division SumBuilder::divideLanes(Lanes lanes, int64_t divisor) {
  Division result;
  result.shift = lanes.low < 0 ? llvm::divideCeil(-lanes.low, divisor) : 0;
  lanes = addConstant(lanes, saturatingMul(result.shift, divisor));
  if (divisor >= limit)
    overflow = true;
  if (lanes.high < divisor) {
    result.remainder = lanes;
    return result;
  }
  Value by = constant(lanes.value.getType(), divisor);
  if (lanes.high / 2 < divisor) {
    // At most one divisor to take away: the difference wraps to a large number
    // where there is none.
    Value difference = arith::SubIOp::create(builder, lanes.value, by);
    result.remainder.value =
        arith::MinUIOp::create(builder, lanes.value, difference);
    Value atLeast = arith::CmpIOp::create(builder, arith::CmpIPredicate::uge,
                                          lanes.value, by);
    result.quotient.value =
        arith::ExtUIOp::create(builder, lanes.value.getType(), atLeast);
  } else {
    result.quotient.value = arith::DivUIOp::create(builder, lanes.value, by);
    result.remainder.value = arith::RemUIOp::create(builder, lanes.value, by);
  }
  result.quotient.high = lanes.high / divisor;
  result.remainder.high = divisor - 1;
  return result;
}

TileSum SumBuilder::divide(const TileSum &sum, int64_t divisor,
                           bool wantRemainder) {
  AffineExpr remainder = sum.base % divisor;
  AffineExpr quotient = sum.base.floorDiv(divisor);
  if (sum.isScalar())
    return {wantRemainder ? remainder : quotient};
  OpFoldResult scalar = evaluateScalar(remainder);
  AffineExpr zero = builder.getAffineConstantExpr(0);

  // One division for each row and each column; what mixes them needs at most
  // one more divisor taken away.
  Division row, column;
  bool alongRows = sum.variesAlongRows(),
       alongColumns = sum.variesAlongColumns();
  if (sum.pair) {
    Lanes all = add(add(getRow(sum), getColumn(sum)), sum.pair);
    Division pair =
        divideLanes(addScalar(all, scalar, 0, divisor - 1), divisor);
    TileSum result;
    result.base = wantRemainder ? zero : quotient - pair.shift;
    result.pair = wantRemainder ? pair.remainder : pair.quotient;
    return result;
  }
  if (alongRows)
    row = divideLanes(addScalar(getRow(sum), scalar, 0, divisor - 1), divisor);
  if (alongColumns)
    column = divideLanes(
        alongRows ? getColumn(sum)
                  : addScalar(getColumn(sum), scalar, 0, divisor - 1),
        divisor);
  Division carry;
  if (alongRows && alongColumns)
    carry = divideLanes(add(row.remainder, column.remainder), divisor);
  if (wantRemainder) {
    TileSum result{zero};
    if (alongRows && alongColumns)
      result.pair = carry.remainder;
    else
      (alongRows ? result.row : result.column) =
          alongRows ? row.remainder : column.remainder;
    return result;
  }
  return {quotient - row.shift - column.shift,
          0,
          0,
          row.quotient,
          column.quotient,
          carry.quotient};
}

FailureOr<TileSum> SumBuilder::evaluate(AffineExpr expr) {
  MLIRContext *context = expr.getContext();
  switch (expr.getKind()) {
  case AffineExprKind::DimId: {
    unsigned dim = cast<AffineDimExpr>(expr).getPosition();
    return TileSum{expr, dim == 1, dim == 2};
  }
  case AffineExprKind::Constant:
  case AffineExprKind::SymbolId:
    return TileSum{expr};
  default:
    break;
  }
  auto binary = cast<AffineBinaryOpExpr>(expr);
  FailureOr<TileSum> lhs = evaluate(binary.getLHS());
  if (failed(lhs))
    return failure();
  if (expr.getKind() == AffineExprKind::Add) {
    FailureOr<TileSum> rhs = evaluate(binary.getRHS());
    return failed(rhs) ? rhs : FailureOr<TileSum>(addSums(*lhs, *rhs));
  }
  auto rhs = dyn_cast<AffineConstantExpr>(binary.getRHS());
  if (!rhs || (expr.getKind() != AffineExprKind::Mul && rhs.getValue() <= 0))
    return failure();
  switch (expr.getKind()) {
  case AffineExprKind::Mul:
    return multiplySum(*lhs, rhs.getValue());
  case AffineExprKind::Mod:
    return divide(*lhs, rhs.getValue(), /*wantRemainder=*/true);
  case AffineExprKind::FloorDiv:
    return divide(*lhs, rhs.getValue(), /*wantRemainder=*/false);
  default:
    return divide(addSums(*lhs, TileSum{getAffineConstantExpr(
                                    rhs.getValue() - 1, context)}),
                  rhs.getValue(),
                  /*wantRemainder=*/false);
  }
}

Value SumBuilder::compare(const TileSum &sum, bool isEquality) {
  arith::CmpIPredicate predicate =
      isEquality ? arith::CmpIPredicate::eq : arith::CmpIPredicate::sge;
  OpFoldResult base = evaluateScalar(sum.base);
  if (sum.isScalar())
    return arith::CmpIOp::create(
        builder, predicate,
        getValueOrCreateConstantIndexOp(builder, builder.getLoc(), base),
        arith::ConstantIndexOp::create(builder, 0));
  // Past the limit the scalar decides alone, whatever the tile adds.
  if (std::optional<int64_t> value = getConstantIntValue(base)) {
    base = builder.getIndexAttr(std::clamp(*value, -limit, limit));
  } else if (limit == kNarrowLimit) {
    Value low = arith::ConstantIndexOp::create(builder, -limit),
          high = arith::ConstantIndexOp::create(builder, limit);
    Value clamped = arith::MinSIOp::create(builder, cast<Value>(base), high);
    base = arith::MaxSIOp::create(builder, clamped, low).getResult();
  }
  // row + base + pair against -column, each computed where it varies.
  Lanes row = getRow(sum), column = getColumn(sum);
  Lanes negated =
      getColumn(multiplySum({sum.base, 0, sum.b, {}, sum.column, {}}, -1));
  checkRange(
      saturatingAdd(saturatingAdd(row.low, column.low), sum.pair.low),
      saturatingAdd(saturatingAdd(row.high, column.high), sum.pair.high));
  // With the scalar the values reach past the limit, but not past the type.
  bool wasOverflow = overflow;
  Lanes lhs = addScalar(row        ? row
                        : sum.pair ? sum.pair
                                   : column,
                        base, -limit, limit);
  if (row)
    lhs = add(lhs, sum.pair);
  overflow = wasOverflow;
  if (!row && !sum.pair)
    negated = {};
  if (!negated)
    return arith::CmpIOp::create(builder, predicate, lhs.value,
                                 constant(lhs.value.getType(), 0));
  return arith::CmpIOp::create(builder, predicate, toPairs(lhs).value,
                               toPairs(negated).value);
}

Value SumBuilder::compareMod(const TileSum &sum, int64_t divisor) {
  if (sum.pair || !sum.variesAlongRows() || !sum.variesAlongColumns())
    return compare(divide(sum, divisor, /*wantRemainder=*/true),
                   /*isEquality=*/true);
  // (x + y) mod m = 0 where x mod m = -y mod m: no arithmetic for each pair.
  TileSum x = divide({sum.base, sum.a, 0, sum.row, {}, {}}, divisor,
                     /*wantRemainder=*/true);
  TileSum y = multiplySum(
      {builder.getAffineConstantExpr(0), 0, sum.b, {}, sum.column, {}}, -1);
  y = divide(y, divisor, /*wantRemainder=*/true);
  return arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                               toPairs(getRow(x)).value,
                               toPairs(getColumn(y)).value);
}

//===----------------------------------------------------------------------===//
// Formulas
//===----------------------------------------------------------------------===//

class PredicateBuilder {
public:
  PredicateBuilder(ImplicitLocOpBuilder &builder, const TilePosition &position,
                   int64_t &numWide)
      : builder(builder), position(position), numWide(numWide) {}

  /// As SumBuilder::compare; null if the formula is a constant, which then
  /// stands in `known`.
  FailureOr<Value> build(const MaskPredicate &predicate, bool &known);
  Value toPairs(Value value) {
    return widen(value, {position.rows, position.columns});
  }

private:
  FailureOr<Value> buildLeaf(AffineExpr expr, bool isEquality, bool &known);
  FailureOr<Value> buildConstraint(AffineExpr expr, bool isEquality);
  FailureOr<Value> buildJunction(const MaskPredicate &predicate, bool &known);
  Value combine(Value lhs, Value rhs, bool isAnd) {
    if (!lhs || !rhs || lhs == rhs)
      return lhs ? lhs : rhs;
    return isAnd ? arith::AndIOp::create(builder, lhs, rhs).getResult()
                 : arith::OrIOp::create(builder, lhs, rhs).getResult();
  }
  Value widen(Value value, ArrayRef<int64_t> shape) {
    auto type = VectorType::get(shape, builder.getI1Type());
    return value.getType() == type
               ? value
               : vector::BroadcastOp::create(builder, type, value).getResult();
  }

  ImplicitLocOpBuilder &builder;
  const TilePosition &position;
  int64_t &numWide;
  /// Constraints that are built already, as (expression, is an equality).
  llvm::DenseMap<std::pair<AffineExpr, unsigned>, Value> constraints;
};

FailureOr<Value> PredicateBuilder::buildLeaf(AffineExpr expr, bool isEquality,
                                             bool &known) {
  expr = simplifyAffineExpr(
      expr, 3, position.symbols.size() + (position.numKeys ? 1 : 0));
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    known = isEquality ? constant.getValue() == 0 : constant.getValue() >= 0;
    return Value();
  }
  Value &built = constraints[{expr, isEquality}];
  if (built)
    return built;
  FailureOr<Value> result = buildConstraint(expr, isEquality);
  if (succeeded(result))
    built = *result;
  return result;
}

FailureOr<Value> PredicateBuilder::buildConstraint(AffineExpr expr,
                                                   bool isEquality) {
  for (unsigned width : {32, 64}) {
    // What a first attempt leaves behind is dead.
    SumBuilder sums(builder, position, width);
    auto modulo = dyn_cast<AffineBinaryOpExpr>(expr);
    auto divisor = modulo && expr.getKind() == AffineExprKind::Mod
                       ? dyn_cast<AffineConstantExpr>(modulo.getRHS())
                       : AffineConstantExpr();
    bool isDivisibility = isEquality && divisor && divisor.getValue() > 0;
    FailureOr<TileSum> sum =
        sums.evaluate(isDivisibility ? modulo.getLHS() : expr);
    if (failed(sum))
      return failure();
    Value result = isDivisibility ? sums.compareMod(*sum, divisor.getValue())
                                  : sums.compare(*sum, isEquality);
    if (!sums.overflows()) {
      numWide += width == 64;
      return result;
    }
  }
  return failure();
}

/// The operands of nested junctions of one kind.
void flatten(const MaskPredicate &predicate, MaskPredicate::Kind kind,
             SmallVectorImpl<const MaskPredicate *> &operands) {
  if (predicate.kind != kind) {
    operands.push_back(&predicate);
    return;
  }
  for (const MaskPredicate &operand : predicate.operands)
    flatten(operand, kind, operands);
}

FailureOr<Value> PredicateBuilder::buildJunction(const MaskPredicate &predicate,
                                                 bool &known) {
  bool isAnd = predicate.kind == MaskPredicate::Kind::And;
  // Combined where they vary: not at all, along rows, along columns, over
  // pairs.
  Value scalar, row, column, pair;
  SmallVector<const MaskPredicate *> operands;
  flatten(predicate, predicate.kind, operands);
  llvm::SmallDenseSet<Value> seen;
  for (const MaskPredicate *operand : operands) {
    bool operandKnown = false;
    FailureOr<Value> value = build(*operand, operandKnown);
    if (failed(value))
      return failure();
    if (!*value) {
      if (operandKnown == isAnd)
        continue;
      known = !isAnd;
      return Value();
    }
    if (!seen.insert(*value).second)
      continue;
    auto type = dyn_cast<VectorType>((*value).getType());
    Value &group = !type ? scalar
                   : type.getDimSize(0) == position.rows &&
                           type.getDimSize(1) == position.columns
                       ? pair
                   : type.getDimSize(1) == 1 ? row
                                             : column;
    group = combine(group, *value, isAnd);
  }
  known = isAnd;
  if (scalar && row)
    row = combine(row, widen(scalar, {position.rows, 1}), isAnd);
  else if (scalar && column)
    column = combine(column, widen(scalar, {1, position.columns}), isAnd);
  if (row || column)
    scalar = {};
  Value result;
  SmallVector<Value> parts;
  for (Value part : {pair, row, column, scalar})
    if (part)
      parts.push_back(part);
  if (parts.size() == 1)
    return parts.front();
  for (Value part : parts)
    result = combine(result, toPairs(part), isAnd);
  return result;
}

FailureOr<Value> PredicateBuilder::build(const MaskPredicate &predicate,
                                         bool &known) {
  switch (predicate.kind) {
  case MaskPredicate::Kind::True:
  case MaskPredicate::Kind::False:
    known = predicate.kind == MaskPredicate::Kind::True;
    return Value();
  case MaskPredicate::Kind::Inequality:
  case MaskPredicate::Kind::Equality:
    return buildLeaf(predicate.expr,
                     predicate.kind == MaskPredicate::Kind::Equality, known);
  case MaskPredicate::Kind::Data:
    return position.data[predicate.atom.getBounds()[0].getData()];
  case MaskPredicate::Kind::And:
  case MaskPredicate::Kind::Or:
    return buildJunction(predicate, known);
  case MaskPredicate::Kind::Not:
    break;
  }
  const MaskPredicate &operand = predicate.operands.front();
  if (operand.kind == MaskPredicate::Kind::Inequality)
    return buildLeaf(-operand.expr - 1, /*isEquality=*/false, known);
  FailureOr<Value> value = build(operand, known);
  known = !known;
  if (failed(value) || !*value)
    return value;
  Type type = (*value).getType();
  Value yes = arith::ConstantOp::create(
      builder,
      isa<VectorType>(type)
          ? TypedAttr(DenseElementsAttr::get(cast<VectorType>(type), true))
          : TypedAttr(builder.getBoolAttr(true)));
  return arith::XOrIOp::create(builder, *value, yes).getResult();
}

} // namespace

FailureOr<Value> mlir::attn::buildTilePredicate(ImplicitLocOpBuilder &builder,
                                                const MaskPredicate &predicate,
                                                const TilePosition &position,
                                                int64_t &numWide) {
  MaskPredicate all;
  all.kind = MaskPredicate::Kind::And;
  all.operands.push_back(predicate);
  if (position.numKeys) {
    MaskPredicate inRange;
    inRange.kind = MaskPredicate::Kind::Inequality;
    inRange.expr = builder.getAffineSymbolExpr(position.symbols.size()) -
                   builder.getAffineDimExpr(2) - 1;
    all.operands.push_back(inRange);
  }
  PredicateBuilder predicates(builder, position, numWide);
  bool known = false;
  FailureOr<Value> live = predicates.build(all, known);
  if (failed(live))
    return failure();
  if (*live)
    return predicates.toPairs(*live);
  if (known)
    return Value();
  auto type =
      VectorType::get({position.rows, position.columns}, builder.getI1Type());
  return arith::ConstantOp::create(builder, DenseElementsAttr::get(type, false))
      .getResult();
}
