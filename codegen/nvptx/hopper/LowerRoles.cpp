//===- LowerRoles.cpp - kernels with roles as code of one thread ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/KernelLowering.h"
#include "attn/codegen/nvptx/Nvptx.h"
#include "attn/codegen/nvptx/hopper/Wgmma.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

using Predicate = LLVM::ICmpPredicate;

/// Threads of the four warps that load.
static constexpr int64_t producerThreads = 128;

//===----------------------------------------------------------------------===//
// Roles and barriers
//===----------------------------------------------------------------------===//

static void limitRegisters(KernelBuilder &b, int64_t count,
                           NVVM::SetMaxRegisterAction action) {
  NVVM::SetMaxRegisterOp::create(b, static_cast<int32_t>(count), action);
}

LogicalResult KernelLowering::lower(RolesOp op) {
  NVVM::FenceMbarrierInitOp::create(b);
  b.barrier();
  LogicalResult result = success();
  auto forall = op->getParentOfType<scf::ForallOp>();
  auto lowerRole = [&](Region &region) {
    if (succeeded(result))
      result = lowerProgram(
          {forall, forall.getInductionVars()}, blockIndex,
          llvm::make_range(region.front().begin(), region.front().end()));
  };
  // From one lane, so that ptxas sees a branch of whole warps.
  Value warp = b.shuffleFrom(b.warp, b.i32(0));
  b.ifThenElse(
      b.compare(Predicate::uge, warp, b.i32(b.shape.warps)),
      [&] {
        limitRegisters(b, op.getProducerRegisters(),
                       NVVM::SetMaxRegisterAction::decrease);
        lowerRole(op.getProducer());
      },
      [&] {
        limitRegisters(b, op.getConsumerRegisters(),
                       NVVM::SetMaxRegisterAction::increase);
        b.barrierId = b.i32(1);
        b.barrierThreads = b.i32(b.shape.getThreads());
        startPhase(b.thread);
        lowerRole(op.getConsumers());
      });
  return result;
}

