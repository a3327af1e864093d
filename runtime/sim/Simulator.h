//===- Simulator.h - run PTX text on the CPU and check it ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_SIMULATOR_H
#define ATTN_RUNTIME_SIM_SIMULATOR_H

#include "attn/runtime/sim/Result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace attn::sim {

struct ModuleState;
struct MemoryState;

/// One kernel parameter; offset and sizes in bytes within the parameter block.
struct Parameter {
  std::string name;
  unsigned offset = 0;
  unsigned size = 0;
  unsigned alignment = 1;
};

/// What a launch of one entry needs to know.
struct Entry {
  std::string name;
  std::vector<Parameter> parameters;
  unsigned parameterBytes = 0;
  /// Bytes of statically declared shared memory.
  unsigned staticShared = 0;
  /// From .reqntid and .maxntid; zero where the directive is absent.
  unsigned requiredThreads[3] = {0, 0, 0};
  unsigned maxThreads = 0;
};

/// Instruction set of the host to compute lanes with. All give the same bits.
enum class HostIsa { Best, Baseline, Avx2 };

/// A parsed and verified PTX module. Cheap to copy (shared state). `.global`
/// variables live as long as the module.
class Module {
public:
  /// Parses, verifies and pre-decodes PTX text. Every instruction must be known
  /// and allowed by the module's
  /// `.version` and `.target`; the error names the line and column otherwise.
  static Result<Module> parse(std::string_view text,
                              HostIsa isa = HostIsa::Best);

  std::vector<Entry> entries() const;
  /// `sm_80`, `sm_90a`, ...
  const std::string &target() const;

private:
  explicit Module(std::shared_ptr<ModuleState> state);
  std::shared_ptr<ModuleState> state;
  friend class Simulator;
};

/// A device's global memory: allocations at 64-bit addresses that the simulator
/// chooses, with unmapped gaps around each. Not synchronised: do not change the
/// allocations during a launch.
class Memory {
public:
  Memory();
  ~Memory();
  Memory(Memory &&) noexcept;
  Memory &operator=(Memory &&) noexcept;

  /// One mapped piece of a larger virtual extent.
  struct Segment {
    uint64_t offset; ///< from the extent's start, in bytes
    void *data;      ///< host memory, which must outlive the registration
    size_t bytes;
  };

  /// Zero-filled memory owned by this object, aligned to 256 bytes. Address 0
  /// never results.
  uint64_t allocate(size_t bytes, std::string name = "");
  /// Maps host memory; the device address is a multiple of 256 whatever the
  /// host pointer is.
  uint64_t registerHost(void *data, size_t bytes, std::string name = "");
  /// Reserves a virtual extent of which only the given segments are backed: a
  /// strided view with huge strides over small buffers. Segments must be
  /// disjoint and inside the extent, else 0 is returned.
  uint64_t registerExtent(uint64_t extent, const std::vector<Segment> &segments,
                          std::string name = "");
  /// Forgets the allocation that starts at `address`; false if there is none.
  bool release(uint64_t address);

  /// Copies between host and device; false when the range is not wholly mapped.
  bool write(uint64_t address, const void *source, size_t bytes);
  bool read(uint64_t address, void *destination, size_t bytes) const;
  /// The host memory behind [address, address + bytes), or null.
  void *translate(uint64_t address, size_t bytes) const;

private:
  std::unique_ptr<MemoryState> state;
  friend class Simulator;
};

enum class Mode {
  Eager, ///< asynchronous copies complete when issued, warps run round robin
  Lazy,  ///< copies complete at the last legal point; their destination holds a
         ///< poison pattern until then
  Random, ///< seeded random warp order, quanta and completion points
};

enum class FindingKind {
  Race,
  UninitialisedShared,
  UninitialisedRegister,
  OutOfBounds,
  Misaligned,
  BarrierDivergence,
  WarpDivergence,
  Deadlock,
  MissingWait,
  InstructionBudget,
  BadLaunch,
  Trap,
  InvalidOperand,
  MissingFence,
  RegistersInFlight,
  Mbarrier,
  WrongParity,
  ByteCount,
  RegisterPool,
};
/// `race`, `uninitialised-shared`, ...
const char *name(FindingKind kind);

enum class Severity { Warning, Error };

struct Finding {
  FindingKind kind;
  Severity severity = Severity::Error;
  unsigned line = 0; ///< PTX line of the access that exposed it
  unsigned otherLine =
      0; ///< PTX line of the other access of a race, where known
  uint32_t block[3] = {0, 0, 0};
  unsigned warp = 0;
  unsigned lane = 0;
  uint64_t address = 0;
  std::string message;
};

/// Memory traffic of one PTX line.
struct LineCounters {
  std::string opcode;    ///< opcode with its modifiers
  uint64_t executed = 0; ///< warp instructions with at least one active lane
  uint64_t sharedPasses = 0;  ///< passes through the banks of shared memory
  uint64_t bankConflicts = 0; ///< passes beyond the first of each phase
  uint64_t globalSectors = 0; ///< distinct 32-byte sectors
  uint64_t idealSectors =
      0; ///< the least number of sectors that could hold the bytes
  uint64_t globalLines = 0; ///< distinct 128-byte lines
  uint64_t globalBytes = 0; ///< bytes asked for by the active lanes
  bool read = false, write = false;
};

struct Counters {
  uint64_t warpInstructions = 0;
  std::map<std::string, uint64_t>
      byOpcode; ///< keyed by the first word: `mma`, `ldmatrix`, ...
  uint64_t mma = 0;
  uint64_t wgmma = 0;     ///< of warpgroups
  uint64_t bulkBytes = 0; ///< boxes of cp.async.bulk, in full
  uint64_t barriers = 0;
  uint64_t sharedPasses = 0;
  uint64_t bankConflicts = 0;
  uint64_t globalSectors = 0;
  uint64_t idealSectors = 0;
  uint64_t globalBytes = 0;
  std::map<unsigned, LineCounters> byLine;
};

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
};

struct LaunchOptions {
  Mode mode = Mode::Eager;
  uint64_t seed = 0;
  /// Warp instructions that one block may execute before the launch is called a
  /// hang.
  uint64_t instructionBudget = 1ull << 32;
  /// Worker threads; 0 means one per core. Results and findings do not depend
  /// on it.
  unsigned threads = 0;
  /// Races, missing waits, uninitialised shared memory.
  bool checkRaces = true;
  bool checkInitialised = true;
  /// Bank conflicts and sectors, by line.
  bool countMemory = true;
  /// Findings kept; equal kind and line are reported once.
  unsigned maxFindings = 64;
};

struct LaunchReport {
  bool ok = true; ///< no finding of severity Error
  std::vector<Finding> findings;
  Counters counters;
  double seconds = 0;

  /// Everything above as a JSON document.
  std::string json(int indent = 2) const;
};

/// Executes entries of a module. Stateless: several may live in a process, and
/// launches on different memories may run at the same time.
class Simulator {
public:
  /// Runs `entry` over the grid to its end. `dynamicShared` is in bytes;
  /// `parameters` is laid out as Entry::parameters says. A launch that cannot
  /// start gives a report with one BadLaunch finding.
  static LaunchReport launch(const Module &module, const std::string &entry,
                             Dim3 grid, Dim3 block, unsigned dynamicShared,
                             const void *parameters, size_t parameterBytes,
                             Memory &memory, const LaunchOptions &options = {});
};

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_SIMULATOR_H
