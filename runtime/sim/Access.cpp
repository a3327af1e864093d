//===- Access.cpp - checked memory accesses of a warp ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Access.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {
namespace {

bool isWrite(AccessKind kind) {
  return kind != AccessKind::Read && kind != AccessKind::StrongRead;
}
bool isStrong(AccessKind kind) {
  return kind == AccessKind::StrongRead || kind == AccessKind::StrongWrite;
}

const char *const spaceNames[] = {"generic", "global", "shared",
                                  "local",   "const",  "param"};

std::string hex(uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

[[gnu::noinline]] void reportMisaligned(Warp &warp, const Op &op, Space space,
                                        unsigned lane, uint64_t address,
                                        unsigned bytes) {
  warp.block->report(FindingKind::Misaligned, warp, op, lane, address,
                     std::string(spaceNames[unsigned(space)]) + " address " +
                         hex(address) + " is not a multiple of " +
                         std::to_string(bytes));
}

[[gnu::noinline]] void reportOutOfBounds(Warp &warp, const Op &op, Space space,
                                         unsigned lane, uint64_t address,
                                         unsigned bytes, AccessKind kind) {
  const Launch &launch = warp.block->launch;
  std::string detail;
  if (space == Space::Global)
    detail = launch.memory->describe(address);
  else if (space == Space::Shared)
    detail = "the block has " + hex(SharedStart) + " to " +
             hex(SharedStart + launch.sharedBytes);
  else if (space == Space::Param)
    detail = "the kernel has " + std::to_string(launch.parameters.size()) +
             " bytes of parameters";
  else if (space == Space::Local)
    detail = "a lane has " + std::to_string(warp.block->program.localBytes) +
             " bytes of local memory";
  else
    detail = "the module has " + std::to_string(launch.constants->size()) +
             " bytes of constants";
  warp.block->report(FindingKind::OutOfBounds, warp, op, lane, address,
                     std::string(isWrite(kind) ? "writes " : "reads ") +
                         std::to_string(bytes) + " bytes at " +
                         spaceNames[unsigned(space)] + " address " +
                         hex(address) + ", out of bounds: " + detail);
}

/// Passes through the banks for the lanes of one phase, when two of them may
/// want different words of one bank.
[[gnu::noinline]] unsigned slowPhase(const uint32_t *offsets, uint32_t mask,
                                     unsigned words) {
  uint32_t list[32];
  unsigned count = 0;
  for (uint32_t m = mask; m; m &= m - 1)
    for (unsigned w = 0; w < words; ++w)
      list[count++] = (offsets[__builtin_ctz(m)] >> 2) + w;
  std::sort(list, list + count);
  count = unsigned(std::unique(list, list + count) - list);
  unsigned uses[32] = {}, most = 1;
  for (unsigned i = 0; i < count; ++i)
    most = std::max(most, ++uses[list[i] & 31]);
  return most;
}

/// 32 banks of 4 bytes; a phase is the whole warp up to 4 bytes a lane, half of
/// it for 8, a quarter for 16.
void countBanks(AccessCounters &counters, const uint32_t *offsets,
                uint32_t mask, unsigned bytes) {
  const unsigned words = bytes <= 4 ? 1 : bytes / 4, lanes = 32 / words;
  for (unsigned phase = 0; phase < words; ++phase) {
    uint32_t part =
        mask & (lanes == 32 ? ~0u : ((1u << lanes) - 1) << (phase * lanes));
    if (!part)
      continue;
    uint32_t seen = 0, wordAt[32];
    bool clash = false;
    const uint32_t group = words == 1 ? 1u : words == 2 ? 3u : 15u;
    for (uint32_t m = part; m; m &= m - 1) {
      uint32_t word = offsets[__builtin_ctz(m)] >> 2, bank = word & 31;
      clash |= (seen >> bank & 1) && wordAt[bank] != word;
      wordAt[bank] = word;
      seen |= group << bank;
    }
    unsigned passes = clash ? slowPhase(offsets, part, words) : 1;
    counters.sharedPasses += passes;
    counters.bankConflicts += passes - 1;
  }
}

void countSectors(AccessCounters &counters, const uint64_t *addresses,
                  uint32_t mask, unsigned bytes) {
  uint64_t list[32];
  unsigned count = 0;
  bool sorted = true;
  for (uint32_t m = mask; m; m &= m - 1) {
    uint64_t sector = addresses[__builtin_ctz(m)] >> 5;
    if (count && list[count - 1] == sector)
      continue;
    sorted &= !count || list[count - 1] < sector;
    list[count++] = sector;
  }
  if (!sorted) {
    std::sort(list, list + count);
    count = unsigned(std::unique(list, list + count) - list);
  }
  unsigned lines = 1;
  for (unsigned i = 1; i < count; ++i)
    lines += list[i] >> 2 != list[i - 1] >> 2;
  uint64_t total = uint64_t(__builtin_popcount(mask)) * bytes;
  counters.sectors += count;
  counters.ideal += std::min<uint64_t>(count, (total + 31) / 32);
  counters.lines += lines;
  counters.bytes += total;
}

uint32_t resolveShared(Warp &warp, const Op &op, const uint64_t *addresses,
                       uint64_t window, uint32_t mask, unsigned bytes,
                       AccessKind kind, uint8_t **pointers, bool collective) {
  Block &block = *warp.block;
  const LaunchOptions &options = block.launch.options;
  const uint64_t size = block.shared.size();
  uint32_t offsets[Lanes];
  uint32_t good = mask;
  for (uint32_t m = mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    uint64_t address = addresses[lane] - window, offset = address - SharedStart;
    offsets[lane] = uint32_t(offset);
    if (offset > size || size - offset < bytes) {
      reportOutOfBounds(warp, op, Space::Shared, lane, address, bytes, kind);
      good &= ~(1u << lane);
    } else if (address & (bytes - 1)) {
      reportMisaligned(warp, op, Space::Shared, lane, address, bytes);
      good &= ~(1u << lane);
    }
  }
  AccessCounters &counters = block.accesses[op.id];
  if (options.countMemory)
    countBanks(counters, offsets, good, bytes);
  uint8_t *data = block.shared.data();
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    pointers[lane] = data + offsets[lane];
  }
  if (!options.checkRaces && !options.checkInitialised)
    return good;
  const SharedShadow &shadow = block.sharedShadow;
  const uint32_t count = std::max(1u, bytes >> shadow.granuleShift);
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    uint32_t code =
        (collective ? ManyLanes : lane) | (isStrong(kind) ? StrongBit : 0);
    Access access{warp, op, code, SharedStart + uint64_t(offsets[lane]), false};
    uint32_t first = offsets[lane] >> shadow.granuleShift;
    if (!isWrite(kind))
      shadowRead(shadow.region, first, count, access);
    else if (kind == AccessKind::CopyWrite)
      shadowWrite(shadow.region, first, count, access,
                  makeEpoch(block.agents.firstCopy + warp.id,
                            warp.copies.nextSequence(), lane));
    else
      shadowWrite(shadow.region, first, count, access,
                  makeEpoch(warp.id, warp.clock, code));
  }
  return good;
}

