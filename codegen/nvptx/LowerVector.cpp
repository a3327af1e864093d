//===- LowerVector.cpp - tile-shaped vectors of a kernel ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Elementwise.h"
#include "attn/codegen/nvptx/KernelLowering.h"
#include "attn/codegen/nvptx/Nvptx.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

static VectorType getVectorType(Value value) {
  return dyn_cast<VectorType>(value.getType());
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

TileValue KernelLowering::reduceParts(const TileValue &partial) {
  TileValue whole = partial;
  whole.partial = false;
  for (Value &element : whole.elements)
    for (int64_t mask : {1, 2})
      element = LLVM::FAddOp::create(b, element, b.shuffleXor(element, mask));
  return whole;
}

TileValue KernelLowering::getTile(Value value, bool whole) {
  auto known = tiles.find(value);
  if (known == tiles.end())
    return {Layout::Splat, {getScalar(value)}, false};
  // A column of keys that is put off stays so: spread over the pairs, its
  // predicates would live through the products.
  if (known->second.deferred && known->second.layout == Layout::Tile)
    buildElements(value);
  if (!whole || !known->second.partial)
    return known->second;
  return reduceParts(known->second);
}

LogicalResult KernelLowering::lowerConstant(Operation *op) {
  Value result = op->getResult(0);
  Attribute value = cast<arith::ConstantOp>(op).getValue();
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (dense && !dense.isSplat())
    return op->emitOpError("expected a constant with one value");
  Type type = getScalarType(result.getType());
  Value scalar;
  if (auto integer = dyn_cast<IntegerType>(type)) {
    APInt known = dense ? dense.getSplatValue<APInt>()
                        : cast<IntegerAttr>(value).getValue();
    scalar = b.constant(type, integer.getWidth() == 1 ? known.getZExtValue()
                                                      : known.getSExtValue());
  } else if (type.isF32()) {
    scalar = b.f32((dense ? dense.getSplatValue<APFloat>()
                          : cast<FloatAttr>(value).getValue())
                       .convertToFloat());
  } else {
    return success(); // A 16-bit constant pads a read; the copies fill with
                      // zeros.
  }
  if (getVectorType(result))
    tiles[result] = {Layout::Splat, {scalar}, false};
  else
    scalars[result] = scalar;
  return success();
}

//===----------------------------------------------------------------------===//
// Elementwise ops
//===----------------------------------------------------------------------===//

/// The layout in which an elementwise op on `operands` is computed: the
/// coarsest that all of them can be seen in.
static FailureOr<Layout> joinLayouts(ArrayRef<TileValue> operands) {
  Layout joined = Layout::Splat;
  for (const TileValue &operand : operands) {
    Layout layout = operand.layout;
    if (layout == Layout::Packed || layout == Layout::Fragments)
      return failure();
    if (layout == joined || layout == Layout::Splat)
      continue;
    if (joined == Layout::Splat)
      joined = layout;
    else if (joined == Layout::Axis || layout == Layout::Axis)
      joined = joined == Layout::Axis ? layout : joined;
    else
      joined = Layout::Tile;
  }
  return joined;
}

/// Whether the elementwise op is a linear function of its partial operands, so
/// that it can be computed on the parts.
static bool isLinear(Operation *op, ArrayRef<TileValue> operands) {
  auto isPartOrZero = [&](unsigned i) {
    return operands[i].partial ||
           matchPattern(op->getOperand(i), m_AnyZeroFloat());
  };
  if (isa<arith::MulFOp>(op))
    return operands[0].partial != operands[1].partial;
  if (isa<arith::AddFOp>(op))
    return isPartOrZero(0) && isPartOrZero(1);
  if (isa<math::FmaOp>(op))
    return !(operands[0].partial && operands[1].partial) && isPartOrZero(2) &&
           (operands[0].partial || operands[1].partial ||
            matchPattern(op->getOperand(0), m_AnyZeroFloat()) ||
            matchPattern(op->getOperand(1), m_AnyZeroFloat()));
  return false;
}

/// A comparison of `x`, an element of `lhs`, with `y`, one of `rhs`, in column
/// number `column` of the thread. Distances of columns are compared as
/// constants: x >= first + distance is x - first >= distance, as nothing in a
/// mask comes near the limits of its type.
static Value buildComparison(KernelBuilder &b, arith::CmpIOp op,
                             const TileValue &lhs, const TileValue &rhs,
                             Value x, Value y, int64_t column) {
  arith::CmpIPredicate predicate = op.getPredicate();
  bool isUnsigned = predicate >= arith::CmpIPredicate::ult;
  if (isUnsigned || !lhs.first == !rhs.first)
    return buildElement(b, op, {x, y});
  auto llvmPredicate = static_cast<LLVM::ICmpPredicate>(predicate);
  if (rhs.first)
    return b.compare(llvmPredicate, b.sub(x, rhs.first),
                     b.constant(x.getType(), rhs.distances[column]));
  return b.compare(llvmPredicate,
                   b.constant(x.getType(), lhs.distances[column]),
                   b.sub(y, lhs.first));
}

/// Says of `result`, the value of `op`, how its columns lie, if that follows
/// from the operands.
static void followDistances(KernelBuilder &b, Operation *op,
                            ArrayRef<TileValue> operands, TileValue &result) {
  if (result.layout != Layout::Axis && result.layout != Layout::Column)
    return;
  auto set = [&](Value first, int64_t factor, const TileValue &from) {
    result.first = first;
    for (int64_t distance : from.distances)
      result.distances.push_back(factor * distance);
  };
  if (isa<arith::IndexCastOp, arith::ExtSIOp, arith::SIToFPOp>(op) &&
      operands[0].first)
    return set(buildElement(b, op, operands[0].first), 1, operands[0]);
  if (operands.size() != 2 || !operands[0].first == !operands[1].first)
    return;
  bool left = static_cast<bool>(operands[0].first);
  const TileValue &columns = operands[left ? 0 : 1],
                  &other = operands[left ? 1 : 0];
  if (other.layout != Layout::Splat)
    return;
  Value first = left ? buildElement(b, op, {columns.first, other.elements[0]})
                     : buildElement(b, op, {other.elements[0], columns.first});
  APInt factor;
  if (isa<arith::AddIOp>(op))
    set(first, 1, columns);
  else if (isa<arith::SubIOp>(op))
    set(first, left ? 1 : -1, columns);
  else if (isa<arith::MulIOp>(op) &&
           matchPattern(op->getOperand(left ? 1 : 0), m_ConstantInt(&factor)))
    set(first, factor.getSExtValue(), columns);
}

/// x + y or x - y where the columns of one operand are a first one and
/// distances: those are constants then, and take no registers.
static Value buildColumnSum(KernelBuilder &b, Operation *op,
                            const TileValue &lhs, const TileValue &rhs, Value x,
                            Value y, int64_t column) {
  const TileValue &columns = lhs.first ? lhs : rhs;
  Value sum = buildElement(
      b, op, lhs.first ? ValueRange{lhs.first, y} : ValueRange{x, rhs.first});
  float distance = columns.distances[column];
  if (isa<arith::SubFOp>(op) && rhs.first)
    distance = -distance;
  return distance == 0 ? sum
                       : Value(LLVM::FAddOp::create(b, sum, b.f32(distance)));
}

Value KernelLowering::getElement(Value value, int64_t i, int64_t n,
                                 int64_t numN, int64_t c,
                                 DenseMap<Value, Value> &built) {
  auto known = tiles.find(value);
  if (known == tiles.end())
    return getScalar(value);
  Operation *deferred = known->second.deferred;
  if (!deferred)
    return known->second.at(i, n, numN, c);
  if (Value element = built.lookup(value))
    return element;
  if (auto read = dyn_cast<vector::TransferReadOp>(deferred)) {
    if (!isa<FloatType>(read.getVectorType().getElementType()))
      return built[value] = loadPair(read, known->second, i, n, c);
    const InputTile &tile = inputs.find(deferred)->second;
    Type type = read.getVectorType().getElementType();
    Value element = b.loadConstant(
        type,
        b.advance(tile.rows[2 * i + (c >> 1)], tile.columns[2 * n + (c & 1)]),
        type.getIntOrFloatBitWidth() / 8);
    return built[value] = element;
  }
  SmallVector<Value, 3> operands;
  for (Value operand : deferred->getOperands())
    operands.push_back(getElement(operand, i, n, numN, c, built));
  static const TileValue scalar;
  auto tileOf = [&](unsigned number) -> const TileValue & {
    auto tile = tiles.find(deferred->getOperand(number));
    return tile == tiles.end() ? scalar : tile->second;
  };
  Value element;
  if (auto comparison = dyn_cast<arith::CmpIOp>(deferred))
    element = buildComparison(b, comparison, tileOf(0), tileOf(1), operands[0],
                              operands[1], 2 * n + (c & 1));
  else if (isa<arith::AddFOp, arith::SubFOp>(deferred) &&
           !tileOf(0).first != !tileOf(1).first)
    element = buildColumnSum(b, deferred, tileOf(0), tileOf(1), operands[0],
                             operands[1], 2 * n + (c & 1));
  else
    element = buildElement(b, deferred, operands);
  return built[value] = element;
}

void KernelLowering::buildElements(Value value) {
  int64_t numN = getNumN(cast<VectorType>(value.getType()));
  SmallVector<Value> elements;
  for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
    for (int64_t n = 0; n < numN; ++n)
      for (int64_t c = 0; c < 4; ++c)
        elements.push_back(getElement(value, i, n, numN, c));
  tiles[value] = {Layout::Tile, std::move(elements), false};
}

bool KernelLowering::isPutOff(Operation *op, ArrayRef<TileValue> operands) {
  // The pairs of a mask need more predicates than there are: each is computed
  // where it is used.
  if (llvm::all_of(op->getOperands(), [](Value operand) {
        return !isa<FloatType>(getScalarType(operand.getType()));
      }))
    return true;
  // So is what only the next op of a chain needs: the chain is computed pair by
  // pair, with the values of one pair in registers at a time.
  return llvm::all_of(op->getUsers(), [&](Operation *user) {
    return user->getBlock() == op->getBlock() && isElementwise(user);
  });
}

FailureOr<TileValue> KernelLowering::buildElementwise(Operation *op) {
  SmallVector<TileValue, 3> operands;
  for (Value operand : op->getOperands()) {
    auto known = tiles.find(operand);
    operands.push_back(known != tiles.end() && known->second.deferred
                           ? known->second
                           : getTile(operand, /*whole=*/false));
  }
  bool partial = llvm::any_of(
      operands, [](const TileValue &operand) { return operand.partial; });
  if (partial && !isLinear(op, operands)) {
    for (auto [operand, tile] : llvm::zip_equal(op->getOperands(), operands)) {
      if (!tile.partial)
        continue;
      tile = reduceParts(tile);
      // What follows in the block finds the sum.
      if (operand.getParentBlock() == op->getBlock())
        tiles[operand] = tile;
    }
    partial = false;
  }
  FailureOr<Layout> layout = joinLayouts(operands);
  auto type = cast<VectorType>(op->getResult(0).getType());
  if (failed(layout))
    return op->emitOpError("expected operands of f32, i32 or i1");
  if (failed(checkElement(op)))
    return failure();
  int64_t numRows = b.shape.getRowFragments(), numN = getNumN(type);
  TileValue result{*layout, {}, partial};

  if (isa<arith::TruncFOp>(op)) {
    operands[0] = getTile(op->getOperand(0), /*whole=*/false);
    if (type.getRank() != 2 || type.getElementTypeBitWidth() != 16)
      return op->emitOpError("expected a tile rounded from f32 to 16 bits");
    result.layout = Layout::Packed;
    for (int64_t i = 0; i < numRows; ++i)
      for (int64_t n = 0; n < numN; ++n)
        for (int64_t h = 0; h < 2; ++h)
          result.elements.push_back(pack(b, operands[0].at(i, n, numN, 2 * h),
                                         operands[0].at(i, n, numN, 2 * h + 1),
                                         type.getElementType()));
    return result;
  }

  // The pairs and keys of a mask need more predicates than there are: each is
  // computed where it is used.
  bool isInteger = llvm::all_of(op->getOperands(), [](Value operand) {
    return !isa<FloatType>(getScalarType(operand.getType()));
  });
  if (isInteger &&
      (*layout == Layout::Tile ||
       (*layout == Layout::Column && type.getElementType().isInteger(1)))) {
    result.deferred = op;
    return result;
  }

  if (*layout == Layout::Tile) {
    result.deferred = op;
    Value value = op->getResult(0);
    if (isPutOff(op, operands))
      return result;
    tiles[value] = result;
    buildElements(value);
    return tiles[value];
  }

  size_t count = *layout == Layout::Column ? 2 * numN : 1;
  for (const TileValue &operand : operands)
    if (operand.layout == *layout && !operand.deferred)
      count = operand.elements.size();
  for (size_t i = 0; i < count; ++i) {
    SmallVector<Value, 3> values;
    for (auto [tile, operand] : llvm::zip_equal(operands, op->getOperands()))
      if (tile.deferred) // A key.
        values.push_back(getElement(operand, 0, i / 2, numN, i % 2));
      else // An axis begins with its rows.
        values.push_back(tile.layout == Layout::Splat ? tile.elements.front()
                                                      : tile.elements[i]);
    result.elements.push_back(buildElement(b, op, values));
  }
  followDistances(b, op, operands, result);
  return result;
}

LogicalResult KernelLowering::lowerElementwise(Operation *op) {
  Value result = op->getResult(0);
  if (getVectorType(result)) {
    FailureOr<TileValue> value = buildElementwise(op);
    if (failed(value))
      return failure();
    tiles[result] = std::move(*value);
    return success();
  }
  if (failed(checkElement(op)))
    return failure();
  SmallVector<Value, 3> operands;
  for (Value operand : op->getOperands()) {
    operands.push_back(getScalar(operand));
    if (!operands.back())
      return op->emitOpError(
          "expected scalar operands of f32, i1, i32, i64 or index");
  }
  scalars[result] = buildElement(b, op, operands);
  return success();
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

LogicalResult KernelLowering::lower(vector::StepOp op) {
  TileValue value{Layout::Axis, {}, false};
  int64_t length = op.getType().getDimSize(0);
  auto position = [&](function_ref<Value()> build) {
    Value first = b.hoist(build);
    return inRarePath ? b.hide(first) : first;
  };
  auto push = [&](Value first, int64_t distance) {
    auto build = [&] { return b.add(first, b.i32(distance)); };
    value.elements.push_back(b.widen(inRarePath ? build() : b.hoist(build)));
  };
  if (length == b.shape.rows) {
    Value first = position([&] {
      return b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
    });
    for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row)
      push(first, 8 * row);
  }
  Value first = position([&] { return b.shiftLeft(b.quadLane, b.i32(1)); });
  value.first =
      inRarePath ? b.widen(first) : b.hoist([&] { return b.widen(first); });
  for (int64_t n = 0; n < length / 8; ++n)
    for (int64_t c = 0; c < 2; ++c) {
      push(first, 8 * n + c);
      value.distances.push_back(8 * n + c);
    }
  tiles[op.getResult()] = std::move(value);
  return success();
}

/// A broadcast or a shape cast: the same values seen in another shape.
LogicalResult KernelLowering::lowerReshape(Operation *op, Value source) {
  VectorType from = getVectorType(source), to = getVectorType(op->getResult(0));
  // Rows of several heads, on their way to memory.
  if (from && to.getRank() == from.getRank() + 1 && op->hasOneUse() &&
      isa<vector::TransferWriteOp>(*op->user_begin())) {
    tiles[op->getResult(0)] = getTile(source);
    return success();
  }
  TileValue value = getTile(source, /*whole=*/false);
  if (value.layout == Layout::Axis ||
      (from && value.layout == Layout::Row && from.getRank() == 1)) {
    int64_t length = from.getNumElements();
    bool toRows =
        to.getRank() == 2 && to.getShape() == ArrayRef<int64_t>{length, 1};
    bool toColumns = to.getRank() == 2 && to.getDimSize(1) == length && !toRows;
    size_t numRowElements =
        length == b.shape.rows ? 2 * b.shape.getRowFragments() : 0;
    if (value.layout == Layout::Row) {
      if (!toRows)
        return op->emitOpError("expected a row vector to be seen as ")
               << length << " x 1";
    } else if (toRows && numRowElements) {
      value.elements.truncate(numRowElements);
      value.layout = Layout::Row;
      value.first = Value();
      value.distances.clear();
    } else if (toColumns) {
      value.elements.erase(value.elements.begin(),
                           value.elements.begin() + numRowElements);
      value.layout = Layout::Column;
    } else {
      return op->emitOpError("expected a vector along the rows or the columns "
                             "of a tile, found ")
             << from << " to " << to;
    }
  } else if (from && from.getRank() == 2 && to.getRank() == 1 &&
             value.layout == Layout::Tile) {
    return op->emitOpError("expected a tile to keep its shape");
  }
  tiles[op->getResult(0)] = std::move(value);
  return success();
}

LogicalResult KernelLowering::lower(vector::MultiDimReductionOp op) {
  TileValue source = getTile(op.getSource());
  VectorType type = op.getSourceVectorType();
  vector::CombiningKind kind = op.getKind();
  bool isSum = kind == vector::CombiningKind::ADD;
  bool isMax = kind == vector::CombiningKind::MAXNUMF ||
               kind == vector::CombiningKind::MAXIMUMF;
  if (type.getRank() != 2 || op.getReductionDims() != ArrayRef<int64_t>{1} ||
      !type.getElementType().isF32() || (!isSum && !isMax))
    return op.emitOpError(
        "expected a sum or maximum of f32 along the rows of a tile");
  auto combine = [&](Value x, Value y) -> Value {
    if (isSum)
      return LLVM::FAddOp::create(b, x, y);
    return kind == vector::CombiningKind::MAXNUMF
               ? Value(LLVM::MaxNumOp::create(b, x, y))
               : Value(LLVM::MaximumOp::create(b, x, y));
  };
  TileValue acc = getTile(op.getAcc(), /*whole=*/false);
  bool neutral = isSum ? matchPattern(op.getAcc(), m_AnyZeroFloat())
                       : matchPattern(op.getAcc(), m_NegInfFloat());
  TileValue result{Layout::Row, {}, isSum};
  int64_t numN = getNumN(type);
  for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row) {
    // Neighbours first: a shallow tree, and operands that are ready early.
    SmallVector<Value> values;
    for (int64_t n = 0; n < numN; ++n)
      for (int64_t c = 0; c < 2; ++c)
        values.push_back(source.at(row / 2, n, numN, 2 * (row % 2) + c));
    while (values.size() > 1) {
      size_t half = values.size() / 2;
      for (size_t i = 0; i < half; ++i)
        values[i] = combine(values[2 * i], values[2 * i + 1]);
      if (values.size() % 2)
        values[half++] = values.back();
      values.truncate(half);
    }
    if (!isSum)
      for (int64_t mask : {1, 2})
        values[0] = combine(values[0], b.shuffleXor(values[0], mask));
    result.elements.push_back(values[0]);
  }
  if (!neutral) {
    if (isSum && !acc.partial)
      result = reduceParts(result);
    for (auto [row, element] : llvm::enumerate(result.elements))
      element = combine(element, acc.at(row / 2, 0, 1, 2 * (row % 2)));
  }
  tiles[op.getResult()] = std::move(result);
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Lowers the vector ops of `block` that `value` comes from once more, at the
/// insertion point: a rare path computes its mask anew, instead of keeping what
/// the common path computed alive. The first results go to `saved`.
LogicalResult KernelLowering::lowerAgain(Value value, Block *block,
                                         DenseMap<Value, TileValue> &saved) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != block || !getVectorType(value) ||
      saved.contains(value))
    return success();
  saved[value] = tiles.lookup(value);
  for (Value operand : op->getOperands())
    if (failed(lowerAgain(operand, block, saved)))
      return failure();
  return lowerOp(op);
}

