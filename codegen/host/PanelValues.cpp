//===- PanelValues.cpp - tiles of a panel, a register at a time -----------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whatever the tile program computes between its products is looked up on
// demand: a register of a row tile, a scalar of a column, a register of a
// column of pairs.

#include "attn/codegen/host/PanelEmitter.h"

#include "attn/codegen/host/Level.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::attn::host;

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

Value PanelEmitter::getPanelBase(const TileBuffer &buffer) {
  Value base = b.pointer(context.scratchBase, buffer.offset);
  return buffer.panelStride
             ? b.pointer(base, b.multiply(panel, buffer.panelStride))
             : base;
}

Value PanelEmitter::getTileAddress(const TileBuffer &buffer, Value column,
                                   int64_t i, int64_t v,
                                   int64_t bytesPerColumn) {
  Value base =
      b.pointer(getPanelBase(buffer), b.multiply(column, bytesPerColumn));
  return b.pointer(base, i * bytesPerColumn + v * lanes * 4);
}

Value PanelEmitter::getMaskAddress(const TileBuffer &buffer, Value column,
                                   int64_t i, int64_t v) {
  int64_t bytes = lanes == 16 ? 2 : lanes * 4;
  Value base =
      b.pointer(getPanelBase(buffer), b.multiply(column, vectors * bytes));
  return b.pointer(base, (i * vectors + v) * bytes);
}

Value PanelEmitter::loadMask(const TileBuffer &buffer, Value column, int64_t i,
                             int64_t v) {
  Value address = getMaskAddress(buffer, column, i, v);
  auto type = b.vectorOf(b.getI1Type());
  if (lanes == 16)
    return LLVM::BitcastOp::create(b, type, b.load(b.getI16Type(), address, 2));
  auto ints = b.vectorOf(b.getI32Type());
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                               b.load(ints, address, lanes * 4),
                               b.integer(ints, 0));
}

Value PanelEmitter::loadMaskOfRow(const TileBuffer &buffer, Value column,
                                  int64_t i, int64_t row) {
  Value address = getMaskAddress(buffer, column, i, 0);
  if (lanes != 16) {
    Type type = b.getI32Type();
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                 b.load(type, b.pointer(address, row * 4), 4),
                                 b.integer(type, 0));
  }
  Type type = b.getI16Type();
  Value bit = arith::AndIOp::create(b, b.load(type, address, 2),
                                    b.integer(type, int64_t(1) << row));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, bit,
                               b.integer(type, 0));
}

TileBuffer &PanelEmitter::getLocal(Value tile, Form form) {
  auto [entry, isNew] = locals.try_emplace({tile.getAsOpaquePointer(), form});
  if (isNew) {
    int64_t columns = cast<VectorType>(tile.getType()).getDimSize(1);
    int64_t bytes = form == Form::Float  ? panelRows * 4
                    : form == Form::Mask ? panelRows * 4
                                         : panelRows * 2;
    entry->second = {context.scratch.allocate(columns * bytes), 0, form};
  }
  return entry->second;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

static DenseElementsAttr getSplat(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto attr = constant ? dyn_cast<DenseElementsAttr>(constant.getValue())
                       : DenseElementsAttr();
  return attr && attr.isSplat() ? attr : DenseElementsAttr();
}

static bool isElementwise(Operation *op) {
  return op->getNumResults() == 1 && op->getNumRegions() == 0 &&
         OpTrait::hasElementwiseMappableTraits(op);
}

/// The operands of an elementwise operation: scalars, and what `getTile` makes
/// of tiles; fails where that is null.
FailureOr<SmallVector<Value>>
PanelEmitter::mapOperands(Operation *op, function_ref<Value(Value)> getTile) {
  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    operands.push_back(isa<VectorType>(operand.getType())
                           ? getTile(operand)
                           : context.scalars.lookupOrDefault(operand));
    if (!operands.back())
      return failure();
  }
  return operands;
}