/// Blocks that meet at a global atomic, or a strong access, are ordered by it.
void orderBlocks(Block &block, uint64_t address, AccessKind kind) {
  if (!block.atomicOrder || !isStrong(kind))
    return;
  std::set<uint32_t> &released = block.atomicOrder->released[address];
  block.orderedAfter.insert(released.begin(), released.end());
  if (isWrite(kind)) {
    released.insert(block.orderedAfter.begin(), block.orderedAfter.end());
    released.insert(block.linear);
  }
}

uint32_t resolveGlobal(Warp &warp, const Op &op, const uint64_t *addresses,
                       uint32_t mask, unsigned bytes, AccessKind kind,
                       uint8_t **pointers) {
  Block &block = *warp.block;
  const LaunchOptions &options = block.launch.options;
  Range range = block.cache.last;
  uint32_t good = mask;
  for (uint32_t m = mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    uint64_t address = addresses[lane];
    if (address & (bytes - 1)) {
      reportMisaligned(warp, op, Space::Global, lane, address, bytes);
      good &= ~(1u << lane);
      continue;
    }
    if (address < range.begin || address >= range.end ||
        range.end - address < bytes) {
      if (const Range *found = block.launch.memory->find(address)) {
        range = *found;
      } else if (address - ModuleGlobals < WindowSize) {
        std::vector<uint8_t> &globals = *block.launch.globals;
        range = {ModuleGlobals, ModuleGlobals + globals.size(), globals.data()};
      }
      if (address < range.begin || address >= range.end ||
          range.end - address < bytes) {
        reportOutOfBounds(warp, op, Space::Global, lane, address, bytes, kind);
        good &= ~(1u << lane);
        continue;
      }
    }
    pointers[lane] = range.data + (address - range.begin);
  }
  block.cache.last = range;
  if (!good)
    return 0;
  if (options.countMemory)
    countSectors(block.accesses[op.id], addresses, good, bytes);
  if (!options.checkRaces)
    return good;
  GlobalShadow &shadow = block.globalShadow;
  const uint32_t count = std::max(1u, bytes >> shadow.granuleShift);
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    uint32_t code = lane | (isStrong(kind) ? StrongBit : 0);
    Access access{warp, op, code, addresses[lane], true};
    const ShadowRegion &region = shadow.page(addresses[lane]).region;
    uint32_t first = uint32_t(addresses[lane] % GlobalShadow::PageBytes) >>
                     shadow.granuleShift;
    if (!isWrite(kind))
      shadowRead(region, first, count, access);
    else
      shadowWrite(region, first, count, access,
                  makeEpoch(warp.id, warp.clock, code));
    orderBlocks(block, addresses[lane], kind);
  }
  return good;
}

