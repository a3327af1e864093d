//===- Schedules.cpp - which schedule a kernel gets on a target ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Schedules.h"

#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/Packing.h"
#include "attn/passes/HeadRows.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

/// What a block with roles can have.
static constexpr int64_t maxRoleSharedBytes = 227 * 1024;

static constexpr Target targets[] = {
    {"sm_80", "+ptx70", 163 * 1024},
    {"sm_86", "+ptx71", 99 * 1024},
    {"sm_89", "+ptx78", 99 * 1024},
    {"sm_90", "+ptx78", 227 * 1024},
    {"sm_90a", "+ptx80", maxRoleSharedBytes, /*hasWarpgroups=*/true},
};

namespace {
/// One row of the table: the tiles for head sizes up to `headSize` (the larger
/// of D and Dv).
struct Choice {
  int64_t headSize;
  MaskClass masks;
  ScoreClass scores;
  int64_t qTile, kvTile, warps, stages;
  bool qInRegisters;
  int64_t producerRegisters = 0, consumerRegisters = 0;
  bool overlap = false, turns = false, weightsInShared = false;
  /// With roles: only where ptxas has registers left for it.
  bool persistent = true;
};
} // namespace

static constexpr ScoreClass plain = ScoreClass::Plain,
                            computed = ScoreClass::Computed,
                            perKey = ScoreClass::PerKey;

// In order of preference for each head size: the first that fits the target's
// shared memory is taken. Up to 64, 128 query rows on 4 warps give every
// fragment of K and V two uses; above, the accumulator leaves registers for
// one. ptxas assembles each without spills; above 128, masks with many bounds
// leave registers for 16 keys only.
static constexpr Choice choices[] = {
    {64, MaskClass::Simple, computed, 128, 64, 4, 2, false},
    {64, MaskClass::Any, perKey, 128, 48, 4, 2, false},
    {128, MaskClass::Any, perKey, 128, 64, 8, 2, false},
    {128, MaskClass::Any, perKey, 128, 32, 8, 2, false},
    {192, MaskClass::Simple, computed, 128, 64, 8, 2, false},
    {192, MaskClass::Simple, computed, 128, 32, 8, 2, false},
    {192, MaskClass::Any, perKey, 128, 16, 8, 2, false},
    {192, MaskClass::Any, perKey, 64, 16, 4, 2, false},
    {256, MaskClass::Simple, computed, 128, 32, 8, 2, false},
    {256, MaskClass::Simple, computed, 64, 32, 4, 2, false},
    {256, MaskClass::Any, computed, 128, 16, 8, 2, false},
    {256, MaskClass::Any, perKey, 64, 16, 4, 2, false},
};

// The same for f32. Both parts of the operands and a second sum take registers
// that a second use of every fragment would need, and above 64 those of a
// second block of 16 keys.
static constexpr Choice choicesF32[] = {
    {64, MaskClass::Any, perKey, 128, 32, 8, 2, false},
    {192, MaskClass::Any, perKey, 128, 16, 8, 2, false},
    {192, MaskClass::Any, perKey, 64, 16, 4, 2, false},
    {256, MaskClass::Simple, perKey, 128, 16, 8, 2, false},
    {256, MaskClass::Any, perKey, 64, 16, 4, 2, false},
    {256, MaskClass::Any, perKey, 32, 16, 2, 2, false},
};

