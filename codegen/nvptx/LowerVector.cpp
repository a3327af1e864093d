//===- LowerVector.cpp - tile-shaped vectors of a kernel ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Elementwise.h"
#include "attn/codegen/nvptx/KernelLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

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

FailureOr<TileValue>
KernelLowering::buildElementwise(Operation *op, ArrayRef<TileValue> given) {
  SmallVector<TileValue, 3> operands(given);
  bool partial = llvm::any_of(
      operands, [](const TileValue &operand) { return operand.partial; });
  if (partial && !isLinear(op, operands)) {
    for (TileValue &operand : operands)
      if (operand.partial)
        operand = reduceParts(operand);
    partial = false;
  }
  FailureOr<Layout> layout = joinLayouts(operands);
  auto type = cast<VectorType>(op->getResult(0).getType());
  if (failed(layout))
    return op->emitOpError("expected operands of f32, i32 or i1");
  int64_t numRows = b.shape.getRowFragments();
  TileValue result{*layout, {}, partial};

  if (isa<arith::TruncFOp>(op)) {
    if (type.getRank() != 2 || type.getElementTypeBitWidth() != 16)
      return op->emitOpError("expected a tile rounded from f32 to 16 bits");
    result.layout = Layout::Packed;
    for (int64_t i = 0; i < numRows; ++i)
      for (int64_t n = 0; n < getNumN(type); ++n)
        for (int64_t h = 0; h < 2; ++h)
          result.elements.push_back(
              pack(b, operands[0].at(i, n, getNumN(type), 2 * h),
                   operands[0].at(i, n, getNumN(type), 2 * h + 1),
                   type.getElementType()));
    return result;
  }

  auto element = [&](ValueRange values) {
    Value built = buildElement(b, op, values);
    if (built)
      result.elements.push_back(built);
    return success(static_cast<bool>(built));
  };
  size_t count = 0;
  for (const TileValue &operand : operands)
    if (operand.layout == *layout)
      count = operand.elements.size();
  bool ok = true;
  if (*layout == Layout::Tile) {
    for (int64_t i = 0; i < numRows && ok; ++i)
      for (int64_t n = 0; n < getNumN(type) && ok; ++n)
        for (int64_t c = 0; c < 4 && ok; ++c)
          ok = succeeded(element(
              llvm::map_to_vector<3>(operands, [&](const TileValue &operand) {
                return operand.at(i, n, getNumN(type), c);
              })));
  } else {
    for (size_t i = 0; i < count && ok; ++i)
      ok = succeeded(element(
          llvm::map_to_vector<3>(operands, [&](const TileValue &operand) {
            // An axis begins with its rows.
            return operand.layout == Layout::Splat ? operand.elements.front()
                                                   : operand.elements[i];
          })));
  }
  if (!ok)
    return op->emitOpError("has no lowering to PTX");
  return result;
}

LogicalResult KernelLowering::lowerElementwise(Operation *op) {
  Value result = op->getResult(0);
  if (getVectorType(result)) {
    SmallVector<TileValue, 3> operands;
    for (Value operand : op->getOperands())
      operands.push_back(getTile(operand, /*whole=*/false));
    FailureOr<TileValue> value = buildElementwise(op, operands);
    if (failed(value))
      return failure();
    tiles[result] = std::move(*value);
    return success();
  }
  SmallVector<Value, 3> operands;
  for (Value operand : op->getOperands())
    operands.push_back(getScalar(operand));
  Value built = llvm::is_contained(operands, Value())
                    ? Value()
                    : buildElement(b, op, operands);
  if (!built)
    return op->emitOpError("has no lowering to PTX");
  scalars[result] = built;
  return success();
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

LogicalResult KernelLowering::lower(vector::StepOp op) {
  TileValue value{Layout::Axis, {}, false};
  int64_t length = op.getType().getDimSize(0);
  auto push = [&](Value element) {
    value.elements.push_back(b.widen(element));
  };
  if (length == b.shape.rows)
    for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row)
      push(b.hoist([&] {
        return b.add(
            b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad),
            b.i32(8 * row));
      }));
  for (int64_t n = 0; n < length / 8; ++n)
    for (int64_t c = 0; c < 2; ++c)
      push(b.hoist([&] {
        return b.add(b.shiftLeft(b.quadLane, b.i32(1)), b.i32(8 * n + c));
      }));
  tiles[op.getResult()] = std::move(value);
  return success();
}

