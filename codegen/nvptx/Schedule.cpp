//===- Schedule.cpp - make copies, waits and barriers explicit ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/Passes.h"
#include "attn/codegen/nvptx/Nvptx.h"
#include "attn/codegen/nvptx/Schedules.h"
#include "attn/codegen/nvptx/hopper/Roles.h"
#include "attn/dialect/Attn.h"
#include "attn/passes/NextTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNSCHEDULE
#include "attn/codegen/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

/// Distance in the cursor from one loop to the next: more tiles than any loop
/// has, and few enough that the cursors of all loops are positive i32. In 64
/// bits, bounds and cursors are what makes kernels of unions spill.
static constexpr int64_t loopSpan = int64_t(1) << 28;
static constexpr size_t maxLoops = 7;

namespace {
/// A tile in global memory that every iteration reads, and the ring it is
/// prefetched into.
struct Ring {
  /// The slice; loops may read it through different attn.select_rows.
  Value source;
  VectorType tile;
  /// One of the reads of each loop: says which rows a tile number means.
  SmallVector<vector::TransferReadOp> reads;
  Value buffer;
};

/// The product that adds to the accumulator of a loop.
struct Product {
  vector::ContractionOp contract;
  /// The iteration argument, and its factor in this iteration.
  BlockArgument acc;
  arith::MulFOp scaled;
  /// The pairs that count; null if all do.
  Value live;
};

/// Whether NaN and infinity must not enter the product: some pairs do not
/// count, or, in f32, the parts of an infinity would be infinite and NaN.
bool absorbs(const Product &product) {
  vector::ContractionOp contract = product.contract;
  return product.live ||
         (contract && contract.getRhsType().getElementType().isF32());
}

/// Schedules the one scf.forall of a kernel.
class KernelScheduler {
public:
  KernelScheduler(scf::ForallOp forall, ScheduleAttr schedule)
      : forall(forall), schedule(schedule),
        b(forall.getLoc(), forall.getContext()) {}

  LogicalResult run();
  int64_t getNumLoops() const { return loops.size(); }

private:
  LogicalResult collect();
  LogicalResult matchProduct(ForTilesOp loop);
  void absorb(const Product &product, ForTilesOp loop, Value slot,
              IRMapping &mapping);
  void mapScaled(const Product &product, IRMapping &mapping);
  LogicalResult pipelineLoops();
  void allocate();
  void narrowBounds(ForTilesOp loop);
  void prefetch(Ring &ring, unsigned loop, Value tile, Value slot,
                bool inBounds);
  void prefetchAll(unsigned loop, Value cursor, Value slot, bool inBounds);
  /// The ring of the tile that is read, or null.
  Ring *findRing(vector::TransferReadOp read);
  Value advance(Value cursor, unsigned fromLoop);
  Value enter(unsigned loop, Value tileOrNone);
  void fetch(Value cursor, Value slot, unsigned loop, bool inBounds);
  void pipeline(unsigned index, SmallVectorImpl<Value> &state);
  void waitForTile(int64_t pending);
  Value readShared(Value buffer, Value slot, VectorType type, Value padding);
  LogicalResult stageOutput();

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(b, value, 32);
  }
  Value toIndex(Value value) {
    return arith::IndexCastOp::create(b, b.getIndexType(), value);
  }
  Value compare(arith::CmpIPredicate predicate, Value x, Value y) {
    return arith::CmpIOp::create(b, predicate, x, y);
  }

  scf::ForallOp forall;
  ScheduleAttr schedule;
  ImplicitLocOpBuilder b;
  SmallVector<ForTilesOp, 2> loops;
  SmallVector<Ring, 2> rings;
  SmallVector<Product, 2> products;
  vector::TransferReadOp query;
  /// What the read of the query tile gives, as a tile.
  Value queryTile;
  Value queryBuffer;
  /// The cursor of the first tile of loop i or of the loops after it; one more
  /// entry for the end.
  SmallVector<Value> firsts;
};
} // namespace

Value nvptx::getReadTile(vector::TransferReadOp read) {
  if (read.getVectorType().getRank() == 3 && read->hasOneUse())
    if (auto rows = dyn_cast<vector::ShapeCastOp>(*read->user_begin()))
      return rows.getResult();
  return read.getVector();
}

