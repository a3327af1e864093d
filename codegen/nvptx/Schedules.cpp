//===- Schedules.cpp - which schedule a kernel gets on a target ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Schedules.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

static constexpr Target targets[] = {
    {"sm_80", "+ptx70", 163 * 1024},
    {"sm_86", "+ptx71", 99 * 1024},
    {"sm_89", "+ptx78", 99 * 1024},
    {"sm_90", "+ptx78", 227 * 1024},
};

namespace {
/// One row of the table: the tiles for head sizes up to `headSize` (the larger
/// of D and Dv).
struct Choice {
  int64_t headSize;
  /// Not for masks of several parts; not for inputs of a score region, of which
  /// a thread holds one for each key or pair.
  bool simpleMasksOnly, plainScoresOnly;
  int64_t qTile, kvTile, warps, stages;
  bool qInRegisters;
};
} // namespace

// In order of preference for each head size: the first that fits the target's
// shared memory is taken. Up to 64, 128 query rows on 4 warps give every
// fragment of K and V two uses; above, the accumulator leaves registers for
// one. ptxas assembles each without spills; above 128, masks with many bounds
// leave registers for 16 keys only.
static constexpr Choice choices[] = {
    {64, true, true, 128, 64, 4, 2, false},
    {64, false, false, 128, 48, 4, 2, false},
    {128, false, false, 128, 64, 8, 2, false},
    {128, false, false, 128, 32, 8, 2, false},
    {192, true, true, 128, 64, 8, 2, false},
    {192, true, true, 128, 32, 8, 2, false},
    {192, false, false, 128, 16, 8, 2, false},
    {192, false, false, 64, 16, 4, 2, false},
    {256, true, true, 128, 32, 8, 2, false},
    {256, true, true, 64, 32, 4, 2, false},
    {256, false, true, 128, 16, 8, 2, false},
    {256, false, false, 64, 16, 4, 2, false},
};

// The same for f32. Both parts of the operands and a second sum take registers
// that a second use of every fragment would need, and above 64 those of a
// second block of 16 keys.
static constexpr Choice choicesF32[] = {
    {64, false, false, 128, 32, 8, 2, false},
    {192, false, false, 128, 16, 8, 2, false},
    {192, false, false, 64, 16, 4, 2, false},
    {256, true, false, 128, 16, 8, 2, false},
    {256, false, false, 64, 16, 4, 2, false},
    {256, false, false, 32, 16, 2, 2, false},
};

bool nvptx::isSimpleMask(MaskAttr mask) {
  switch (mask.getKind()) {
  case MaskKind::All:
  case MaskKind::Causal:
  case MaskKind::Window:
  case MaskKind::Keys:
  case MaskKind::Queries:
  case MaskKind::Heads:
  case MaskKind::Lengths:
    return true;
  case MaskKind::And:
    return mask.getOperands().size() <= 2 &&
           llvm::all_of(mask.getOperands(), isSimpleMask);
  default:
    return false;
  }
}

bool nvptx::hasPlainScores(AttentionOp op) {
  return llvm::none_of(op.getScoreInputs(), [](Value input) {
    auto type = dyn_cast<RankedTensorType>(input.getType());
    return type && type.getRank() == 4 && type.getDimSize(3) != 1;
  });
}

ArrayRef<Target> nvptx::getTargets() { return targets; }

const Target *nvptx::findTarget(StringRef name) {
  const Target *found = llvm::find_if(
      targets, [&](const Target &target) { return target.name == name; });
  return found == std::end(targets) ? nullptr : found;
}

SharedPlan nvptx::planSharedMemory(ScheduleAttr schedule,
                                   const Problem &problem) {
  Type type = problem.elementType;
  int64_t elementBytes = type.getIntOrFloatBitWidth() / 8;
  int64_t padded = getPaddedHeadSize(problem.headSize, type),
          valuePadded = getPaddedHeadSize(problem.valueHeadSize, type);
  SharedPlan plan;
  plan.query = 0;
  plan.key = schedule.getQTile() * padded * elementBytes;
  plan.value = plan.key + schedule.getStages() * schedule.getKvTile() * padded *
                              elementBytes;
  int64_t end = plan.value + schedule.getStages() * schedule.getKvTile() *
                                 valuePadded * elementBytes;
  plan.total =
      type.isF32()
          ? end
          : std::max(end, schedule.getQTile() * valuePadded * elementBytes);
  return plan;
}

static ScheduleAttr getSchedule(MLIRContext *context, const Choice &choice) {
  return ScheduleAttr::get(context, choice.qTile, choice.kvTile, choice.warps,
                           choice.stages, choice.qInRegisters);
}

