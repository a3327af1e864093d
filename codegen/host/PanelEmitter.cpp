//===- PanelEmitter.cpp - see PanelEmitter.h ------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/PanelEmitter.h"

#include "attn/codegen/host/Level.h"
#include "attn/codegen/host/Transpose.h"
#include "attn/dialect/Attn.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace mlir::attn::host;

/// Steps along the summed dimension in one iteration of a product.
static constexpr int64_t kDepthUnroll = 4;
/// Bytes of a cache line.
static constexpr int64_t kLine = 64;

int64_t View::getElementBytes() const {
  return element.isIndex()
             ? 8
             : std::max<int64_t>(element.getIntOrFloatBitWidth() / 8, 1);
}

Value PanelContext::getRowOffset(Value row, ArrayRef<Value> strides,
                                 unsigned rowDim) {
  RegisterBuilder &b = builder;
  if (rowsPerHead == 0)
    return b.multiply(row, strides[rowDim]);
  Value heads = b.createOrFold<arith::DivUIOp>(row, b.index(rowsPerHead));
  Value rest = b.createOrFold<arith::RemUIOp>(row, b.index(rowsPerHead));
  return b.add(b.multiply(heads, strides[rowDim - 1]),
               b.multiply(rest, strides[rowDim]));
}

PanelEmitter::PanelEmitter(PanelContext &context, const PanelPlan &plan,
                           Value panel, Value firstRow, Value numRows)
    : context(context), b(context.builder), plan(plan), panel(panel),
      firstRow(firstRow), numRows(numRows), vectors(b.getLevel().panelVectors),
      lanes(b.getLevel().lanes), panelRows(b.getLevel().getPanelRows()) {}

Value PanelEmitter::fail(Value value, StringRef what) {
  emitError(value.getLoc())
      << "the host target cannot compute " << what << " of type "
      << value.getType()
      << (value.getDefiningOp()
              ? " from '" +
                    value.getDefiningOp()->getName().getStringRef().str() + "'"
              : std::string());
  return {};
}

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
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      operands.push_back(isa<VectorType>(operand.getType())
                             ? getRow(operand, v)
                             : context.scalars.lookupOrDefault(operand));
      if (!operands.back())
        return {};
    }
    result = b.elementwise(op, operands);
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
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      operands.push_back(isa<VectorType>(operand.getType())
                             ? getColumn(operand, i)
                             : context.scalars.lookupOrDefault(operand));
      if (!operands.back())
        return {};
    }
    result = b.elementwise(op, operands);
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
  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    Value value = !isa<VectorType>(operand.getType())
                      ? context.scalars.lookupOrDefault(operand)
                      : getPair(operand, i, v);
    if (!value)
      return {};
    operands.push_back(value);
  }
  Value value = b.elementwise(op, operands);
  return value ? value : fail(tile, "a tile");
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Value PanelEmitter::getRhsRow(const RowSource &rhs, Value row) {
  if (rhs.lastRow)
    row = b.minimum(row, rhs.lastRow);
  return b.pointer(rhs.base, b.multiply(row, rhs.stride));
}

void PanelEmitter::prefetchNext(const RowSource &source, Value row,
                                Value column) {
  Value address =
      b.pointer(source.nextBase, b.multiply(row, source.nextStride));
  b.prefetch(b.pointer(address, b.multiply(column, source.nextBytes)));
}

int64_t PanelEmitter::getDepthUnroll(Product product) const {
  const RowSource &rhs = context.rows.at(
      {product.getRhs().getAsOpaquePointer(), product.getOperandKind()});
  int64_t unroll = rhs.nextBase && !product.few ? kLine / 4 : kDepthUnroll;
  while (product.getNumSteps() % unroll != 0)
    unroll /= 2;
  return unroll;
}

scf::ForOp PanelEmitter::beginDepthLoop(Product product, ValueRange inits) {
  int64_t unroll = getDepthUnroll(product);
  if (!product.mask || product.mask != plan.getLive())
    return b.beginLoop(product.getNumSteps(), unroll, inits);
  int64_t perStep = product.getDepth() / product.getNumSteps();
  auto toSteps = [&](Value columns) {
    return b.createOrFold<arith::DivUIOp>(columns, b.index(perStep));
  };
  return b.beginLoop(toSteps(firstLive), toSteps(endLive), unroll, inits);
}

