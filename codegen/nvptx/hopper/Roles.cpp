//===- Roles.cpp - schedules with warps that load and warps that compute ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/hopper/Roles.h"

#include "attn/codegen/nvptx/hopper/RoleScheduler.h"
#include "attn/passes/NextTile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

/// Threads of the four warps that load.
static constexpr int64_t producerThreads = 128;

/// The read of a tile that products take; not that of an f32 output to go on
/// from.
static vector::TransferReadOp getGlobalTile(Value value) {
  if (auto heads = value.getDefiningOp<vector::ShapeCastOp>())
    value = heads.getSource();
  auto read = value.getDefiningOp<vector::TransferReadOp>();
  auto memref =
      read ? dyn_cast<MemRefType>(read.getBase().getType()) : MemRefType();
  return memref && memref.getRank() == 4 &&
                 cast<VectorType>(getReadTile(read).getType()).getRank() == 2 &&
                 memref.getElementTypeBitWidth() == 16
             ? read
             : vector::TransferReadOp();
}

//===----------------------------------------------------------------------===//
// What the tile program says
//===----------------------------------------------------------------------===//

LogicalResult RoleScheduler::matchProducts(ForTilesOp loop) {
  Products found;
  for (Operation &op : loop.getBody().front()) {
    auto contract = dyn_cast<vector::ContractionOp>(op);
    if (auto mask = dyn_cast<vector::MaskOp>(op)) {
      contract =
          dyn_cast_if_present<vector::ContractionOp>(mask.getMaskableOp());
      auto pairs = mask.getMask().getDefiningOp<vector::BroadcastOp>();
      if (!contract || !pairs)
        return mask.emitOpError("expected a product, masked by a broadcast "
                                "tile");
      found.mask = mask;
      found.live = pairs.getSource();
    }
    if (!contract)
      continue;
    if (getGlobalTile(contract.getLhs()) && !found.scores)
      found.scores = contract;
    else if (found.scores && !found.output)
      found.output = contract;
    else
      return contract.emitOpError("expected a product of the query tile, then "
                                  "one of the weights");
  }
  if (!found.output)
    return loop.emitOpError("expected two products of tiles");
  found.key = getGlobalTile(found.scores.getRhs());
  found.value = getGlobalTile(found.output.getRhs());
  found.scaled = found.output.getAcc().getDefiningOp<arith::MulFOp>();
  found.rounded = found.output.getLhs().getDefiningOp<arith::TruncFOp>();
  if (!found.key || !found.value || !found.scaled || !found.rounded ||
      found.scores.getLhs() != getReadTile(queryRead))
    return loop.emitOpError("expected products with tiles of k and v that the "
                            "iteration reads, the weights rounded, added to a "
                            "scaled accumulator");
  for (auto read : loop.getBody().front().getOps<vector::TransferReadOp>())
    if (isa<FloatType>(read.getVectorType().getElementType()) &&
        read != found.key && read != found.value)
      return read.emitOpError("cannot be read in a kernel with roles yet; "
                              "code for sm_90 can");
  products.push_back(found);
  return success();
}

