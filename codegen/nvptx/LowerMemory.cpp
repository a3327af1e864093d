//===- LowerMemory.cpp - slices, loads and stores of a kernel ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Elementwise.h"
#include "attn/codegen/nvptx/KernelLowering.h"
#include "attn/codegen/nvptx/Nvptx.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

LogicalResult KernelLowering::lower(memref::SubViewOp op) {
  auto source = arrays.find(op.getSource());
  if (source == arrays.end() ||
      op.getType().getRank() != op.getSourceType().getRank() ||
      llvm::any_of(op.getStaticStrides(), ShapedType::isDynamic))
    return op.emitOpError("expected a slice of an argument with constant steps "
                          "and all dimensions");
  const GlobalArray &array = source->second;
  auto materialize = [&](OpFoldResult value) {
    std::optional<int64_t> known = getConstantIntValue(value);
    return known ? b.i64(*known) : getScalar(cast<Value>(value));
  };
  GlobalArray slice;
  for (auto [step, stride] :
       llvm::zip_equal(op.getStaticStrides(), array.strides))
    slice.strides.push_back(step == 1 ? stride : b.mul(stride, b.i64(step)));
  Value offset;
  for (auto [position, stride] :
       llvm::zip_equal(op.getMixedOffsets(), array.strides)) {
    if (isConstantIntValue(position, 0))
      continue;
    Value part = b.mul(materialize(position), stride);
    offset = offset ? b.add(offset, part) : part;
  }
  int64_t elementBytes =
      std::max<int64_t>(op.getType().getElementTypeBitWidth() / 8, 1);
  slice.base = offset
                   ? b.advance(array.base, b.mul(offset, b.i64(elementBytes)))
                   : array.base;
  for (OpFoldResult size : op.getMixedSizes())
    slice.sizes.push_back(materialize(size));
  if (op.getType().getRank() == 4) {
    Value address = LLVM::PtrToIntOp::create(b, b.i64Type, slice.base);
    Value bits =
        b.orBits(address, b.mul(slice.strides[2], b.i64(elementBytes)));
    if (op.getType().getDimSize(1) != 1)
      bits = b.orBits(bits, b.mul(slice.strides[1], b.i64(elementBytes)));
    slice.aligned = b.compare(LLVM::ICmpPredicate::eq,
                              b.andBits(bits, b.i64(15)), b.i64(0));
  }
  arrays[op.getResult()] = std::move(slice);
  return success();
}

LogicalResult KernelLowering::lower(SelectRowsOp op) {
  auto source = arrays.find(op.getSource());
  if (source == arrays.end() || source->second.selection)
    return op.emitOpError("expected the rows of a slice of an argument");
  GlobalArray rows = source->second;
  int64_t first = op.getFirst(), count = op.getCount(), step = op.getStep();
  rows.selection = {first, count, step};
  // Never negative: step > first.
  Value left = b.add(rows.sizes[2], b.i64(step - first));
  Value blocks = LLVM::UDivOp::create(b, left, b.i64(step));
  Value beyond = b.sub(left, b.mul(blocks, b.i64(step)));
  rows.sizes[2] = b.add(b.mul(b.sub(blocks, b.i64(1)), b.i64(count)),
                        b.minSigned(beyond, b.i64(count)));
  arrays[op.getResult()] = std::move(rows);
  return success();
}

LogicalResult KernelLowering::lower(memref::LoadOp op) {
  auto array = arrays.find(op.getMemRef());
  Type type = getScalarType(op.getType());
  if (array == arrays.end())
    return op.emitOpError("expected a load from an argument");
  Value offset = b.i64(0);
  for (auto [index, stride] :
       llvm::zip_equal(op.getIndices(), array->second.strides))
    offset = b.add(offset, b.mul(getScalar(index), stride));
  scalars[op.getResult()] = loadInteger(
      type,
      b.advance(array->second.base,
                b.mul(offset, b.i64(std::max<int64_t>(
                                  type.getIntOrFloatBitWidth() / 8, 1)))));
  return success();
}

LogicalResult KernelLowering::lower(SharedOp op) {
  MemRefType type = op.getType();
  TileShape shape{nvptx::getRows(type), nvptx::getColumns(type),
                  type.getElementTypeBitWidth() / 8,
                  type.getRank() == 4 ? type.getDimSize(3) : 0};
  buffers[op.getResult()] = SharedTile(
      shape, b.advance(sharedBase, static_cast<int64_t>(op.getOffset())),
      type.getDimSize(0));
  return success();
}