LogicalResult PanelEmitter::computeProduct(Value result) {
  auto found = llvm::find_if(plan.getProducts(), [&](const Product &product) {
    return isResultOf(result, product);
  });
  Product product = *found;
  void *lhsKey = product.getLhs().getAsOpaquePointer(),
       *rhsKey = product.getRhs().getAsOpaquePointer();
  const RowSource &rhs = context.rows.at({rhsKey, product.getOperandKind()});
  if (product.few)
    return product.isRhsByColumn ? computeFewByColumn(product, rhs, result)
                                 : computeFewByDepth(product, rhs, result);
  auto known = context.packed.find({lhsKey, product.useDot});
  TileBuffer lhs = known != context.packed.end()
                       ? known->second
                       : getLocal(product.getLhs(),
                                  product.useDot ? Form::Dot : Form::Float);

  SmallVector<Value> inits;
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v) {
      inits.push_back(getPair(product.contract.getAcc(), i, v));
      if (!inits.back())
        return failure();
    }
  SmallVector<Value> columnRows;
  if (product.isRhsByColumn)
    for (int64_t i = 0; i < blockColumns; ++i)
      columnRows.push_back(getRhsRow(rhs, b.add(column, i)));
  Value lhsBase = getPanelBase(lhs);
  Type scalarType =
      product.useDot ? Type(b.getI32Type()) : Type(b.getF32Type());
  int64_t scalarAlignment =
      product.contract.getRhsType().getElementTypeBitWidth() / 8;

  int64_t unroll = getDepthUnroll(product);
  scf::ForOp loop = beginDepthLoop(product, inits);
  SmallVector<Value> accs(loop.getRegionIterArgs());
  Value k = loop.getInductionVar();
  if (rhs.nextBase && product.isRhsByColumn)
    for (int64_t i = 0; i < blockColumns; ++i)
      prefetchNext(rhs, b.add(column, i),
                   product.useDot ? b.multiply(k, 2) : k);
  for (int64_t u = 0; u < unroll; ++u) {
    Value step = b.add(k, u);
    Value lhsRow = b.pointer(b.pointer(lhsBase, b.multiply(k, panelRows * 4)),
                             u * panelRows * 4);
    SmallVector<Value> registers, masks;
    for (int64_t v = 0; v < vectors; ++v) {
      registers.push_back(b.load(b.vectorOf(scalarType),
                                 b.pointer(lhsRow, v * lanes * 4), lanes * 4));
      if (product.mask && !product.useDot)
        masks.push_back(loadMask(getLocal(product.mask, Form::Mask), k, u, v));
      if (product.mask && product.useDot)
        masks.push_back(
            b.load(b.vectorOf(scalarType),
                   getTileAddress(getLocal(product.mask, Form::DotMask), k, u,
                                  v, panelRows * 4),
                   lanes * 4));
    }
    Value rhsRow;
    if (!product.isRhsByColumn) {
      rhsRow = b.pointer(getRhsRow(rhs, step), b.multiply(column, 4));
      if (rhs.nextBase && !product.useDot)
        prefetchNext(rhs, step, column);
      if (rhs.nextBase && product.useDot) {
        // A block of columns is half a line of each of two rows: every other
        // block fetches all of one of them.
        Value block =
            b.createOrFold<arith::DivUIOp>(column, b.index(blockColumns));
        Value odd = b.createOrFold<arith::RemUIOp>(block, b.index(2));
        prefetchNext(rhs, b.add(b.multiply(step, 2), odd), column);
      }
    }
    for (int64_t i = 0; i < blockColumns; ++i) {
      Value address =
          product.isRhsByColumn
              ? b.pointer(b.pointer(columnRows[i], b.multiply(k, 4)), u * 4)
              : b.pointer(rhsRow, i * 4);
      Value scalar = b.splat(b.load(scalarType, address, scalarAlignment));
      for (int64_t v = 0; v < vectors; ++v) {
        Value &acc = accs[i * vectors + v];
        // The weights of dead pairs are 0; what they weigh might be NaN.
        Value factor = product.useDot && product.mask
                           ? arith::AndIOp::create(b, scalar, masks[v])
                           : scalar;
        Value next = product.useDot ? b.dotPairs(acc, registers[v], factor)
                                    : b.fma(registers[v], scalar, acc);
        acc = product.mask && !product.useDot
                  ? arith::SelectOp::create(b, masks[v], next, acc).getResult()
                  : next;
      }
    }
  }
  b.endLoop(loop, accs);
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v)
      pairValues[{result.getAsOpaquePointer(), {i, v}}] =
          loop.getResult(i * vectors + v);
  return success();
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