LogicalResult RoleScheduler::collect() {
  for (Operation &op : *forall.getBody()) {
    if (auto loop = dyn_cast<ForTilesOp>(op))
      loops.push_back(loop);
    else if (auto read = dyn_cast<vector::TransferReadOp>(op);
             read && getGlobalTile(read.getVector())) {
      if (queryRead)
        return read.emitOpError(
            "expected one tile read before the loops, found a second");
      queryRead = read;
    } else if (auto write = dyn_cast<vector::TransferWriteOp>(op);
               write && write.getShapedType().getRank() == 4) {
      outputWrite = write;
    }
  }
  if (!outputWrite)
    return forall.emitOpError("expected a tile of the output to be written");
  output.source = outputWrite.getBase();
  output.tile = cast<VectorType>(getStoredTile(outputWrite).getType());
  if (loops.empty())
    return success();
  if (!queryRead)
    return forall.emitOpError(
        "expected a query tile before the loops over key tiles");
  for (ForTilesOp loop : loops) {
    if (failed(matchProducts(loop)))
      return failure();
    for (Value bound : loop->getOperands().drop_back(loop.getInits().size()))
      if (Operation *op = bound.getDefiningOp();
          op && op->getBlock() == forall.getBody() &&
          !op->isBeforeInBlock(loops.front()))
        return loop.emitOpError(
            "expected bounds that are known before the first loop");
    Products &own = products.back();
    own.keys.source = own.key.getBase();
    own.values.source = own.value.getBase();
    resolveStart(own.keys);
    resolveStart(own.values);
    if (loop == loops.front())
      continue;
    const Products &before = products[products.size() - 2];
    if (loop.getInits() != loops[products.size() - 2].getResults() ||
        (before.keys.source == own.keys.source && before.live && own.live))
      return loop.emitOpError("expected it to go on from the loop before, and "
                              "one of the loops over a slice to have a mask");
  }
  query.source = queryRead.getBase();
  query.tile = cast<VectorType>(getReadTile(queryRead).getType());
  key.tile = products.front().key.getVectorType();
  value.tile = products.front().value.getVectorType();
  resolveStart(query);
  resolveStart(output);
  hasMaps = query.tensor && (output.tensor || !isOutputStaged()) &&
            llvm::all_of(products, [&](const Products &product) {
              return canLoadBoxes(product.keys, key.tile) &&
                     canLoadBoxes(product.values, value.tile);
            });
  if (!hasMaps)
    forall.emitRemark("tiles are slices that no tensor map describes: they "
                      "are copied row by row");
  return success();
}

/// Follows the slices back to an argument of the kernel. Rows past the end of
/// the tensor are past the end of the slice; rows between the two are dead. A
/// tile of the output ends where its slice or the tensor does.
void RoleScheduler::resolveStart(Slice &operand) {
  b.setInsertionPointToStart(forall.getBody());
  Value memref = operand.source;
  operand.selection = memref.getDefiningOp<SelectRowsOp>();
  if (operand.selection)
    memref = operand.selection.getSource();
  SmallVector<memref::SubViewOp> slices;
  while (auto slice = memref.getDefiningOp<memref::SubViewOp>()) {
    if (slice.getSourceType().getRank() != 4 ||
        !isConstantIntValue(slice.getMixedOffsets()[3], 0))
      return;
    for (auto [dim, step] : llvm::enumerate(slice.getStaticStrides()))
      if (ShapedType::isDynamic(step) || (dim != 2 && step != 1))
        return;
    slices.push_back(slice);
    memref = slice.getSource();
  }
  auto argument = dyn_cast<BlockArgument>(memref);
  if (!argument || !isa<func::FuncOp>(argument.getOwner()->getParentOp()))
    return;
  if (!slices.empty())
    b.setInsertionPointAfter(slices.front());
  for (memref::SubViewOp slice : slices) {
    int64_t step = slice.getStaticStrides()[2];
    operand.step *= step;
    if (operand.start[2] && step != 1)
      operand.start[2] =
          arith::MulIOp::create(b, operand.start[2], index(step));
    for (auto [start, offset] :
         llvm::zip(operand.start, slice.getMixedOffsets())) {
      if (isConstantIntValue(offset, 0))
        continue;
      Value value = getValueOrCreateConstantIndexOp(b, b.getLoc(), offset);
      start = start ? Value(arith::AddIOp::create(b, start, value)) : value;
    }
  }
  operand.tensor = argument;
}

