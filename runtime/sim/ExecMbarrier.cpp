//===- ExecMbarrier.cpp - mbarrier objects and proxy fences ----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Access.h"
#include "attn/runtime/sim/Builders.h"

#include <algorithm>

namespace attn::sim {
namespace {

/// Bits of Op::variant, beside the first, which Build::address sets.
enum : uint8_t {
  WideBase = 1,
  Relaxed = 2,
  Parity = 4,
  Expect = 8,    ///< expect_tx, alone or before an arrival
  Drop = 16,     ///< arrive_drop
  Blocking = 32, ///< try_wait
  NoComplete = 64,
};

void addresses(const Warp &warp, const Op &op, uint64_t *result) {
  laneAddresses(warp, op.a, op.variant & WideBase, op.imm, result);
}

/// Offset in shared memory of what resolve() has found to be inside.
uint32_t offsetOf(const Warp &warp, const uint8_t *pointer) {
  return uint32_t(pointer - warp.block->shared.data());
}

/// Bounds, alignment and races of the 8 bytes.
uint32_t touch(Warp &warp, const Op &op, uint32_t mask, const uint64_t *where,
               AccessKind kind, uint8_t **pointers) {
  uint32_t good = resolve(warp, op, op.space, where, mask, 8, kind, pointers);
  const std::vector<uint8_t> &shared = warp.block->shared;
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = firstLane(m);
    if (pointers[lane] >= shared.data() &&
        pointers[lane] < shared.data() + shared.size())
      continue;
    warp.block->report(FindingKind::InvalidOperand, warp, op, lane, where[lane],
                       "names an mbarrier outside shared memory", true);
    good = 0;
  }
  return good;
}

void misuse(Warp &warp, const Op &op, unsigned lane, const Mbarrier &mbarrier,
            const std::string &what, bool fatal = false) {
  warp.block->report(
      FindingKind::Mbarrier, warp, op, lane, SharedStart + mbarrier.offset,
      what + ": " + mbarrier.name() + " is in " + mbarrier.state(), fatal,
      mbarrier.init ? mbarrier.init->line : 0);
}

void runInit(Warp &warp, const Op &op) {
  Block &block = *warp.block;
  uint64_t where[Lanes];
  uint8_t *pointers[Lanes];
  addresses(warp, op, where);
  uint32_t good =
      touch(warp, op, warp.mask, where, AccessKind::Write, pointers);
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = firstLane(m);
    uint32_t offset = offsetOf(warp, pointers[lane]);
    auto [entry, added] =
        block.mbarrierAt.emplace(offset, unsigned(block.mbarriers.size()));
    if (added && block.mbarriers.size() == block.agents.mbarriers) {
      block.report(FindingKind::InvalidOperand, warp, op, lane, where[lane],
                   "is one object too many: the checker knows " +
                       std::to_string(block.agents.mbarriers) +
                       " mbarriers in a block of this size",
                   true);
      return;
    }
    if (added) {
      block.mbarriers.emplace_back();
      Mbarrier &fresh = block.mbarriers.back();
      fresh.offset = offset;
      fresh.arriving.reset(block.agents.total());
      fresh.released.reset(block.agents.total());
      fresh.observed.assign(block.warps.size(), 0);
    }
    Mbarrier &mbarrier = block.mbarriers[entry->second];
    if (mbarrier.valid)
      misuse(
          warp, op, lane, mbarrier,
          "initialises an object that is in use: mbarrier.inval comes first");
    int64_t count = int32_t(warp.slot<uint32_t>(op.b)[lane]);
    if (count < 1 || count > Mbarrier::MaxCount) {
      block.report(FindingKind::InvalidOperand, warp, op, lane, where[lane],
                   "count " + std::to_string(count) + " is not from 1 to " +
                       std::to_string(Mbarrier::MaxCount));
      count = 1;
    }
    mbarrier.valid = true;
    mbarrier.init = &op;
    mbarrier.initEpoch = makeEpoch(warp.id, warp.clock, lane);
    mbarrier.phase = 0;
    mbarrier.expected = mbarrier.pending = count;
    mbarrier.tx = 0;
    std::fill(mbarrier.observed.begin(), mbarrier.observed.end(),
              mbarrier.completions);
  }
}

void runInval(Warp &warp, const Op &op) {
  uint64_t where[Lanes];
  uint8_t *pointers[Lanes];
  addresses(warp, op, where);
  uint32_t good =
      touch(warp, op, warp.mask, where, AccessKind::Write, pointers);
  for (uint32_t m = good; m; m &= m - 1)
    if (Mbarrier *mbarrier =
            findMbarrier(warp, op, firstLane(m), where[firstLane(m)]))
      mbarrier->valid = false;
}