// With roles: 64 query rows for each warpgroup that computes, and the product
// of a key tile in one instruction for each 16 columns. The registers of all
// warpgroups fit in the 64 K of a multiprocessor; with overlap a thread holds
// the scores of a tile, the weights of the one before and the accumulator, so
// that the tiles are as wide as ptxas assembles them without spills, narrower
// where scores are computed under many bounds, keys are several sets or have
// ids of documents. Above 128 the products take so much longer than the softmax
// that turns do not pay.
static constexpr Choice roleChoices[] = {
    {64, MaskClass::Plain, computed, 192, 128, 12, 4, false, 32, 160, true,
     true},
    {64, MaskClass::Simple, computed, 192, 112, 12, 4, false, 32, 160, true,
     true},
    {64, MaskClass::Any, plain, 192, 96, 12, 4, false, 32, 160, true, true},
    {64, MaskClass::Any, computed, 192, 80, 12, 4, false, 32, 160, true, true},
    {64, MaskClass::Any, perKey, 192, 64, 12, 4, false, 32, 160, true, true},
    {96, MaskClass::None, computed, 128, 176, 8, 2, false, 24, 240, true, true},
    {96, MaskClass::Simple, computed, 128, 128, 8, 3, false, 24, 240, true,
     true},
    {96, MaskClass::Any, computed, 128, 112, 8, 3, false, 24, 240, true, true},
    {96, MaskClass::Any, perKey, 128, 96, 8, 3, false, 24, 240, true, true},
    {128, MaskClass::None, plain, 128, 176, 8, 2, false, 24, 240, true, true,
     /*weightsInShared=*/false, /*persistent=*/false},
    {128, MaskClass::Any, computed, 128, 128, 8, 2, false, 24, 240, true, true},
    {128, MaskClass::Any, perKey, 128, 96, 8, 2, false, 24, 240, true, true},
    {192, MaskClass::Simple, computed, 128, 112, 8, 2, false, 24, 240, true},
    {192, MaskClass::Any, plain, 128, 96, 8, 2, false, 24, 240, true},
    {192, MaskClass::Any, perKey, 128, 64, 8, 2, false, 24, 240, true},
    {256, MaskClass::Simple, computed, 128, 80, 8, 2, false, 24, 240, true},
    {256, MaskClass::OneSet, plain, 128, 80, 8, 2, false, 24, 240, true},
    {256, MaskClass::Any, computed, 128, 64, 8, 2, false, 24, 240, true},
    {256, MaskClass::Any, perKey, 128, 48, 8, 2, false, 24, 240, true},
};

static bool usesRoles(const Target &target, const Problem &problem) {
  return target.hasWarpgroups && problem.fitsRoles;
}

static ArrayRef<Choice> getChoices(const Target &target,
                                   const Problem &problem) {
  if (usesRoles(target, problem))
    return roleChoices;
  if (problem.elementType.isF32())
    return choicesF32;
  return choices;
}