/// Spaces that nobody shares: bounds and alignment only.
uint32_t resolvePrivate(Warp &warp, const Op &op, Space space,
                        const uint64_t *addresses, uint64_t window,
                        uint32_t mask, unsigned bytes, AccessKind kind,
                        uint8_t **pointers) {
  const Launch &launch = warp.block->launch;
  uint32_t good = 0;
  for (uint32_t m = mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    uint64_t offset = addresses[lane] - window, size;
    uint8_t *data;
    if (space == Space::Local) {
      size = warp.block->program.localBytes;
      data = warp.local + size * lane;
    } else {
      const std::vector<uint8_t> &bank =
          space == Space::Param ? launch.parameters : *launch.constants;
      size = bank.size();
      data = const_cast<uint8_t *>(bank.data());
    }
    if (offset > size || size - offset < bytes ||
        (isWrite(kind) && space != Space::Local))
      reportOutOfBounds(warp, op, space, lane, offset, bytes, kind);
    else if (offset & (bytes - 1))
      reportMisaligned(warp, op, space, lane, offset, bytes);
    else {
      pointers[lane] = data + offset;
      good |= 1u << lane;
    }
  }
  return good;
}

} // namespace

Space windowOf(uint64_t address, uint64_t &window) {
  const std::pair<uint64_t, Space> windows[] = {{SharedWindow, Space::Shared},
                                                {LocalWindow, Space::Local},
                                                {ConstWindow, Space::Const},
                                                {ParamWindow, Space::Param}};
  for (const auto &[start, space] : windows)
    if (address - start < WindowSize) {
      window = start;
      return space;
    }
  window = 0;
  return Space::Global;
}

