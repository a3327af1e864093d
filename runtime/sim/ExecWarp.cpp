//===- ExecWarp.cpp - control, barriers, exchange of lanes -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Block.h"
#include "attn/runtime/sim/Builders.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {
namespace {

void runNothing(Warp &, const Op &) {}

/// The member mask of a .sync instruction: every live lane it names must be
/// here, and every lane here must be named.
uint32_t members(Warp &warp, const Op &op, uint32_t slot) {
  uint32_t member = warp.slot<uint32_t>(slot)[__builtin_ctz(warp.mask)];
  uint32_t missing = member & warp.live & ~warp.mask,
           stranger = warp.mask & ~member;
  if (missing | stranger) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x", member);
    warp.block->report(
        FindingKind::WarpDivergence, warp, op,
        unsigned(__builtin_ctz(missing ? missing : stranger)), 0,
        std::string(missing ? "waits for a lane of its mask "
                            : "is executed by a lane outside its mask ") +
            text + (missing ? " that is not here" : ""));
  }
  return member;
}

enum ShuffleMode : uint8_t { Up, Down, Butterfly, Index };

void runShuffle(Warp &warp, const Op &op) {
  members(warp, op, op.d);
  uint32_t source[Lanes], result[Lanes], valid = 0;
  std::memcpy(source, warp.regs + op.a, sizeof source);
  const uint32_t *offsets = warp.slot<uint32_t>(op.b),
                 *limits = warp.slot<uint32_t>(op.c);
  uint32_t unread = 0;
  for (unsigned lane = 0; lane < Lanes; ++lane) {
    const uint32_t by = offsets[lane] & 31, clamp = limits[lane] & 31,
                   segment = limits[lane] >> 8 & 31;
    const uint32_t least = lane & segment, most = least | (clamp & ~segment);
    int from;
    bool inside;
    switch (op.variant) {
    case Up:
      from = int(lane) - int(by);
      inside = from >= int(most);
      break;
    case Down:
      from = int(lane + by);
      inside = from <= int(most);
      break;
    case Butterfly:
      from = int(lane ^ by);
      inside = from <= int(most);
      break;
    default:
      from = int(least | (by & ~segment));
      inside = from <= int(most);
      break;
    }
    if (!inside)
      from = int(lane);
    valid |= uint32_t(inside) << lane;
    result[lane] = source[from & 31];
    unread |= uint32_t(!(warp.mask >> (from & 31) & 1)) << lane;
  }
  if (unread & warp.mask) {
    unsigned lane = unsigned(__builtin_ctz(unread & warp.mask));
    warp.block->report(FindingKind::WarpDivergence, warp, op, lane, 0,
                       "reads from a lane that is not here");
  }
  uint32_t *dst = warp.regs + op.dst;
  for (unsigned lane = 0; lane < Lanes; ++lane)
    dst[lane] = warp.mask >> lane & 1 ? result[lane] : dst[lane];
  if (op.list) {
    uint32_t &pred = warp.preds[op.list[0]];
    pred = (pred & ~warp.mask) | (valid & warp.mask);
  }
}

uint32_t heldLanes(Warp &warp, const Op &op) {
  return (warp.preds[op.a] ^ (op.flags & FlipA ? FullMask : 0)) & warp.mask;
}

void runBallot(Warp &warp, const Op &op) {
  uint32_t member = members(warp, op, op.b),
           held = heldLanes(warp, op) & member;
  for (uint32_t m = warp.mask; m; m &= m - 1)
    warp.slot<uint32_t>(op.dst)[__builtin_ctz(m)] = held;
}

void runVote(Warp &warp, const Op &op) {
  uint32_t member = members(warp, op, op.b) & warp.mask,
           held = heldLanes(warp, op) & member;
  bool result = op.variant == 0   ? held == member
                : op.variant == 1 ? held != 0
                                  : held == member || held == 0;
  uint32_t &pred = warp.preds[op.dst];
  pred = (pred & ~warp.mask) | (result ? warp.mask : 0);
}

template <typename T>
void runMatch(Warp &warp, const Op &op) {
  uint32_t member = members(warp, op, op.b) & warp.mask;
  const T *values = warp.slot<T>(op.a);
  uint32_t result[Lanes] = {};
  uint32_t all = 0;
  for (uint32_t m = warp.mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    for (uint32_t n = member; n; n &= n - 1)
      result[lane] |= uint32_t(values[__builtin_ctz(n)] == values[lane])
                      << __builtin_ctz(n);
    all |= uint32_t(result[lane] == member) << lane;
  }
  for (uint32_t m = warp.mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    warp.slot<uint32_t>(op.dst)[lane] =
        op.variant && !(all >> lane & 1) ? 0 : result[lane];
  }
  if (op.list) {
    uint32_t &pred = warp.preds[op.list[0]];
    pred = (pred & ~warp.mask) | all;
  }
}

