//===- Schedule.cpp - warps, divergence and barriers -----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Block.h"

#include <algorithm>

namespace attn::sim {
namespace {

unsigned firstLane(uint32_t mask) {
  return mask ? unsigned(__builtin_ctz(mask)) : 0;
}

std::string showMask(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

void updateMergePoint(Warp &warp) {
  warp.mergeAt = ~0u;
  for (const Fragment &fragment : warp.others)
    if (!fragment.waitMask)
      warp.mergeAt = std::min(warp.mergeAt, fragment.pc);
}

/// What the warp did so far now happens before everything that it does from
/// here on.
void advanceClock(Warp &warp) {
  Block &block = *warp.block;
  unsigned warps = unsigned(block.warps.size());
  warp.seen[warp.id] = warp.clock;
  warp.seen[warps + warp.id] =
      std::max(warp.seen[warps + warp.id], warp.copies.doneForAll());
  if (++warp.clock >= MaxClock)
    block.report(FindingKind::InstructionBudget, warp,
                 block.program.ops[warp.pc], 0, 0,
                 "the race checker is limited to " + std::to_string(MaxClock) +
                     " barriers for a block",
                 true);
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
  updateMergePoint(warp);
  warp.active = 0;
  if (warp.mergeAt == ~0u) {
    warp.status = warp.live ? WarpStatus::Stuck : WarpStatus::Done;
    return;
  }
  warp.pc = warp.mergeAt;
  size_t kept = 0;
  for (Fragment &fragment : warp.others)
    if (!fragment.waitMask && fragment.pc == warp.pc)
      warp.active |= fragment.mask;
    else
      warp.others[kept++] = fragment;
  warp.others.resize(kept);
  updateMergePoint(warp);
}

void switchFragment(Warp &warp) {
  if (warp.active)
    warp.others.push_back({warp.pc, warp.active, 0});
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
    warp.others.push_back({warp.pc + 1, warp.active & ~taken, 0});
    warp.others.push_back({op.target, taken, 0});
    warp.active = 0;
    pickFragment(warp);
  }
}

void leave(Warp &warp, uint32_t lanes) {
  warp.live &= ~lanes;
  warp.active &= ~lanes;
  if (warp.live == 0) {
    warp.copies.drain();
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
    leave(warp, mask);
    break;
  case Control::WarpBarrier:
    warpBarrier(warp, op, mask);
    break;
  case Control::Barrier:
    return blockBarrier(warp, op, mask);
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
    if (op.flags & TracksRegisters)
      checkRegisters(warp, op, mask);
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

std::string listWarps(uint32_t set) {
  std::string text;
  for (unsigned w = 0; w < 32; ++w)
    if (set >> w & 1)
      text += (text.empty() ? "" : " ") + std::to_string(w);
  return text.empty() ? "none" : text;
}

/// No warp can go on: says where each one stands.
void reportStuck(Block &block) {
  std::string text;
  uint32_t done = 0, stuck = 0;
  for (const Warp &warp : block.warps) {
    done |= uint32_t(warp.status == WarpStatus::Done) << warp.id;
    stuck |= uint32_t(warp.status == WarpStatus::Stuck) << warp.id;
  }
  const Warp *witness = nullptr;
  bool exitedExplains = false;
  for (unsigned id = 0; id < 16; ++id) {
    const Barrier &barrier = block.barriers[id];
    if (!barrier.expected)
      continue;
    text += "; barrier " + std::to_string(id) + ": " +
            std::to_string(barrier.arrived) + " of " +
            std::to_string(barrier.expected) +
            " warps arrived (waiting: " + listWarps(barrier.waiting) + ")";
    if (barrier.waiting && !witness) {
      witness = &block.warps[firstLane(barrier.waiting)];
      exitedExplains =
          done && barrier.arrived + unsigned(__builtin_popcount(done)) >=
                      barrier.expected;
    }
  }
  if (done)
    text += "; exited warps: " + listWarps(done);
  for (const Warp &warp : block.warps) {
    if (warp.status == WarpStatus::Stuck) {
      witness = witness ? witness : &warp;
      for (const Fragment &fragment : warp.others)
        text += "; warp " + std::to_string(warp.id) + ": lanes " +
                showMask(fragment.mask) + " wait at line " +
                std::to_string(block.program.ops[fragment.pc - 1].line) +
                " in bar.warp.sync for " +
                showMask(fragment.waitMask & warp.live);
    }
    std::string copies = warp.copies.describe();
    if (!copies.empty())
      text += "; warp " + std::to_string(warp.id) + ": " + copies;
  }
  const Op *op = witness->barrierOp;
  if (!op || witness->status == WarpStatus::Stuck)
    op =
        &block.program.ops[witness->others.empty() ? witness->pc
                                                   : witness->others[0].pc - 1];
  if (exitedExplains && !stuck)
    block.report(FindingKind::BarrierDivergence, *witness, *op, 0, 0,
                 "warps wait at a barrier for warps that have exited" + text,
                 true);
  else
    block.report(FindingKind::Deadlock, *witness, *op, 0, 0,
                 "no warp can go on" + text, true);
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
  const unsigned total = unsigned(warps.size());
  if (!barrier.expected)
    barrier.clocks.assign(2 * total, 0);
  barrier.expected = expected;
  ++barrier.arrived;
  barrier.joined |= 1u << warp.id;
  barrier.population += population;
  barrier.threads += uint32_t(__builtin_popcount(warp.live));
  advanceClock(warp);
  for (unsigned i = 0; i < 2 * total; ++i)
    barrier.clocks[i] = std::max(barrier.clocks[i], warp.seen[i]);
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
    for (unsigned i = 0; i < 2 * total; ++i)
      other.seen[i] = std::max(other.seen[i], barrier.clocks[i]);
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

void runBlock(Block &block) {
  const LaunchOptions &options = block.launch.options;
  const unsigned count = unsigned(block.warps.size());
  const bool random = options.mode == Mode::Random;
  unsigned turn = 0;
  while (!block.fatal) {
    unsigned ready = 0;
    for (const Warp &warp : block.warps)
      ready += warp.status == WarpStatus::Ready;
    if (!ready) {
      bool done = std::all_of(
          block.warps.begin(), block.warps.end(),
          [](const Warp &warp) { return warp.status == WarpStatus::Done; });
      if (!done)
        reportStuck(block);
      return;
    }
    uint64_t quantum = 4096;
    if (random) {
      quantum = 1 + block.random.next() % 48;
      turn = unsigned(block.random.next() % count);
      Warp &lucky = block.warps[block.random.next() % count];
      if (block.random.next() % 4 == 0)
        lucky.copies.completeSome(block.random.next());
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