Value nvptx::getStoredTile(vector::TransferWriteOp write) {
  auto heads = write.getVector().getDefiningOp<vector::ShapeCastOp>();
  return heads ? heads.getSource() : Value(write.getVector());
}

/// A tile that products multiply. What else is read from global memory, the
/// inputs of a score region, goes to registers as it is.
static bool isGlobalTile(vector::TransferReadOp read) {
  auto memref = dyn_cast<MemRefType>(read.getBase().getType());
  Value tile = getReadTile(read);
  return memref && memref.getRank() == 4 &&
         cast<VectorType>(tile.getType()).getRank() == 2 &&
         llvm::any_of(tile.getUsers(), llvm::IsaPred<vector::ContractionOp>);
}

/// What the tile is read from, whichever of its rows.
static Value getSlice(vector::TransferReadOp read) {
  if (auto rows = read.getBase().getDefiningOp<SelectRowsOp>())
    return rows.getSource();
  return read.getBase();
}

Value nvptx::cloneSlice(OpBuilder &b, Value value, Block &body,
                        IRMapping &mapping) {
  if (mapping.contains(value))
    return mapping.lookup(value);
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != &body)
    return value;
  for (Value operand : op->getOperands())
    cloneSlice(b, operand, body, mapping);
  // What the regions of a search use from outside.
  for (Region &region : op->getRegions())
    region.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        cloneSlice(b, operand, body, mapping);
    });
  b.clone(*op, mapping);
  return mapping.lookup(value);
}

Ring *KernelScheduler::findRing(vector::TransferReadOp read) {
  return llvm::find_if(
      rings, [&](const Ring &ring) { return ring.source == getSlice(read); });
}

LogicalResult KernelScheduler::collect() {
  for (Operation &op : *forall.getBody()) {
    if (auto loop = dyn_cast<ForTilesOp>(op)) {
      loops.push_back(loop);
    } else if (auto read = dyn_cast<vector::TransferReadOp>(op);
               read && isGlobalTile(read)) {
      if (query)
        return read.emitOpError(
            "expected one tile read before the loops, found a second");
      query = read;
      queryTile = getReadTile(read);
    }
  }
  if (loops.size() > maxLoops)
    return forall.emitOpError("expected at most ")
           << maxLoops << " loops over key tiles, found " << loops.size();
  if (!loops.empty() && !query)
    return forall.emitOpError(
        "expected a query tile before the loops over key tiles");
  for (auto [number, loop] : llvm::enumerate(loops)) {
    if (failed(matchProduct(loop)))
      return failure();
    for (auto read : loop.getBody().front().getOps<vector::TransferReadOp>()) {
      if (!isGlobalTile(read))
        continue;
      Ring *ring = findRing(read);
      if (ring == rings.end()) {
        rings.push_back({getSlice(read), read.getVectorType(), {}, {}});
        ring = &rings.back();
        ring->reads.resize(loops.size());
      }
      ring->reads[number] = read;
    }
  }
  for (const Ring &ring : rings)
    if (!llvm::all_of(ring.reads, [](vector::TransferReadOp read) {
          return static_cast<bool>(read);
        }))
      return forall.emitOpError("expected every loop to read the same slices");
  return success();
}

/// Finds the product that adds to the accumulator of `loop`.
LogicalResult KernelScheduler::matchProduct(ForTilesOp loop) {
  Product found;
  auto take = [&](vector::ContractionOp contract, Value live) {
    auto scaled = contract.getAcc().getDefiningOp<arith::MulFOp>();
    auto acc =
        dyn_cast_if_present<BlockArgument>(scaled ? scaled.getLhs() : Value());
    if (acc && acc.getOwner() == &loop.getBody().front())
      found = {contract, acc, scaled, live};
  };
  for (Operation &op : loop.getBody().front()) {
    if (auto contract = dyn_cast<vector::ContractionOp>(op))
      take(contract, Value());
    auto mask = dyn_cast<vector::MaskOp>(op);
    auto pairs = mask ? mask.getMask().getDefiningOp<vector::BroadcastOp>()
                      : vector::BroadcastOp();
    if (auto contract = dyn_cast_if_present<vector::ContractionOp>(
            pairs ? mask.getMaskableOp() : nullptr))
      take(contract, pairs.getSource());
    if (mask && !found.contract)
      return mask.emitOpError("expected a product that adds to the scaled "
                              "accumulator, masked by a broadcast tile");
  }
  products.push_back(found);
  return success();
}