GlobalRows KernelLowering::getRows(Value value, int64_t tileRows,
                                   int64_t heads) {
  const GlobalArray &array = arrays.find(value)->second;
  auto type = cast<MemRefType>(value.getType());
  Value rowBytes = b.scaleHere(
      array.strides[2], llvm::Log2_64(type.getElementTypeBitWidth() / 8));
  int64_t columns = type.getRank() == 4 ? type.getDimSize(3) : 1;
  GlobalRows rows{array.base, rowBytes,      array.sizes[2],
                  columns,    array.aligned, array.selection};
  if (heads > 1)
    rows.heads = {
        tileRows / heads, type.getDimSize(1),
        b.scaleHere(array.strides[1],
                    llvm::Log2_64(type.getElementTypeBitWidth() / 8))};
  return rows;
}

LogicalResult KernelLowering::lower(LoadAsyncOp op) {
  const SharedTile &tile = buffers.find(op.getTarget())->second;
  Value target = shared.getSlot(tile, getScalar(op.getSlot()));
  copyToShared(b, shared, getRows(op.getSource(), tile.rows, op.getHeads()),
               getScalar(op.getRow()), tile, target, op.getInBounds());
  return success();
}

LogicalResult KernelLowering::lower(StoreOp op) {
  const SharedTile &tile = buffers.find(op.getSource())->second;
  if (tile.panelWidth) {
    storeWarpRows(op);
    return success();
  }
  copyToGlobal(b, shared, tile, tile.base,
               getRows(op.getTarget(), tile.rows, op.getHeads()));
  return success();
}

Value KernelLowering::getSlotBase(vector::TransferReadOp read) {
  return shared.getSlot(buffers.find(read.getBase())->second,
                        getScalar(read.getIndices()[0]));
}

/// Reads f32 rows from global memory as the accumulators of a product, or one
/// f32 for each row, lie. Rows past the last hold anything.
LogicalResult KernelLowering::readRows(vector::TransferReadOp op) {
  auto array = arrays.find(op.getBase());
  VectorType type = op.getVectorType();
  if (array == arrays.end() || !type.getElementType().isF32() ||
      op.getShapedType().getRank() - type.getRank() != 2)
    return op.emitOpError("expected a tile in shared memory, or f32 rows");
  Value root = op.getBase();
  while (auto view = root.getDefiningOp<memref::SubViewOp>())
    root = view.getSource();
  Value first = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
  Value rowBytes = b.mul(array->second.strides[2], b.i64(4));
  TileValue value{type.getRank() == 1 ? Layout::Row : Layout::Tile, {}, false};
  SmallVector<Value> rows;
  for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row) {
    Value position = b.widen(b.add(first, b.i32(8 * row)));
    Value exists =
        b.compare(LLVM::ICmpPredicate::slt, position, array->second.sizes[2]);
    // The array has a first row, though the slice may have none.
    Value address = b.select(
        exists, b.advance(array->second.base, b.mul(position, rowBytes)),
        arrays.find(root)->second.base);
    rows.push_back(address);
  }
  if (type.getRank() == 1) {
    for (Value row : rows)
      value.elements.push_back(b.load(b.f32Type, row, 4));
  } else {
    // With roles the tile is wider than the array.
    int64_t columns = op.getShapedType().getShape().back();
    Value lane = b.widen(b.shiftLeft(b.quadLane, b.i32(3)));
    for (Value &row : rows)
      row = b.advance(row, lane);
    for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
      for (int64_t n = 0; n < getNumN(type); ++n)
        for (int64_t c = 0; c < 4; ++c)
          value.elements.push_back(
              8 * n < columns
                  ? b.load(b.f32Type,
                           b.advance(rows[2 * i + c / 2], 32 * n + 4 * (c % 2)),
                           4)
                  : b.f32(0.0f));
  }
  tiles[op.getVector()] = std::move(value);
  return success();
}