static bool isSimpleMask(MaskAttr mask) {
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

MaskClass nvptx::getMaskClass(MaskAttr mask) {
  if (mask.getKind() == MaskKind::All)
    return MaskClass::None;
  if (mask.getKind() == MaskKind::Causal)
    return MaskClass::Plain;
  return isSimpleMask(mask) ? MaskClass::Simple : MaskClass::OneSet;
}

bool nvptx::hasKeySets(AttentionOp op, ScheduleAttr schedule) {
  int64_t rows = schedule.getQueries(), keys = schedule.getKvTile();
  std::optional<int64_t> numKeys;
  if (RankedTensorType type = op.getK().getType(); !type.isDynamicDim(2))
    numKeys = type.getDimSize(2);
  MaskBound residue =
      MaskBound::symbol(op.getSymbols().size() + op.getMaskData().size());
  auto hasSets = [&](const PackedPart &part) {
    MaskAttr mask = part.modulus > 1
                        ? getResidueClass(part.mask, part.modulus, residue)
                        : part.mask;
    return getSegments(mask, rows, keys,
                       getKnownClassKeys(part.modulus, numKeys),
                       keepsKeysInOrder(op))
               .size() > 1;
  };
  return llvm::any_of(getPackings(op, rows, keys), [&](const Packing &packing) {
    return llvm::any_of(packing.parts, hasSets);
  });
}

ScoreClass nvptx::getScoreClass(AttentionOp op) {
  if (llvm::any_of(op.getScoreInputs(), [](Value input) {
        auto type = dyn_cast<RankedTensorType>(input.getType());
        return type && type.getRank() == 4 && type.getDimSize(3) != 1;
      }))
    return ScoreClass::PerKey;
  return op.getScore().empty() ? ScoreClass::Plain : ScoreClass::Computed;
}

/// Whether warps that load can find the tiles of an atom with tensors, and a
/// tile has the registers and the loops for its mask.
static bool fitsRoles(MaskAttr atom) {
  switch (atom.getKind()) {
  case MaskKind::Lengths:
  case MaskKind::Documents:
    return true;
  case MaskKind::Blocks:
    // A tile meets a limited number of blocks.
    return atom.getBounds()[0].getConstant() >= 32 &&
           atom.getBounds()[1].getConstant() >= 8;
  default:
    return false;
  }
}

bool nvptx::hasKeyIds(AttentionOp op) {
  return llvm::any_of(getDataAtoms(op.getMask()), [](MaskAttr atom) {
    return atom.getKind() == MaskKind::Documents;
  });
}

StringRef nvptx::findRolesProblem(AttentionOp op) {
  if (op.getQ().getType().getElementType().isF32())
    return "its elements are f32";
  if (!llvm::all_of(getDataAtoms(op.getMask()), fitsRoles))
    return "its mask has bits, or blocks of less than 32 queries x 8 keys";
  if (llvm::any_of(op.getScoreInputs(), [](Value input) {
        auto type = dyn_cast<RankedTensorType>(input.getType());
        return type && type.getRank() == 4 &&
               (type.getDimSize(2) != 1 || type.getDimSize(3) != 1);
      }))
    return "its scores change by values of each query or key";
  return "";
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
  if (schedule.hasRoles()) {
    int64_t keyColumns = getPanelledHeadSize(problem.headSize),
            valueColumns = getPanelledHeadSize(problem.valueHeadSize);
    int64_t rows = schedule.getStages() * schedule.getKvTile();
    int64_t queryBytes = schedule.getQTile() * keyColumns * elementBytes,
            outputBytes = schedule.getQTile() * valueColumns * elementBytes,
            weightBytes = schedule.getWeightsInShared()
                              ? schedule.getQTile() *
                                    getPanelledHeadSize(schedule.getKvTile()) *
                                    elementBytes
                              : 0;
    auto place = [&](bool outputApart) {
      SharedPlan plan;
      plan.query = 0;
      plan.key = outputApart ? queryBytes : std::max(queryBytes, outputBytes);
      plan.value = plan.key + rows * keyColumns * elementBytes;
      plan.weights = plan.value + rows * valueColumns * elementBytes;
      int64_t end = plan.weights + weightBytes;
      plan.output = outputApart ? end : 0;
      plan.barriers = outputApart ? end + outputBytes : end;
      plan.total = plan.barriers + 8 * (2 + 4 * schedule.getStages());
      return plan;
    };
    SharedPlan apart = place(true);
    return apart.total <= maxRoleSharedBytes ? apart : place(false);
  }
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
                           choice.stages, choice.qInRegisters,
                           choice.producerRegisters, choice.consumerRegisters,
                           choice.overlap, choice.turns, choice.weightsInShared,
                           choice.producerRegisters != 0 && choice.persistent,
                           /*heads=*/int64_t(1));
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
  for (const Choice &choice : getChoices(target, problem))
    if (headSize <= choice.headSize && problem.mask <= choice.masks &&
        problem.scores <= choice.scores &&
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

static LogicalResult
checkSharedMemory(const Target &target, const Problem &problem,
                  ScheduleAttr schedule,
                  function_ref<InFlightDiagnostic()> emitError) {
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

/// What a schedule with roles has to be beyond its verifier's rules.
static LogicalResult checkRoles(const Target &target, const Problem &problem,
                                ScheduleAttr schedule,
                                function_ref<InFlightDiagnostic()> emitError) {
  int64_t warps = schedule.getWarps(), kvTile = schedule.getKvTile();
  if (warps != 8 && warps != 12)
    return emitError() << "expected 8 or 12 warps that compute on "
                       << target.name << ", found " << warps;
  int64_t groups = warps / 4 + 1, start = warps == 12 ? 128 : 168;
  if (schedule.getConsumerRegisters() < start)
    return emitError() << "expected consumer_registers of at least " << start
                       << ", with which " << 4 * groups
                       << " warps start, found "
                       << schedule.getConsumerRegisters();
  // ptxas wants the accumulators of a product, and 30 registers more, among
  // those that a thread starts with.
  if (int64_t most = (start - 30) * 2 / 32 * 32; problem.valueHeadSize > most)
    return emitError() << "expected 8 warps that compute for values of "
                       << problem.valueHeadSize << " columns, found " << warps
                       << ", which can have " << most;
  int64_t pool = groups * start;
  int64_t wanted = schedule.getProducerRegisters() +
                   warps / 4 * schedule.getConsumerRegisters();
  if (wanted > pool)
    return emitError() << "expected producer_registers + " << warps / 4
                       << " * consumer_registers to be at most " << pool
                       << ", found " << wanted;
  if (kvTile < 16 || kvTile % 16 != 0 || kvTile > 192)
    return emitError() << "expected a key tile that is a multiple of 16 from "
                          "16 to 192, found "
                       << kvTile;
  if (schedule.getStages() < 2)
    return emitError() << "expected 2 to 8 stages, found "
                       << schedule.getStages();
  if (schedule.getQInRegisters())
    return emitError() << "expected the query tile in shared memory on "
                       << target.name;
  return checkSharedMemory(target, problem, schedule, emitError);
}

LogicalResult
nvptx::checkSchedule(const Target &target, const Problem &problem,
                     ScheduleAttr schedule,
                     function_ref<InFlightDiagnostic()> emitError) {
  if (failed(checkProblem(problem, emitError)))
    return failure();
  int64_t warps = schedule.getWarps(), qTile = schedule.getQTile(),
          kvTile = schedule.getKvTile();
  if (schedule.hasRoles() && !usesRoles(target, problem))
    return emitError() << "expected a schedule without producer and consumer "
                          "registers for "
                       << (target.hasWarpgroups ? "this op on " : "")
                       << target.name;
  if (schedule.hasRoles())
    return checkRoles(target, problem, schedule, emitError);
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
  return checkSharedMemory(target, problem, schedule, emitError);
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
  bool hasRoles = usesRoles(target, problem);
  if (hasRoles && overrides.qTile && !overrides.warps)
    warps = qTile / 16;
  else if (overrides.qTile && !overrides.warps && qTile >= 16)
    warps = std::min<int64_t>(
        warps, llvm::bit_floor(static_cast<uint64_t>(qTile / 16)));
  // Another number of warps divides the registers as the table does for it.
  const Choice *registers = choice;
  for (const Choice &row : roleChoices)
    if (hasRoles && registers->warps != warps && row.warps == warps)
      registers = &row;
  bool overlap = overrides.overlap.value_or(choice->overlap);
  ScheduleAttr schedule = ScheduleAttr::getChecked(
      emitError, context, qTile, overrides.kvTile.value_or(choice->kvTile),
      warps, overrides.stages.value_or(choice->stages),
      overrides.qInRegisters.value_or(choice->qInRegisters),
      registers->producerRegisters, registers->consumerRegisters, overlap,
      overrides.turns.value_or(overlap && choice->turns),
      overrides.weightsInShared.value_or(choice->weightsInShared),
      // Masks with many bounds leave no registers for it.
      overrides.persistent.value_or(hasRoles && choice->persistent &&
                                    problem.mask < MaskClass::OneSet),
      /*heads=*/int64_t(1));
  if (!schedule || failed(checkSchedule(target, problem, schedule, emitError)))
    return failure();
  return schedule;
}

/// A warp's 16 rows of a kernel with roles are queries of one head, or all
/// those of some: they leave as a box.
static bool splitsByWarps(ScheduleAttr schedule) {
  int64_t queries = schedule.getQueries();
  return queries % 16 == 0 || 16 % queries == 0;
}

int64_t nvptx::chooseHeads(AttentionOp op, ScheduleAttr schedule) {
  RankedTensorType queries = op.getQ().getType(), keys = op.getK().getType();
  if (queries.isDynamicDim(1) || queries.isDynamicDim(2) ||
      keys.isDynamicDim(1) || keys.getDimSize(1) == 0)
    return 1;
  int64_t group = op.getGroupSize();
  auto countTiles = [&](ScheduleAttr any) -> int64_t {
    return llvm::divideCeil(queries.getDimSize(2), any.getQueries()) *
           llvm::divideCeil(group, any.getHeads());
  };
  int64_t best = 1, fewest = countTiles(schedule), most = fewest * 9 / 10;
  for (int64_t heads = 2; heads < 2 * group && fewest > 1; ++heads) {
    if (schedule.getQTile() % heads != 0)
      continue;
    ScheduleAttr candidate = schedule.withHeads(heads);
    if (countTiles(candidate) > most || countTiles(candidate) >= fewest ||
        failed(checkHeads(op, candidate, nullptr)))
      continue;
    best = heads;
    fewest = countTiles(candidate);
  }
  return best;
}

LogicalResult nvptx::checkHeads(AttentionOp op, ScheduleAttr schedule,
                                function_ref<InFlightDiagnostic()> emitError) {
  std::string problem = findHeadRowsProblem(op, schedule);
  if (problem.empty() && schedule.hasRoles() && !splitsByWarps(schedule))
    problem = "the 16 rows of a warp would be of parts of heads";
  if (problem.empty())
    return success();
  if (emitError)
    emitError() << "cannot have tiles with the rows of " << schedule.getHeads()
                << " heads: " << problem;
  return failure();
}