/// Begins an iteration over a tile of V that may hold what is not finite and is
/// masked or in f32.
void KernelScheduler::absorb(const Product &product, ForTilesOp loop,
                             Value slot, IRMapping &mapping) {
  Value live;
  if (product.live)
    live = cloneSlice(b, product.live, loop.getBody().front(), mapping);
  vector::ContractionOp contract = product.contract;
  auto read = contract.getRhs().getDefiningOp<vector::TransferReadOp>();
  Ring *ring = findRing(read);
  Value acc = mapping.lookup(product.acc);
  acc = AbsorbOp::create(b, acc.getType(), acc, ring->buffer, slot, live);
  mapping.map(product.acc, acc);
}

/// The accumulator times its factor. An infinite sum stays infinite however
/// small the factor: 0 would make it NaN.
void KernelScheduler::mapScaled(const Product &product, IRMapping &mapping) {
  arith::MulFOp scaled = product.scaled;
  Value factor = mapping.lookupOrDefault(scaled.getRhs());
  auto type = cast<VectorType>(factor.getType());
  Value least = arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, std::numeric_limits<float>::min()));
  factor = arith::MaxNumFOp::create(b, factor, least);
  mapping.map(scaled.getResult(),
              arith::MulFOp::create(b, mapping.lookup(scaled.getLhs()), factor)
                  .getResult());
}

void KernelScheduler::allocate() {
  int64_t offset = 0;
  auto shared = [&](VectorType tile, int64_t slots) -> Value {
    int64_t rows = tile.getDimSize(0),
            columns =
                getPaddedHeadSize(tile.getDimSize(1), tile.getElementType());
    auto space = gpu::AddressSpaceAttr::get(b.getContext(),
                                            gpu::AddressSpace::Workgroup);
    auto type = MemRefType::get({slots, rows, columns}, tile.getElementType(),
                                MemRefLayoutAttrInterface(), space);
    Value buffer = SharedOp::create(b, type, b.getI64IntegerAttr(offset));
    offset += slots * rows * columns * tile.getElementTypeBitWidth() / 8;
    return buffer;
  };
  queryBuffer = shared(cast<VectorType>(queryTile.getType()), 1);
  for (Ring &ring : rings)
    ring.buffer = shared(ring.tile, schedule.getStages());
}

void KernelScheduler::prefetch(Ring &ring, unsigned loop, Value tile,
                               Value slot, bool inBounds) {
  IRMapping mapping;
  mapping.map(loops[loop].getInductionVar(), toIndex(tile));
  vector::TransferReadOp read = ring.reads[loop];
  Value row = cloneSlice(b, read.getIndices()[2], loops[loop].getBody().front(),
                         mapping);
  LoadAsyncOp::create(b, read.getBase(), row, ring.buffer, slot, inBounds);
}

/// Starts the copies of the cursor's tile, which lies in `loop` or a later one.
void KernelScheduler::prefetchAll(unsigned loop, Value cursor, Value slot,
                                  bool inBounds) {
  // Loops that read the same rows are told apart by nothing but the number of
  // the tile.
  auto readsAlike = [&](unsigned other) {
    return llvm::all_of(rings, [&](Ring &ring) {
      return ring.reads[other].getBase() == ring.reads[loop].getBase();
    });
  };
  unsigned next = loop + 1;
  while (next < loops.size() && readsAlike(next))
    ++next;
  auto prefetchHere = [&] {
    Value tile = cursor;
    if (loops.size() > 1)
      tile = loop + 1 == loops.size()
                 ? Value(arith::SubIOp::create(b, cursor, i32(loop * loopSpan)))
                 : Value(arith::AndIOp::create(b, cursor, i32(loopSpan - 1)));
    for (Ring &ring : rings)
      prefetch(ring, loop, tile, slot, inBounds);
  };
  if (next == loops.size())
    return prefetchHere();
  auto branch = scf::IfOp::create(
      b, compare(arith::CmpIPredicate::slt, cursor, i32(next * loopSpan)),
      /*withElseRegion=*/true);
  OpBuilder::InsertionGuard insertion(b);
  b.setInsertionPointToStart(branch.thenBlock());
  prefetchHere();
  b.setInsertionPointToStart(branch.elseBlock());
  prefetchAll(next, cursor, slot, inBounds);
}