LogicalResult PanelEmitter::emitRoot(const Root &root) {
  void *key = root.value.getAsOpaquePointer();
  Type element = getElementTypeOrSelf(root.value);
  bool isPaired = root.form == Form::Dot || root.form == Form::DotMask;
  if (root.kind == Root::Store && isPaired) {
    TileBuffer buffer = getLocal(root.value, root.form);
    auto toBits = [&](Value value) -> Value {
      if (root.form == Form::Dot)
        return b.bitsOf16(value);
      Type ints = b.vectorOf(b.getI32Type());
      return arith::SelectOp::create(b, value, b.integer(ints, 0xffff),
                                     b.integer(ints, 0));
    };
    for (int64_t i = 0; i < blockColumns; i += 2)
      for (int64_t v = 0; v < vectors; ++v) {
        Value low = getPair(root.value, i, v),
              high = getPair(root.value, i + 1, v);
        if (!low || !high)
          return failure();
        Value sixteen = b.integer(b.vectorOf(b.getI32Type()), 16);
        Value upper = arith::ShLIOp::create(b, toBits(high), sixteen);
        Value both = arith::OrIOp::create(b, toBits(low), upper);
        // A pair of columns takes the room of one column of f32, so a column
        // counts half.
        Value address =
            b.pointer(getTileAddress(buffer, column, 0, v, panelRows * 2),
                      i * panelRows * 2);
        b.store(both, address, lanes * 4);
      }
    return success();
  }
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v) {
      Value value = getPair(root.value, i, v);
      if (!value)
        return failure();
      if (root.kind == Root::Write) {
        int64_t bytes = element.getIntOrFloatBitWidth() / 8;
        TileBuffer buffer{outputs.at(key), 0, Form::Float};
        Value base = b.pointer(getPanelBase(buffer),
                               b.multiply(column, panelRows * bytes));
        b.store(value, b.pointer(base, (i * panelRows + v * lanes) * bytes),
                lanes * bytes);
      } else if (root.form == Form::Mask) {
        TileBuffer buffer = getLocal(root.value, Form::Mask);
        Value bits =
            lanes == 16
                ? LLVM::BitcastOp::create(b, b.getI16Type(), value).getResult()
                : arith::ExtSIOp::create(b, b.vectorOf(b.getI32Type()), value)
                      .getResult();
        b.store(bits, getMaskAddress(buffer, column, i, v),
                lanes == 16 ? 2 : lanes * 4);
      } else {
        auto state = context.states.find(root.place);
        TileBuffer buffer = state != context.states.end()
                                ? state->second
                                : getLocal(root.value, Form::Float);
        b.store(b.extend(value),
                getTileAddress(buffer, column, i, v, panelRows * 4), lanes * 4);
      }
    }
  return success();
}

/// Row tiles that the stage uses are computed before its loop.
LogicalResult PanelEmitter::prepareRows(const Stage &stage) {
  auto prepare = [&](Value tile) -> LogicalResult {
    if (auto type = dyn_cast<VectorType>(tile.getType());
        type && isRowTile(tile))
      for (int64_t v = 0; v < vectors; ++v)
        if (!getRow(tile, v))
          return failure();
    return success();
  };
  for (Value tile : stage.tiles) {
    auto broadcast = tile.getDefiningOp<vector::BroadcastOp>();
    if (broadcast && !stage.loaded.contains(tile))
      if (auto type = dyn_cast<VectorType>(broadcast.getSource().getType());
          type && type.getRank() == 2 && type.getDimSize(1) == 1 &&
          failed(prepare(broadcast.getSource())))
        return failure();
  }
  for (const Root &root : stage.roots)
    if (root.kind == Root::Reduce &&
        failed(prepare(cast<vector::MultiDimReductionOp>(root.op).getAcc())))
      return failure();
  return success();
}

