//===- Shadow.cpp - who touched which memory last --------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Shadow.h"

#include "attn/runtime/sim/Block.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {

bool ordered(Epoch epoch, const Warp &warp, uint32_t code) {
  uint32_t agent = agentOf(epoch), clock = clockOf(epoch);
  if (clock <= warp.view.seen[agent] || (laneOf(epoch) & code & StrongBit))
    return true;
  const uint32_t lane = code & ~StrongBit;
  const bool own = (laneOf(epoch) & ~StrongBit) == lane && lane < Lanes;
  if (own && agent == warp.id)
    return true;
  if (own && agent == warp.block->agents.firstCopy + warp.id &&
      clock <= warp.copies.doneFor(lane))
    return true;
  return hasSeen(warp, lane, agent, laneOf(epoch) & ~StrongBit, clock);
}

namespace {

/// Is there a proxy fence between a generic write and an access through the
/// async proxy?
bool fenced(Epoch epoch, const Warp &warp, uint32_t lane) {
  uint32_t agent = agentOf(epoch);
  return epoch == 0 || agent >= warp.block->agents.warps ||
         clockOf(epoch) <= fencedBy(warp, lane, agent);
}

unsigned lineOf(const Block &block, uint16_t op) {
  return op ? block.program.lines[op - 1] : 0;
}

std::string place(const Access &access) {
  char text[64];
  std::snprintf(text, sizeof text, "%s address 0x%llx",
                access.global ? "global" : "shared",
                static_cast<unsigned long long>(access.address));
  return text;
}

unsigned reportLane(const Access &access) { return access.lane & (Lanes - 1); }

/// A copy that an mbarrier tracks wrote there, and this warp has not waited for
/// the phase.
void reportCopied(const Access &access, Epoch epoch, unsigned line,
                  const std::string &verb) {
  Block &block = *access.warp.block;
  const Mbarrier &mbarrier =
      block.mbarriers[agentOf(epoch) - block.agents.firstMbarrier];
  const uint32_t base = mbarrier.completions - mbarrier.phase;
  block.report(FindingKind::MissingWait, access.warp, access.op,
               reportLane(access), access.address,
               verb + place(access) + " written by cp.async.bulk at line " +
                   std::to_string(line) +
                   ": the warp has not waited for phase " +
                   std::to_string(clockOf(epoch) - 1 - base) + " of the " +
                   mbarrier.name(),
               false, line);
}

[[gnu::noinline]] void reportWriter(const Access &access, Epoch epoch,
                                    uint16_t op, bool write) {
  Block &block = *access.warp.block;
  if (!block.launch.options.checkRaces)
    return;
  const Agents &agents = block.agents;
  uint32_t agent = agentOf(epoch);
  unsigned line = lineOf(block, op);
  std::string verb = write ? "writes " : "reads ";
  if (agent >= agents.firstMbarrier)
    return reportCopied(access, epoch, line, verb);
  if (agent >= agents.firstCopy) {
    const Warp &owner = block.warps[agent - agents.firstCopy];
    uint32_t lane = laneOf(epoch);
    bool waited = clockOf(epoch) <= owner.copies.doneFor(lane);
    std::string who = " by cp.async of warp " + std::to_string(owner.id) +
                      " lane " + std::to_string(lane) + " at line " +
                      std::to_string(line);
    if (!waited)
      block.report(FindingKind::MissingWait, access.warp, access.op,
                   reportLane(access), access.address,
                   verb + place(access) + " while it is being written" + who +
                       ": no cp.async.wait_group covers it",
                   false, line);
    else
      block.report(FindingKind::Race, access.warp, access.op,
                   reportLane(access), access.address,
                   verb + place(access) + " written" + who +
                       " with no barrier between its wait and this access",
                   false, line);
    return;
  }
  std::string who =
      agent == access.warp.id ? "another lane of the same warp"
      : agent >= agents.firstStore
          ? "a bulk store of warp " + std::to_string(agent - agents.firstStore)
          : "warp " + std::to_string(agent);
  block.report(FindingKind::Race, access.warp, access.op, reportLane(access),
               access.address,
               verb + place(access) + " written by " + who + " at line " +
                   std::to_string(line) + " with no barrier in between",
               false, line);
}

/// A wgmma or a bulk store may still read what is written now.
void reportAsyncReader(const Access &access, uint32_t agent, uint32_t clock,
                       unsigned line) {
  Block &block = *access.warp.block;
  const Agents &agents = block.agents;
  std::string who;
  bool waited = false;
  if (agent >= agents.firstGroup) {
    uint32_t group = agent - agents.firstGroup;
    who = "a wgmma of warpgroup " + std::to_string(group);
    for (uint32_t w = 4 * group; w < std::min(agents.warps, 4 * group + 4); ++w)
      waited |= block.warps[w].mma.waited >= clock;
  } else {
    const Warp &owner = block.warps[agent - agents.firstStore];
    who = "a bulk store of warp " + std::to_string(owner.id);
    waited = owner.stores.waitedFor() >= clock;
  }
  block.report(waited ? FindingKind::Race : FindingKind::MissingWait,
               access.warp, access.op, reportLane(access), access.address,
               "writes " + place(access) + " that " + who + " at line " +
                   std::to_string(line) +
                   (waited ? " read, with no barrier between its wait and this"
                           : " may still read: no wait_group covers it"),
               false, line);
}

[[gnu::noinline]] void reportReader(const Access &access, uint32_t reader,
                                    uint32_t clock, uint16_t op) {
  Block &block = *access.warp.block;
  if (!block.launch.options.checkRaces)
    return;
  unsigned line = lineOf(block, op);
  if (reader >= block.agents.warps)
    return reportAsyncReader(access, reader, clock, line);
  std::string who = reader == access.warp.id ? "another lane of the same warp"
                                             : "warp " + std::to_string(reader);
  block.report(FindingKind::Race, access.warp, access.op, reportLane(access),
               access.address,
               "writes " + place(access) + " that " + who + " read at line " +
                   std::to_string(line) + " with no barrier in between",
               false, line);
}

[[gnu::noinline]] void reportUnfenced(const Access &access, uint16_t op,
                                      bool write) {
  Block &block = *access.warp.block;
  if (!block.launch.options.checkRaces)
    return;
  unsigned line = lineOf(block, op);
  block.report(FindingKind::MissingFence, access.warp, access.op,
               reportLane(access), access.address,
               std::string(write ? "overwrites " : "reads ") + place(access) +
                   " through the async proxy, which line " +
                   std::to_string(line) +
                   " wrote: no fence.proxy.async in between",
               false, line);
}

[[gnu::noinline]] void reportUninitialised(const Access &access) {
  Block &block = *access.warp.block;
  if (block.launch.options.checkInitialised)
    block.report(FindingKind::UninitialisedShared, access.warp, access.op,
                 reportLane(access), access.address,
                 "reads " + place(access) + " that nothing has written");
}

} // namespace