/// The integer of `read` in this row and column (indices; null where the tile
/// has one). Where there is none the last one is read: rows and columns that do
/// not exist are dead whatever they hold.
Value PanelEmitter::loadInteger(vector::TransferReadOp read, Value row,
                                Value column, Value endOfRows) {
  const View &view = context.views.find(read.getBase())->second;
  AffineMap map = read.getPermutationMap();
  SmallVector<Value> indices;
  for (Value index : read.getIndices())
    indices.push_back(context.scalars.lookupOrDefault(index));
  for (auto [dim, position] : llvm::enumerate(ArrayRef{row, column})) {
    if (!position || !isa<AffineDimExpr>(map.getResult(dim)))
      continue;
    unsigned along = map.getDimPosition(dim);
    Value at = arith::AddIOp::create(b, indices[along], position);
    if (!read.isDimInBounds(dim) || (dim == 0 && endOfRows))
      at = b.minimum(at, b.add(view.sizes[along], -1));
    indices[along] = at;
  }
  Value address = view.address;
  for (auto [index, stride] : llvm::zip_equal(indices, view.strides))
    address = b.pointer(
        address, b.multiply(b.multiply(index, stride), view.getElementBytes()));
  return b.loadInteger(view.element, address);
}

Value PanelEmitter::getRow(Value tile, int64_t v) {
  Value &known = rowValues[{tile.getAsOpaquePointer(), v}];
  if (known)
    return known;
  Value result;
  Type element = getElementTypeOrSelf(tile);
  if (auto state = context.states.find(tile); state != context.states.end()) {
    Value address = b.pointer(getPanelBase(state->second), v * lanes * 4);
    return rowValues[{tile.getAsOpaquePointer(), v}] =
               b.load(b.vectorOf(element), address, lanes * 4);
  }
  Operation *op = tile.getDefiningOp();
  if (DenseElementsAttr splat = getSplat(tile)) {
    result = arith::ConstantOp::create(
        b, DenseElementsAttr::get(b.vectorOf(element),
                                  splat.getSplatValue<Attribute>()));
  } else if (auto read = dyn_cast_or_null<vector::TransferReadOp>(op);
             read && isa<FloatType>(element)) {
    return getRowInput(read, v);
  } else if (isa_and_nonnull<vector::StepOp>(op)) {
    // Row numbers: those of the panel plus those of the register.
    SmallVector<Attribute> numbers;
    for (int64_t lane = 0; lane < lanes; ++lane)
      numbers.push_back(b.getIndexAttr(v * lanes + lane));
    Value step = arith::ConstantOp::create(
        b, DenseElementsAttr::get(b.vectorOf(element), numbers));
    result = arith::AddIOp::create(b, b.splat(firstRow), step);
    if (context.rowsPerHead != 0)
      result = arith::RemUIOp::create(
          b, result, b.integer(result.getType(), context.rowsPerHead));
  } else if (auto read = dyn_cast_or_null<vector::TransferReadOp>(op)) {
    // Lane by lane: the rows may lie apart, and past the last one is nothing.
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Value loaded = loadInteger(read, b.add(firstRow, v * lanes + lane),
                                 Value(), numRows);
      result =
          lane == 0
              ? b.splat(loaded)
              : vector::InsertOp::create(b, loaded, result, lane).getResult();
    }
  } else if (auto reshape = dyn_cast_or_null<vector::ShapeCastOp>(op);
             reshape && isRowTile(reshape.getSource())) {
    result = getRow(reshape.getSource(), v);
  } else if (auto broadcast = dyn_cast_or_null<vector::BroadcastOp>(op)) {
    Value source = broadcast.getSource();
    if (!isa<VectorType>(source.getType()))
      result = b.splat(context.scalars.lookupOrDefault(source));
    else if (isRowTile(source) &&
             cast<VectorType>(source.getType()).getRank() == 2)
      result = getRow(source, v);
  } else if (op && isElementwise(op)) {
    auto operands =
        mapOperands(op, [&](Value operand) { return getRow(operand, v); });
    if (failed(operands))
      return {};
    result = b.elementwise(op, *operands);
  }
  if (!result)
    return fail(tile, "a tile of rows");
  return rowValues[{tile.getAsOpaquePointer(), v}] = result;
}