void runActiveMask(Warp &warp, const Op &op) {
  for (uint32_t m = warp.mask; m; m &= m - 1)
    warp.slot<uint32_t>(op.dst)[__builtin_ctz(m)] = warp.mask;
}

void runElect(Warp &warp, const Op &op) {
  members(warp, op, op.b);
  unsigned leader = unsigned(__builtin_ctz(warp.mask));
  for (uint32_t m = warp.mask; m; m &= m - 1)
    warp.slot<uint32_t>(op.dst)[__builtin_ctz(m)] = leader;
  if (op.list) {
    uint32_t &pred = warp.preds[op.list[0]];
    pred = (pred & ~warp.mask) | 1u << leader;
  }
}

enum ReduceMode : uint8_t {
  AddLanes,
  MinUnsigned,
  MaxUnsigned,
  MinSigned,
  MaxSigned,
  AndLanes,
  OrLanes,
  XorLanes
};

void runReduce(Warp &warp, const Op &op) {
  uint32_t member = members(warp, op, op.b) & warp.mask;
  const uint32_t *values = warp.slot<uint32_t>(op.a);
  uint32_t result = 0;
  bool first = true;
  for (uint32_t m = member; m; m &= m - 1) {
    uint32_t value = values[__builtin_ctz(m)];
    if (first)
      result = value;
    else
      switch (op.variant) {
      case AddLanes:
        result += value;
        break;
      case MinUnsigned:
        result = std::min(result, value);
        break;
      case MaxUnsigned:
        result = std::max(result, value);
        break;
      case MinSigned:
        result = uint32_t(std::min(int32_t(result), int32_t(value)));
        break;
      case MaxSigned:
        result = uint32_t(std::max(int32_t(result), int32_t(value)));
        break;
      case AndLanes:
        result &= value;
        break;
      case OrLanes:
        result |= value;
        break;
      default:
        result ^= value;
        break;
      }
    first = false;
  }
  for (uint32_t m = warp.mask; m; m &= m - 1)
    warp.slot<uint32_t>(op.dst)[__builtin_ctz(m)] = result;
}

/// Predicate of `d|p`, if written.
void pairedPredicate(Build &b, const Operand &operand) {
  if (!operand.elements.empty())
    b.list({b.predDst(operand.elements[0])});
}

/// Barrier number and thread count: op.a and op.b, count 0 for "all".
void barrierOperands(Build &b, unsigned first, size_t count) {
  b.op.control = Control::Barrier;
  b.op.a = b.src(first, Type::B32);
  b.op.b = count > 1 ? b.src(first + 1, Type::B32) : b.constantSlot(0, false);
}

} // namespace