void shadowRead(const ShadowRegion &region, uint32_t first, uint32_t count,
                const Access &access) {
  Warp &warp = access.warp;
  const uint32_t stamp = warp.clock << LaneBits | access.lane;
  uint32_t *reader = region.readers + size_t(warp.id) * region.granules + first;
  const Epoch *writer = region.writer + first;
  for (uint32_t i = 0; i < count; ++i) {
    Epoch epoch = writer[i];
    if (clockOf(epoch) > warp.view.seen[agentOf(epoch)]) {
      if (!ordered(epoch, warp, access.lane))
        reportWriter(access, epoch, region.writerOp[first + i], false);
    } else if (epoch == 0 && !access.global) {
      reportUninitialised(access);
    }
    uint32_t old = reader[i];
    if ((old ^ stamp) >= (1u << LaneBits) || old == stamp)
      reader[i] = stamp;
    else
      reader[i] =
          (stamp & ~LaneMaskBits) | ManyLanes | (old & stamp & StrongBit);
    region.readerOp[first + i] = uint16_t(access.op.id + 1);
  }
}

void shadowAsyncRead(const ShadowRegion &region, uint32_t first, uint32_t count,
                     const Access &access, uint32_t agent, uint32_t clock) {
  Warp &warp = access.warp;
  for (uint32_t i = first; i < first + count; ++i) {
    Epoch epoch = region.writer[i];
    if (!ordered(epoch, warp, access.lane))
      reportWriter(access, epoch, region.writerOp[i], false);
    else if (!fenced(epoch, warp, access.lane))
      reportUnfenced(access, region.writerOp[i], false);
    else if (epoch == 0)
      reportUninitialised(access);
    uint32_t &reader = region.readers[size_t(agent) * region.granules + i];
    const uint32_t stamp = clock << LaneBits | access.lane;
    reader = (reader ^ stamp) >> LaneBits || reader == stamp
                 ? stamp
                 : clock << LaneBits | ManyLanes;
    region.readerOp[i] = uint16_t(access.op.id + 1);
  }
}

