//===- Launch.cpp - blocks over worker threads -----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Block.h"
#include "attn/runtime/sim/Build.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>

namespace attn::sim {

struct ModuleState {
  ParsedModule parsed;
  std::vector<std::unique_ptr<Program>> programs;
  std::vector<uint8_t> globals;
};

Module::Module(std::shared_ptr<ModuleState> state) : state(std::move(state)) {}

Result<Module> Module::parse(std::string_view text, HostIsa isa) {
  Result<ParsedModule> parsed = parsePtx(text);
  if (!parsed)
    return parsed.error();
  auto state = std::make_shared<ModuleState>();
  state->parsed = std::move(*parsed);
  state->globals = state->parsed.globalImage;
  for (const Function &function : state->parsed.entries) {
    Result<std::unique_ptr<Program>> program =
        decodeFunction(state->parsed, function, isa);
    if (!program)
      return program.error();
    state->programs.push_back(std::move(*program));
  }
  state->parsed.entries.clear();
  return Module(std::move(state));
}

std::vector<Entry> Module::entries() const {
  std::vector<Entry> result;
  for (const auto &program : state->programs)
    result.push_back(program->entry);
  return result;
}

const std::string &Module::target() const { return state->parsed.target; }

Block::Block(const Launch &launch) : launch(launch), program(*launch.program) {
  const uint32_t count = launch.warps;
  registerFile.resize(size_t(count) * program.registerWords);
  predicateFile.resize(size_t(count) * program.predicateCount);
  writtenFile.resize(size_t(count) * program.registers.size());
  localFile.resize(size_t(count) * Lanes * program.localBytes);
  shared.resize(launch.sharedBytes);
  const uint32_t groupCount = program.mmas.empty() ? 0 : (count + 3) / 4;
  agents.warps = count;
  agents.groups = groupCount;
  agents.firstStore = count;
  agents.firstGroup = agents.firstStore + (program.usesBulkStores ? count : 0);
  agents.firstCopy = agents.firstGroup + groupCount;
  agents.firstMbarrier = agents.firstCopy + count;
  agents.mbarriers =
      program.usesMbarriers ? MaxAgents - agents.firstMbarrier : 0;
  groups.resize(groupCount);
  sharedShadow.prepare(launch.sharedBytes, program.sharedGranule,
                       agents.readers());
  globalShadow.prepare(program.globalGranule, agents.readers());
  warps.resize(count);
  for (uint32_t w = 0; w < count; ++w) {
    Warp &warp = warps[w];
    warp.block = this;
    warp.id = w;
    warp.regs = registerFile.data() + size_t(w) * program.registerWords;
    warp.preds = predicateFile.data() + size_t(w) * program.predicateCount;
    warp.written = writtenFile.data() + size_t(w) * program.registers.size();
    warp.local = localFile.data() + size_t(w) * Lanes * program.localBytes;
    for (size_t i = 0; i < program.constants.size(); ++i) {
      uint32_t *slot = warp.regs + program.constantBase + i * 2 * Lanes;
      for (unsigned lane = 0; lane < Lanes; ++lane)
        if (program.constantWide[i])
          std::memcpy(slot + 2 * lane, &program.constants[i], 8);
        else
          slot[lane] = uint32_t(program.constants[i]);
    }
  }
}

/// Registers that each thread starts with: what a block of the required or
/// largest size can have. 0 where the kernel does not say, and setmaxnreg has
/// no effect.
static unsigned registersAtLaunch(const Launch &launch) {
  constexpr unsigned Registers = 65536, Most = 255, Unit = 8;
  const Program &program = *launch.program;
  if (program.registersAtLaunch)
    return program.registersAtLaunch;
  const unsigned *required = program.entry.requiredThreads;
  unsigned threads = required[0] ? required[0] * required[1] * required[2]
                                 : program.entry.maxThreads;
  if (!threads)
    return 0;
  threads = (threads + Lanes - 1) / Lanes * Lanes;
  unsigned share = Registers / threads / std::max(1u, program.blocksPerUnit);
  return std::min(share, Most) / Unit * Unit;
}

void Block::start(uint32_t number) {
  linear = number;
  index[0] = number % launch.grid.x;
  index[1] = number / launch.grid.x % launch.grid.y;
  index[2] = number / launch.grid.x / launch.grid.y;
  std::fill(shared.begin(), shared.end(), uint8_t(0xff));
  std::fill(localFile.begin(), localFile.end(), uint8_t(0xff));
  std::fill(writtenFile.begin(), writtenFile.end(), 0);
  sharedShadow.clear();
  globalShadow.clear();
  for (Barrier &barrier : barriers)
    barrier = Barrier{};
  mbarriers.clear();
  mbarrierAt.clear();
  loads.clear();
  groups.assign(groups.size(), {});
  registerPool = 0;
  progress = 0;
  bulkBytes = 0;
  const unsigned registers = registersAtLaunch(launch);
  random.state = launch.options.seed * 0x9e3779b97f4a7c15ull +
                 number * 0xd1342543de82ef95ull + 1;
  orderedAfter.clear();
  executed.assign(program.opcodes.size(), 0);
  accesses.assign(program.opcodes.size(), {});
  issued = 0;
  fatal = false;
  findings.clear();
  reported.clear();
  const Dim3 &dims = launch.block;
  for (Warp &warp : warps) {
    if (!program.registers.empty())
      std::fill_n(warp.regs, program.constantBase, 0);
    std::fill_n(warp.preds, program.predicateCount, 0);
    warp.preds[0] = FullMask;
    uint32_t live = launch.threads - warp.id * Lanes;
    warp.live = warp.active = live >= Lanes ? FullMask : (1u << live) - 1;
    warp.pc = 0;
    warp.mergeAt = ~0u;
    warp.status = WarpStatus::Ready;
    warp.others.clear();
    warp.clock = 1;
    warp.view.reset(agents.total());
    warp.laneViews.clear();
    warp.touched = 0;
    warp.copies.reset();
    warp.stores.reset();
    warp.mma = {};
    warp.mma.registers.resize(program.mmaRegisters.size());
    if (!program.mmas.empty() && launch.options.mode != Mode::Eager) {
      warp.mma.hidden.resize(program.constantBase);
      warp.mma.isHidden.resize(program.mmaRegisters.size());
    }
    warp.registers = registers;
    warp.triedGate = ~0u;
    warp.barrierOp = nullptr;
    const uint32_t uniform[][2] = {{NtidX, dims.x},
                                   {NtidY, dims.y},
                                   {NtidZ, dims.z},
                                   {CtaidX, index[0]},
                                   {CtaidY, index[1]},
                                   {CtaidZ, index[2]},
                                   {NctaidX, launch.grid.x},
                                   {NctaidY, launch.grid.y},
                                   {NctaidZ, launch.grid.z},
                                   {WarpId, warp.id},
                                   {NWarpId, uint32_t(warps.size())},
                                   {SmId, 0},
                                   {NSmId, 1},
                                   {ClusterIdX, index[0]},
                                   {ClusterIdY, index[1]},
                                   {ClusterIdZ, index[2]},
                                   {NClusterIdX, launch.grid.x},
                                   {NClusterIdY, launch.grid.y},
                                   {NClusterIdZ, launch.grid.z},
                                   {ClusterCtaidX, 0},
                                   {ClusterCtaidY, 0},
                                   {ClusterCtaidZ, 0},
                                   {ClusterNctaidX, 1},
                                   {ClusterNctaidY, 1},
                                   {ClusterNctaidZ, 1},
                                   {ClusterCtaRank, 0},
                                   {ClusterNctaRank, 1},
                                   {GridId, 0},
                                   {DynamicSmemSize, launch.dynamicShared},
                                   {TotalSmemSize, launch.sharedBytes}};
    for (const auto &entry : uniform)
      std::fill_n(warp.slot<uint32_t>(entry[0] * Lanes), Lanes, entry[1]);
    for (uint32_t lane = 0; lane < Lanes; ++lane) {
      uint32_t thread = warp.id * Lanes + lane, bit = 1u << lane;
      const uint32_t values[][2] = {{TidX, thread % dims.x},
                                    {TidY, thread / dims.x % dims.y},
                                    {TidZ, thread / dims.x / dims.y},
                                    {LaneId, lane},
                                    {LaneMaskEq, bit},
                                    {LaneMaskLe, bit | (bit - 1)},
                                    {LaneMaskLt, bit - 1},
                                    {LaneMaskGe, ~(bit - 1)},
                                    {LaneMaskGt, ~(bit | (bit - 1))}};
      for (const auto &entry : values)
        warp.slot<uint32_t>(entry[0] * Lanes)[lane] = entry[1];
    }
  }
}

void Block::report(FindingKind kind, const Warp &warp, const Op &op,
                   unsigned lane, uint64_t address, std::string message,
                   bool isFatal, unsigned otherLine, Severity severity) {
  fatal |= isFatal;
  if (!reported.insert({unsigned(kind), op.line}).second ||
      findings.size() >= launch.options.maxFindings)
    return;
  Finding finding;
  finding.kind = kind;
  finding.severity = severity;
  finding.line = op.line;
  finding.otherLine = otherLine;
  std::copy(std::begin(index), std::end(index), finding.block);
  finding.warp = warp.id;
  finding.lane = lane;
  finding.address = address;
  finding.message = program.opcodes[op.id] + " " + std::move(message);
  findings.push_back(std::move(finding));
}

namespace {

/// What is kept of a finished block until all blocks before it are accounted
/// for.
struct BlockResult {
  std::vector<Finding> findings;
  std::vector<PageSummary> pages;
  std::vector<uint64_t> executed;
  std::vector<AccessCounters> accesses;
  std::set<uint32_t> orderedAfter;
  uint64_t bulkBytes = 0;
  bool fatal = false;
};

/// Gathers block results in the order of blocks, whoever finishes first.
class Gatherer {
public:
  Gatherer(const Launch &launch)
      : launch(launch), shadow(launch.program->globalGranule),
        executed(launch.program->opcodes.size()),
        accesses(launch.program->opcodes.size()) {}

