//===- Producer.cpp - what the warps that load do ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/hopper/RoleScheduler.h"
#include "attn/codegen/nvptx/hopper/Roles.h"

#include "attn/passes/NextTile.h"

#include "mlir/IR/IRMapping.h"

#include <numeric>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

/// Selected rows are adjacent in groups.
static int64_t getRowsPerBox(SelectRowsOp selection, int64_t tileRows) {
  return selection ? std::gcd<int64_t>(selection.getCount(), tileRows)
                   : tileRows;
}

/// Whether boxes of a tensor make up the tiles of `slice`, each box on 128
/// bytes of shared memory.
bool RoleScheduler::canLoadBoxes(const Slice &slice, VectorType tile) {
  SelectRowsOp selection = slice.selection;
  // Coordinates have 32 bits.
  if (selection && selection.getStep() >= uint64_t(1) << 30)
    return false;
  int64_t rows = getRowsPerBox(selection, tile.getDimSize(0));
  return slice.tensor &&
         rows * 2 * getPanelWidth(tile.getDimSize(1)) % 128 == 0;
}

BoxSource RoleScheduler::locate(const Slice &operand, VectorType tile,
                                int64_t rows, int64_t heads,
                                IRMapping &mapping) {
  auto position = [&](unsigned dim) {
    return operand.start[dim] ? mapping.lookupOrDefault(operand.start[dim])
                              : index(0);
  };
  BoxSource source{{}, position(0), position(1), position(2), {}};
  IntegerAttr modulus;
  if (operand.step != 1) {
    modulus = b.getI64IntegerAttr(operand.step);
    Value step = index(operand.step), row = source.row;
    source.residue = arith::RemUIOp::create(b, row, step);
    source.row = arith::DivUIOp::create(b, row, step);
  }
  source.map = TensorMapOp::create(
      b, b.getIndexType(), operand.tensor, source.residue, modulus,
      b.getI64IntegerAttr(rows),
      b.getI64IntegerAttr(getPanelWidth(tile.getDimSize(1))),
      b.getI64IntegerAttr(heads));
  if (SelectRowsOp selection = operand.selection)
    source.row =
        arith::AddIOp::create(b, source.row, index(selection.getFirst()));
  return source;
}

/// Both roles compute the slices and bounds for themselves: nothing that one of
/// them needs stays in the other's registers.
RoleScheduler::LoadPlan RoleScheduler::planLoads(IRMapping mapping) {
  LoadPlan plan{std::move(mapping), {}};
  for (Operation *op : program) {
    if (op == loops.front().getOperation())
      break;
    if (llvm::none_of(op->getResultTypes(), llvm::IsaPred<VectorType>))
      b.clone(*op, plan.mapping);
  }
  for (ForTilesOp loop : loops) {
    IRMapping scratch(plan.mapping); // What is inside of a loop stays itself.
    plan.loops.push_back(cast<ForTilesOp>(b.clone(*loop, scratch)));
  }
  return plan;
}