/// A tile of a score input: its elements where they are used, in the layout of
/// the scores; one value for each row or each column at once. Rows and columns
/// that do not exist are others that do.
void KernelLowering::lowerInput(vector::TransferReadOp op,
                                const GlobalArray &array) {
  VectorType type = op.getVectorType();
  Type element = type.getElementType();
  unsigned bytes = element.getIntOrFloatBitWidth() / 8;
  bool perRow = type.getDimSize(0) != 1, perColumn = type.getDimSize(1) != 1;
  Value first = getScalar(op.getIndices()[3]);
  InputTile tile;
  Value base = array.base;
  if (perColumn) {
    // The columns of a residue class are apart.
    Value step = b.mul(array.strides[3], b.i64(bytes));
    base = b.advance(base, b.mul(first, step));
    Value pair = b.shiftLeft(b.quadLane, b.i32(1));
    Value last;
    if (!op.isDimInBounds(1))
      last = b.narrow(b.sub(b.sub(array.sizes[3], first), b.i64(1)));
    else
      base = b.advance(base, b.mul(b.widen(pair), step));
    for (int64_t n = 0; n < getNumN(type); ++n)
      for (int64_t c = 0; c < 2; ++c) {
        Value column = b.i64(8 * n + c);
        if (last)
          column = b.widen(b.minSigned(b.add(pair, b.i32(8 * n + c)), last));
        tile.columns.push_back(b.mul(column, step));
      }
  }
  if (!perRow) {
    TileValue value{Layout::Column, {}, false};
    for (Value column : tile.columns)
      value.elements.push_back(
          b.loadConstant(element, b.advance(base, column), bytes));
    tiles[op.getVector()] = std::move(value);
    return;
  }
  Value warpRow = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
  Value stride = b.mul(array.strides[2], b.i64(bytes));
  TileValue value{Layout::Row, {}, false};
  for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row) {
    Value number = b.add(warpRow, b.i32(8 * row));
    Value numRows = b.narrow(array.sizes[2]);
    auto address = [&](Value existing) {
      return b.advance(base, b.mul(b.widen(existing), stride));
    };
    if (perColumn) {
      if (!op.isDimInBounds(0))
        number = b.minSigned(number, b.sub(numRows, b.i32(1)));
      tile.rows.push_back(address(number));
      continue;
    }
    auto load = [&] { return b.loadConstant(element, address(number), bytes); };
    // Read before the loops, where the tile may turn out to have no row.
    value.elements.push_back(
        op.isDimInBounds(0)
            ? load()
            : b.choose(b.compare(LLVM::ICmpPredicate::slt, number, numRows),
                       load, b.zero(element)));
  }
  if (perColumn) {
    value.layout = Layout::Tile;
    value.deferred = op;
    inputs[op] = std::move(tile);
  }
  tiles[op.getVector()] = std::move(value);
}

/// A tile that stands in shared memory is read where a product uses it; the
/// query tile is read here if its uses are in loops, so that it stays in
/// registers.
LogicalResult KernelLowering::lower(vector::TransferReadOp op) {
  auto buffer = buffers.find(op.getBase());
  if (buffer == buffers.end()) {
    if (!isa<FloatType>(op.getVectorType().getElementType()))
      return lowerIntegers(op);
    // What the loops start from is read before them, a row at a time or whole.
    VectorType type = op.getVectorType();
    if (isa<scf::ForallOp, RolesOp, ForItemsOp>(op->getParentOp()) &&
        (type.getRank() == 1 || type.getDimSize(1) != 1))
      return readRows(op);
    auto array = arrays.find(op.getBase());
    if (array == arrays.end() || type.getRank() != 2 ||
        op.getBase().getType().getRank() != 4)
      return op.emitOpError("expected a tile in shared memory, or of a score "
                            "input");
    lowerInput(op, array->second);
    return success();
  }
  if (llvm::all_of(op->getUsers(), [&](Operation *user) {
        return user->getBlock() == op->getBlock();
      }))
    return success();
  const SharedTile &tile = buffer->second;
  TileValue value;
  value.layout = Layout::Fragments;
  Value base = getSlotBase(op);
  VectorType type = op.getVectorType();
  int64_t numSteps =
      llvm::divideCeil(type.getDimSize(1), getStep(type.getElementType()));
  for (int64_t i = 0; i < b.shape.getRowFragments(); ++i)
    for (int64_t k = 0; k < numSteps; ++k)
      llvm::append_range(value.elements, loadLeft(b, shared, base, tile, i, k));
  tiles[op.getVector()] = std::move(value);
  return success();
}