  void submit(uint32_t block, BlockResult result) {
    std::lock_guard<std::mutex> lock(mutex);
    pending.emplace(block, std::move(result));
    while (!pending.empty() && pending.begin()->first == next) {
      if (!stopped)
        absorb(next, pending.begin()->second);
      pending.erase(pending.begin());
      ++next;
    }
  }
  bool stop() const { return stopped; }

  void finish(LaunchReport &report) {
    const Program &program = *launch.program;
    Counters &counters = report.counters;
    for (size_t id = 0; id < executed.size(); ++id) {
      if (!executed[id])
        continue;
      const std::string &spelled = program.opcodes[id];
      std::string word = spelled.substr(0, spelled.find('.'));
      counters.warpInstructions += executed[id];
      counters.byOpcode[word] += executed[id];
      counters.mma += word == "mma" ? executed[id] : 0;
      // All four warps of a warpgroup execute a wgmma.
      if (spelled.compare(0, 15, "wgmma.mma_async") == 0)
        counters.wgmma += executed[id] / 4;
      counters.barriers +=
          word == "bar" || word == "barrier" ? executed[id] : 0;
      LineCounters &line = counters.byLine[program.lines[id]];
      const AccessCounters &access = accesses[id];
      line.opcode = spelled;
      line.executed += executed[id];
      line.sharedPasses += access.sharedPasses;
      line.bankConflicts += access.bankConflicts;
      line.globalSectors += access.sectors;
      line.idealSectors += access.ideal;
      line.globalLines += access.lines;
      line.globalBytes += access.bytes;
      line.read |= access.read;
      line.write |= access.write;
      counters.sharedPasses += access.sharedPasses;
      counters.bankConflicts += access.bankConflicts;
      counters.globalSectors += access.sectors;
      counters.idealSectors += access.ideal;
      counters.globalBytes += access.bytes;
    }
    counters.bulkBytes = bulkBytes;
    report.findings = std::move(findings);
    report.ok = std::none_of(report.findings.begin(), report.findings.end(),
                             [](const Finding &finding) {
                               return finding.severity == Severity::Error;
                             });
  }

private:
  void add(Finding finding) {
    if (reported.insert({unsigned(finding.kind), finding.line}).second &&
        findings.size() < launch.options.maxFindings)
      findings.push_back(std::move(finding));
  }

