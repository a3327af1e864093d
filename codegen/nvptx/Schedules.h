//===- Schedules.h - which schedule a kernel gets on a target ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_SCHEDULES_H
#define ATTN_CODEGEN_NVPTX_SCHEDULES_H

#include "attn/dialect/Attn.h"

#include <optional>
#include <string>

namespace mlir::attn::nvptx {

/// A GPU architecture that code is generated for.
struct Target {
  llvm::StringRef name;
  /// The PTX ISA version to state, as LLVM's feature, for example "+ptx70".
  llvm::StringRef ptxFeature;
  /// Most dynamic shared memory of one block, in bytes.
  int64_t sharedBytes;
  /// Products of a warpgroup, tensor copies and register budgets by role: the
  /// warps of a kernel are specialised.
  bool hasWarpgroups = false;
};

/// sm_80, sm_86, sm_89, sm_90, sm_90a.
llvm::ArrayRef<Target> getTargets();

/// The target of that name, or nullptr.
const Target *findTarget(llvm::StringRef name);

/// How much a mask needs of the registers; each class contains those before it.
enum class MaskClass {
  None,   ///< all pairs
  Plain,  ///< causal
  Simple, ///< the live key tiles of a query tile are one interval with few
          ///< bounds: no unions, complements or residues
  OneSet, ///< the keys are one set, taken as they are or made adjacent
  Any
};
/// At most OneSet: what the passes make of the keys depends on the schedule.
MaskClass getMaskClass(MaskAttr mask);
/// Whether passes after this one have the op run on several sets of its keys
/// under this schedule.
bool hasKeySets(AttentionOp op, ScheduleAttr schedule);

/// The same for scores.
enum class ScoreClass {
  Plain,    ///< as the product gives them
  Computed, ///< a score region without what follows
  PerKey ///< an input with a value for each key, of which a thread holds many
};
ScoreClass getScoreClass(AttentionOp op);
/// Whether the mask has an id for each key, which with roles takes the
/// registers of a PerKey score.
bool hasKeyIds(AttentionOp op);

/// What a schedule is chosen for. Head sizes are in elements.
struct Problem {
  int64_t headSize;
  int64_t valueHeadSize;
  Type elementType;
  MaskClass mask = MaskClass::None;
  ScoreClass scores = ScoreClass::Plain;
  /// Whether warps that load and warps that compute can share the work.
  bool fitsRoles = true;
};

/// Why no kernel with roles can be built for `op`; empty if one can.
StringRef findRolesProblem(AttentionOp op);

/// Overrides of single fields of the default schedule.
struct ScheduleOverrides {
  std::optional<int64_t> qTile = {}, kvTile = {}, warps = {}, stages = {},
                         heads = {};
  std::optional<bool> qInRegisters = {}, overlap = {}, turns = {},
                      weightsInShared = {}, persistent = {};
};

/// How many query heads the rows of a tile of `op` are best taken from: as many
/// as need the fewest tiles, if that saves a tenth of them; 1 where the number
/// of queries is not known.
int64_t chooseHeads(AttentionOp op, ScheduleAttr schedule);
/// Whether the tiles of `op` under `schedule`, which fits the target, can have
/// the rows of as many heads as it says; reports why not through `emitError`.
LogicalResult checkHeads(AttentionOp op, ScheduleAttr schedule,
                         llvm::function_ref<InFlightDiagnostic()> emitError);

/// Where the buffers of a kernel lie in dynamic shared memory, in bytes from
/// its start.
struct SharedPlan {
  int64_t query, key, value;
  /// With roles: where the weights and the barriers lie.
  int64_t weights = 0, barriers = 0;
  /// Where the output tile of a 16-bit type is staged: over all of them; with
  /// roles in a place of its own if there is room, else over the query tile.
  int64_t output = 0;
  int64_t total = 0;
};

/// The number of columns that a head size takes in shared memory: the next
/// multiple of 16, or of 32 for f32.
inline int64_t getPaddedHeadSize(int64_t headSize, Type elementType) {
  int64_t multiple = elementType.isF32() ? 32 : 16;
  return (headSize + multiple - 1) / multiple * multiple;
}

/// The same in kernels with roles: a multiple of 32, so that all panels of a
/// tile have one width.
inline int64_t getPanelledHeadSize(int64_t headSize) {
  return (headSize + 31) / 32 * 32;
}
inline int64_t getPanelWidth(int64_t headSize) {
  return getPanelledHeadSize(headSize) % 64 == 0 ? 64 : 32;
}

SharedPlan planSharedMemory(ScheduleAttr schedule, const Problem &problem);

/// The schedule for `problem` on `target`: the table's choice with `overrides`
/// applied. If there is none, reports through `emitError` what is wrong and the
/// nearest choice that works.
FailureOr<ScheduleAttr>
chooseSchedule(const Target &target, const Problem &problem,
               const ScheduleOverrides &overrides,
               llvm::function_ref<InFlightDiagnostic()> emitError);

/// Whether `schedule` can run `problem` on `target`; reports why not through
/// `emitError`.
LogicalResult checkSchedule(const Target &target, const Problem &problem,
                            ScheduleAttr schedule,
                            llvm::function_ref<InFlightDiagnostic()> emitError);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_SCHEDULES_H
