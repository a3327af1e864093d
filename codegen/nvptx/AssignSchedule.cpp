//===- AssignSchedule.cpp - choose a schedule for every attention op ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/Passes.h"
#include "attn/codegen/nvptx/Nvptx.h"
#include "attn/codegen/nvptx/Schedules.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNASSIGNSCHEDULE
#include "attn/codegen/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

namespace {
struct AssignSchedule : attn::impl::AttnAssignScheduleBase<AssignSchedule> {
  using AttnAssignScheduleBase::AttnAssignScheduleBase;

  FailureOr<ScheduleAttr> choose(AttentionOp op, const Target &gpu,
                                 const Problem &problem,
                                 const ScheduleOverrides &overrides) {
    auto emitError = [&] { return op.emitOpError(); };
    FailureOr<ScheduleAttr> schedule =
        chooseSchedule(gpu, problem, overrides, emitError);
    if (failed(schedule))
      return failure();
    if (!heads)
      return schedule->withHeads(chooseHeads(op, *schedule));
    if (heads < 1 || schedule->getQTile() % heads != 0)
      return emitError()
             << "expected a positive number of heads that divides the "
             << schedule->getQTile() << " rows of a tile, found "
             << int64_t(heads);
    schedule = schedule->withHeads(heads);
    if (failed(checkHeads(op, *schedule, emitError)))
      return failure();
    return schedule;
  }

  LogicalResult assign(AttentionOp op, const Target &gpu,
                       const ScheduleOverrides &overrides) {
    StringRef withoutRoles = findRolesProblem(op);
    Problem problem{op.getQ().getType().getDimSize(3),
                    op.getV().getType().getDimSize(3),
                    op.getQ().getType().getElementType(),
                    getMaskClass(op.getMask()),
                    getScoreClass(op),
                    withoutRoles.empty()};
    if (gpu.hasWarpgroups && problem.fitsRoles && hasKeyIds(op))
      problem.scores = ScoreClass::PerKey;
    auto emitError = [&] { return op.emitOpError(); };
    if (std::optional<ScheduleAttr> schedule = op.getSchedule()) {
      ++numKept;
      return success(
          succeeded(checkSchedule(gpu, problem, *schedule, emitError)) &&
          succeeded(checkHeads(op, *schedule, emitError)));
    }
    FailureOr<ScheduleAttr> schedule = choose(op, gpu, problem, overrides);
    if (succeeded(schedule) && schedule->hasRoles() &&
        problem.mask == MaskClass::OneSet && hasKeySets(op, *schedule)) {
      problem.mask = MaskClass::Any;
      schedule = choose(op, gpu, problem, overrides);
    }
    if (failed(schedule))
      return failure();
    if (gpu.hasWarpgroups && !problem.fitsRoles)
      op.emitRemark("runs without products of warpgroups and tensor maps: ")
          << withoutRoles;
    op.setScheduleAttr(*schedule);
    ++numAssigned;
    return success();
  }

  void runOnOperation() override {
    const Target *gpu = findTarget(target);
    if (!gpu) {
      getOperation().emitError("expected a target among ")
          << llvm::join(llvm::map_range(
                            getTargets(),
                            [](const Target &known) { return known.name; }),
                        ", ")
          << ", found " << StringRef(target);
      return signalPassFailure();
    }
    auto given = [](int64_t value) {
      return value ? std::optional(value) : std::nullopt;
    };
    ScheduleOverrides overrides;
    overrides.qTile = given(qTile);
    overrides.kvTile = given(kvTile);
    overrides.warps = given(warps);
    overrides.stages = given(stages);
    std::tuple<StringRef, StringRef, std::optional<bool> &> flags[] = {
        {"q-in-registers", qInRegisters, overrides.qInRegisters},
        {"overlap", overlap, overrides.overlap},
        {"turns", turns, overrides.turns},
        {"weights-in-shared", weightsInShared, overrides.weightsInShared},
        {"persistent", persistent, overrides.persistent}};
    for (auto [name, text, flag] : flags) {
      if (text.empty())
        continue;
      if (text != "true" && text != "false") {
        getOperation().emitError("expected true or false for ")
            << name << ", found " << text;
        return signalPassFailure();
      }
      flag = text == "true";
    }
    WalkResult result = getOperation().walk([&](AttentionOp op) {
      return failed(assign(op, *gpu, overrides)) ? WalkResult::interrupt()
                                                 : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