  void absorb(uint32_t block, BlockResult &result) {
    for (size_t id = 0; id < executed.size(); ++id) {
      executed[id] += result.executed[id];
      const AccessCounters &from = result.accesses[id];
      AccessCounters &to = accesses[id];
      to.sharedPasses += from.sharedPasses;
      to.bankConflicts += from.bankConflicts;
      to.sectors += from.sectors;
      to.ideal += from.ideal;
      to.lines += from.lines;
      to.bytes += from.bytes;
      to.read |= from.read;
      to.write |= from.write;
    }
    bulkBytes += result.bulkBytes;
    for (Finding &finding : result.findings)
      add(std::move(finding));
    shadow.add(block, result.pages, [&](const GridShadow::Conflict &conflict) {
      if (!result.orderedAfter.count(conflict.otherBlock))
        addConflict(block, conflict);
    });
    stopped = stopped || result.fatal;
  }

  void addConflict(uint32_t block, const GridShadow::Conflict &conflict) {
    const Program &program = *launch.program;
    Finding finding;
    finding.kind = FindingKind::Race;
    finding.line = program.lines[conflict.op];
    finding.otherLine = program.lines[conflict.otherOp];
    if (reported.count({unsigned(finding.kind), finding.line}))
      return;
    finding.block[0] = block % launch.grid.x;
    finding.block[1] = block / launch.grid.x % launch.grid.y;
    finding.block[2] = block / launch.grid.x / launch.grid.y;
    finding.address = conflict.address;
    char text[32];
    std::snprintf(text, sizeof text, "0x%llx",
                  static_cast<unsigned long long>(conflict.address));
    finding.message =
        program.opcodes[conflict.op] + (conflict.write ? " writes" : " reads") +
        " global address " + text + " that block " +
        std::to_string(conflict.otherBlock) +
        (conflict.otherWrite ? " writes" : " reads") + " at line " +
        std::to_string(finding.otherLine) + ": blocks are not ordered";
    add(std::move(finding));
  }