/// expect_tx and complete_tx on their own.
void runTx(Warp &warp, const Op &op) {
  uint64_t where[Lanes];
  uint8_t *pointers[Lanes];
  addresses(warp, op, where);
  uint32_t good =
      touch(warp, op, warp.mask, where, AccessKind::StrongWrite, pointers);
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = firstLane(m);
    Mbarrier *mbarrier = findMbarrier(warp, op, lane, where[lane]);
    if (!mbarrier)
      return;
    int64_t bytes = int32_t(warp.slot<uint32_t>(op.b)[lane]);
    mbarrier->tx += op.variant & Expect ? bytes : -bytes;
    if (std::abs(mbarrier->tx) > Mbarrier::MaxCount)
      misuse(warp, op, lane, *mbarrier, "exceeds the range of the tx-count",
             true);
    settle(*warp.block, *mbarrier);
  }
}

/// Opaque to the program: the phase, and the arrivals missing before.
uint64_t stateWord(const Mbarrier &mbarrier) {
  return uint64_t(mbarrier.completions + 1) << 24 | uint64_t(mbarrier.pending);
}

/// Of `lanes`, which arrive one after the other, those that arrive before a
/// phase is complete: all, unless they are too many for one mbarrier. The
/// others arrive in the next phase, and the first does not release what they
/// did.
uint32_t lanesOfPhase(Warp &warp, const Op &op, uint32_t lanes,
                      const uint64_t *where, int64_t pending) {
  const unsigned first = firstLane(lanes);
  uint32_t result = 0;
  for (uint32_t m = lanes; m && pending > 0; m &= m - 1) {
    const unsigned lane = firstLane(m);
    if (where[lane] != where[first])
      return lanes;
    pending -=
        op.variant & Expect ? 1 : int32_t(warp.slot<uint32_t>(op.b)[lane]);
    result |= 1u << lane;
  }
  return result;
}

void runArrive(Warp &warp, const Op &op) {
  Block &block = *warp.block;
  uint64_t where[Lanes];
  uint8_t *pointers[Lanes];
  addresses(warp, op, where);
  uint32_t good =
      touch(warp, op, warp.mask, where, AccessKind::StrongWrite, pointers);
  if (!good)
    return;
  View view;
  uint32_t released = 0; // lanes whose view it is
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = firstLane(m);
    Mbarrier *mbarrier = findMbarrier(warp, op, lane, where[lane]);
    if (!mbarrier)
      return;
    if (!(op.variant & Relaxed) && !(released >> lane & 1)) {
      released = lanesOfPhase(warp, op, m, where, mbarrier->pending);
      view = release(warp, released == good ? warp.mask : released);
      released |= 1u << lane;
    }
    warp.slot<uint64_t>(op.dst)[lane] = stateWord(*mbarrier);
    int64_t operand = int32_t(warp.slot<uint32_t>(op.b)[lane]);
    int64_t count = op.variant & Expect ? 1 : operand;
    if (op.variant & Expect) {
      mbarrier->tx += operand;
      if (std::abs(mbarrier->tx) > Mbarrier::MaxCount)
        misuse(warp, op, lane, *mbarrier, "exceeds the range of the tx-count",
               true);
    }
    if (count < 1 || count > mbarrier->pending) {
      misuse(warp, op, lane, *mbarrier,
             count < 1 ? "count " + std::to_string(count) + " is less than 1"
                       : std::to_string(count) +
                             " arrivals are more than this phase still expects",
             true);
      return;
    }
    mbarrier->pending -= count;
    if (op.variant & Drop)
      mbarrier->expected -= count;
    if (!(op.variant & Relaxed))
      mbarrier->arriving.join(view);
    const uint32_t before = mbarrier->completions;
    settle(block, *mbarrier);
    if ((op.variant & NoComplete) && mbarrier->completions != before)
      misuse(warp, op, lane, *mbarrier,
             "completes the phase in spite of "
             ".noComplete");
  }
}

void runPending(Warp &warp, const Op &op) {
  for (uint32_t m = warp.mask; m; m &= m - 1)
    warp.slot<uint32_t>(op.dst)[firstLane(m)] =
        uint32_t(warp.slot<uint64_t>(op.a)[firstLane(m)] & 0xffffff);
}

void runProxyFence(Warp &warp, const Op &) { fenceProxy(warp, warp.mask); }