void shadowWrite(const ShadowRegion &region, uint32_t first, uint32_t count,
                 const Access &access, Epoch agentEpoch) {
  Warp &warp = access.warp;
  const uint32_t lane = access.lane & (StrongBit - 1);
  for (uint32_t i = first; i < first + count; ++i) {
    Epoch epoch = region.writer[i];
    if (clockOf(epoch) > warp.view.seen[agentOf(epoch)] &&
        !ordered(epoch, warp, access.lane))
      reportWriter(access, epoch, region.writerOp[i], true);
    else if (access.async && !fenced(epoch, warp, lane))
      reportUnfenced(access, region.writerOp[i], true);
    if (region.readerOp[i])
      for (uint32_t w = 0; w < region.rows; ++w) {
        uint32_t stamp = region.readers[size_t(w) * region.granules + i];
        if (stamp >> LaneBits <= warp.view.seen[w])
          continue;
        if (stamp & access.lane & StrongBit)
          continue;
        if (w == warp.id && (stamp & (StrongBit - 1)) == lane &&
            !(stamp & ManyLanes))
          continue;
        if (!hasSeen(warp, lane, w, stamp & (StrongBit - 1), stamp >> LaneBits))
          reportReader(access, w, stamp >> LaneBits, region.readerOp[i]);
      }
    region.writer[i] = agentEpoch;
    region.writerOp[i] = uint16_t(access.op.id + 1);
  }
}

static uint32_t shiftOf(uint32_t granule) {
  uint32_t shift = 0;
  while ((2u << shift) <= granule)
    ++shift;
  return shift;
}

static ShadowRegion regionOver(std::vector<uint32_t> &words,
                               std::vector<uint16_t> &ops, uint32_t granules,
                               uint32_t rows) {
  words.assign(size_t(granules) * (rows + 1), 0);
  ops.assign(size_t(granules) * 2, 0);
  return {words.data(), words.data() + granules,
          ops.data(),   ops.data() + granules,
          granules,     rows};
}

void SharedShadow::prepare(uint32_t bytes, uint32_t granule, uint32_t rows) {
  granuleShift = shiftOf(granule);
  region = regionOver(words, ops, (bytes >> granuleShift) + 1, rows);
}

void SharedShadow::clear() {
  std::memset(words.data(), 0, words.size() * sizeof(uint32_t));
  std::memset(ops.data(), 0, ops.size() * sizeof(uint16_t));
}

void GlobalShadow::prepare(uint32_t granule, uint32_t rowCount) {
  granuleShift = shiftOf(granule);
  rows = rowCount;
}

void GlobalShadow::clear() {
  byNumber.clear();
  used = 0;
  last = nullptr;
}

GlobalShadow::Page &GlobalShadow::lookup(uint64_t number) {
  auto [entry, added] = byNumber.emplace(number, nullptr);
  if (added) {
    if (used == pages.size())
      pages.push_back(std::make_unique<Page>());
    Page &page = *pages[used++];
    page.number = number;
    page.region =
        regionOver(page.words, page.ops, PageBytes >> granuleShift, rows);
    entry->second = &page;
  }
  last = entry->second;
  return *last;
}

} // namespace attn::sim