static bool fits(const Target &target, const Problem &problem,
                 ScheduleAttr schedule) {
  return planSharedMemory(schedule, problem).total <= target.sharedBytes;
}

/// The first choice of the table for `problem` that fits `target`; nullptr if
/// none does.
static const Choice *findChoice(MLIRContext *context, const Target &target,
                                const Problem &problem) {
  int64_t headSize = std::max(problem.headSize, problem.valueHeadSize);
  for (const Choice &choice : problem.elementType.isF32()
                                  ? ArrayRef<Choice>(choicesF32)
                                  : ArrayRef<Choice>(choices))
    if (headSize <= choice.headSize &&
        (problem.hasSimpleMask || !choice.simpleMasksOnly) &&
        (problem.hasPlainScores || !choice.plainScoresOnly) &&
        fits(target, problem, getSchedule(context, choice)))
      return &choice;
  return nullptr;
}

static LogicalResult
checkProblem(const Problem &problem,
             function_ref<InFlightDiagnostic()> emitError) {
  for (int64_t headSize : {problem.headSize, problem.valueHeadSize}) {
    if (headSize >= 16 && headSize <= 256 && headSize % 8 == 0)
      continue;
    int64_t nearest = std::clamp<int64_t>((headSize + 7) / 8 * 8, 16, 256);
    return emitError()
           << "no schedule for head size " << headSize
           << ": expected a multiple of 8 from 16 to 256; the nearest is "
           << nearest;
  }
  return success();
}

static int64_t toKB(int64_t bytes) { return llvm::divideCeil(bytes, 1024); }

LogicalResult
nvptx::checkSchedule(const Target &target, const Problem &problem,
                     ScheduleAttr schedule,
                     function_ref<InFlightDiagnostic()> emitError) {
  if (failed(checkProblem(problem, emitError)))
    return failure();
  int64_t warps = schedule.getWarps(), qTile = schedule.getQTile(),
          kvTile = schedule.getKvTile();
  if (warps < 1 || warps > 16 || !llvm::isPowerOf2_64(warps))
    return emitError() << "expected 1, 2, 4, 8 or 16 warps, found " << warps;
  if (qTile < 16 * warps || qTile % (16 * warps) != 0 || qTile > 1024)
    return emitError() << "expected a query tile that is a multiple of "
                       << 16 * warps << " (16 rows for each of " << warps
                       << " warps) and at most 1024, found " << qTile;
  if (kvTile < 16 || kvTile % 16 != 0 || kvTile > 128)
    return emitError() << "expected a key tile that is a multiple of 16 from "
                          "16 to 128, found "
                       << kvTile;
  if (schedule.getStages() < 2 || schedule.getStages() > 8)
    return emitError() << "expected 2 to 8 stages, found "
                       << schedule.getStages();
  int64_t needed = planSharedMemory(schedule, problem).total;
  if (needed <= target.sharedBytes)
    return success();
  InFlightDiagnostic diagnostic = emitError();
  diagnostic << "head size "
             << std::max(problem.headSize, problem.valueHeadSize) << " in "
             << problem.elementType << " needs " << toKB(needed)
             << " KB of shared memory, " << target.name << " has "
             << toKB(target.sharedBytes) << " KB";
  if (const Choice *choice = findChoice(schedule.getContext(), target, problem))
    diagnostic << "; " << choice->qTile << "x" << choice->kvTile
               << " tiles with " << choice->stages << " stages fit";
  return diagnostic;
}

FailureOr<ScheduleAttr>
nvptx::chooseSchedule(const Target &target, const Problem &problem,
                      const ScheduleOverrides &overrides,
                      function_ref<InFlightDiagnostic()> emitError) {
  if (failed(checkProblem(problem, emitError)))
    return failure();
  MLIRContext *context = problem.elementType.getContext();
  const Choice *choice = findChoice(context, target, problem);
  assert(choice && "the last row of the table fits every target");
  int64_t warps = overrides.warps.value_or(choice->warps);
  int64_t qTile = overrides.qTile.value_or(choice->qTile);
  // A small query tile alone is enough to ask for: it gets as many warps as it
  // has blocks of 16 rows.
  if (overrides.qTile && !overrides.warps && qTile >= 16)
    warps = std::min<int64_t>(
        warps, llvm::bit_floor(static_cast<uint64_t>(qTile / 16)));
  ScheduleAttr schedule = ScheduleAttr::getChecked(
      emitError, context, qTile, overrides.kvTile.value_or(choice->kvTile),
      warps, overrides.stages.value_or(choice->stages),
      overrides.qInRegisters.value_or(choice->qInRegisters));
  if (!schedule || failed(checkSchedule(target, problem, schedule, emitError)))
    return failure();
  return schedule;
}