Value PanelEmitter::getColumn(Value tile, int64_t i) {
  if (Value known = columnValues[{tile.getAsOpaquePointer(), i}])
    return known;
  Value result;
  Operation *op = tile.getDefiningOp();
  if (DenseElementsAttr splat = getSplat(tile)) {
    result = arith::ConstantOp::create(
        b, cast<TypedAttr>(splat.getSplatValue<Attribute>()));
  } else if (auto read = dyn_cast_or_null<vector::TransferReadOp>(op);
             read && isa<FloatType>(getElementTypeOrSelf(tile))) {
    result = getColumnInput(read, i);
  } else if (isa_and_nonnull<vector::StepOp>(op)) {
    result = b.add(column, i);
  } else if (auto read = dyn_cast_or_null<vector::TransferReadOp>(op)) {
    result = loadInteger(read, Value(), b.add(column, i), Value());
  } else if (auto reshape = dyn_cast_or_null<vector::ShapeCastOp>(op)) {
    result = getColumn(reshape.getSource(), i);
  } else if (auto broadcast = dyn_cast_or_null<vector::BroadcastOp>(op)) {
    Value source = broadcast.getSource();
    result = isa<VectorType>(source.getType())
                 ? getColumn(source, i)
                 : context.scalars.lookupOrDefault(source);
  } else if (op && isElementwise(op)) {
    auto operands =
        mapOperands(op, [&](Value operand) { return getColumn(operand, i); });
    if (failed(operands))
      return {};
    result = b.elementwise(op, *operands);
  }
  if (!result)
    return fail(tile, "a tile of columns");
  return columnValues[{tile.getAsOpaquePointer(), i}] = result;
}

Value PanelEmitter::getPair(Value tile, int64_t i, int64_t v) {
  std::pair<void *, std::pair<int64_t, int64_t>> key{tile.getAsOpaquePointer(),
                                                     {i, v}};
  if (Value known = pairValues[key])
    return known;
  Value result = computePair(tile, i, v);
  // A product fills its whole block.
  if (Value known = pairValues[key])
    return known;
  return pairValues[key] = result;
}

Value PanelEmitter::computePair(Value tile, int64_t i, int64_t v) {
  Type element = getElementTypeOrSelf(tile);
  auto state = context.states.find(tile);
  if (stage->loaded.contains(tile) && element.isInteger(1))
    return loadMask(getLocal(tile, Form::Mask), column, i, v);
  if (state != context.states.end() || stage->loaded.contains(tile)) {
    TileBuffer buffer = state != context.states.end()
                            ? state->second
                            : getLocal(tile, Form::Float);
    Value address = getTileAddress(buffer, column, i, v, panelRows * 4);
    return b.truncate(b.load(b.vectorOf(b.getF32Type()), address, lanes * 4),
                      element);
  }
  Operation *op = tile.getDefiningOp();
  if (DenseElementsAttr splat = getSplat(tile))
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(b.vectorOf(element),
                                  splat.getSplatValue<Attribute>()));
  if (isa_and_nonnull<vector::ContractionOp, vector::MaskOp>(op)) {
    if (failed(computeProduct(tile)))
      return {};
    return pairValues[{tile.getAsOpaquePointer(), {i, v}}];
  }
  if (isa_and_nonnull<vector::TransferReadOp>(op) &&
      isa<FloatType>(getElementTypeOrSelf(tile)))
    // As f32, whatever its type: what follows extends it.
    return b.load(b.vectorOf(b.getF32Type()),
                  getTileAddress(getLocal(tile, Form::Float), column, i, v,
                                 panelRows * 4),
                  lanes * 4);
  if (auto broadcast = dyn_cast_or_null<vector::BroadcastOp>(op)) {
    Value source = broadcast.getSource();
    auto type = dyn_cast<VectorType>(source.getType());
    if (!type)
      return b.splat(context.scalars.lookupOrDefault(source));
    if (type.getRank() == 2 && type.getDimSize(1) == 1)
      return getRow(source, v);
    Value scalar = getColumn(source, i);
    return scalar ? b.splat(scalar) : Value();
  }
  if (auto read = dyn_cast_or_null<vector::TransferReadOp>(op)) {
    Value result;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Value loaded = loadInteger(read, b.add(firstRow, v * lanes + lane),
                                 b.add(column, i), numRows);
      result =
          lane == 0
              ? b.splat(loaded)
              : vector::InsertOp::create(b, loaded, result, lane).getResult();
    }
    return result;
  }
  if (!op || !isElementwise(op))
    return fail(tile, "a tile");
  auto operands =
      mapOperands(op, [&](Value operand) { return getPair(operand, i, v); });
  if (failed(operands))
    return {};
  Value value = b.elementwise(op, *operands);
  return value ? value : fail(tile, "a tile");
}
