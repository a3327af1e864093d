//===- Mbarrier.h - barrier objects in shared memory -----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_MBARRIER_H
#define ATTN_RUNTIME_SIM_MBARRIER_H

#include "attn/runtime/sim/Machine.h"

namespace attn::sim {

/// An mbarrier object. Phases are absolute: 0 from init on. `completions` goes
/// on counting over inval and init, and is the object's clock.
struct Mbarrier {
  static constexpr int64_t MaxCount = (1 << 20) - 1;

  uint32_t offset = 0; ///< in shared memory
  bool valid = false;
  const Op *init = nullptr;
  uint32_t initEpoch = 0; ///< of shadow memory
  uint32_t phase = 0;
  uint32_t completions = 0;
  int64_t expected = 0; ///< arrivals of the next phase
  int64_t pending = 0;  ///< arrivals missing in this phase
  int64_t tx = 0;       ///< bytes expected and not yet copied
  View arriving, released;
  /// By warp: phases (counted as completions) that it has seen complete.
  std::vector<uint32_t> observed;
  uint32_t copiedClock = 0; ///< clock of the last copy that it tracks
  const Op *copyOp = nullptr;
  const Warp *copyWarp = nullptr;

  /// `mbarrier at shared address 0x400 (line 12)`
  std::string name() const;
  /// `phase 2, 1 of 4 arrivals missing, tx-count 4096`
  std::string state() const;
  /// Clock that this phase will complete with.
  uint32_t nextClock() const { return completions + 1; }
};

/// The object at an address, or null after a finding.
Mbarrier *findMbarrier(Warp &warp, const Op &op, unsigned lane,
                       uint64_t address);
/// Completes the phase if nothing is missing any more.
void settle(Block &block, Mbarrier &mbarrier);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_MBARRIER_H