/// A broadcast or a shape cast: the same values seen in another shape.
LogicalResult KernelLowering::lowerReshape(Operation *op, Value source) {
  VectorType from = getVectorType(source), to = getVectorType(op->getResult(0));
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

LogicalResult KernelLowering::lower(vector::MaskOp op) {
  auto contract = dyn_cast<vector::ContractionOp>(op.getMaskableOp());
  auto broadcast = op.getMask().getDefiningOp<vector::BroadcastOp>();
  if (!contract || !broadcast || op.getPassthru())
    return op.emitOpError("expected a product masked by a broadcast tile");
  return lowerContract(contract, broadcast.getSource(), op.getResult(0));
}

/// Computes `value` again at the insertion point, from the rows, columns and
/// scalars that it is made of. They are hidden from the optimizer, which would
/// else keep the first computation's results alive.
FailureOr<TileValue>
KernelLowering::rebuild(Value value, DenseMap<Value, TileValue> &rebuilt) {
  if (auto known = rebuilt.find(value); known != rebuilt.end())
    return known->second;
  Operation *op = value.getDefiningOp();
  TileValue tile = getTile(value);
  if (tile.layout == Layout::Tile && op && isElementwise(op) &&
      !tile.elements.front().getType().isF32()) {
    SmallVector<TileValue, 3> operands;
    for (Value operand : op->getOperands()) {
      FailureOr<TileValue> part = rebuild(operand, rebuilt);
      if (failed(part))
        return failure();
      operands.push_back(std::move(*part));
    }
    FailureOr<TileValue> again = buildElementwise(op, operands);
    if (failed(again))
      return failure();
    tile = std::move(*again);
  } else if (op && isa<vector::BroadcastOp, vector::ShapeCastOp>(op) &&
             tile.layout == Layout::Tile) {
    return rebuild(op->getOperand(0), rebuilt);
  } else {
    for (Value &element : tile.elements) {
      if (!element.getType().isInteger(32) && !element.getType().isInteger(64))
        continue;
      StringRef constraint = element.getType().isInteger(32) ? "=r,0" : "=l,0";
      element =
          LLVM::InlineAsmOp::create(
              b, element.getType(), ValueRange{element}, "", constraint,
              /*has_side_effects=*/true, /*is_align_stack=*/false,
              LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
              .getResult(0);
    }
  }
  rebuilt[value] = tile;
  return tile;
}

LogicalResult KernelLowering::lowerContract(vector::ContractionOp op,
                                            Value live, Value result) {
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
  SharedOperand operand{getSlotBase(right), tile.rows, tile.columns,
                        transposed};
  Type elementType = op.getRhsType().getElementType();
  int64_t numN = getNumN(accType),
          numSteps = transposed ? tile.rows / 16 : tile.columns / 16;

  TileValue acc = getTile(op.getAcc());
  TileValue product{Layout::Tile, {}, false};
  for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
    for (int64_t n = 0; n < numN; ++n)
      for (int64_t c = 0; c < 4; ++c)
        product.elements.push_back(acc.at(i, n, numN, c));

  if (live) {
    DenseMap<Value, TileValue> rebuilt;
    std::optional<TileValue> pairs;
    int64_t numKeys = tile.rows / 8;
    absorbNonFinite(b, shared, operand, product.elements, numN, elementType,
                    [&](int64_t i, int64_t n, int64_t c) {
                      if (!pairs) {
                        FailureOr<TileValue> again = rebuild(live, rebuilt);
                        pairs = succeeded(again)
                                    ? *again
                                    : TileValue{Layout::Splat,
                                                {b.constant(b.i1Type, 1)},
                                                false};
                      }
                      return pairs->at(i, n, numKeys, c);
                    });
  }

  auto left = op.getLhs().getDefiningOp<vector::TransferReadOp>();
  auto values = tiles.find(op.getLhs());
  int64_t leftN = op.getLhsType().getDimSize(1) / 8;
  auto loadFragment = [&](int64_t i, int64_t k) -> SmallVector<Value, 4> {
    if (values == tiles.end()) {
      const SharedTile &query = buffers.find(left.getBase())->second;
      return loadLeft(b, shared, getSlotBase(left), query.rows, query.columns,
                      i, k);
    }
    if (values->second.layout == Layout::Packed)
      return getLeft(values->second, leftN, i, k);
    const Value *first = &values->second.elements[(i * numSteps + k) * 4];
    return {first[0], first[1], first[2], first[3]};
  };
  if (values == tiles.end() && (!left || !buffers.count(left.getBase())))
    return op.emitOpError(
        "expected a left operand in registers or in shared memory");
  numProducts += buildProduct(b, shared, loadFragment, operand,
                              product.elements, numN, numSteps, elementType);
  tiles[result] = std::move(product);
  return success();
}
