//===- Stuck.cpp - deadlocks, and what is left at the end ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Block.h"

#include <algorithm>

namespace attn::sim {

std::string showMask(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

std::string showShared(uint32_t offset) {
  char text[40];
  std::snprintf(text, sizeof text, "shared address 0x%x", SharedStart + offset);
  return text;
}

namespace {

std::string listWarps(uint32_t set) {
  std::string text;
  for (unsigned w = 0; w < 32; ++w)
    if (set >> w & 1)
      text += (text.empty() ? "" : " ") + std::to_string(w);
  return text.empty() ? "none" : text;
}

/// Where a warp waits, and who can tell of it.
struct Stuck {
  Block &block;
  std::string text;
  const Warp *witness = nullptr;
  const Op *op = nullptr;

  void add(const Warp &warp, const Op &where, const std::string &what) {
    text += "; warp " + std::to_string(warp.id) + ": " + what;
    if (!witness) {
      witness = &warp;
      op = &where;
    }
  }

  void addWaiting(const Warp &warp) {
    const Op &here = block.program.ops[warp.pc];
    const std::string line = " at line " + std::to_string(here.line);
    if (warp.status == WarpStatus::Polling)
      add(warp, here,
          "its test of the " + block.mbarriers[warp.triedGate].name() +
              " goes on failing" + line);
    if (warp.status == WarpStatus::Waiting && warp.active) {
      if (here.control == Control::SetRegisters)
        add(warp, here,
            "waits" + line + " for " +
                std::to_string(here.imm - warp.registers) +
                " registers a thread, the pool has " +
                std::to_string(block.registerPool));
      else
        add(warp, here,
            "waits" + line +
                " for wgmma that other warps of its warpgroup never issue");
    }
    for (const Fragment &fragment : warp.others) {
      const std::string lanes = "lanes " + showMask(fragment.mask) + " wait";
      if (fragment.gateOp) {
        const Mbarrier &mbarrier = block.mbarriers[fragment.gate];
        uint32_t phase =
            fragment.gateClock - 1 - (mbarrier.completions - mbarrier.phase);
        add(warp, *fragment.gateOp,
            lanes + " at line " + std::to_string(fragment.gateOp->line) +
                " for phase " + std::to_string(phase) + " (parity " +
                std::to_string(phase & 1) + ") of the " + mbarrier.name());
      } else if (fragment.waitMask) {
        const Op &sync = block.program.ops[fragment.pc - 1];
        add(warp, sync,
            lanes + " at line " + std::to_string(sync.line) +
                " in bar.warp.sync for " +
                showMask(fragment.waitMask & warp.live));
      }
    }
  }
};

/// An mbarrier for which only bytes are missing, or too many came.
const Mbarrier *wrongBytes(const Block &block) {
  for (const Mbarrier &mbarrier : block.mbarriers)
    if (mbarrier.valid && mbarrier.tx && !mbarrier.pending)
      return &mbarrier;
  return nullptr;
}

} // namespace

void reportStuck(Block &block) {
  Stuck stuck{block, {}, nullptr, nullptr};
  uint32_t done = 0, inside = 0;
  bool registers = false, exitedExplains = false;
  for (const Warp &warp : block.warps) {
    done |= uint32_t(warp.status == WarpStatus::Done) << warp.id;
    inside |= uint32_t(warp.status != WarpStatus::Done &&
                       warp.status != WarpStatus::AtBarrier)
              << warp.id;
    registers |= warp.status == WarpStatus::Waiting && warp.active &&
                 block.program.ops[warp.pc].control == Control::SetRegisters;
  }
  for (unsigned id = 0; id < 16; ++id) {
    const Barrier &barrier = block.barriers[id];
    if (!barrier.expected)
      continue;
    stuck.text += "; barrier " + std::to_string(id) + ": " +
                  std::to_string(barrier.arrived) + " of " +
                  std::to_string(barrier.expected) +
                  " warps arrived (waiting: " + listWarps(barrier.waiting) +
                  ")";
    if (barrier.waiting && !stuck.witness && !registers) {
      stuck.witness = &block.warps[firstLane(barrier.waiting)];
      stuck.op = stuck.witness->barrierOp;
      exitedExplains =
          done && barrier.arrived + unsigned(__builtin_popcount(done)) >=
                      barrier.expected;
    }
  }
  for (const Mbarrier &mbarrier : block.mbarriers)
    if (mbarrier.valid)
      stuck.text += "; " + mbarrier.name() + ": " + mbarrier.state();
  if (done)
    stuck.text += "; exited warps: " + listWarps(done);
  // setmaxnreg tells more than those who wait for the warps that it stops.
  for (bool first : {true, false})
    for (const Warp &warp : block.warps)
      if ((block.program.ops[warp.pc].control == Control::SetRegisters) ==
          first)
        stuck.addWaiting(warp);
  for (const Warp &warp : block.warps)
    for (const std::string &work :
         {warp.copies.describe(), warp.stores.describe()})
      if (!work.empty())
        stuck.text += "; warp " + std::to_string(warp.id) + ": " + work;
  if (registers)
    return block.report(
        FindingKind::RegisterPool, *stuck.witness, *stuck.op, 0, 0,
        "waits for registers that no warp releases" + stuck.text, true);
  if (const Mbarrier *mbarrier = wrongBytes(block)) {
    const Warp *warp = mbarrier->copyWarp ? mbarrier->copyWarp : stuck.witness;
    const Op *op = mbarrier->copyOp ? mbarrier->copyOp : stuck.op;
    return block.report(FindingKind::ByteCount, *warp, *op, 0,
                        SharedStart + mbarrier->offset,
                        std::to_string(std::abs(mbarrier->tx)) + " bytes " +
                            (mbarrier->tx > 0 ? "are expected and not copied"
                                              : "are copied and not expected") +
                            ", all arrivals are in" + stuck.text,
                        true, mbarrier->init->line);
  }
  if (exitedExplains && !inside)
    block.report(
        FindingKind::BarrierDivergence, *stuck.witness, *stuck.op, 0, 0,
        "warps wait at a barrier for warps that have exited" + stuck.text,
        true);
  else
    block.report(FindingKind::Deadlock, *stuck.witness, *stuck.op, 0, 0,
                 "no warp can go on" + stuck.text, true);
}

void checkEnd(Block &block) {
  while (!block.loads.empty() && !block.fatal)
    block.complete(0);
  for (const Mbarrier &mbarrier : block.mbarriers) {
    if (mbarrier.valid && mbarrier.pending != mbarrier.expected)
      block.report(
          FindingKind::Mbarrier, block.warps[0], *mbarrier.init, 0,
          SharedStart + mbarrier.offset,
          "makes an object that the block leaves within a phase: the " +
              mbarrier.name() + " is in " + mbarrier.state(),
          false, 0, Severity::Warning);
    if (!mbarrier.copyOp)
      continue;
    uint32_t observed = 0;
    for (uint32_t clock : mbarrier.observed)
      observed = std::max(observed, clock);
    if (mbarrier.valid && mbarrier.tx)
      block.report(FindingKind::ByteCount, *mbarrier.copyWarp, *mbarrier.copyOp,
                   0, SharedStart + mbarrier.offset,
                   "copies what expect_tx does not count: at the end, the " +
                       mbarrier.name() + " is in " + mbarrier.state(),
                   false, mbarrier.init->line);
    else if (observed < mbarrier.copiedClock)
      block.report(FindingKind::MissingWait, *mbarrier.copyWarp,
                   *mbarrier.copyOp, 0, SharedStart + mbarrier.offset,
                   "may be in flight when the block ends: no warp waits for "
                   "the last phase of the " +
                       mbarrier.name(),
                   false, mbarrier.init->line);
  }
}

} // namespace attn::sim
