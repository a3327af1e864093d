//===- Schedule.cpp - warps, divergence and barriers -----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Block.h"

#include <algorithm>

namespace attn::sim {
namespace {

void updateMergePoint(Warp &warp) {
  warp.mergeAt = ~0u;
  for (const Fragment &fragment : warp.others)
    if (fragment.ready())
      warp.mergeAt = std::min(warp.mergeAt, fragment.pc);
}

/// Lets the lanes go on whose phase has completed.
void openGates(Warp &warp) {
  for (Fragment &fragment : warp.others)
    if (fragment.gateOp &&
        warp.block->mbarriers[fragment.gate].completions >= fragment.gateClock)
      fragment.gateOp = nullptr;
}

/// Releases the lanes at bar.warp.sync whose companions have all arrived or
/// exited.
void releaseWarpBarriers(Warp &warp) {
  for (size_t i = 0; i < warp.others.size(); ++i) {
    uint32_t member = warp.others[i].waitMask;
    if (!member)
      continue;
    uint32_t together = 0;
    for (const Fragment &fragment : warp.others)
      if (fragment.waitMask == member)
        together |= fragment.mask;
    if ((member & warp.live & ~together) != 0)
      continue;
    for (Fragment &fragment : warp.others)
      if (fragment.waitMask == member)
        fragment.waitMask = 0;
    advanceClock(warp);
  }
}

/// Makes the ready fragment with the least position current, merged with all
/// others there.
void pickFragment(Warp &warp) {
  releaseWarpBarriers(warp);
  openGates(warp);
  updateMergePoint(warp);
  warp.active = 0;
  if (warp.mergeAt == ~0u) {
    bool gate =
        std::any_of(warp.others.begin(), warp.others.end(),
                    [](const Fragment &fragment) { return fragment.gateOp; });
    warp.status = !warp.live ? WarpStatus::Done
                  : gate     ? WarpStatus::Waiting
                             : WarpStatus::Stuck;
    warp.waitedAt = warp.block->progress;
    return;
  }
  warp.status = WarpStatus::Ready;
  warp.pc = warp.mergeAt;
  size_t kept = 0;
  for (Fragment &fragment : warp.others)
    if (fragment.ready() && fragment.pc == warp.pc)
      warp.active |= fragment.mask;
    else
      warp.others[kept++] = fragment;
  warp.others.resize(kept);
  updateMergePoint(warp);
}

void switchFragment(Warp &warp) {
  if (warp.active)
    warp.others.push_back({warp.pc, warp.active});
  pickFragment(warp);
}

void checkRegisters(Warp &warp, const Op &op, uint32_t mask) {
  Block &block = *warp.block;
  const RegisterEffects &effects =
      block.program.effects[&op - block.program.ops.data()];
  uint32_t sound = FullMask;
  auto use = [&](unsigned reg, uint32_t lanes) {
    uint32_t missing = lanes & ~warp.written[reg];
    sound &= warp.written[reg];
    if (missing && !effects.copies)
      block.report(FindingKind::UninitialisedRegister, warp, op,
                   firstLane(missing), 0,
                   "reads register '" + block.program.registers[reg].name +
                       "', which nothing has written");
  };
  for (unsigned reg : effects.uses)
    use(reg, mask);
  if (effects.predicate != ~0u &&
      (warp.active & ~warp.written[effects.predicate]))
    block.report(FindingKind::UninitialisedRegister, warp, op,
                 firstLane(warp.active & ~warp.written[effects.predicate]), 0,
                 "reads predicate '" +
                     block.program.registers[effects.predicate].name +
                     "', which nothing has written");
  for (unsigned reg : effects.defines)
    warp.written[reg] = effects.copies
                            ? (warp.written[reg] & ~mask) | (mask & sound)
                            : warp.written[reg] | mask;
}

void branch(Warp &warp, const Op &op, uint32_t taken) {
  if (taken == warp.active) {
    warp.pc = op.target;
  } else if (!taken) {
    ++warp.pc;
  } else {
    warp.others.push_back({warp.pc + 1, warp.active & ~taken});
    warp.others.push_back({op.target, taken});
    warp.active = 0;
    pickFragment(warp);
  }
}

/// Reports copies and products that would still touch the block's memory or
/// registers after it.
void checkLeave(Warp &warp, const Op &op, uint32_t lanes) {
  Block &block = *warp.block;
  if (const StoreQueue::Store *store = warp.stores.open(lanes))
    block.report(FindingKind::MissingWait, warp, *store->op, store->lane, 0,
                 "may still read shared memory when its thread exits: no "
                 "cp.async.bulk.wait_group covers it");
  if (!warp.mma.products.empty())
    block.report(FindingKind::MissingWait, warp, *warp.mma.products.front().op,
                 firstLane(lanes), 0,
                 "is in flight when its warp exits at line " +
                     std::to_string(op.line) +
                     ": no wgmma.wait_group covers it");
}

void leave(Warp &warp, const Op &op, uint32_t lanes) {
  checkLeave(warp, op, lanes);
  warp.live &= ~lanes;
  ++warp.block->progress;
  warp.active &= ~lanes;
  if (warp.live == 0) {
    warp.copies.drain();
    warp.stores.drain();
    warp.status = WarpStatus::Done;
  } else if (!warp.active) {
    pickFragment(warp);
  } else {
    ++warp.pc;
  }
}

void warpBarrier(Warp &warp, const Op &op, uint32_t mask) {
  uint32_t member = warp.slot<uint32_t>(op.a)[firstLane(mask)];
  if (mask & ~member)
    warp.block->report(
        FindingKind::WarpDivergence, warp, op, firstLane(mask & ~member), 0,
        "bar.warp.sync by a lane that is not in its mask " + showMask(member));
  member |= mask;
  ++warp.pc;
  if (mask == warp.active && !(member & warp.live & ~mask)) {
    advanceClock(warp);
    return;
  }
  warp.others.push_back({warp.pc, mask, member});
  warp.active &= ~mask;
  switchFragment(warp);
}

/// False if the warp now waits.
bool blockBarrier(Warp &warp, const Op &op, uint32_t mask) {
  Block &block = *warp.block;
  if (mask != warp.live) {
    uint32_t missing = warp.live & ~mask;
    block.report(FindingKind::BarrierDivergence, warp, op, firstLane(missing),
                 0,
                 "only lanes " + showMask(mask) + " of the warp's " +
                     showMask(warp.live) + " reach the barrier",
                 true);
    return false;
  }
  unsigned lane = firstLane(mask);
  auto uniform = [&](uint32_t slot, const char *what) {
    const uint32_t *values = warp.slot<uint32_t>(slot);
    for (unsigned i = 0; i < Lanes; ++i)
      if ((mask >> i & 1) && values[i] != values[lane]) {
        block.report(FindingKind::BarrierDivergence, warp, op, i, 0,
                     std::string("lanes of one warp give different barrier ") +
                         what,
                     true);
        break;
      }
    return values[lane];
  };
  uint32_t id = uniform(op.a, "numbers"),
           count = uniform(op.b, "thread counts");
  uint32_t population = 0;
  if (op.variant & 2) {
    uint32_t held =
        (warp.preds[op.c] ^ (op.flags & FlipC ? FullMask : 0)) & mask;
    population = uint32_t(__builtin_popcount(held));
  }
  if (block.fatal)
    return false;
  return block.arrive(warp, op, id, count, op.variant != 1, population);
}

/// Executes a control operation; false if the warp cannot go on now.
bool control(Warp &warp, const Op &op, uint32_t mask) {
  Block &block = *warp.block;
  if (!(op.flags & Inserted) && mask)
    ++block.executed[op.id];
  if (!mask && op.control != Control::Branch) {
    ++warp.pc;
    return true;
  }
  switch (op.control) {
  case Control::Branch:
    branch(warp, op, mask);
    break;
  case Control::Exit:
    leave(warp, op, mask);
    break;
  case Control::WarpBarrier:
    warpBarrier(warp, op, mask);
    break;
  case Control::Barrier:
    return blockBarrier(warp, op, mask);
  case Control::MbarrierWait:
    if (waitAtMbarrier(warp, op, mask))
      break;
    if (!warp.active)
      pickFragment(warp);
    return false;
  case Control::MmaWait:
    return waitForProducts(warp, op, mask);
  case Control::SetRegisters:
    return setRegisters(warp, op, mask);
  case Control::Trap:
    block.report(FindingKind::Trap, warp, op, firstLane(mask), 0,
                 "the kernel executes " + block.program.opcodes[op.id], true);
    return false;
  case Control::None:
    break;
  }
  return warp.status == WarpStatus::Ready && !block.fatal;
}

void runWarp(Warp &warp, uint64_t quantum) {
  Block &block = *warp.block;
  const Op *ops = block.program.ops.data();
  uint64_t *executed = block.executed.data();
  uint64_t left = quantum;
  while (left--) {
    if (warp.pc >= warp.mergeAt)
      switchFragment(warp);
    const Op &op = ops[warp.pc];
    uint32_t mask = warp.active & (warp.preds[op.predicate] ^ op.predicateFlip);
    if (op.flags & (TracksRegisters | TouchesMma)) {
      if (op.flags & TracksRegisters)
        checkRegisters(warp, op, mask);
      if (mask && (op.flags & TouchesMma))
        touchMma(warp, op);
    }
    if (op.control == Control::None) {
      ++warp.pc;
      if (mask) {
        warp.mask = mask;
        ++executed[op.id];
        op.run(warp, op);
      }
    } else if (!control(warp, op, mask)) {
      break;
    }
  }
  block.issued += quantum - (left == ~0ull ? 0 : left);
}

} // namespace

bool Block::arrive(Warp &warp, const Op &op, unsigned id, uint32_t count,
                   bool wait, uint32_t population) {
  if (id >= 16) {
    report(FindingKind::InvalidOperand, warp, op, 0, 0,
           "barrier " + std::to_string(id) +
               " does not exist: there are 16, numbered from 0",
           true);
    return false;
  }
  if (count % Lanes) {
    report(FindingKind::BarrierDivergence, warp, op, 0, 0,
           "barrier count " + std::to_string(count) +
               " is not a multiple of 32",
           true);
    return false;
  }
  Barrier &barrier = barriers[id];
  uint32_t expected = count ? count / Lanes : uint32_t(warps.size());
  if (barrier.expected && barrier.expected != expected) {
    report(FindingKind::BarrierDivergence, warp, op, 0, 0,
           "barrier " + std::to_string(id) + " expects " +
               std::to_string(barrier.expected * Lanes) +
               " threads, this warp says " + std::to_string(expected * Lanes),
           true);
    return false;
  }
  if (barrier.joined >> warp.id & 1) {
    report(FindingKind::BarrierDivergence, warp, op, 0, 0,
           "the warp arrives twice at barrier " + std::to_string(id) +
               " before the barrier completes",
           true);
    return false;
  }
  if (!barrier.expected)
    barrier.view.reset(agents.total());
  barrier.expected = expected;
  ++barrier.arrived;
  barrier.joined |= 1u << warp.id;
  barrier.population += population;
  barrier.threads += uint32_t(__builtin_popcount(warp.live));
  advanceClock(warp);
  barrier.view.join(warp.view);
  ++warp.pc;
  if (wait) {
    barrier.waiting |= 1u << warp.id;
    warp.status = WarpStatus::AtBarrier;
    warp.barrier = id;
    warp.barrierOp = &op;
  }
  if (barrier.arrived < barrier.expected)
    return !wait;
  for (Warp &other : warps) {
    if (!(barrier.waiting >> other.id & 1))
      continue;
    other.view.join(barrier.view);
    other.status = WarpStatus::Ready;
    if (const Op &waited = *other.barrierOp; waited.variant & 2) {
      bool all = barrier.population == barrier.threads,
           any = barrier.population != 0;
      if (waited.variant == 2)
        std::fill_n(other.slot<uint32_t>(waited.dst), Lanes,
                    barrier.population);
      else
        other.preds[waited.dst] =
            (waited.variant == 6 ? all : any) ? FullMask : 0;
    }
  }
  barrier = Barrier{};
  return true;
}

namespace {

/// Wakes the warps for which something may have changed; how many can run.
unsigned wake(Block &block) {
  unsigned ready = 0;
  for (Warp &warp : block.warps) {
    if ((warp.status == WarpStatus::Waiting ||
         warp.status == WarpStatus::Polling) &&
        warp.waitedAt != block.progress) {
      if (warp.active)
        warp.status = WarpStatus::Ready;
      else
        pickFragment(warp);
    }
    ready += warp.status == WarpStatus::Ready;
  }
  return ready;
}

/// Nothing is ready: the warps whose tests failed look again, or a copy in
/// flight ends. False if neither helps.
bool unblock(Block &block, unsigned &rounds) {
  constexpr unsigned Patience = 1000;
  bool polling = false;
  for (const Warp &warp : block.warps)
    polling |= warp.status == WarpStatus::Polling;
  if (!block.loads.empty() && (!polling || rounds >= 2)) {
    size_t which = block.launch.options.mode == Mode::Random
                       ? block.random.next() % block.loads.size()
                       : 0;
    block.complete(which);
    rounds = 0;
    return true;
  }
  if (!polling || ++rounds > Patience)
    return false;
  for (Warp &warp : block.warps)
    if (warp.status == WarpStatus::Polling)
      warp.status = WarpStatus::Ready;
  return true;
}

/// Random mode: some work in flight happens now.
void completeSome(Block &block) {
  Warp &lucky = block.warps[block.random.next() % block.warps.size()];
  if (block.random.next() % 4 == 0) {
    lucky.copies.completeSome(block.random.next());
    lucky.stores.completeSome(block.random.next());
    if (!lucky.mma.products.empty())
      completeProducts(lucky, unsigned(block.random.next() % 4));
  }
  if (!block.loads.empty() && block.random.next() % 4 == 0)
    block.complete(block.random.next() % block.loads.size());
}

} // namespace

void runBlock(Block &block) {
  const LaunchOptions &options = block.launch.options;
  const unsigned count = unsigned(block.warps.size());
  const bool random = options.mode == Mode::Random;
  unsigned turn = 0, rounds = 0;
  uint64_t progress = 0;
  while (!block.fatal) {
    if (progress != block.progress)
      rounds = 0;
    progress = block.progress;
    if (!wake(block)) {
      bool done = std::all_of(
          block.warps.begin(), block.warps.end(),
          [](const Warp &warp) { return warp.status == WarpStatus::Done; });
      if (done)
        return checkEnd(block);
      if (unblock(block, rounds))
        continue;
      return reportStuck(block);
    }
    uint64_t quantum = 4096;
    if (random) {
      quantum = 1 + block.random.next() % 48;
      turn = unsigned(block.random.next() % count);
      completeSome(block);
    }
    while (block.warps[turn].status != WarpStatus::Ready)
      turn = (turn + 1) % count;
    Warp &warp = block.warps[turn];
    runWarp(warp, std::min(quantum, options.instructionBudget + 1 -
                                        std::min(block.issued,
                                                 options.instructionBudget)));
    turn = (turn + 1) % count;
    if (block.issued > options.instructionBudget && !block.fatal)
      block.report(
          FindingKind::InstructionBudget, warp, block.program.ops[warp.pc],
          firstLane(warp.active), 0,
          "the block executed more than " +
              std::to_string(options.instructionBudget) +
              " warp instructions: it hangs, or the budget is too small",
          true);
  }
}

} // namespace attn::sim