/// Makes the accumulators as wide as the panels of V: the columns past the head
/// size are zero and never stored. Products then take whole panels.
void RoleScheduler::widenAccumulators() {
  int64_t columns = value.tile.getDimSize(1),
          padded = getPanelledHeadSize(columns);
  if (columns == padded)
    return;
  llvm::SetVector<Value> wide;
  auto add = [&](Value value) {
    auto type = dyn_cast<VectorType>(value.getType());
    if (type && type.getRank() == 2 && type.getDimSize(1) == columns)
      wide.insert(value);
  };
  // What may serve other tiles of this shape, the scores among them.
  auto serves = [](Value value) {
    return isa_and_present<arith::ConstantOp, vector::BroadcastOp>(
        value.getDefiningOp());
  };
  for (const Products &product : products)
    add(vector::ContractionOp(product.output).getResult());
  // Whatever is computed elementwise with them, and where they are carried.
  for (size_t i = 0; i < wide.size(); ++i) {
    Value value = wide[i];
    Operation *source = value.getDefiningOp();
    if (source && OpTrait::hasElementwiseMappableTraits(source))
      llvm::for_each(source->getOperands(), add);
    if (auto mask = dyn_cast_if_present<vector::MaskOp>(source))
      llvm::for_each(mask.getMaskableOp()->getResults(), add);
    if (auto contract = dyn_cast_if_present<vector::ContractionOp>(source))
      add(contract.getAcc());
    auto carry = [&](ForTilesOp loop, unsigned number) {
      add(loop.getInits()[number]);
      add(loop.getIterArgs()[number]);
      add(loop.getResults()[number]);
      add(loop.getBody().front().getTerminator()->getOperand(number));
    };
    if (auto loop = dyn_cast_if_present<ForTilesOp>(source))
      carry(loop, cast<OpResult>(value).getResultNumber());
    if (auto argument = dyn_cast<BlockArgument>(value))
      if (auto loop = dyn_cast<ForTilesOp>(argument.getOwner()->getParentOp()))
        carry(loop, argument.getArgNumber() - 1);
    if (serves(value))
      continue;
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (OpTrait::hasElementwiseMappableTraits(user)) {
        llvm::for_each(user->getResults(), add);
        llvm::for_each(user->getOperands(), add);
      } else if (auto loop = dyn_cast<ForTilesOp>(user)) {
        carry(loop, use.getOperandNumber() -
                        (loop->getNumOperands() - loop.getInits().size()));
      } else if (isa<YieldOp>(user)) {
        if (auto loop = dyn_cast<ForTilesOp>(user->getParentOp()))
          carry(loop, use.getOperandNumber());
        else
          llvm::for_each(user->getParentOp()->getResults(), add);
      } else if (auto yield = dyn_cast<vector::YieldOp>(user)) {
        llvm::for_each(yield->getParentOp()->getResults(), add);
      } else if (auto contract = dyn_cast<vector::ContractionOp>(user)) {
        add(contract.getResult());
      }
    }
  }
  for (Value value : wide) {
    auto old = cast<VectorType>(value.getType());
    auto type =
        VectorType::get({old.getDimSize(0), padded}, old.getElementType());
    if (serves(value)) {
      b.setInsertionPointAfterValue(value);
      Operation *copy = b.clone(*value.getDefiningOp());
      copy->getResult(0).setType(type);
      if (auto constant = dyn_cast<arith::ConstantOp>(copy))
        constant.setValueAttr(
            cast<SplatElementsAttr>(constant.getValue()).resizeSplat(type));
      value.replaceUsesWithIf(copy->getResult(0), [&](OpOperand &use) {
        return isa<ForTilesOp>(use.getOwner()) ||
               llvm::any_of(use.getOwner()->getResults(), [&](Value result) {
                 return wide.contains(result);
               });
      });
    } else {
      value.setType(type);
    }
  }
}

//===----------------------------------------------------------------------===//
// Shared memory
//===----------------------------------------------------------------------===//

/// Buffers and barriers, where the insertion point is.
void RoleScheduler::allocate() {
  Attribute space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  SharedPlan plan = planMemory();
  int64_t stages = schedule.getStages(), barriers = plan.barriers;
  auto makeBarriers = [&](int64_t count, Value arrivals) -> Value {
    auto type = MemRefType::get({count}, b.getI64Type(),
                                MemRefLayoutAttrInterface(), space);
    Value result =
        BarriersOp::create(b, type, b.getI64IntegerAttr(barriers), arrivals);
    barriers += 8 * count;
    return result;
  };
  Value loads = i32(producerThreads);
  if (hasMaps)
    loads = arith::SelectOp::create(
        b, TensorMapsFitOp::create(b, b.getI1Type()), i32(1), loads);
  Value releases = i32(schedule.getWarps());
  auto place = [&](Operand &operand, int64_t offset, int64_t slots) {
    int64_t rows = operand.tile.getDimSize(0),
            columns = getPanelledHeadSize(operand.tile.getDimSize(1)),
            width = getPanelWidth(operand.tile.getDimSize(1));
    auto type = MemRefType::get({slots, columns / width, rows, width},
                                operand.tile.getElementType(),
                                MemRefLayoutAttrInterface(), space);
    operand.buffer = SharedOp::create(b, type, b.getI64IntegerAttr(offset));
    operand.full = makeBarriers(slots, loads);
    if (slots > 1 || isPersistent())
      operand.empty = makeBarriers(slots, releases);
  };
  place(query, plan.query, 1);
  place(key, plan.key, stages);
  place(value, plan.value, stages);
  if (schedule.getWeightsInShared()) {
    int64_t columns = getPanelledHeadSize(key.tile.getDimSize(0)),
            width = getPanelWidth(columns), rows = query.tile.getDimSize(0);
    auto type = MemRefType::get({1, columns / width, rows, width},
                                key.tile.getElementType(),
                                MemRefLayoutAttrInterface(), space);
    weights = SharedOp::create(b, type, b.getI64IntegerAttr(plan.weights));
  }
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

RoleScheduler::Position RoleScheduler::makePosition(Value slot, Value parity) {
  return {slot, parity, toIndex(slot)};
}

RoleScheduler::Position RoleScheduler::getNext(Position position) {
  Value next = arith::AddIOp::create(b, position.slot, i32(1));
  Value wraps = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, next,
                                      i32(schedule.getStages()));
  Value flipped = arith::XOrIOp::create(b, position.parity, i32(1));
  return makePosition(
      arith::SelectOp::create(b, wraps, i32(0), next),
      arith::SelectOp::create(b, wraps, flipped, position.parity));
}