/// The cursor of tile `tileOrNone` of a loop, or of what comes after that loop.
Value KernelScheduler::enter(unsigned loop, Value tileOrNone) {
  Value found = compare(arith::CmpIPredicate::slt, tileOrNone, i32(loopSpan));
  Value cursor =
      loop == 0 ? tileOrNone
                : arith::AddIOp::create(b, tileOrNone, i32(loop * loopSpan));
  return arith::SelectOp::create(b, found, cursor, firsts[loop + 1]);
}

/// The cursor after `cursor`, which lies in loop `fromLoop` or a later one.
Value KernelScheduler::advance(Value cursor, unsigned fromLoop) {
  // With two stages the cursor is the running iteration's own; else it may have
  // run ahead into a later loop.
  unsigned toLoop = schedule.getStages() == 2 ? fromLoop + 1 : loops.size();
  Value result;
  for (unsigned loop = toLoop; loop-- > fromLoop;) {
    Value from = arith::AddIOp::create(
        b, cursor, i32(1 - static_cast<int64_t>(loop) * loopSpan));
    Value next = enter(loop, buildNextTile(b, b.getLoc(), loops[loop], from));
    if (result)
      next = arith::SelectOp::create(
          b,
          compare(arith::CmpIPredicate::slt, cursor,
                  i32(static_cast<int64_t>(loop + 1) * loopSpan)),
          next, result);
    result = next;
  }
  return result;
}

/// Starts the copies of the cursor's tile, if there is one; always ends the
/// group, so that waits can count.
void KernelScheduler::fetch(Value cursor, Value slot, unsigned loop,
                            bool inBounds) {
  Value more =
      compare(arith::CmpIPredicate::slt, cursor, i32(loops.size() * loopSpan));
  auto guard = scf::IfOp::create(b, more, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard insertion(b);
    b.setInsertionPointToStart(guard.thenBlock());
    prefetchAll(loop, cursor, slot, inBounds);
  }
  NVVM::CpAsyncCommitGroupOp::create(b);
}

void KernelScheduler::waitForTile(int64_t pending) {
  NVVM::CpAsyncWaitGroupOp::create(b, b.getI32IntegerAttr(pending));
  NVVM::BarrierOp::create(b);
}

Value KernelScheduler::readShared(Value buffer, Value slot, VectorType type,
                                  Value padding) {
  Value zero = index(0);
  return vector::TransferReadOp::create(b, type, buffer,
                                        ValueRange{slot, zero, zero}, padding,
                                        ArrayRef<bool>{true, true});
}