void laneAddresses(const Warp &warp, uint32_t base, bool wide, uint64_t offset,
                   uint64_t *addresses) {
  const uint32_t *slot = warp.regs + base;
  if (wide) {
    const uint64_t *values = reinterpret_cast<const uint64_t *>(slot);
    for (unsigned lane = 0; lane < Lanes; ++lane)
      addresses[lane] = values[lane] + offset;
  } else {
    for (unsigned lane = 0; lane < Lanes; ++lane)
      addresses[lane] = uint32_t(slot[lane] + uint32_t(offset));
  }
}

uint8_t *resolveRun(Warp &warp, const Op &op, unsigned lane, uint64_t address,
                    uint64_t bytes, unsigned alignment, bool write) {
  Block &block = *warp.block;
  if (address & (alignment - 1)) {
    reportMisaligned(warp, op, Space::Global, lane, address, alignment);
    return nullptr;
  }
  Range &range = block.cache.last;
  auto inside = [&] {
    return address >= range.begin && address < range.end &&
           range.end - address >= bytes;
  };
  if (!inside())
    if (const Range *found = block.launch.memory->find(address))
      range = *found;
  if (inside())
    return range.data + (address - range.begin);
  reportOutOfBounds(warp, op, Space::Global, lane, address, unsigned(bytes),
                    write ? AccessKind::Write : AccessKind::Read);
  return nullptr;
}

void traceRun(Warp &warp, const Op &op, unsigned lane, uint64_t address,
              uint64_t bytes, Epoch epoch) {
  Block &block = *warp.block;
  AccessCounters &counters = block.accesses[op.id];
  (epoch ? counters.write : counters.read) = true;
  if (block.launch.options.countMemory) {
    uint64_t last = address + bytes - 1;
    counters.sectors += last / 32 - address / 32 + 1;
    counters.ideal += (bytes + 31) / 32;
    counters.lines += last / 128 - address / 128 + 1;
    counters.bytes += bytes;
  }
  if (!block.launch.options.checkRaces)
    return;
  GlobalShadow &shadow = block.globalShadow;
  const uint64_t page = GlobalShadow::PageBytes;
  for (uint64_t at = address, end = address + bytes; at < end;) {
    uint64_t stop = std::min(end, (at / page + 1) * page);
    uint32_t first = uint32_t(at % page) >> shadow.granuleShift,
             last = uint32_t((stop - 1) % page) >> shadow.granuleShift;
    const ShadowRegion &region = shadow.page(at).region;
    Access access{warp, op, lane, at, true};
    if (epoch)
      shadowWrite(region, first, last - first + 1, access, epoch);
    else
      shadowRead(region, first, last - first + 1, access);
    at = stop;
  }
}

uint32_t resolve(Warp &warp, const Op &op, Space space,
                 const uint64_t *addresses, uint32_t mask, unsigned bytes,
                 AccessKind kind, uint8_t **pointers, bool collective) {
  if (!isStrong(kind))
    warp.touched |= mask;
  AccessCounters &counters = warp.block->accesses[op.id];
  (isWrite(kind) ? counters.write : counters.read) = true;
  uint32_t good = 0;
  while (mask) {
    Space actual = space;
    uint64_t window = 0;
    uint32_t part = mask;
    if (space == Space::Generic) {
      actual = windowOf(addresses[__builtin_ctz(mask)], window);
      for (uint32_t m = mask; m; m &= m - 1) {
        uint64_t other;
        unsigned lane = unsigned(__builtin_ctz(m));
        if (windowOf(addresses[lane], other) != actual)
          part &= ~(1u << lane);
      }
    }
    if (actual == Space::Shared)
      good |= resolveShared(warp, op, addresses, window, part, bytes, kind,
                            pointers, collective);
    else if (actual == Space::Global)
      good |= resolveGlobal(warp, op, addresses, part, bytes, kind, pointers);
    else
      good |= resolvePrivate(warp, op, actual, addresses, window, part, bytes,
                             kind, pointers);
    mask &= ~part;
  }
  return good;
}

} // namespace attn::sim