RoleScheduler::Position RoleScheduler::getPrevious(Position position) {
  Value wraps =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, position.slot, i32(0));
  Value previous = arith::SubIOp::create(b, position.slot, i32(1));
  Value flipped = arith::XOrIOp::create(b, position.parity, i32(1));
  return makePosition(
      arith::SelectOp::create(b, wraps, i32(schedule.getStages() - 1),
                              previous),
      arith::SelectOp::create(b, wraps, flipped, position.parity));
}

/// Limits the bounds of the loops to tile numbers of 32 bits, which no memory
/// is large enough to exceed.
void RoleScheduler::narrowBounds() {
  b.setInsertionPoint(loops.front());
  for (ForTilesOp loop : loops)
    for (OpOperand &bound :
         loop->getOpOperands().drop_back(loop.getInits().size())) {
      Value limited =
          arith::MinSIOp::create(b, bound.get(), index(kNoTile32 - 1));
      limited = arith::MaxSIOp::create(b, limited, index(0));
      bound.set(
          toIndex(arith::IndexCastOp::create(b, b.getI32Type(), limited)));
    }
}

SmallVector<Value> RoleScheduler::walkTiles(
    ForTilesOp loop, Value first, Position position, ValueRange state,
    function_ref<SmallVector<Value>(Value, Position, ValueRange)> body) {
  SmallVector<Value> inits{first, position.slot, position.parity};
  llvm::append_range(inits, state);
  auto before = [&](OpBuilder &, Location, ValueRange args) {
    Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, args[0],
                                       i32(kNoTile32));
    scf::ConditionOp::create(b, some, args);
  };
  auto after = [&](OpBuilder &, Location, ValueRange args) {
    Position position = makePosition(args[1], args[2]);
    SmallVector<Value> results =
        body(toIndex(args[0]), position, args.drop_front(3));
    Value from = arith::AddIOp::create(b, args[0], i32(1));
    Position next = getNext(position);
    SmallVector<Value> yielded{buildNextTile(b, b.getLoc(), loop, from),
                               next.slot, next.parity};
    llvm::append_range(yielded, results);
    scf::YieldOp::create(b, yielded);
  };
  auto loopOp = scf::WhileOp::create(
      b, SmallVector<Type>(ValueRange(inits).getTypes()), inits, before, after);
  return SmallVector<Value>(llvm::drop_begin(loopOp.getResults()));
}

