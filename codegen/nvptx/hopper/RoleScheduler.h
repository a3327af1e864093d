//===- RoleScheduler.h - builds a schedule with roles ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_HOPPER_ROLESCHEDULER_H
#define ATTN_CODEGEN_NVPTX_HOPPER_ROLESCHEDULER_H

#include "attn/codegen/nvptx/Nvptx.h"
#include "attn/codegen/nvptx/Schedules.h"
#include "attn/dialect/Attn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir {
class IRMapping;
}

namespace mlir::attn::nvptx {

/// What tiles are read from.
struct Slice {
  Value source;
  /// The rows of a slice that `source` selects; null if it is the slice.
  SelectRowsOp selection;
  /// The tensor that the slice is one of, where it starts in it, a null
  /// position being 0, and how far apart its rows are; no tensor if boxes of it
  /// are no tiles of `source`.
  BlockArgument tensor;
  std::array<Value, 4> start = {};
  int64_t step = 1;
};

/// A tile in global memory, the slots that it is loaded into, and the barriers
/// that say when a slot is full and when it is empty.
struct Operand : Slice {
  VectorType tile;
  Value buffer, full, empty;
};

/// A tensor map, and where a slice starts in it; the residue is null if its
/// rows are all those of the tensor.
struct BoxSource {
  Value map, batch, head, row, residue;
};

/// The two products of a loop over tiles.
struct Products {
  vector::ContractionOp scores, output;
  /// The reads of K and V.
  vector::TransferReadOp key, value;
  Slice keys, values;
  /// The accumulator's factor in this iteration, and the weights in 16 bits.
  arith::MulFOp scaled;
  arith::TruncFOp rounded;
  /// The pairs that count, and the mask around the second product; null if all
  /// do.
  Value live;
  vector::MaskOp mask;
};

class RoleScheduler {
public:
  RoleScheduler(scf::ForallOp forall, ScheduleAttr schedule)
      : forall(forall), schedule(schedule),
        b(forall.getLoc(), forall.getContext()) {}

  LogicalResult run();
  int64_t getNumLoops() const { return loops.size(); }

private:
  LogicalResult collect();
  LogicalResult matchProducts(ForTilesOp loop);
  void widenAccumulators();
  void narrowBounds();
  void resolveStart(Slice &operand);
  void allocate();
  bool isPersistent() const {
    return schedule.getPersistent() && !loops.empty();
  }
  Value countHeadsTogether();
  ForItemsOp beginItems(IRMapping &mapping, Value parity);
  Value getQueryParity(ForItemsOp items);
  void buildConsumers(RolesOp roles);
  void stageOutput();
  /// An f32 tile is written in whole sectors as it lies in registers.
  bool isOutputStaged() const { return !output.tile.getElementType().isF32(); }
  bool isOutputOverQuery() {
    return isOutputStaged() && planMemory().output == 0;
  }

  /// Where a ring of slots stands: the number of a slot, an i32, the parity of
  /// its phase, and the number as an index.
  struct Position {
    Value slot, parity, place;
  };
  Position makePosition(Value slot, Value parity);
  Position getNext(Position position);
  Position getPrevious(Position position);

  /// A loop over the tiles of `loop` from number `first`, an i32, on that
  /// carries a position and `state`. `body` gets the number as an index.
  SmallVector<Value>
  walkTiles(ForTilesOp loop, Value first, Position position, ValueRange state,
            function_ref<SmallVector<Value>(Value tile, Position position,
                                            ValueRange state)>
                body);

  // The warps that load: Producer.cpp.

  void buildProducer(RolesOp roles);
  bool canLoadBoxes(const Slice &slice, VectorType tile);
  BoxSource locate(const Slice &operand, VectorType tile, int64_t rows,
                   int64_t heads, IRMapping &mapping);
  /// What the loads of an item need: slices, bounds, and the loops over tiles.
  struct LoadPlan {
    IRMapping mapping;
    SmallVector<ForTilesOp> loops;
  };
  LoadPlan planLoads(IRMapping mapping);
  Position buildLoads(LoadPlan &plan, Position position, Value queryParity,
                      bool boxes);
  void buildItemLoads(bool boxes);

  // The main loop of the warps that compute: Consumers.cpp.

  /// Builds what the warps that compute do with the loops over tiles, whose
  /// results it replaces, at the insertion point. The rings stand at `position`
  /// and at what it returns.
  Position computeTiles(Position position);
  SmallVector<Value> computeInOrder(Position &position);
  SmallVector<Value> computeOverlapped(Position &position);
  Value issueScores(Position position);
  Value issueOutput(Value weights, Value acc, Position position);
  Value finish(Operand &operand, Value product, Position position,
               int64_t pending);
  void buildSoftmax(unsigned number, IRMapping &mapping);
  Value passWeights(unsigned number, IRMapping &mapping);
  Value scale(unsigned number, IRMapping &mapping);
  Value absorb(unsigned number, IRMapping &mapping, Value acc,
               Position position);
  void takeTurn(bool first = false);
  void passTurn(bool last = false);
  void beginTurns();
  void endTurns();

  SharedPlan planMemory() {
    return planSharedMemory(schedule,
                            {query.tile.getDimSize(1), value.tile.getDimSize(1),
                             query.tile.getElementType()});
  }
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(b, value, 32);
  }
  Value toIndex(Value value) {
    return arith::IndexCastOp::create(b, b.getIndexType(), value);
  }

  scf::ForallOp forall;
  ScheduleAttr schedule;
  ImplicitLocOpBuilder b;
  SmallVector<ForTilesOp, 2> loops;
  SmallVector<Products, 2> products;
  /// The ops of the tile program, before the roles share them.
  SmallVector<Operation *> program;
  vector::TransferReadOp queryRead;
  vector::TransferWriteOp outputWrite;
  Operand query, key, value, output;
  /// How many heads a persistent kernel computes together.
  Value heads;
  /// Where the weights lie, if in shared memory.
  Value weights;
  /// Whether tiles are copied through tensor maps.
  bool hasMaps = false;
  int64_t sharedBytes = 0;
};

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_HOPPER_ROLESCHEDULER_H