/// Clock with which the phase that a wait asks for completes. A parity names
/// the phase after the last one that this warp has seen, or that one again.
uint32_t askedClock(Warp &warp, const Op &op, unsigned lane,
                    Mbarrier &mbarrier) {
  if (!(op.variant & Parity))
    return uint32_t(warp.slot<uint64_t>(op.b)[lane] >> 24);
  const uint32_t parity = warp.slot<uint32_t>(op.b)[lane];
  const uint32_t base = mbarrier.completions - mbarrier.phase;
  if (parity > 1) {
    warp.block->report(FindingKind::InvalidOperand, warp, op, lane,
                       SharedStart + mbarrier.offset,
                       "parity " + std::to_string(parity) + " is not 0 or 1");
    return mbarrier.completions;
  }
  // Phase p has parity p & 1 and completes with clock base + p + 1.
  const uint32_t current = mbarrier.phase;
  const uint32_t answered = (current & 1) == parity ? current : current - 1;
  const uint32_t last = mbarrier.observed[warp.id] - base; // phases seen
  // The phase that the warp can mean: not seen yet, and of that parity; or the
  // last one that it has seen.
  const uint32_t meant = (last & 1) == parity ? last : last - 1;
  if (int32_t(answered - meant) >= 2)
    warp.block->report(
        FindingKind::WrongParity, warp, op, lane, SharedStart + mbarrier.offset,
        "waits for parity " + std::to_string(parity) + ", which phase " +
            std::to_string(answered) + " answers; this warp has last seen " +
            (last ? "phase " + std::to_string(last - 1)
                  : std::string("no phase")) +
            " complete: " + mbarrier.name() + " is in " + mbarrier.state(),
        false, mbarrier.init->line);
  return base + answered + 1;
}

} // namespace

std::string Mbarrier::name() const {
  return "mbarrier at " + showShared(offset) +
         (init ? " (line " + std::to_string(init->line) + ")" : "");
}

std::string Mbarrier::state() const {
  return "phase " + std::to_string(phase) + ", " + std::to_string(pending) +
         " of " + std::to_string(expected) + " arrivals missing, tx-count " +
         std::to_string(tx);
}

Mbarrier *findMbarrier(Warp &warp, const Op &op, unsigned lane,
                       uint64_t address) {
  Block &block = *warp.block;
  uint64_t offset = address;
  if (address >= SharedWindow)
    offset -= SharedWindow;
  offset -= SharedStart;
  auto found = block.mbarrierAt.find(uint32_t(offset));
  if (offset <= block.shared.size() && found != block.mbarrierAt.end() &&
      block.mbarriers[found->second].valid) {
    Mbarrier &mbarrier = block.mbarriers[found->second];
    if (block.launch.options.checkRaces &&
        !ordered(mbarrier.initEpoch, warp, lane))
      block.report(FindingKind::Race, warp, op, lane, SharedStart + offset,
                   "uses the " + mbarrier.name() +
                       " with no barrier between its mbarrier.init and this",
                   false, mbarrier.init->line);
    return &mbarrier;
  }
  block.report(FindingKind::Mbarrier, warp, op, lane, SharedStart + offset,
               "finds no mbarrier at " + showShared(uint32_t(offset)) +
                   ": mbarrier.init has not run there",
               true);
  return nullptr;
}

void settle(Block &block, Mbarrier &mbarrier) {
  if (mbarrier.pending || mbarrier.tx)
    return;
  ++mbarrier.phase;
  ++mbarrier.completions;
  mbarrier.pending = mbarrier.expected;
  mbarrier.released.join(mbarrier.arriving);
  unsigned index = unsigned(&mbarrier - block.mbarriers.data());
  mbarrier.released.seen[block.agents.firstMbarrier + index] =
      mbarrier.completions;
  ++block.progress;
}

void Block::complete(size_t index) {
  BulkLoad load = std::move(loads[index]);
  loads.erase(loads.begin() + ptrdiff_t(index));
  for (const BulkLoad::Piece &piece : load.pieces)
    std::copy_n(load.data.begin() + piece.from, piece.bytes,
                shared.begin() + piece.to);
  ++progress;
  Mbarrier &mbarrier = mbarriers[load.mbarrier];
  if (!mbarrier.valid || mbarrier.nextClock() != load.clock) {
    report(FindingKind::ByteCount, *load.warp, *load.op, load.lane,
           SharedStart + mbarrier.offset,
           "of " + std::to_string(load.bytes) +
               " bytes ends after its phase: expect_tx counted less than what "
               "is copied; " +
               mbarrier.name() + " is in " + mbarrier.state(),
           false, mbarrier.init->line);
    if (!mbarrier.valid)
      return;
  }
  mbarrier.tx -= load.bytes;
  settle(*this, mbarrier);
}