  const Launch &launch;
  std::mutex mutex;
  std::map<uint32_t, BlockResult> pending;
  uint32_t next = 0;
  std::atomic<bool> stopped{false};
  GridShadow shadow;
  std::vector<uint64_t> executed;
  std::vector<AccessCounters> accesses;
  uint64_t bulkBytes = 0;
  std::vector<Finding> findings;
  std::set<std::pair<unsigned, unsigned>> reported;
};

BlockResult takeResult(Block &block) {
  BlockResult result;
  result.findings = std::move(block.findings);
  result.executed = block.executed;
  result.accesses = block.accesses;
  result.orderedAfter = block.orderedAfter;
  result.bulkBytes = block.bulkBytes;
  result.fatal = block.fatal;
  if (block.launch.options.checkRaces &&
      block.launch.grid.x * block.launch.grid.y * block.launch.grid.z > 1)
    block.globalShadow.forEachPage([&](const GlobalShadow::Page &page) {
      const ShadowRegion &region = page.region;
      PageSummary summary{page.number,
                          {region.readerOp, region.readerOp + region.granules},
                          {region.writerOp, region.writerOp + region.granules},
                          {}};
      for (uint32_t i = 0; i < region.granules; ++i)
        if (laneOf(region.writer[i]) & StrongBit) {
          summary.atomics.resize(region.granules);
          summary.atomics[i] = true;
        }
      result.pages.push_back(std::move(summary));
    });
  return result;
}

/// The most shared memory that a block may have, in bytes.
uint32_t sharedLimit(unsigned sm) {
  if (sm >= 90)
    return sm >= 120 ? 101376 : 232448;
  if (sm == 80 || sm == 87)
    return 166912;
  return sm >= 86 ? 101376 : sm == 75 ? 65536 : 98304;
}

std::string launchProblem(const Program &program, unsigned sm,
                          const Launch &launch, size_t parameterBytes) {
  const Dim3 &block = launch.block;
  if (launch.threads == 0 || launch.threads > 1024)
    return "a block has 1 to 1024 threads, found " +
           std::to_string(launch.threads);
  if (uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z >= ~0u)
    return "the grid has too many blocks";
  const unsigned *required = program.entry.requiredThreads;
  if (required[0] && (required[0] != block.x || required[1] != block.y ||
                      required[2] != block.z))
    return "the kernel requires blocks of " +
           std::to_string(required[0] * required[1] * required[2]) +
           " threads, found " + std::to_string(launch.threads);
  if (program.entry.maxThreads && launch.threads > program.entry.maxThreads)
    return "the kernel allows at most " +
           std::to_string(program.entry.maxThreads) + " threads, found " +
           std::to_string(launch.threads);
  if (parameterBytes != program.entry.parameterBytes)
    return "the kernel takes " + std::to_string(program.entry.parameterBytes) +
           " bytes of parameters, found " + std::to_string(parameterBytes);
  if (launch.sharedBytes > sharedLimit(sm))
    return std::to_string(launch.sharedBytes) + " bytes of shared memory, sm_" +
           std::to_string(sm) + " has " + std::to_string(sharedLimit(sm)) +
           " for a block";
  return "";
}

} // namespace

LaunchReport Simulator::launch(const Module &module, const std::string &entry,
                               Dim3 grid, Dim3 block, unsigned dynamicShared,
                               const void *parameters, size_t parameterBytes,
                               Memory &memory, const LaunchOptions &options) {
  LaunchReport report;
  auto refuse = [&](std::string message) {
    report.ok = false;
    Finding finding;
    finding.kind = FindingKind::BadLaunch;
    finding.message = std::move(message);
    report.findings.push_back(std::move(finding));
    return report;
  };
  ModuleState &state = *module.state;
  const Program *program = nullptr;
  for (const auto &candidate : state.programs)
    if (candidate->entry.name == entry)
      program = candidate.get();
  if (!program)
    return refuse("no entry named '" + entry + "'");

  auto begin = std::chrono::steady_clock::now();
  Launch launch;
  launch.program = program;
  launch.memory = memory.state.get();
  const uint8_t *bytes = static_cast<const uint8_t *>(parameters);
  launch.parameters.assign(bytes, bytes + parameterBytes);
  launch.globals = &state.globals;
  launch.constants = &state.parsed.constImage;
  launch.grid = grid;
  launch.block = block;
  launch.threads = block.x * block.y * block.z;
  launch.warps = (launch.threads + Lanes - 1) / Lanes;
  launch.dynamicShared = dynamicShared;
  launch.sharedBytes = program->entry.staticShared + dynamicShared;
  launch.options = options;
  std::string problem =
      launchProblem(*program, state.parsed.sm, launch, parameterBytes);
  if (!problem.empty())
    return refuse(std::move(problem));

  const uint32_t blocks = grid.x * grid.y * grid.z;
  unsigned threads = options.threads
                         ? options.threads
                         : std::max(1u, std::thread::hardware_concurrency());
  threads = program->sequential ? 1 : std::min(threads, std::max(1u, blocks));
  Gatherer gatherer(launch);
  AtomicOrder order;
  std::atomic<uint32_t> ticket{0};
  auto work = [&] {
    Block worker(launch);
    worker.atomicOrder = program->sequential ? &order : nullptr;
    for (uint32_t next; !gatherer.stop() && (next = ticket++) < blocks;) {
      worker.start(next);
      runBlock(worker);
      gatherer.submit(next, takeResult(worker));
    }
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i)
    others.emplace_back(work);
  work();
  for (std::thread &other : others)
    other.join();
  gatherer.finish(report);
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  return report;
}

} // namespace attn::sim
