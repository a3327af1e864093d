//===- Block.h - one thread block in flight --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_BLOCK_H
#define ATTN_RUNTIME_SIM_BLOCK_H

#include "attn/runtime/sim/Address.h"
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
  std::vector<uint32_t> clocks;
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

private:
  std::vector<uint32_t> registerFile, predicateFile, writtenFile;
  std::vector<uint8_t> localFile;
  std::set<std::pair<unsigned, unsigned>> reported;
};

/// Runs the block to its end, or to a fatal finding.
void runBlock(Block &block);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_BLOCK_H