bool waitAtMbarrier(Warp &warp, const Op &op, uint32_t mask) {
  Block &block = *warp.block;
  warp.mask = mask;
  uint64_t where[Lanes];
  uint8_t *pointers[Lanes];
  addresses(warp, op, where);
  uint32_t good =
      touch(warp, op, mask, where, AccessKind::StrongRead, pointers);
  uint32_t granted = 0, refused = 0;
  unsigned gate = 0;
  uint32_t gateClock = 0;
  const LaunchOptions &options = block.launch.options;
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = firstLane(m);
    Mbarrier *mbarrier = findMbarrier(warp, op, lane, where[lane]);
    if (!mbarrier)
      return false;
    unsigned index = unsigned(mbarrier - block.mbarriers.data());
    uint32_t clock = askedClock(warp, op, lane, *mbarrier);
    if (clock <= mbarrier->completions) {
      granted |= 1u << lane;
      continue;
    }
    refused |= 1u << lane;
    gate = index;
    gateClock = clock;
  }
  if (refused && (op.variant & Blocking) && warp.triedGate == gate &&
      warp.triedClock == gateClock && !granted) {
    // The second time: it waits until the phase completes.
    warp.others.push_back({warp.pc, warp.active, 0, &op, gate, gateClock});
    warp.active = 0;
    return false;
  }
  // Lanes with one mbarrier are handled together.
  for (uint32_t left = granted; left;) {
    unsigned lane = firstLane(left);
    uint32_t same = 0;
    for (uint32_t m = left; m; m &= m - 1)
      if (where[firstLane(m)] == where[lane])
        same |= 1u << firstLane(m);
    left &= ~same;
    Mbarrier *mbarrier = findMbarrier(warp, op, lane, where[lane]);
    uint32_t clock = askedClock(warp, op, lane, *mbarrier);
    uint32_t &observed = mbarrier->observed[warp.id];
    observed = std::max(observed, clock);
    if (!(op.variant & Relaxed) && clock && options.checkRaces)
      acquire(warp, same, mbarrier->released);
  }
  uint32_t &pred = warp.preds[op.dst];
  pred = (pred & ~mask) | granted;
  ++warp.pc;
  if (!refused) {
    warp.triedGate = ~0u;
    return true;
  }
  warp.triedGate = gate;
  warp.triedClock = gateClock;
  warp.status = WarpStatus::Polling;
  warp.waitedAt = block.progress;
  return false;
}

namespace builders {

namespace {
/// The address, and what all operations on mbarriers share. Sets variant.
void prepare(Build &b, unsigned at, uint8_t variant) {
  bool shared =
      b.has("shared") || b.has("shared::cta") || b.has("shared::cluster");
  b.address(b.operand(at), shared ? Space::Shared : Space::Generic);
  b.op.variant |= variant | (b.has("relaxed") ? Relaxed : 0);
  b.noteAccess(Space::Shared, 8);
  b.noteMbarriers();
}
} // namespace

Handler mbarrierInit(Build &b) {
  prepare(b, 0, 0);
  b.op.b = b.src(1, Type::U32);
  return runInit;
}

Handler mbarrierInval(Build &b) {
  prepare(b, 0, 0);
  return runInval;
}

Handler mbarrierTx(Build &b) {
  prepare(b, 0, b.has("expect_tx") ? Expect : 0);
  b.op.b = b.src(1, Type::U32);
  return runTx;
}

Handler mbarrierArrive(Build &b) {
  prepare(b, 1,
          uint8_t((b.has("expect_tx") ? Expect : 0) |
                  (b.has("arrive_drop") ? Drop : 0) |
                  (b.has("noComplete") ? NoComplete : 0)));
  b.op.dst = b.dst(0, 64);
  b.op.b =
      b.operandCount() > 2 ? b.src(2, Type::U32) : b.constantSlot(1, false);
  return runArrive;
}

Handler mbarrierWait(Build &b) {
  prepare(b, 1,
          uint8_t((b.has("parity") ? Parity : 0) |
                  (b.has("try_wait") ? Blocking : 0)));
  b.op.dst = b.predDst(b.operand(0));
  b.op.b = b.src(2, b.has("parity") ? Type::U32 : Type::B64);
  if (b.operandCount() > 3)
    b.src(3, Type::U32);
  b.op.control = Control::MbarrierWait;
  return runPending;
}

Handler mbarrierPending(Build &b) {
  b.op.dst = b.dst(0, 32);
  b.op.a = b.src(1, Type::B64);
  return runPending;
}

Handler proxyFence(Build &b) {
  // Order in global memory alone is not modelled.
  return b.has("global") ? nothing(b) : runProxyFence;
}

} // namespace builders
} // namespace attn::sim