LogicalResult PanelEmitter::emitStage(const Stage &current) {
  stage = &current;
  if (failed(prepareRows(current)))
    return failure();
  blockColumns = getBlockColumns(current);
  int64_t numColumns = current.getNumColumns();
  SmallVector<Value> inits;
  for (const Root &root : current.roots) {
    if (root.kind == Root::Reduce)
      for (int64_t v = 0; v < vectors; ++v)
        inits.push_back(
            getRow(cast<vector::MultiDimReductionOp>(root.op).getAcc(), v));
    if (root.kind == Root::Write)
      outputs[root.value.getAsOpaquePointer()] =
          context.scratch.allocate(numColumns * panelRows * 4);
    if (root.kind == Root::Store && !context.states.contains(root.place))
      getLocal(root.value, root.form);
  }

  // The stage of the mask finds the columns with a pair that counts.
  bool isOfMask = plan.getLive() && current.tiles.contains(plan.getLive()) &&
                  !current.loaded.contains(plan.getLive());
  if (isOfMask)
    llvm::append_range(inits, ArrayRef{b.index(numColumns), b.index(0)});
  bool skipsDead = plan.getLive() && current.skipsDead;
  scf::ForOp loop = skipsDead
                        ? b.beginLoop(firstLive, endLive, blockColumns, inits)
                        : b.beginLoop(numColumns, blockColumns, inits);
  column = loop.getInductionVar();
  columnValues.clear();
  pairValues.clear();
  SmallVector<Value> sums(loop.getRegionIterArgs());
  auto combine = [&](const Root &root, Value lhs, Value rhs) -> Value {
    if (cast<vector::MultiDimReductionOp>(root.op).getKind() ==
        vector::CombiningKind::ADD)
      return arith::AddFOp::create(b, lhs, rhs);
    // The right one where a NaN is involved: it reaches the result through the
    // weights.
    Value greater =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, lhs, rhs);
    return arith::SelectOp::create(b, greater, lhs, rhs);
  };
  size_t sum = 0;
  for (const Root &root : current.roots) {
    if (root.kind != Root::Reduce) {
      if (failed(emitRoot(root)))
        return failure();
      continue;
    }
    for (int64_t v = 0; v < vectors; ++v, ++sum) {
      SmallVector<Value> values;
      for (int64_t i = 0; i < blockColumns; ++i) {
        values.push_back(getPair(root.value, i, v));
        if (!values.back())
          return failure();
      }
      for (; values.size() > 1; values.resize(values.size() / 2))
        for (size_t i = 0; i < values.size() / 2; ++i)
          values[i] = combine(root, values[i], values[i + values.size() / 2]);
      sums[sum] = combine(root, values.front(), sums[sum]);
    }
  }
  if (isOfMask) {
    Value some = getAnyLive();
    Value &first = sums[sum], &end = sums[sum + 1];
    first = arith::SelectOp::create(b, some, b.minimum(first, column), first);
    end = arith::SelectOp::create(b, some, b.add(column, blockColumns), end);
  }
  b.endLoop(loop, sums);
  columnValues.clear();
  pairValues.clear();
  if (isOfMask) {
    auto roundDown = [&](Value value) -> Value {
      return arith::AndIOp::create(b, value, b.index(-getLiveGranule()));
    };
    firstLive = roundDown(loop.getResult(sum));
    endLive = roundDown(b.add(loop.getResult(sum + 1), getLiveGranule() - 1));
  }
  sum = 0;
  for (const Root &root : current.roots) {
    if (root.kind == Root::Reduce)
      for (int64_t v = 0; v < vectors; ++v)
        rowValues[{root.op->getResult(0).getAsOpaquePointer(), v}] =
            loop.getResult(sum++);
    if (root.kind == Root::Write)
      copyOut(cast<vector::TransferWriteOp>(root.op),
              outputs[root.value.getAsOpaquePointer()], numColumns);
  }
  return success();
}