/// Replaces loop number `number`. `state` holds the slot and the cursors of the
/// tiles in flight, before and after.
void KernelScheduler::pipeline(unsigned number, SmallVectorImpl<Value> &state) {
  ForTilesOp loop = loops[number];
  int64_t stages = schedule.getStages();
  bool last = number + 1 == loops.size();
  SmallVector<Value> inits(state.begin(), state.end());
  llvm::append_range(inits, loop.getInits());
  SmallVector<Type> types(ValueRange(inits).getTypes());
  Value end = i32(static_cast<int64_t>(number + 1) * loopSpan);
  unsigned numState = state.size();

  auto before = [&](OpBuilder &, Location, ValueRange args) {
    scf::ConditionOp::create(
        b, compare(arith::CmpIPredicate::slt, args[1], end), args);
  };
  auto after = [&](OpBuilder &, Location, ValueRange args) {
    Value slot = args[0], cursor = args[1];
    auto step = [&](int64_t by) -> Value {
      if (stages == 2)
        return arith::SubIOp::create(b, i32(1), slot);
      Value sum = arith::AddIOp::create(b, slot, i32(by));
      Value wrapped = arith::AddIOp::create(b, slot, i32(by - stages));
      return arith::SelectOp::create(
          b, compare(arith::CmpIPredicate::slt, sum, i32(stages)), sum,
          wrapped);
    };
    IRMapping mapping;
    Value tile = number == 0
                     ? cursor
                     : arith::SubIOp::create(b, cursor, i32(number * loopSpan));
    mapping.map(loop.getInductionVar(), toIndex(tile));
    mapping.map(loop.getIterArgs(), args.drop_front(numState));
    const Product &product = products[number];
    if (absorbs(product)) {
      NVVM::CpAsyncWaitGroupOp::create(b, b.getI32IntegerAttr(stages - 2));
      absorb(product, loop, toIndex(slot), mapping);
    } else {
      waitForTile(stages - 2);
    }

    Value fetched = advance(args[numState - 1], number);
    fetch(fetched, toIndex(step(stages - 1)), number, last && !product.live);
    if (!schedule.getQInRegisters())
      mapping.map(queryTile, readShared(queryBuffer, index(0),
                                        cast<VectorType>(queryTile.getType()),
                                        query.getPadding()));
    bool canBeInfinite = llvm::any_of(products, absorbs);
    for (Operation &op : loop.getBody().front().without_terminator()) {
      if (op.getNumResults() != 0 && mapping.contains(op.getResult(0)))
        continue;
      if (&op == product.scaled && canBeInfinite) {
        mapScaled(product, mapping);
        continue;
      }
      if (auto mask = dyn_cast<vector::MaskOp>(op)) {
        // The weights of dead pairs are zero, and v is finite by now.
        vector::ContractionOp contract = product.contract;
        Operation *plain = b.clone(*contract, mapping);
        mapping.map(mask.getResult(0), plain->getResult(0));
        continue;
      }
      auto read = dyn_cast<vector::TransferReadOp>(op);
      if (!read || !isGlobalTile(read)) {
        b.clone(op, mapping);
        continue;
      }
      Ring *ring = findRing(read);
      mapping.map(read.getVector(), readShared(ring->buffer, toIndex(slot),
                                               ring->tile, read.getPadding()));
    }

    SmallVector<Value> results{step(1)};
    llvm::append_range(results, args.slice(2, numState - 2));
    results.push_back(fetched);
    for (Value value :
         cast<YieldOp>(loop.getBody().front().getTerminator()).getValues())
      results.push_back(mapping.lookupOrDefault(value));
    scf::YieldOp::create(b, results);
  };
  auto pipelined = scf::WhileOp::create(b, types, inits, before, after);
  state.assign(pipelined.getResults().begin(),
               pipelined.getResults().begin() + numState);
  loop.getResults().replaceAllUsesWith(
      pipelined.getResults().drop_front(numState));
}

/// The output tile goes through shared memory, so that it is stored in whole
/// rows.
LogicalResult KernelScheduler::stageOutput() {
  for (auto write : llvm::make_early_inc_range(
           forall.getBody()->getOps<vector::TransferWriteOp>())) {
    // An f32 tile is written in whole sectors as it lies in registers.
    if (cast<MemRefType>(write.getBase().getType()).getRank() != 4 ||
        write.getVectorType().getElementType().isF32())
      continue;
    Value rows = getStoredTile(write);
    auto tile = cast<VectorType>(rows.getType());
    b.setInsertionPoint(write);
    b.setLoc(write.getLoc());
    waitForTile(0);
    auto space = gpu::AddressSpaceAttr::get(b.getContext(),
                                            gpu::AddressSpace::Workgroup);
    auto type = MemRefType::get(
        {1, tile.getDimSize(0),
         getPaddedHeadSize(tile.getDimSize(1), tile.getElementType())},
        tile.getElementType(), MemRefLayoutAttrInterface(), space);
    Value stage = SharedOp::create(b, type, b.getI64IntegerAttr(0));
    Value zero = index(0);
    vector::TransferWriteOp::create(b, rows, stage,
                                    ValueRange{zero, zero, zero},
                                    ArrayRef<bool>{true, true});
    NVVM::BarrierOp::create(b);
    StoreOp::create(b, stage, write.getBase(), schedule.getHeads());
    write.erase();
  }
  return success();
}

/// Limits the bounds of `loop` to tile numbers, which no memory is large enough
/// to exceed, and has them pass through 32 bits.
void KernelScheduler::narrowBounds(ForTilesOp loop) {
  size_t numBounds = loop->getNumOperands() - loop.getInits().size();
  for (OpOperand &bound : loop->getOpOperands().take_front(numBounds)) {
    Value limited = arith::MinSIOp::create(b, bound.get(), index(loopSpan));
    limited = arith::MaxSIOp::create(b, limited, index(0));
    bound.set(toIndex(arith::IndexCastOp::create(b, b.getI32Type(), limited)));
  }
}