Value KernelLowering::loadInteger(Type type, Value address) {
  if (!type.isInteger(1))
    return b.load(type, address, type.getIntOrFloatBitWidth() / 8);
  Value byte = b.load(b.getI8Type(), address, 1);
  return b.compare(LLVM::ICmpPredicate::ne, byte, b.constant(b.getI8Type(), 0));
}

static int64_t getBytes(Type type) {
  return std::max<int64_t>(type.getIntOrFloatBitWidth() / 8, 1);
}

/// Integers along the rows or the columns of a tile: each thread reads those of
/// its rows, or of its columns; past the end it reads the last one. A tile of
/// pairs is read where it is used. What does not exist is dead, whatever is
/// read for it.
LogicalResult KernelLowering::lowerIntegers(vector::TransferReadOp op) {
  auto array = arrays.find(op.getBase());
  VectorType type = op.getVectorType();
  AffineMap map = op.getPermutationMap();
  if (array == arrays.end() || !isa<IntegerType>(type.getElementType()) ||
      type.getRank() != 2 || !map.isProjectedPermutation())
    return op.emitOpError(
        "expected a tile in shared memory, or integers of an argument");
  const GlobalArray &source = array->second;
  int64_t bytes = getBytes(type.getElementType());
  Value base = source.base;
  for (auto [index, stride] : llvm::zip_equal(op.getIndices(), source.strides))
    base =
        b.advance(base, b.mul(b.mul(getScalar(index), stride), b.i64(bytes)));
  // Of the rows and of the columns: bytes from one to the next, and how many
  // there are, if that is less than the tile has.
  Value strides[2], left[2];
  for (unsigned dim : {0, 1}) {
    unsigned along = map.getDimPosition(dim);
    strides[dim] = b.mul(source.strides[along], b.i64(bytes));
    if (!op.isDimInBounds(dim))
      left[dim] = b.sub(source.sizes[along], getScalar(op.getIndices()[along]));
  }
  auto clamp = [&](Value position, Value count) {
    Value wide = b.widen(position);
    return count ? b.minSigned(wide, b.sub(count, b.i64(1))) : wide;
  };
  SmallVector<Value> rows;
  if (type.getDimSize(0) != 1) {
    Value first = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
    for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row)
      rows.push_back(
          b.advance(base, b.mul(clamp(b.add(first, b.i32(8 * row)), left[0]),
                                strides[0])));
  }
  Value firstColumn = b.shiftLeft(b.quadLane, b.i32(1));
  TileValue value;
  if (type.getDimSize(1) == 1) {
    value.layout = Layout::Row;
    for (Value row : rows)
      value.elements.push_back(loadInteger(type.getElementType(), row));
  } else if (type.getDimSize(0) == 1) {
    value.layout = Layout::Column;
    for (int64_t n = 0; n < getNumN(type); ++n)
      for (int64_t c = 0; c < 2; ++c)
        value.elements.push_back(loadInteger(
            type.getElementType(),
            b.advance(base, b.mul(clamp(b.add(firstColumn, b.i32(8 * n + c)),
                                        left[1]),
                                  strides[1]))));
  } else {
    value.layout = Layout::Tile;
    value.deferred = op;
    // The rows as in Layout::Row, the first column, bytes from one to the next,
    // and the last one that exists.
    value.elements = std::move(rows);
    value.elements.append({firstColumn, strides[1]});
    if (left[1])
      value.elements.push_back(b.sub(left[1], b.i64(1)));
  }
  tiles[op.getVector()] = std::move(value);
  return success();
}

Value KernelLowering::loadPair(vector::TransferReadOp op, const TileValue &tile,
                               int64_t i, int64_t n, int64_t c) {
  const Value *columns = tile.elements.begin() + 2 * b.shape.getRowFragments();
  Value column = b.widen(b.add(columns[0], b.i32(8 * n + (c & 1))));
  if (columns + 2 != tile.elements.end())
    column = b.minSigned(column, columns[2]);
  return loadInteger(
      op.getVectorType().getElementType(),
      b.advance(tile.elements[2 * i + (c >> 1)], b.mul(column, columns[1])));
}

