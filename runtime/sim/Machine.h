//===- Machine.h - pre-decoded operations and the warp state ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_MACHINE_H
#define ATTN_RUNTIME_SIM_MACHINE_H

#include "attn/runtime/sim/Ast.h"
#include "attn/runtime/sim/Async.h"
#include "attn/runtime/sim/Wgmma.h"

namespace attn::sim {

struct Warp;
struct Block;
struct Op;
using Handler = void (*)(Warp &, const Op &);

constexpr unsigned Lanes = 32;
constexpr uint32_t FullMask = ~0u;

/// Generic addresses: a window for each space that is not global. Window bits
/// are far above any allocation.
constexpr uint64_t SharedWindow = 0x7f0000000000, LocalWindow = 0x7e0000000000,
                   ConstWindow = 0x7d0000000000, ParamWindow = 0x7c0000000000,
                   ModuleGlobals = 0x7b0000000000, WindowSize = 0x10000000000;
/// First shared-memory address: not zero, so that an offset used without its
/// base is out of bounds.
constexpr uint32_t SharedStart = 1024;

enum SpecialRegister : unsigned {
  TidX,
  TidY,
  TidZ,
  NtidX,
  NtidY,
  NtidZ,
  CtaidX,
  CtaidY,
  CtaidZ,
  NctaidX,
  NctaidY,
  NctaidZ,
  LaneId,
  WarpId,
  NWarpId,
  SmId,
  NSmId,
  GridId,
  LaneMaskEq,
  LaneMaskLe,
  LaneMaskLt,
  LaneMaskGe,
  LaneMaskGt,
  DynamicSmemSize,
  TotalSmemSize,
  ClusterIdX, // clusters have one block each
  ClusterIdY,
  ClusterIdZ,
  NClusterIdX,
  NClusterIdY,
  NClusterIdZ,
  ClusterCtaidX,
  ClusterCtaidY,
  ClusterCtaidZ,
  ClusterNctaidX,
  ClusterNctaidY,
  ClusterNctaidZ,
  ClusterCtaRank,
  ClusterNctaRank,
  FirstVolatile, // from here on: the value changes while the warp runs
  ClockLo = FirstVolatile,
  ClockHi,
  Clock64,
  GlobalTimer,
  GlobalTimerLo,
  GlobalTimerHi,
  SpecialCount
};

enum class Control : uint8_t {
  None,
  Branch,
  Exit,
  Barrier,
  WarpBarrier,
  Trap,
  MbarrierWait,
  MmaWait,     ///< wgmma.wait_group
  SetRegisters ///< setmaxnreg
};

/// Flags of an Op.
enum : uint8_t {
  TracksRegisters =
      1,        ///< reads or writes a register that some path leaves unwritten
  Inserted = 2, ///< a jump that the layout of blocks needed; not in the text
  FlipA = 4,
  FlipB = 8,
  FlipC = 16,      ///< predicate operands to be inverted
  TouchesMma = 32, ///< reads or writes a register that a wgmma uses too
  IsMma = 64,      ///< a wgmma, numbered by Op::c
};

/// One decoded instruction. dst and a..d are offsets into Warp::regs in words,
/// or into Warp::preds for predicates.
struct Op {
  Handler run = nullptr;
  const uint32_t *list = nullptr; ///< operands of wide instructions
  uint64_t imm = 0;
  uint32_t dst = 0, a = 0, b = 0, c = 0, d = 0;
  uint32_t predicate = 0; ///< slot in Warp::preds; slot 0 is always true
  uint32_t predicateFlip = 0;
  uint32_t target = 0; ///< Branch: op index
  uint32_t line = 0;
  uint16_t id = 0; ///< number of the instruction in the text; for counters and
                   ///< shadow memory
  Control control = Control::None;
  Space space = Space::Generic;
  uint8_t bytes = 0; ///< of one element of a memory access
  uint8_t count = 1; ///< elements of a memory access
  uint8_t flags = 0;
  uint8_t variant = 0; ///< handler-specific
};

/// Uses and definitions of registers, for the analysis of unwritten registers.
struct RegisterEffects {
  std::vector<unsigned> uses, defines;
  unsigned predicate = ~0u; ///< register that guards the operation
  bool copies = false; ///< a move: an unwritten source makes the destination
                       ///< unwritten, and is no finding
};

/// One of several addresses of an instruction.
struct AddressOperand {
  uint32_t base = 0; ///< slot
  bool wide = true;
  Space space = Space::Generic;
  uint64_t offset = 0;
};

/// A cp.async.bulk, numbered by Op::c. `global` is the tensor map of a tensor
/// copy, whose rank is not 0.
struct BulkInfo {
  AddressOperand shared, global, mbarrier;
  unsigned rank = 0;
  uint32_t coordinates[5] = {}; ///< slots
  uint32_t size = 0;            ///< slot, where there is no tensor map
};

/// A kernel ready to run.
struct Program {
  Entry entry;
  std::vector<Op> ops;
  std::vector<RegisterEffects> effects; ///< by Op, where TracksRegisters
  std::vector<std::string> opcodes;     ///< by Op::id, with modifiers
  std::vector<unsigned> lines;          ///< by Op::id
  std::vector<std::unique_ptr<std::vector<uint32_t>>> lists;
  std::vector<RegisterInfo> registers;
  std::vector<uint64_t>
      constants; ///< constant i fills the 64-word slot at constantBase + 64 * i
  std::vector<bool> constantWide;
  uint32_t constantBase = 0;
  uint32_t registerWords = 0;
  uint32_t predicateCount = 1;
  uint32_t localBytes = 0;
  uint32_t sharedGranule = 16,
           globalGranule = 16; ///< smallest access, in bytes
  bool sequential = false; ///< blocks talk through global atomics: run them one
                           ///< after the other
  bool usesMbarriers = false, usesBulkStores = false;
  unsigned registersAtLaunch = 0; ///< .maxnreg
  unsigned blocksPerUnit = 0;     ///< .minnctapersm
  std::vector<BulkInfo> bulks;
  std::vector<MmaInfo> mmas; ///< wgmma instructions, numbered by Op::c
  std::vector<std::string> mmaRegisters; ///< registers that a wgmma names
  std::vector<uint32_t> mmaSlots;        ///< of those registers
  /// By Op: numbers of the mmaRegisters that it touches, where TouchesMma.
  std::vector<std::vector<uint32_t>> mmaTouches;
};

/// What happens before some point: by agent, the latest clock; and the latest
/// clock of generic accesses that a proxy fence lies behind.
struct View {
  /// What some lanes of a warp, or of its copies or bulk stores, did up to a
  /// clock, seen without the others.
  struct Part {
    uint32_t agent, lanes, clock;
  };