/// Starts the first copies and replaces the loops.
LogicalResult KernelScheduler::pipelineLoops() {
  b.setInsertionPoint(loops.front());
  b.setLoc(loops.front().getLoc());
  allocate();

  firsts.assign(loops.size() + 1, Value());
  firsts.back() = i32(loops.size() * loopSpan);
  Value zero = index(0);
  for (unsigned loop = loops.size(); loop-- > 0;) {
    // A later loop's bounds must be known here, before the first loop.
    for (Value bound :
         loops[loop]->getOperands().drop_back(loops[loop].getInits().size()))
      if (Operation *op = bound.getDefiningOp();
          op && op->getBlock() == forall.getBody() &&
          !op->isBeforeInBlock(loops.front()))
        return loops[loop].emitOpError(
            "expected bounds that are known before the first loop");
    narrowBounds(loops[loop]);
    firsts[loop] =
        enter(loop, buildNextTile(b, b.getLoc(), loops[loop], i32(0)));
  }

  // The prologue: the query tile belongs to the first group.
  LoadAsyncOp::create(b, query.getBase(), zero, queryBuffer, zero,
                      /*in_bounds=*/false, schedule.getHeads());
  SmallVector<Value> state{arith::ConstantIntOp::create(b, 0, 32),
                           firsts.front()};
  fetch(state.back(), zero, 0, /*inBounds=*/false);
  for (int64_t stage = 1; stage + 1 < schedule.getStages(); ++stage) {
    state.push_back(advance(state.back(), 0));
    fetch(state.back(), index(stage), 0, /*inBounds=*/false);
  }
  if (schedule.getQInRegisters()) {
    waitForTile(schedule.getStages() - 2);
    Value tile =
        readShared(queryBuffer, zero, cast<VectorType>(queryTile.getType()),
                   query.getPadding());
    queryTile.replaceAllUsesWith(tile);
  }

  for (unsigned number = 0; number < loops.size(); ++number) {
    b.setInsertionPoint(loops[number]);
    b.setLoc(loops[number].getLoc());
    pipeline(number, state);
  }
  for (ForTilesOp loop : llvm::reverse(loops))
    loop.erase();
  return success();
}

LogicalResult KernelScheduler::run() {
  if (schedule.getStages() < 2)
    return forall.emitOpError(
               "expected a schedule of at least 2 stages, found ")
           << schedule.getStages();
  // A mask that leaves every row empty has no loops: only the output is
  // written.
  if (failed(collect()) || (!loops.empty() && failed(pipelineLoops())) ||
      failed(stageOutput()))
    return failure();
  if (query) {
    if (queryTile != query.getVector())
      queryTile.getDefiningOp()->erase();
    query.erase();
  }
  int64_t bytes = 0;
  for (auto shared : forall.getBody()->getOps<SharedOp>())
    bytes = std::max<int64_t>(
        bytes,
        shared.getOffset() + shared.getType().getNumElements() *
                                 shared.getType().getElementTypeBitWidth() / 8);
  forall->getParentOfType<func::FuncOp>()->setAttr("attn.shared_bytes",
                                                   b.getI64IntegerAttr(bytes));
  return success();
}

namespace {
struct Schedule : attn::impl::AttnScheduleBase<Schedule> {
  using AttnScheduleBase::AttnScheduleBase;

  void runOnOperation() override {
    func::FuncOp kernel = getOperation();
    if (!kernel->hasAttr("attn.kernel"))
      return;
    auto schedule = kernel->getAttrOfType<ScheduleAttr>("attn.schedule");
    auto foralls = kernel.getOps<scf::ForallOp>();
    if (!schedule || !llvm::hasSingleElement(foralls)) {
      kernel.emitOpError(
          "expected a kernel with attn.schedule and one scf.forall");
      return signalPassFailure();
    }
    if (schedule.hasRoles()) {
      FailureOr<int64_t> loops = scheduleRoles(*foralls.begin(), schedule);
      if (failed(loops))
        return signalPassFailure();
      ++numKernels;
      numLoops += *loops;
      return;
    }
    KernelScheduler scheduler(*foralls.begin(), schedule);
    if (failed(scheduler.run()))
      return signalPassFailure();
    ++numKernels;
    numLoops += scheduler.getNumLoops();
  }
};
} // namespace