/// Loads the tiles of one item. The rings stand at `position` and at what it
/// returns; `queryParity` is null if the place of Q is free.
RoleScheduler::Position RoleScheduler::buildLoads(LoadPlan &plan,
                                                  Position position,
                                                  Value queryParity,
                                                  bool boxes) {
  IRMapping &mapping = plan.mapping;
  // By the tensor and what is selected of it.
  DenseMap<Value, BoxSource> sources;
  auto addSource = [&](const Slice &slice, VectorType tile, int64_t heads) {
    if (boxes && !sources.contains(slice.source))
      sources[slice.source] =
          locate(slice, tile,
                 getRowsPerBox(slice.selection, tile.getDimSize(0) / heads),
                 heads, mapping);
  };
  addSource(query, query.tile, schedule.getHeads());
  for (const Products &product : products) {
    addSource(product.keys, key.tile, 1);
    addSource(product.values, value.tile, 1);
  }
  auto load = [&](const Slice &slice, Operand &operand, Value row, Value slot) {
    if (!boxes) {
      LoadRowsOp::create(b, mapping.lookupOrDefault(slice.source), row,
                         operand.buffer, slot, operand.full,
                         &operand == &query ? schedule.getHeads() : 1);
      return;
    }
    const BoxSource &source = sources[slice.source];
    Value number;
    IntegerAttr count, step;
    if (SelectRowsOp selection = slice.selection) {
      number = std::exchange(row, source.row);
      count = selection.getCountAttr();
      step = selection.getStepAttr();
    } else if (slice.start[2]) {
      row = arith::AddIOp::create(b, source.row, row);
    }
    LoadBoxOp::create(b, source.map, source.batch, source.head, row,
                      source.residue, number, count, step, operand.buffer, slot,
                      operand.full);
  };
  auto fill = [&](const Slice &slice, Operand &operand, Value row,
                  Position position) {
    WaitOp::create(b, operand.empty, position.place, position.parity);
    load(slice, operand, row, position.place);
  };
  // With overlap a tile's product with V follows the next one's with K, and so
  // do the copies. `row` of V is due, unless it is negative.
  auto fillDue = [&](const Slice &slice, Value row, Position next) {
    Value isDue =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sge, row, index(0));
    auto some = scf::IfOp::create(b, isDue, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(some.thenBlock());
    fill(slice, value, row, getPrevious(next));
  };
  if (queryParity)
    WaitOp::create(b, query.empty, index(0), queryParity);
  load(query, query, index(0), index(0));
  SmallVector<Value> due;
  if (schedule.getOverlap())
    due.push_back(index(-1));
  const Products *before = nullptr;
  for (auto [loop, product] : llvm::zip_equal(plan.loops, products)) {
    // One slice's tiles are due at a time.
    if (!due.empty() && before &&
        before->values.source != product.values.source) {
      fillDue(before->values, due.front(), position);
      due.front() = index(-1);
    }
    before = &product;
    auto body = [&, product = product](Value tile, Position position,
                                       ValueRange due) -> SmallVector<Value> {
      auto getRow = [&](vector::TransferReadOp read) {
        IRMapping inner(mapping);
        inner.map(read->getParentOfType<ForTilesOp>().getInductionVar(), tile);
        return cloneSlice(b, read.getIndices()[2], *read->getBlock(), inner);
      };
      fill(product.keys, key, getRow(product.key), position);
      if (due.empty()) {
        fill(product.values, value, getRow(product.value), position);
        return {};
      }
      fillDue(product.values, due.front(), position);
      return {getRow(product.value)};
    };
    Value first = buildNextTile(b, b.getLoc(), loop, i32(0));
    SmallVector<Value> state = walkTiles(loop, first, position, due, body);
    position = makePosition(state[0], state[1]);
    due.assign(state.begin() + 2, state.end());
  }
  if (!due.empty())
    fillDue(products.back().values, due.front(), position);
  return position;
}

/// The loads of all items, through tensor maps or by rows.
void RoleScheduler::buildItemLoads(bool boxes) {
  OpBuilder::InsertionGuard guard(b);
  IRMapping mapping;
  // Slots that were never filled count as released.
  Position position = makePosition(i32(0), i32(1));
  ForItemsOp items = beginItems(mapping, position.parity);
  position = makePosition(items.getCarried()[0], items.getCarried()[1]);
  Value queryParity = arith::XOrIOp::create(b, getQueryParity(items), i32(1));
  LoadPlan plan = planLoads(std::move(mapping));
  position = buildLoads(plan, position, queryParity, boxes);
  NextOp::create(b, ValueRange{position.slot, position.parity});
  for (ForTilesOp loop : plan.loops)
    loop.erase();
}

void RoleScheduler::buildProducer(RolesOp roles) {
  b.setInsertionPointToStart(&roles.getProducer().emplaceBlock());
  if (loops.empty())
    return;
  // One item has one plan for both ways to load: two cost registers.
  LoadPlan plan;
  if (!isPersistent())
    plan = planLoads({});
  auto build = [&](bool boxes) {
    if (isPersistent())
      buildItemLoads(boxes);
    else
      buildLoads(plan, makePosition(i32(0), i32(1)), Value(), boxes);
  };
  if (hasMaps) {
    auto choice =
        scf::IfOp::create(b, TensorMapsFitOp::create(b, b.getI1Type()),
                          /*withElseRegion=*/true);
    b.setInsertionPointToStart(choice.thenBlock());
    auto one = scf::IfOp::create(b, ElectOp::create(b, b.getI1Type()),
                                 /*withElseRegion=*/false);
    b.setInsertionPointToStart(one.thenBlock());
    build(/*boxes=*/true);
    b.setInsertionPointToStart(choice.elseBlock());
  }
  build(/*boxes=*/false);
  for (ForTilesOp loop : plan.loops)
    loop.erase();
}