  std::vector<uint32_t> seen, fenced;
  std::vector<Part> parts;

  void reset(size_t agents);
  void join(const View &other);
  void add(const Part &part);
  /// Does it hold what `lane` of a warp did at `clock`?
  bool holds(uint32_t agent, uint32_t lane, uint32_t clock) const;
};

/// What some lanes of a warp have seen beyond what all of it has.
struct LaneView {
  uint32_t lanes;
  View view;
};

/// A set of lanes at one place; a divergent warp has several.
struct Fragment {
  uint32_t pc = 0;
  uint32_t mask = 0;
  uint32_t waitMask = 0;      ///< nonzero: at a bar.warp.sync for these lanes
  const Op *gateOp = nullptr; ///< suspended at a try_wait
  unsigned gate = 0;          ///< index of its mbarrier
  uint32_t gateClock = 0;     ///< waits for so many completions of it

  bool ready() const { return !waitMask && !gateOp; }
};

enum class WarpStatus : uint8_t {
  Ready,
  AtBarrier,
  Stuck,   ///< every lane is at a bar.warp.sync
  Waiting, ///< suspended until Block::progress moves on, then looks again
  Polling, ///< a test_wait or the first try_wait failed: others go first
  Done
};

struct Warp {
  uint32_t *regs = nullptr;
  uint32_t *preds = nullptr;
  uint32_t *written = nullptr; ///< by register number, lanes that have written
                               ///< it; only for tracked registers
  uint8_t *local = nullptr;    ///< localBytes for each lane
  Block *block = nullptr;
  uint32_t id = 0;
  uint32_t mask = 0;   ///< lanes that execute the current operation
  uint32_t active = 0; ///< lanes of the current fragment
  uint32_t live = 0;   ///< lanes that have not exited
  uint32_t pc = 0;
  uint32_t mergeAt = ~0u; ///< least pc among the other ready fragments
  WarpStatus status = WarpStatus::Ready;
  std::vector<Fragment> others;

  uint32_t clock = 1;
  /// What happens before now. Agents are numbered by Block::agents.
  View view;
  std::vector<LaneView> laneViews;
  uint32_t touched = 0; ///< lanes that accessed memory, or waited for copies of
                        ///< theirs, since lanes last met
  CopyQueue copies;
  StoreQueue stores;
  MmaQueue mma;
  unsigned registers = 0;   ///< for each thread, as setmaxnreg left it
  uint64_t waitedAt = 0;    ///< Block::progress when it began to wait
  unsigned triedGate = ~0u; ///< mbarrier of the last try_wait that failed
  uint32_t triedClock = 0;
  unsigned barrier = 0; ///< AtBarrier: its id
  const Op *barrierOp = nullptr;

  template <typename T>
  T *slot(uint32_t offset) {
    return reinterpret_cast<T *>(regs + offset);
  }
};

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_MACHINE_H