/// Whether a pair of the current block counts: an i1.
Value PanelEmitter::getAnyLive() {
  Value any;
  for (int64_t i = 0; i < blockColumns; ++i)
    for (int64_t v = 0; v < vectors; ++v) {
      Value pairs = getPair(plan.getLive(), i, v);
      any = any ? arith::OrIOp::create(b, any, pairs) : pairs;
    }
  return vector::ReductionOp::create(b, vector::CombiningKind::OR, any);
}

/// Columns that every loop over the columns with pairs that count takes in
/// whole iterations: a power of two that divides a tile's.
int64_t PanelEmitter::getLiveGranule() const {
  int64_t granule = 1;
  for (const Stage &current : plan.getStages())
    if (current.skipsDead)
      granule = std::max(granule, getBlockColumns(current));
  for (Product product : plan.getProducts())
    if (product.mask == plan.getLive())
      granule = std::max(granule, getDepthUnroll(product) * product.getDepth() /
                                      product.getNumSteps());
  return granule;
}

LogicalResult PanelEmitter::emitStages() {
  llvm::SetVector<Value> inputs;
  for (const Stage &current : plan.getStages())
    for (Value tile : current.tiles)
      if (tile.getDefiningOp<vector::TransferReadOp>() &&
          isa<FloatType>(getElementTypeOrSelf(tile)))
        inputs.insert(tile);
  for (Value tile : inputs)
    copyIn(tile.getDefiningOp<vector::TransferReadOp>(),
           getLocal(tile, Form::Float));
  for (const Stage &current : plan.getStages())
    if (failed(emitStage(current)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Score inputs
//===----------------------------------------------------------------------===//

Value PanelEmitter::getInput(vector::TransferReadOp read, Value &numColumns) {
  const View &view = context.views.find(read.getBase())->second;
  Value first = context.scalars.lookupOrDefault(read.getIndices()[3]);
  numColumns = read.isDimInBounds(1)
                   ? Value()
                   : Value(arith::SubIOp::create(b, view.sizes[3], first));
  return b.pointer(view.address, b.multiply(b.multiply(first, view.strides[3]),
                                            view.getElementBytes()));
}

/// Whether neighbouring columns are next to each other; those of a residue
/// class are not.
static bool isContiguous(vector::TransferReadOp read) {
  return cast<MemRefType>(read.getBase().getType()).isLastDimUnitStride();
}

void PanelEmitter::copyIn(vector::TransferReadOp read,
                          const TileBuffer &buffer) {
  const View &view = context.views.find(read.getBase())->second;
  int64_t bytes = view.getElementBytes(),
          columns = read.getVectorType().getDimSize(1);
  Value left, base = getInput(read, left), target = getPanelBase(buffer);
  // Rows past the end are the last one again.
  auto getAddress = [&](Value lane) {
    Value row = b.minimum(b.add(firstRow, lane), b.add(numRows, -1));
    return b.pointer(
        base, b.multiply(context.getRowOffset(row, view.strides, 2), bytes));
  };
  bool isWhole = columns > 1 && !left && isContiguous(read);
  scf::ForOp rowLoop = b.beginLoop(panelRows, isWhole ? lanes : 1);
  Value row = rowLoop.getInductionVar();
  Value to = b.pointer(target, b.multiply(row, 4));
  if (isWhole) {
    Value table = b.pointer(context.scratchBase, context.rowTable);
    storeAddresses(b, table,
                   [&](Value i) { return getAddress(b.add(row, i)); });
    loadTransposed(b, {table, to, panelRows * 4, columns}, view.element);
  } else {
    Value from = getAddress(row), count = b.index(columns);
    if (left)
      count = b.minimum(count, left);
    scf::ForOp columnLoop = b.beginLoop(b.index(0), count, 1);
    Value number = columnLoop.getInductionVar();
    Value offset =
        isContiguous(read) ? number : b.multiply(number, view.strides[3]);
    Value address = b.pointer(from, b.multiply(offset, bytes));
    b.store(b.extend(b.load(view.element, address, bytes)),
            b.pointer(to, b.multiply(number, panelRows * 4)), 4);
    b.endLoop(columnLoop);
  }
  b.endLoop(rowLoop);
}

Value PanelEmitter::getRowInput(vector::TransferReadOp read, int64_t v) {
  TileBuffer buffer{context.scratch.allocate(panelRows * 4), 0, Form::Float};
  copyIn(read, buffer);
  void *key = read.getVector().getAsOpaquePointer();
  for (int64_t i = 0; i < vectors; ++i)
    rowValues[{key, i}] =
        b.load(b.vectorOf(b.getF32Type()),
               b.pointer(getPanelBase(buffer), i * lanes * 4), lanes * 4);
  return rowValues[{key, v}];
}

Value PanelEmitter::getColumnInput(vector::TransferReadOp read, int64_t i) {
  const View &view = context.views.find(read.getBase())->second;
  Value left, base = getInput(read, left), number = b.add(column, i);
  if (left)
    number = b.minimum(number, b.add(left, -1));
  if (!isContiguous(read))
    number = b.multiply(number, view.strides[3]);
  int64_t bytes = view.getElementBytes();
  return b.extend(
      b.load(view.element, b.pointer(base, b.multiply(number, bytes)), bytes));
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

LogicalResult PanelEmitter::storeRow(Value value, Value place) {
  TileBuffer buffer = context.states.lookup(place);
  for (int64_t v = 0; v < vectors; ++v) {
    Value row = getRow(value, v);
    if (!row)
      return failure();
    b.store(row, b.pointer(getPanelBase(buffer), v * lanes * 4), lanes * 4);
  }
  return success();
}

LogicalResult PanelEmitter::writeRow(vector::TransferWriteOp write) {
  int64_t offset = context.scratch.allocate(panelRows * 4);
  for (int64_t v = 0; v < vectors; ++v) {
    Value row = getRow(write.getVector(), v);
    if (!row)
      return failure();
    b.store(row, b.pointer(context.scratchBase, offset + v * lanes * 4),
            lanes * 4);
  }
  copyOut(write, offset, 1);
  return success();
}

void PanelEmitter::copyOut(vector::TransferWriteOp write, int64_t offset,
                           int64_t columns) {
  const View &view = context.views.find(write.getBase())->second;
  auto type = write.getVectorType();
  int64_t bytes = view.getElementBytes();
  unsigned rowDim = view.strides.size() - type.getRank();
  Value start = view.address;
  for (auto [index, stride] : llvm::zip_equal(write.getIndices(), view.strides))
    start = b.pointer(
        start,
        b.multiply(b.multiply(context.scalars.lookupOrDefault(index), stride),
                   bytes));
  Value end = b.minimum(arith::SubIOp::create(b, numRows, firstRow),
                        b.index(panelRows));
  scf::ForOp rowLoop = b.beginLoop(b.index(0), end, columns == 1 ? 1 : lanes);
  Value first = rowLoop.getInductionVar();
  auto getAddress = [&](Value row) {
    return b.pointer(start,
                     b.multiply(context.getRowOffset(b.add(firstRow, row),
                                                     view.strides, rowDim),
                                bytes));
  };
  Value from = b.pointer(b.pointer(context.scratchBase, offset),
                         b.multiply(first, bytes));
  if (columns == 1) {
    b.store(b.load(view.element, from, bytes), getAddress(first), bytes);
  } else {
    // Rows past the end go where nobody reads.
    Value unused = b.pointer(context.scratchBase,
                             context.scratch.allocate(columns * bytes)),
          table = b.pointer(context.scratchBase, context.rowTable);
    storeAddresses(b, table, [&](Value i) -> Value {
      Value row = b.add(first, i);
      Value exists =
          arith::CmpIOp::create(b, arith::CmpIPredicate::slt, row, end);
      return arith::SelectOp::create(b, exists, getAddress(row), unused);
    });
    storeTransposed(b, {table, from, panelRows * bytes, columns}, view.element);
  }
  b.endLoop(rowLoop);
}