/// As many heads as share the L2 cache: their keys and values are read by query
/// tiles of about the same length at about the same time.
Value RoleScheduler::countHeadsTogether() {
  constexpr int64_t cacheBytes = 32 << 20;
  Value root = products.front().keys.source;
  if (auto selection = root.getDefiningOp<SelectRowsOp>())
    root = selection.getSource();
  int64_t step = 1;
  while (auto slice = root.getDefiningOp<memref::SubViewOp>()) {
    step *= std::max<int64_t>(slice.getStaticStrides()[2], 1);
    root = slice.getSource();
  }
  if (!isa<BlockArgument>(root))
    return index(1);
  // Of a residue class of one query head; those of a group share the keys.
  int64_t bytes = 2 * (key.tile.getDimSize(1) + value.tile.getDimSize(1));
  int64_t group = 1;
  if (BlockArgument tensor = products.front().keys.tensor;
      query.tensor && tensor) {
    auto queries = cast<MemRefType>(query.tensor.getType()),
         keys = cast<MemRefType>(tensor.getType());
    if (!queries.isDynamicDim(1) && !keys.isDynamicDim(1))
      group = std::max<int64_t>(
          queries.getDimSize(1) / std::max<int64_t>(keys.getDimSize(1), 1), 1);
    // Those of a tile count as one.
    group = llvm::divideCeil(group, schedule.getHeads());
  }
  Value keys = arith::MaxUIOp::create(
      b, memref::DimOp::create(b, root, index(2)), index(1));
  // Below 2^31, as the numbers of iterations are.
  int64_t keysThatFit =
      std::clamp<int64_t>(cacheBytes * group * step / bytes, 1, 1 << 30);
  Value fit = arith::DivUIOp::create(b, index(keysThatFit), keys);
  return arith::MaxUIOp::create(b, fit, index(1));
}

/// The loop over the iterations of the block, with the rings before their first
/// slot in `parity`. Maps the coordinates of the kernel's loop to its own; the
/// insertion point goes into it.
ForItemsOp RoleScheduler::beginItems(IRMapping &mapping, Value parity) {
  auto items = ForItemsOp::create(b, heads, ValueRange{i32(0), parity});
  SmallVector<Type> types(forall.getRank(), b.getIndexType());
  types.append(3, b.getI32Type());
  Block *body = b.createBlock(&items.getBody(), items.getBody().end(), types,
                              SmallVector<Location>(types.size(), b.getLoc()));
  for (auto [coordinate, own] :
       llvm::zip(forall.getInductionVars(), body->getArguments()))
    mapping.map(coordinate, own);
  return items;
}

/// The parity of the query tile's phase in this round.
Value RoleScheduler::getQueryParity(ForItemsOp items) {
  return arith::AndIOp::create(b, items.getRound(), i32(1));
}

//===----------------------------------------------------------------------===//
// The warps that compute
//===----------------------------------------------------------------------===//

/// The output tile goes through shared memory, so that it is stored in whole
/// rows; each warp stores its own.
void RoleScheduler::stageOutput() {
  if (!isOutputStaged())
    return;
  b.setInsertionPoint(outputWrite);
  b.setLoc(outputWrite.getLoc());
  VectorType tile = output.tile;
  int64_t columns = getPanelledHeadSize(tile.getDimSize(1)),
          width = getPanelWidth(tile.getDimSize(1));
  auto type = MemRefType::get(
      {1, columns / width, tile.getDimSize(0), width}, tile.getElementType(),
      MemRefLayoutAttrInterface(),
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup));
  int64_t place = loops.empty() ? 0 : planMemory().output;
  if (place != 0) {
    // The tile before this one has left.
    if (isPersistent())
      StoreWaitOp::create(b);
  } else if (!loops.empty()) {
    // Nobody reads the query tile any more.
    NVVM::BarrierOp::create(b, TypeRange(), i32(1),
                            i32(32 * schedule.getWarps()),
                            NVVM::BarrierReductionAttr(), Value());
  }
  Value stage = SharedOp::create(b, type, b.getI64IntegerAttr(place));
  sharedBytes = std::max(sharedBytes, type.getNumElements() * 2);
  Value zero = index(0);
  vector::TransferWriteOp::create(b, getStoredTile(outputWrite), stage,
                                  ValueRange{zero, zero, zero, zero},
                                  ArrayRef<bool>{true, true});
  auto byRows = [&] {
    StoreOp::create(b, stage, output.source, schedule.getHeads());
  };
  // A warp's rows leave as one box.
  int64_t rowsPerWarp = tile.getDimSize(0) / schedule.getWarps(),
          rows = std::min(rowsPerWarp, schedule.getQueries()),
          heads = rowsPerWarp / rows, present = 1;
  if (schedule.getHeads() != 1)
    present = cast<MemRefType>(output.source.getType()).getDimSize(1);
  if (hasMaps && present % heads == 0) {
    auto choice =
        scf::IfOp::create(b, TensorMapsFitOp::create(b, b.getI1Type()),
                          /*withElseRegion=*/true);
    b.setInsertionPointToStart(choice.thenBlock());
    IRMapping mapping;
    BoxSource target = locate(output, tile, rows, heads, mapping);
    IntegerAttr some, all;
    if (schedule.getHeads() != 1) {
      some = b.getI64IntegerAttr(present);
      all = b.getI64IntegerAttr(schedule.getHeads());
    }
    StoreBoxOp::create(b, stage, target.map, target.batch, target.head,
                       target.row, target.residue, some, all);
    b.setInsertionPointToStart(choice.elseBlock());
    byRows();
  } else {
    byRows();
  }
  outputWrite.erase();
}

