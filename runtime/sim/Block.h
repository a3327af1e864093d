//===- Block.h - one thread block in flight --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_BLOCK_H
#define ATTN_RUNTIME_SIM_BLOCK_H

#include "attn/runtime/sim/Address.h"
#include "attn/runtime/sim/Mbarrier.h"
#include "attn/runtime/sim/Shadow.h"

#include <set>

namespace attn::sim {

/// What all blocks of a launch share; read-only while they run.
struct Launch {
  const Program *program;
  const MemoryState *memory;
  std::vector<uint8_t> parameters;
  std::vector<uint8_t> *globals; ///< the module's .global variables
  const std::vector<uint8_t> *constants;
  Dim3 grid, block;
  uint32_t threads = 0, warps = 0;
  uint32_t sharedBytes = 0, dynamicShared = 0;
  LaunchOptions options;
};

/// Orders blocks that talk through global atomics. Only used when blocks run
/// one after the other.
struct AtomicOrder {
  std::map<uint64_t, std::set<uint32_t>>
      released; ///< by address: blocks whose effects it carries
};

/// Memory counters of one instruction.
struct AccessCounters {
  uint64_t sharedPasses = 0, bankConflicts = 0, sectors = 0, ideal = 0,
           lines = 0, bytes = 0;
  bool read = false, write = false;
};

struct Barrier {
  uint32_t expected = 0; ///< warps; 0 while nobody has arrived
  uint32_t arrived = 0;
  uint32_t waiting = 0;    ///< bit set of warps
  uint32_t joined = 0;     ///< bit set of warps that arrived, waiting or not
  uint32_t population = 0; ///< .red: threads whose predicate held
  uint32_t threads = 0;    ///< .red: threads that took part
  View view;               ///< of those who arrived
};

/// Numbers of the agents in the vector clocks. Those that read shared memory
/// come first: warps, bulk stores of each warp, warpgroups. Then the cp.async
/// queue of each warp; then the mbarriers, whose clock counts the phases that
/// were completed: copies that an mbarrier tracks are its agent's writes.
struct Agents {
  uint32_t warps = 0, groups = 0, mbarriers = 0; ///< how many
  uint32_t firstStore = 0, firstGroup = 0, firstCopy = 0, firstMbarrier = 0;

  uint32_t readers() const { return firstCopy; }
  uint32_t total() const { return firstMbarrier + mbarriers; }
};

/// A copy into shared memory that an mbarrier tracks.
struct BulkLoad {
  struct Piece {
    uint32_t to; ///< offset in shared memory
    uint32_t from, bytes;
  };
  const Op *op;
  const Warp *warp;
  unsigned lane;
  unsigned mbarrier;
  uint32_t clock; ///< completions of the mbarrier, with that of this phase
  uint32_t bytes; ///< what complete_tx counts
  std::vector<uint8_t> data; ///< read from the source when issued
  std::vector<Piece> pieces;
};

/// What the warps of a warpgroup agree on: a wgmma in issue order, until all
/// four have issued it.
struct WarpGroup {
  struct Product {
    const Op *op;
    uint64_t a, b;
  };
  std::vector<Product> products;
  uint32_t retired = 0; ///< products that all warps have issued
};

struct RandomState {
  uint64_t state;
  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
};

/// State and scratch of a worker; reused from block to block.
struct Block {
  explicit Block(const Launch &launch);
  Block(const Block &) = delete;
  void start(uint32_t linear);

  const Launch &launch;
  const Program &program;
  uint32_t linear = 0;
  uint32_t index[3] = {0, 0, 0};

  std::vector<Warp> warps;
  std::vector<uint8_t> shared;
  SharedShadow sharedShadow;
  GlobalShadow globalShadow;
  Barrier barriers[16];
  Agents agents;
  std::vector<Mbarrier> mbarriers;
  std::map<uint32_t, unsigned> mbarrierAt; ///< by offset in shared memory
  std::vector<BulkLoad> loads;             ///< in flight
  std::vector<WarpGroup> groups;
  unsigned registerPool = 0; ///< for each thread of a warp, times warps
  /// Counts whatever may let a waiting warp go on.
  uint64_t progress = 0;
  uint64_t bulkBytes = 0; ///< moved by cp.async.bulk
  RandomState random{0};
  AtomicOrder *atomicOrder = nullptr;
  std::set<uint32_t> orderedAfter; ///< blocks whose effects this one may see

  std::vector<uint64_t> executed; ///< by Op::id
  std::vector<AccessCounters> accesses;
  uint64_t issued = 0;
  bool fatal = false;
  std::vector<Finding> findings;

  AddressCache cache;

  /// Adds a finding unless one of that kind and line is there already. `fatal`
  /// ends the block.
  void report(FindingKind kind, const Warp &warp, const Op &op, unsigned lane,
              uint64_t address, std::string message, bool fatal = false,
              unsigned otherLine = 0, Severity severity = Severity::Error);

  bool arrive(Warp &warp, const Op &op, unsigned id, uint32_t count, bool wait,
              uint32_t population);

  /// Lets a copy in flight happen and counts it at its mbarrier.
  void complete(size_t load);

private:
  std::vector<uint32_t> registerFile, predicateFile, writtenFile;
  std::vector<uint8_t> localFile;
  std::set<std::pair<unsigned, unsigned>> reported;
};

/// Runs the block to its end, or to a fatal finding.
void runBlock(Block &block);
/// No warp can go on: says where each one stands.
void reportStuck(Block &block);
/// What must not be left over when all warps have exited.
void checkEnd(Block &block);

/// `lanes` have seen what `view` holds: a wait that was granted.
void acquire(Warp &warp, uint32_t lanes, const View &view);
/// The same for what some lanes did.
void acquire(Warp &warp, uint32_t lanes, const View::Part &part);
/// The same for one agent.
void acquire(Warp &warp, uint32_t lanes, uint32_t agent, uint32_t clock);
/// What `lanes` make visible by an arrival. What other lanes did since the
/// lanes of the warp last met is not in it.
View release(Warp &warp, uint32_t lanes);
/// Has `lane` (ManyLanes: every lane) seen what lane `by` of an agent did at
/// `clock`?
bool hasSeen(const Warp &warp, uint32_t lane, uint32_t agent, uint32_t by,
             uint32_t clock);
/// Latest clock of `agent` that `lane` has seen before a proxy fence.
uint32_t fencedBy(const Warp &warp, uint32_t lane, uint32_t agent);
/// fence.proxy.async by `lanes`.
void fenceProxy(Warp &warp, uint32_t lanes);
/// What the warp did so far now happens before everything that it does from
/// here on.
void advanceClock(Warp &warp);
/// Begins the next clock value of the warp.
void tick(Warp &warp);

/// Executes the control operations of this file's neighbours; false if the warp
/// cannot go on now.
bool waitAtMbarrier(Warp &warp, const Op &op, uint32_t mask);
bool waitForProducts(Warp &warp, const Op &op, uint32_t mask);
bool setRegisters(Warp &warp, const Op &op, uint32_t mask);
/// An operation that is no wgmma touches registers that some wgmma uses.
void touchMma(Warp &warp, const Op &op);
/// Lets up to `count` products of the warp happen, in their order.
void completeProducts(Warp &warp, unsigned count);

/// First lane of a mask, 0 if it is empty.
inline unsigned firstLane(uint32_t mask) {
  return mask ? unsigned(__builtin_ctz(mask)) : 0;
}
std::string showMask(uint32_t mask);
std::string showShared(uint32_t offset);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_BLOCK_H