namespace builders {

Handler nothing(Build &) { return runNothing; }

Handler fence(Build &) { return runNothing; }

Handler branch(Build &b) {
  b.op.control = Control::Branch;
  b.op.target = b.branchTarget(b.operand(0));
  return runNothing;
}

Handler leave(Build &b) {
  b.op.control = Control::Exit;
  return runNothing;
}

Handler trap(Build &b) {
  b.op.control = Control::Trap;
  return runNothing;
}

Handler warpBarrier(Build &b) {
  b.op.control = Control::WarpBarrier;
  b.op.a = b.src(0, Type::B32);
  return runNothing;
}

Handler barrier(Build &b) {
  barrierOperands(b, 0, b.operandCount());
  b.op.variant = b.has("arrive") ? 1 : 0;
  return runNothing;
}

/// Variant 2 counts, 4 + 2 is `and`, 8 + 2 is `or`.
Handler barrierReduce(Build &b) {
  size_t last = b.operandCount() - 1;
  barrierOperands(b, 1, last - 1);
  b.op.variant = b.has("popc") ? 2 : b.has("and") ? 6 : 10;
  b.op.dst = b.has("popc") ? b.dst(0, 32) : b.predDst(b.operand(0));
  b.op.c = b.predSrc(b.operand(unsigned(last)), FlipC);
  return runNothing;
}

Handler shuffle(Build &b) {
  b.op.dst = b.dst(0, 32);
  pairedPredicate(b, b.operand(0));
  b.op.a = b.src(1, Type::B32);
  b.op.b = b.src(2, Type::B32);
  b.op.c = b.src(3, Type::B32);
  b.op.d = b.src(4, Type::B32);
  b.op.variant = b.has("up")     ? Up
                 : b.has("down") ? Down
                 : b.has("bfly") ? Butterfly
                                 : Index;
  return runShuffle;
}

Handler vote(Build &b) {
  bool ballot = b.has("ballot");
  b.op.dst = ballot ? b.dst(0, 32) : b.predDst(b.operand(0));
  b.op.a = b.predSrc(b.operand(1), FlipA);
  b.op.b = b.src(2, Type::B32);
  b.op.variant = b.has("all") ? 0 : b.has("any") ? 1 : 2;
  return ballot ? runBallot : runVote;
}

Handler matchLanes(Build &b) {
  b.op.dst = b.dst(0, 32);
  pairedPredicate(b, b.operand(0));
  b.op.a = b.src(1, b.type());
  b.op.b = b.src(2, Type::B32);
  b.op.variant = b.has("all");
  return bitsOf(b.type()) == 64 ? runMatch<uint64_t> : runMatch<uint32_t>;
}

Handler activeMask(Build &b) {
  b.op.dst = b.dst(0, 32);
  return runActiveMask;
}

Handler electLane(Build &b) {
  b.op.dst = b.dst(0, 32);
  pairedPredicate(b, b.operand(0));
  b.op.b = b.src(1, Type::B32);
  return runElect;
}

Handler reduceLanes(Build &b) {
  b.op.dst = b.dst(0, 32);
  b.op.a = b.src(1, b.type());
  b.op.b = b.src(2, Type::B32);
  bool negative = b.type() == Type::S32;
  b.op.variant = b.has("add")   ? AddLanes
                 : b.has("min") ? (negative ? MinSigned : MinUnsigned)
                 : b.has("max") ? (negative ? MaxSigned : MaxUnsigned)
                 : b.has("and") ? AndLanes
                 : b.has("or")  ? OrLanes
                                : XorLanes;
  return runReduce;
}

namespace {
uint64_t windowStart(const Build &b) {
  return b.has("global") ? 0
         : b.has("shared") || b.has("shared::cta") || b.has("shared::cluster")
             ? SharedWindow
         : b.has("local") ? LocalWindow
         : b.has("const") ? ConstWindow
                          : ParamWindow;
}

void runAddOffset(Warp &warp, const Op &op) {
  for (uint32_t m = warp.mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    warp.slot<uint64_t>(op.dst)[lane] =
        warp.slot<uint64_t>(op.a)[lane] + op.imm;
  }
}

void runIsSpace(Warp &warp, const Op &op) {
  uint32_t result = 0;
  for (uint32_t m = warp.mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    uint64_t address = warp.slot<uint64_t>(op.a)[lane];
    bool inside =
        op.imm ? address - op.imm < WindowSize : address < ParamWindow;
    result |= uint32_t(inside) << lane;
  }
  uint32_t &pred = warp.preds[op.dst];
  pred = (pred & ~warp.mask) | result;
}
} // namespace

/// Generic addresses are the address within the space plus the start of its
/// window.
Handler convertAddress(Build &b) {
  b.op.dst = b.dst(0, 64);
  b.op.a = b.src(1, Type::U64);
  b.op.imm = b.has("to") ? -windowStart(b) : windowStart(b);
  return runAddOffset;
}

Handler isSpace(Build &b) {
  b.op.dst = b.predDst(b.operand(0));
  b.op.a = b.src(1, Type::U64);
  b.op.imm = windowStart(b);
  return runIsSpace;
}

} // namespace builders

uint64_t clockOfBlock(const Warp &warp) { return warp.block->issued; }

void reportPartialWarp(Warp &warp, const Op &op) {
  warp.block->report(FindingKind::WarpDivergence, warp, op,
                     unsigned(__builtin_ctz(~warp.mask)), 0,
                     "needs all 32 lanes, some are not here");
}

static const Builder *laneBuilders(HostIsa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == HostIsa::Best && avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return laneBuildersAvx512();
  if (isa != HostIsa::Baseline && avx2)
    return laneBuildersAvx2();
#endif
  return laneBuildersBase();
}

Builder builderFor(BuilderId id, HostIsa isa) {
#define ATTN_SIM_COUNT(name) +1
  constexpr unsigned laneCount = 0 ATTN_SIM_LANE_BUILDERS(ATTN_SIM_COUNT);
#undef ATTN_SIM_COUNT
#define ATTN_SIM_ENTRY(name) builders::name,
  static const Builder others[] = {ATTN_SIM_OTHER_BUILDERS(ATTN_SIM_ENTRY)};
#undef ATTN_SIM_ENTRY
  unsigned index = unsigned(id);
  return index < laneCount ? laneBuilders(isa)[index]
                           : others[index - laneCount];
}

} // namespace attn::sim