/// A special register, read here.
static Value readRegister(KernelBuilder &b, const char *name) {
  return LLVM::InlineAsmOp::create(
             b, b.i32Type, ValueRange(),
             std::string("mov.u32 $0, %") + name + ";", "=r",
             /*has_side_effects=*/true, /*is_align_stack=*/false,
             LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}

LogicalResult KernelLowering::lower(ForItemsOp op) {
  auto forall = op->getParentOfType<scf::ForallOp>();
  ValueRange arguments(op.getBlock().getArguments());
  Iterations iterations{
      forall, llvm::to_vector_of<Value>(arguments.take_front(forall.getRank())),
      op.getHeads()};
  // One thread alone may be here to load; nothing of it needs a new phase.
  auto roles = op->getParentOfType<RolesOp>();
  bool computes = op->getParentRegion() == &roles.getConsumers();
  SmallVector<Value> inits{blockIndex, b.i32(0)};
  for (Value init : op.getInits())
    inits.push_back(getScalar(init));
  SmallVector<Type> types(inits.size(), b.i32Type);
  Block *header = b.createBlockAfter(types);
  b.branch(header, inits);
  b.setInsertionPointToStart(header);
  DenseMap<Value, Value> outside = scalars;
  inItems = true;
  Value number = header->getArgument(0), round = header->getArgument(1);
  if (failed(readParameters(forall)))
    return failure();
  FailureOr<SmallVector<Value>> counts = countIterations(forall);
  if (failed(counts))
    return failure();
  Value total = counts->front();
  for (Value count : ArrayRef(*counts).drop_front())
    total = b.mul(total, count);
  Value some = b.compare(Predicate::ult, number, total);
  Block *body = b.createBlockAfter();
  b.setInsertionPointToStart(body);
  if (computes)
    startPhase(readRegister(b, "tid.x"));
  scalars[op.getRound()] = round;
  for (auto [argument, value] :
       llvm::zip_equal(op.getCarried(), header->getArguments().drop_front(2)))
    scalars[argument] = value;
  if (failed(decode(iterations, number)) ||
      failed(
          lowerProgram(iterations, number, op.getBlock().without_terminator())))
    return failure();
  // In an odd round blocks are in reverse: from one place to the next one it is
  // as far as from there to the end of the round, twice.
  Value block = readRegister(b, "ctaid.x"),
        blocks = readRegister(b, "nctaid.x");
  Value after = b.sub(b.sub(blocks, b.i32(1)), block);
  Value isEven = b.compare(Predicate::eq, b.andBits(round, b.i32(1)), b.i32(0));
  Value distance = b.shiftLeft(b.select(isEven, after, block), b.i32(1));
  SmallVector<Value> next{b.add(number, b.add(distance, b.i32(1))),
                          b.add(round, b.i32(1))};
  for (Value value : op.getBlock().getTerminator()->getOperands())
    next.push_back(getScalar(value));
  b.branch(header, next);
  Block *exit = b.createBlockAfter();
  b.setInsertionPointToEnd(header);
  b.branchIf(some, body, exit);
  b.setInsertionPointToEnd(exit);
  scalars = std::move(outside);
  inItems = false;
  if (computes)
    startPhase(readRegister(b, "tid.x"));
  return success();
}

LogicalResult KernelLowering::lower(BarriersOp op) {
  Value first = b.advance(sharedBase, static_cast<int64_t>(op.getOffset()));
  scalars[op.getResult()] = first;
  Value arrivals = getScalar(op.getArrivals());
  b.ifThen(b.compare(Predicate::eq, b.thread, b.i32(0)), [&] {
    for (int64_t i = 0; i < op.getType().getDimSize(0); ++i)
      NVVM::MBarrierInitOp::create(b, b.advance(first, 8 * i), arrivals,
                                   Value());
  });
  return success();
}

Value KernelLowering::getBarrier(Value barriers, Value slot) {
  Value first = getScalar(barriers);
  if (cast<MemRefType>(barriers.getType()).getDimSize(0) == 1)
    return first;
  return b.advance(first, b.shiftLeft(b.narrow(getScalar(slot)), b.i32(3)));
}

LogicalResult KernelLowering::lower(WaitOp op) {
  Value barrier = getBarrier(op.getBarrier(), op.getSlot()),
        parity = getScalar(op.getParity());
  Block *again = b.createBlockAfter();
  b.branch(again);
  b.setInsertionPointToStart(again);
  Value done = NVVM::MBarrierTryWaitOp::create(
      b, b.i1Type, barrier, parity, Value(), NVVM::MemScopeKind::CTA, false);
  Block *next = b.createBlockAfter();
  b.branchIf(done, next, again);
  b.setInsertionPointToStart(next);
  return success();
}

static void arrive(KernelBuilder &b, Value barrier) {
  NVVM::MBarrierArriveOp::create(b, b.i64Type, barrier, Value(),
                                 NVVM::MemScopeKind::CTA, false);
}

LogicalResult KernelLowering::lower(ReleaseOp op) {
  Value barrier = getBarrier(op.getBarrier(), op.getSlot());
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  b.ifThen(b.compare(Predicate::eq, b.lane, b.i32(0)),
           [&] { arrive(b, barrier); });
  return success();
}

/// One thread of the first warp that loads.
Value KernelLowering::electProducer() {
  Value first = b.compare(Predicate::eq, b.shuffleFrom(b.warp, b.i32(0)),
                          b.i32(b.shape.warps));
  return b.choose(
      first,
      [&]() -> Value {
        return NVVM::ElectSyncOp::create(b, b.i1Type, Value());
      },
      b.constant(b.i1Type, 0));
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

LogicalResult KernelLowering::lower(TensorMapOp op) {
  ArrayRef<Value> maps = tensorMaps.find(op)->second;
  Value map = maps.front();
  if (std::optional<int64_t> modulus = op.getModulus()) {
    // The first classes have a row more than the others.
    Value rows = arrays.find(op.getSource())->second.sizes[2];
    Value more = LLVM::URemOp::create(b, rows, b.i64(*modulus));
    Value isLonger =
        b.compare(Predicate::ult, getScalar(op.getResidue()), more);
    map = b.select(isLonger, maps.back(), map);
  }
  scalars[op.getResult()] = map;
  return success();
}

/// Where a box starts: the map, and the indices after the column, i32,
/// innermost first.
struct KernelLowering::BoxPosition {
  Value map;
  SmallVector<Value, 4> indices;
};

/// Copies the panels of a tile, of which `start` is the address: from the
/// tensor if there is a barrier to signal, else to it.
void KernelLowering::copyBoxes(const BoxPosition &position,
                               const SharedTile &tile, Value start,
                               Value barrier) {
  auto address = [&](Value pointer) -> Value {
    return LLVM::PtrToIntOp::create(b, b.i32Type, pointer);
  };
  size_t count = position.indices.size();
  std::string rank = std::to_string(1 + count), coordinates = "[$1, {$2",
              constraints = "r,l,r";
  for (size_t i = 0; i < count; ++i) {
    coordinates += ", $" + std::to_string(3 + i);
    constraints += ",r";
  }
  coordinates += "}]";
  std::string text =
      barrier ? "cp.async.bulk.tensor." + rank +
                    "d.shared::cluster.global.tile.mbarrier::complete_tx::"
                    "bytes [$0], " +
                    coordinates + ", [$" + std::to_string(3 + count) + "];"
              : "cp.async.bulk.tensor." + rank +
                    "d.global.shared::cta.tile.bulk_group " + coordinates +
                    ", [$0];";
  constraints += barrier ? ",r,~{memory}" : ",~{memory}";
  for (const Panel &panel : getPanels(tile)) {
    SmallVector<Value> operands{address(b.advance(start, panel.bytes)),
                                position.map, b.i32(panel.column)};
    llvm::append_range(operands, position.indices);
    if (barrier)
      operands.push_back(address(barrier));
    LLVM::InlineAsmOp::create(b, TypeRange(), operands, text, constraints,
                              /*has_side_effects=*/true,
                              /*is_align_stack=*/false,
                              LLVM::TailCallKind::None, LLVM::AsmDialectAttr(),
                              ArrayAttr());
  }
}

LogicalResult KernelLowering::lower(LoadBoxOp op) {
  const SharedTile &tile = buffers.find(op.getTarget())->second;
  Value barrier = getBarrier(op.getBarrier(), op.getSlot());
  Value target = shared.getSlot(tile, getScalar(op.getSlot()));
  NVVM::MBarrierArriveExpectTxOp::create(
      b, TypeRange(), barrier, b.i32(tile.getBytes()), NVVM::MemScopeKind::CTA,
      false, Value());
  BoxPosition position{getScalar(op.getMap()), {}};
  for (Value index :
       {op.getResidue(), op.getRow(), op.getHead(), op.getBatch()})
    if (index)
      position.indices.push_back(b.narrow(getScalar(index)));
  if (op.getNumber())
    copySelected(op, std::move(position), tile, target, barrier);
  else
    copyBoxes(position, tile, target, barrier);
  return success();
}

/// Copies a tile of selected rows from `position`, that of the first one, box
/// by box.
void KernelLowering::copySelected(LoadBoxOp op, BoxPosition position,
                                  const SharedTile &tile, Value start,
                                  Value barrier) {
  int64_t count = *op.getCount(), step = *op.getStep();
  int64_t rows = std::gcd(count, tile.rows);
  Value &row = position.indices[op.getResidue() ? 1 : 0];
  Value number = getScalar(op.getNumber());
  Value block = LLVM::UDivOp::create(b, number, b.i64(count));
  Value inside = b.narrow(b.sub(number, b.mul(block, b.i64(count))));
  row = b.add(row, b.add(b.narrow(b.mul(block, b.i64(step))), inside));
  Value bytes = b.i32(rows * 2 * tile.panelWidth);
  b.loop(b.i32(0), b.i32(tile.rows / rows), b.i32(1), {row, inside, start},
         [&](Value, ValueRange carried) -> SmallVector<Value> {
           row = carried[0];
           copyBoxes(position, tile, carried[2], barrier);
           Value next = b.add(carried[1], b.i32(rows));
           Value ends = b.compare(Predicate::eq, next, b.i32(count));
           return {b.add(row, b.select(ends, b.i32(step - count + rows),
                                       b.i32(rows))),
                   b.select(ends, b.i32(0), next),
                   b.advance(carried[2], bytes)};
         });
}

LogicalResult KernelLowering::lower(StoreBoxOp op) {
  const SharedTile &tile = buffers.find(op.getSource())->second;
  b.fenceAsyncShared();
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  b.ifThen(b.compare(Predicate::eq, b.lane, b.i32(0)), [&] {
    Value warpRow = b.mul(b.warp, b.i32(b.shape.getRowsPerWarp()));
    BoxPosition position{getScalar(op.getMap()), {}};
    if (Value residue = op.getResidue())
      position.indices.push_back(b.narrow(getScalar(residue)));
    Value row = warpRow, head = b.narrow(getScalar(op.getHead())), exists;
    if (std::optional<int64_t> heads = op.getHeads()) {
      Value queries = b.i32(tile.rows / *heads);
      Value first = LLVM::UDivOp::create(b, warpRow, queries);
      row = b.sub(warpRow, b.mul(first, queries));
      head = b.add(head, first);
      if (int64_t present = *op.getPresent(); present != *heads)
        exists = b.compare(Predicate::slt, first, b.i32(present));
    }
    position.indices.append({b.add(b.narrow(getScalar(op.getRow())), row), head,
                             b.narrow(getScalar(op.getBatch()))});
    auto copy = [&] {
      copyBoxes(
          position, tile,
          b.advance(tile.base, b.mul(warpRow, b.i32(2 * tile.panelWidth))),
          Value());
    };
    if (exists)
      b.ifThen(exists, copy);
    else
      copy();
    NVVM::CpAsyncBulkCommitGroupOp::create(b);
  });
  return success();
}

LogicalResult KernelLowering::lower(StoreWaitOp) {
  NVVM::CpAsyncBulkWaitGroupOp::create(b, 0, b.getUnitAttr());
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  return success();
}

/// Calls `visit` for pieces of `piece` columns, dealt to the threads that load:
/// with the row, the column in the panel, and whether the slice has the piece.
static void visitPieces(KernelBuilder &b, const SharedTile &tile,
                        const Panel &panel, int64_t piece,
                        const TileRows &places, int64_t columns,
                        function_ref<void(Value, Value, Value)> visit) {
  int64_t perRow = tile.panelWidth / piece;
  Value first = b.sub(b.thread, b.i32(b.shape.getThreads()));
  b.loop(first, b.i32(tile.rows * perRow), b.i32(producerThreads), {},
         [&](Value i, ValueRange) -> SmallVector<Value> {
           Value row = b.shiftRight(i, b.i32(llvm::Log2_64(perRow)));
           Value column = b.mul(b.andBits(i, b.i32(perRow - 1)), b.i32(piece));
           Value valid = b.andBits(places.exists(row),
                                   b.compare(Predicate::slt, column,
                                             b.i32(columns - panel.column)));
           visit(row, column, valid);
           return {};
         });
}

LogicalResult KernelLowering::lower(LoadRowsOp op) {
  const SharedTile &tile = buffers.find(op.getTarget())->second;
  Value barrier = getBarrier(op.getBarrier(), op.getSlot());
  Value target = shared.getSlot(tile, getScalar(op.getSlot()));
  GlobalRows source = getRows(op.getSource(), tile.rows, op.getHeads());
  Value row = getScalar(op.getRow());
  TileRows places(
      b, source, row,
      b.narrow(b.minSigned(b.sub(source.numRows, row), b.i64(tile.rows))));
  auto panels = getPanels(tile);
  auto global = [&](const Panel &panel, Value row, Value column) {
    Value bytes = b.widen(b.shiftLeft(column, b.i32(1)));
    return b.advance(b.advance(places.get(row), bytes), 2 * panel.column);
  };
  auto asynchronous = [&] {
    for (const Panel &panel : panels)
      visitPieces(b, tile, panel, 8, places, source.columns,
                  [&](Value row, Value column, Value valid) {
                    NVVM::CpAsyncOp::create(
                        b, shared.getElement(target, panel, row, column),
                        global(panel, row, column), b.getI32IntegerAttr(16),
                        NVVM::LoadCacheModifierKindAttr::get(
                            b.getContext(), NVVM::LoadCacheModifierKind::CG),
                        b.select(valid, b.i32(16), b.i32(0)));
                  });
    NVVM::CpAsyncCommitGroupOp::create(b);
    NVVM::CpAsyncWaitGroupOp::create(b, b.getI32IntegerAttr(0));
  };
  auto elementwise = [&] {
    for (const Panel &panel : panels)
      visitPieces(
          b, tile, panel, 1, places, source.columns,
          [&](Value row, Value column, Value valid) {
            Value element = b.choose(
                valid,
                [&] {
                  return b.load(b.i16Type, global(panel, row, column), 2);
                },
                b.constant(b.i16Type, 0));
            b.store(element, shared.getElement(target, panel, row, column), 2);
          });
  };
  b.ifThenElse(source.aligned, asynchronous, elementwise);
  b.fenceAsyncShared();
  arrive(b, barrier);
  return success();
}

/// Each warp stores the rows that it wrote to the buffer.
void KernelLowering::storeWarpRows(StoreOp op) {
  const SharedTile &tile = buffers.find(op.getSource())->second;
  GlobalRows target = getRows(op.getTarget(), tile.rows, op.getHeads());
  int64_t numRows = b.shape.getRowsPerWarp();
  Value warpRow = b.mul(b.warp, b.i32(numRows));
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  // Passes over the warp's rows in pieces of `piece` columns.
  auto copy = [&](int64_t piece, Type type) {
    for (const Panel &panel : getPanels(tile)) {
      int64_t perRow = tile.panelWidth / piece;
      b.loop(
          b.lane, b.i32(numRows * perRow), b.i32(32), {},
          [&](Value i, ValueRange) -> SmallVector<Value> {
            Value row =
                b.add(warpRow, b.shiftRight(i, b.i32(llvm::Log2_64(perRow))));
            Value column = b.mul(b.andBits(i, b.i32(perRow - 1)), b.i32(piece));
            RowPlace place = placeRow(b, target, row);
            Value valid = b.andBits(
                place.exists, b.compare(Predicate::slt, column,
                                        b.i32(target.columns - panel.column)));
            b.ifThen(valid, [&] {
              Value bytes =
                  b.add(place.bytes, b.widen(b.shiftLeft(column, b.i32(1))));
              Value address =
                  b.advance(b.advance(target.base, bytes), 2 * panel.column);
              Value from = shared.getElement(tile.base, panel, row, column);
              unsigned alignment = static_cast<unsigned>(2 * piece);
              b.store(b.load(type, from, alignment), address, alignment);
            });
            return {};
          });
    }
  };
  b.ifThenElse(
      target.aligned, [&] { copy(8, VectorType::get({4}, b.i32Type)); },
      [&] { copy(1, b.i16Type); });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Uniform in the warpgroup, and seen to be.
Value KernelLowering::getWarpgroup() {
  return b.shuffleFrom(b.shiftRight(b.warp, b.i32(2)), b.i32(0));
}

LogicalResult KernelLowering::lower(WgmmaOp op) {
  const SharedTile &right = buffers.find(op.getRhs())->second;
  auto type = cast<VectorType>(op.getResult().getType());
  int64_t numN = getNumN(type);
  WarpgroupProduct product;
  product.rightTile = right;
  product.rightBase = shared.getSlot(right, getScalar(op.getSlot()));
  product.transposed = op.getTransposed();
  product.n = 8 * numN;
  product.depth = (op.getDepth() + 15) / 16 * 16;
  product.elementType = op.getRhs().getType().getElementType();
  auto left = buffers.find(op.getLhs());
  if (left != buffers.end()) {
    product.leftTile = left->second;
    product.leftBase = b.advance(
        left->second.base,
        b.mul(getWarpgroup(), b.i32(64 * 2 * left->second.panelWidth)));
  } else {
    const TileValue &weights = tiles.find(op.getLhs())->second;
    if (weights.layout != Layout::Packed)
      return op.emitOpError("expected weights of 16 bits");
    product.left = weights.elements;
  }
  SmallVector<Value> acc;
  if (op.getAcc())
    acc = getAccumulators(op.getAcc());
  tiles[op.getResult()] = {Layout::Tile,
                           issueProduct(b, product, acc, numProducts)};
  return success();
}

LogicalResult KernelLowering::lower(WgmmaWaitOp op) {
  TileValue product = getTile(op.getProduct());
  product.elements = waitForProducts(b, op.getPending(), product.elements);
  tiles[op.getResult()] = std::move(product);
  return success();
}

//===----------------------------------------------------------------------===//
// Turns
//===----------------------------------------------------------------------===//

/// Threads that meet at the barrier of a turn: a warpgroup that waits for it
/// and the one that passes it on.
static constexpr int64_t turnThreads = 256;

LogicalResult KernelLowering::lower(TakeTurnOp op) {
  Value warpgroup = getWarpgroup();
  auto take = [&] {
    NVVM::BarrierOp::create(
        b, TypeRange(), b.add(warpgroup, b.i32(op.getBarrier())),
        b.i32(turnThreads), NVVM::BarrierReductionAttr(), Value());
  };
  if (op.getFirst() || op.getAlone())
    b.ifThen(b.compare(op.getAlone() ? Predicate::eq : Predicate::ne, warpgroup,
                       b.i32(0)),
             take);
  else
    take();
  return success();
}

LogicalResult KernelLowering::lower(PassTurnOp op) {
  Value warpgroup = getWarpgroup();
  Value isLast =
      b.compare(Predicate::eq, warpgroup, b.i32(b.shape.warps / 4 - 1));
  auto pass = [&] {
    Value next = b.select(isLast, b.i32(0), b.add(warpgroup, b.i32(1)));
    LLVM::CallIntrinsicOp::create(
        b, b.getStringAttr("llvm.nvvm.barrier.cta.arrive.aligned.count"),
        ValueRange{b.add(next, b.i32(op.getBarrier())), b.i32(turnThreads)});
  };
  if (op.getAlone())
    b.ifThen(isLast, pass);
  else if (op.getLast())
    b.ifThenElse(isLast, [] {}, pass);
  else
    pass();
  return success();
}

LogicalResult KernelLowering::lower(PublishOp op) {
  b.fenceAsyncShared();
  NVVM::BarrierOp::create(b, TypeRange(),
                          b.add(getWarpgroup(), b.i32(op.getBarrier())),
                          b.i32(128), NVVM::BarrierReductionAttr(), Value());
  return success();
}