void RoleScheduler::buildConsumers(RolesOp roles) {
  Block *block = &roles.getConsumers().emplaceBlock();
  b.setInsertionPointToStart(block);
  ForItemsOp items;
  Position position = makePosition(i32(0), i32(0));
  Value queryParity = position.parity;
  if (isPersistent()) {
    beginTurns();
    IRMapping coordinates;
    items = beginItems(coordinates, position.parity);
    position = makePosition(items.getCarried()[0], items.getCarried()[1]);
    queryParity = getQueryParity(items);
    block = &items.getBlock();
    for (Value &start : output.start)
      if (start)
        start = coordinates.lookupOrDefault(start);
    for (Value coordinate : forall.getInductionVars())
      coordinate.replaceUsesWithIf(
          coordinates.lookup(coordinate), [&](OpOperand &use) {
            return llvm::is_contained(
                program,
                forall.getBody()->findAncestorOpInBlock(*use.getOwner()));
          });
  }
  for (Operation *op : program)
    op->moveBefore(block, block->end());
  if (!loops.empty()) {
    b.setInsertionPoint(loops.front());
    WaitOp::create(b, query.full, index(0), queryParity);
    position = computeTiles(position);
    // The next query tile may come, unless this one's place is still needed.
    if (items && !isOutputOverQuery())
      ReleaseOp::create(b, query.empty, index(0));
    for (ForTilesOp loop : llvm::reverse(loops))
      loop.erase();
    if (Value tile = getReadTile(queryRead); tile != queryRead.getVector())
      tile.getDefiningOp()->erase();
    queryRead.erase();
  }
  stageOutput();
  b.setInsertionPointToEnd(block);
  if (items) {
    if (isOutputOverQuery()) {
      StoreWaitOp::create(b);
      ReleaseOp::create(b, query.empty, index(0));
    }
    NextOp::create(b, ValueRange{position.slot, position.parity});
    b.setInsertionPointToEnd(&roles.getConsumers().front());
    endTurns();
  }
  if (hasMaps && isOutputStaged())
    StoreWaitOp::create(b);
}

/// Each role has the whole program at first.
static void eraseUnused(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block))) {
    for (Region &region : op.getRegions())
      for (Block &inner : region)
        eraseUnused(inner);
    if (isOpTriviallyDead(&op))
      op.erase();
  }
}

LogicalResult RoleScheduler::run() {
  if (failed(collect()))
    return failure();
  if (!loops.empty()) {
    widenAccumulators();
    narrowBounds();
  }
  for (Operation &op : forall.getBody()->without_terminator())
    program.push_back(&op);
  b.setInsertionPoint(forall.getBody()->getTerminator());
  if (!loops.empty()) {
    allocate();
    sharedBytes = planMemory().total;
  }
  if (isPersistent()) {
    heads = countHeadsTogether();
    forall->getParentOp()->setAttr("attn.persistent", b.getUnitAttr());
  }
  auto roles =
      RolesOp::create(b, b.getI64IntegerAttr(schedule.getProducerRegisters()),
                      b.getI64IntegerAttr(schedule.getConsumerRegisters()));
  buildProducer(roles);
  buildConsumers(roles);
  for (Region &region : roles->getRegions())
    eraseUnused(region.front());
  forall->getParentOfType<func::FuncOp>()->setAttr(
      "attn.shared_bytes", b.getI64IntegerAttr(sharedBytes));
  return success();
}

FailureOr<int64_t> nvptx::scheduleRoles(scf::ForallOp forall,
                                        ScheduleAttr schedule) {
  RoleScheduler scheduler(forall, schedule);
  if (failed(scheduler.run()))
    return failure();
  return scheduler.getNumLoops();
}