SmallVector<Value> KernelLowering::getAccumulators(Value value) {
  TileValue tile = getTile(value);
  int64_t numN = getNumN(cast<VectorType>(value.getType()));
  SmallVector<Value> elements;
  for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
    for (int64_t n = 0; n < numN; ++n)
      for (int64_t c = 0; c < 4; ++c)
        elements.push_back(tile.at(i, n, numN, c));
  return elements;
}

LogicalResult KernelLowering::lower(AbsorbOp op) {
  const SharedTile &tile = buffers.find(op.getTile())->second;
  SharedOperand operand(tile, shared.getSlot(tile, getScalar(op.getSlot())),
                        /*transposed=*/true);
  TileValue result{Layout::Tile, getAccumulators(op.getAcc())};
  DenseMap<Value, TileValue> saved;
  LogicalResult again = success();
  auto getLive = [&](int64_t i, int64_t n, int64_t c) {
    if (saved.empty()) {
      inRarePath = true;
      again = lowerAgain(op.getLive(), op->getBlock(), saved);
      inRarePath = false;
    }
    return getElement(op.getLive(), i, n, tile.rows / 8, c);
  };
  function_ref<Value(int64_t, int64_t, int64_t)> live;
  if (op.getLive())
    live = getLive;
  absorbNonFinite(b, shared, operand, result.elements,
                  getNumN(cast<VectorType>(op.getAcc().getType())),
                  op.getTile().getType().getElementType(), live);
  for (auto &[value, first] : saved)
    tiles[value] = std::move(first);
  tiles[op.getResult()] = std::move(result);
  return again;
}