/// Writes an f32 tile straight to memory: the four lanes of a row write 32
/// bytes together, a whole sector.
void KernelLowering::writeTile(const TileValue &value, VectorType type,
                               const GlobalRows &target, Value warpRow) {
  int64_t numN = getNumN(type);
  Type pair = VectorType::get({2}, b.f32Type);
  auto writeRow = [&](Value first, int64_t row, bool aligned) {
    for (int64_t n = 0; n < target.columns / 8; ++n) {
      Value address = b.advance(first, 32 * n);
      Value both = aligned ? Value(LLVM::PoisonOp::create(b, pair)) : Value();
      for (int64_t c = 0; c < 2; ++c) {
        Value element = value.at(row / 2, n, numN, 2 * (row % 2) + c);
        if (aligned)
          both = LLVM::InsertElementOp::create(b, both, element, b.i32(c));
        else
          b.store(element, b.advance(address, 4 * c), 4);
      }
      if (aligned)
        b.store(both, address, 8);
    }
  };
  for (int64_t row = 0; row < 2 * b.shape.getRowFragments(); ++row) {
    RowPlace place = placeRow(b, target, b.add(warpRow, b.i32(8 * row)));
    b.ifThen(place.exists, [&] {
      Value bytes =
          b.add(place.bytes, b.widen(b.shiftLeft(b.quadLane, b.i32(3))));
      Value first = b.advance(target.base, bytes);
      b.ifThenElse(
          target.aligned, [&] { writeRow(first, row, /*aligned=*/true); },
          [&] { writeRow(first, row, /*aligned=*/false); });
    });
  }
}

LogicalResult KernelLowering::lower(vector::TransferWriteOp op) {
  TileValue value = getTile(op.getVector());
  VectorType type = op.getVectorType();
  Value warpRow = b.add(b.mul(b.warp, b.i32(b.shape.getRowsPerWarp())), b.quad);
  int64_t numRows = b.shape.getRowFragments();
  if (auto buffer = buffers.find(op.getBase());
      buffer != buffers.end() && value.layout == Layout::Packed) {
    const SharedTile &tile = buffer->second;
    for (const Panel &panel : getPanels(tile))
      for (int64_t n = panel.column / 8;
           n < std::min(getNumN(type), (panel.column + panel.width) / 8); ++n) {
        Value column = b.add(b.shiftLeft(b.quadLane, b.i32(1)),
                             b.i32(8 * n - panel.column));
        // The swizzle has a period of 8 rows: one address serves all fragments.
        Value first = shared.getElement(tile.base, panel, warpRow, column);
        for (int64_t row = 0; row < 2 * numRows; ++row)
          b.store(value.elements[((row / 2) * getNumN(type) + n) * 2 + row % 2],
                  b.advance(first, 8 * row * panel.getRowBytes()), 4);
      }
    return success();
  }
  auto array = arrays.find(op.getBase());
  auto memref = dyn_cast<MemRefType>(op.getBase().getType());
  // A tile of several heads has a dimension for them.
  bool isTile = memref && memref.getRank() == 4;
  int64_t heads = type.getRank() == (isTile ? 3 : 2) ? type.getDimSize(0) : 1;
  if (array != arrays.end() && isTile && type.getElementType().isF32() &&
      value.layout != Layout::Packed) {
    writeTile(value, type, getRows(op.getBase(), b.shape.rows, heads), warpRow);
    return success();
  }
  bool isRow = value.layout == Layout::Row || value.layout == Layout::Splat;
  if (array == arrays.end() || isTile || !isRow ||
      !type.getElementType().isF32())
    return op.emitOpError(
        "expected a 16-bit tile into shared memory, or an f32 tile or one f32 "
        "for each row into an argument");
  Value first = b.compare(LLVM::ICmpPredicate::eq, b.quadLane, b.i32(0));
  GlobalRows target = getRows(op.getBase(), b.shape.rows, heads);
  for (int64_t row = 0; row < 2 * numRows; ++row) {
    RowPlace place = placeRow(b, target, b.add(warpRow, b.i32(8 * row)));
    b.ifThen(b.andBits(first, place.exists), [&] {
      b.store(value.at(row / 2, 0, 1, 2 * (row % 2)),
              b.advance(target.base, place.bytes), 4);
    });
  }
  return success();
}
