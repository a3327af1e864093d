//===- AssignSchedule.cpp - tile sizes for a CPU --------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Level.h"
#include "attn/codegen/host/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNASSIGNHOSTSCHEDULE
#include "attn/codegen/host/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

namespace {
struct AttnAssignHostSchedulePass
    : attn::impl::AttnAssignHostScheduleBase<AttnAssignHostSchedulePass> {
  using AttnAssignHostScheduleBase::AttnAssignHostScheduleBase;

  void runOnOperation() override {
    const host::Level *level = host::findLevel(cpu);
    if (!level) {
      getOperation().emitError()
          << "unknown instruction set '" << cpu.getValue()
          << "', expected one of " << host::listLevels();
      return signalPassFailure();
    }
    getOperation().walk([&](AttentionOp op) {
      if (ScheduleAttr schedule = op.getScheduleAttr()) {
        // attn-pack-heads does it for a CPU.
        op.setScheduleAttr(schedule.withHeads(1));
        ++numKept;
        return WalkResult::advance();
      }
      auto getHeadSize = [](Value value) {
        return cast<RankedTensorType>(value.getType()).getDimSize(3);
      };
      host::TileSizes sizes = host::getTileSizes(
          *level, std::max(getHeadSize(op.getQ()), getHeadSize(op.getV())));
      int64_t rows = qTile > 0 ? qTile : sizes.qTile,
              keys = kvTile > 0 ? kvTile : sizes.kvTile;
      if (failed(ScheduleAttr::verify([&] { return op.emitOpError(); }, rows,
                                      keys, 1, 1, false, 0, 0, false, false,
                                      false, false, 1))) {
        signalPassFailure();
        return WalkResult::interrupt();
      }
      op.setScheduleAttr(
          ScheduleAttr::get(&getContext(), rows, keys, 1, 1, false));
      ++numAssigned;
      return WalkResult::advance();
    });
  }
};
} // namespace