LogicalResult KernelLowering::lower(vector::ContractionOp op) {
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  auto right = op.getRhs().getDefiningOp<vector::TransferReadOp>();
  auto accType = dyn_cast<VectorType>(op.getAcc().getType());
  if (!right || !buffers.count(right.getBase()) || !accType ||
      accType.getRank() != 2 || !accType.getElementType().isF32() ||
      op.getLhsType().getRank() != 2)
    return op.emitOpError("expected a product of two tiles into f32, the right "
                          "one in shared memory");
  // (m, k) x (n, k) or (k, n) -> (m, n)
  AffineExpr m = maps[0].getResult(0), k = maps[0].getResult(1),
             n = maps[2].getResult(1);
  bool transposed = maps[1].getResult(0) == k;
  if (maps[2].getResult(0) != m || maps[1].getResult(transposed ? 1 : 0) != n ||
      maps[1].getResult(transposed ? 0 : 1) != k)
    return op.emitOpError(
        "expected (m, k) and (n, k) or (k, n) to give (m, n)");

  const SharedTile &tile = buffers.find(right.getBase())->second;
  SharedOperand operand(tile, getSlotBase(right), transposed);
  Type elementType = op.getRhsType().getElementType();
  int64_t numN = getNumN(accType),
          numSteps = llvm::divideCeil(op.getLhsType().getDimSize(1),
                                      getStep(elementType));

  TileValue product{Layout::Tile, getAccumulators(op.getAcc())};

  auto left = op.getLhs().getDefiningOp<vector::TransferReadOp>();
  auto values = tiles.find(op.getLhs());
  int64_t leftN = op.getLhsType().getDimSize(1) / 8;
  auto loadFragment = [&](int64_t i, int64_t k) -> SmallVector<Value, 4> {
    if (values == tiles.end()) {
      const SharedTile &query = buffers.find(left.getBase())->second;
      return loadLeft(b, shared, getSlotBase(left), query, i, k);
    }
    if (values->second.layout != Layout::Fragments)
      return getLeft(values->second, leftN, i, k);
    const Value *first = &values->second.elements[(i * numSteps + k) * 4];
    return {first[0], first[1], first[2], first[3]};
  };
  if (values == tiles.end() && (!left || !buffers.count(left.getBase())))
    return op.emitOpError(
        "expected a left operand in registers or in shared memory");
  numProducts += buildProduct(b, shared, loadFragment, operand,
                              product.elements, numN, numSteps, elementType);
  tiles[op.getResult()] = std::move(product);
  return success();
}
