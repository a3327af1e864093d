//===- Shadow.h - who touched which memory last ----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_SHADOW_H
#define ATTN_RUNTIME_SIM_SHADOW_H

#include "attn/runtime/sim/Machine.h"

#include <unordered_map>

namespace attn::sim {

/// Who made an access and when: agent (8 bits), clock (17 bits), lane (7 bits).
/// Zero: nobody yet.
using Epoch = uint32_t;
constexpr unsigned LaneBits = 7, ClockBits = 17;
constexpr uint32_t MaxAgents = 256;
constexpr uint32_t LaneMaskBits = (1u << LaneBits) - 1,
                   MaxClock = (1u << ClockBits) - 1;
/// Lane codes beside 0..31: several lanes; and a bit for strong accesses
/// (atomic, volatile, relaxed, ...), which do not race with each other.
constexpr uint32_t ManyLanes = 32, StrongBit = 64;
inline Epoch makeEpoch(uint32_t agent, uint32_t clock, uint32_t lane) {
  return agent << (ClockBits + LaneBits) | clock << LaneBits | lane;
}
inline uint32_t agentOf(Epoch epoch) { return epoch >> (ClockBits + LaneBits); }
inline uint32_t clockOf(Epoch epoch) { return epoch >> LaneBits & MaxClock; }
inline uint32_t laneOf(Epoch epoch) { return epoch & LaneMaskBits; }

/// Shadow of a run of memory, in granules: the smallest access of the kernel,
/// so that no access splits one.
struct ShadowRegion {
  Epoch *writer = nullptr;
  uint32_t *readers =
      nullptr; ///< [agent][granule]: clock and lane of the last read
  uint16_t *writerOp = nullptr,
           *readerOp = nullptr; ///< Op::id + 1 of the last access, 0 for none
  uint32_t granules = 0;
  uint32_t rows = 0; ///< agents that may read; those of Block::agents, from 0
};

/// One access by one lane.
struct Access {
  Warp &warp;
  const Op &op;
  uint32_t lane; ///< lane or ManyLanes, perhaps with StrongBit
  uint64_t address;
  bool global;
  bool async = false; ///< through the async proxy
};

/// Does a write or copy of this epoch happen before what a lane (a code as in
/// Access) of `warp` does now?
bool ordered(Epoch epoch, const Warp &warp, uint32_t code);

/// Both check the granules against the clocks, report what is wrong and record
/// the access. `agentEpoch` is what a write leaves behind.
void shadowRead(const ShadowRegion &region, uint32_t first, uint32_t count,
                const Access &access);
void shadowWrite(const ShadowRegion &region, uint32_t first, uint32_t count,
                 const Access &access, Epoch agentEpoch);

/// A read that goes on after the instruction: by a wgmma or a bulk store, until
/// `agent` has completed its `clock`.
void shadowAsyncRead(const ShadowRegion &region, uint32_t first, uint32_t count,
                     const Access &access, uint32_t agent, uint32_t clock);

/// Storage of the shadow of shared memory.
class SharedShadow {
public:
  void prepare(uint32_t bytes, uint32_t granule, uint32_t rows);
  void clear();
  uint32_t granuleShift = 4;
  ShadowRegion region;

private:
  std::vector<uint32_t> words;
  std::vector<uint16_t> ops;
};

/// Shadow of global memory for the accesses of one block, by pages that are
/// made when first touched.
class GlobalShadow {
public:
  static constexpr uint32_t PageBytes = 4096;
  struct Page {
    uint64_t number = 0;
    ShadowRegion region;
    std::vector<uint32_t> words;
    std::vector<uint16_t> ops;
  };

  void prepare(uint32_t granule, uint32_t rows);
  void clear();
  Page &page(uint64_t address) {
    uint64_t number = address / PageBytes;
    if (last && last->number == number)
      return *last;
    return lookup(number);
  }
  uint32_t granuleShift = 4;

  /// Pages touched since clear().
  template <typename F>
  void forEachPage(F f) const {
    for (uint32_t i = 0; i < used; ++i)
      f(*pages[i]);
  }

private:
  Page &lookup(uint64_t number);
  std::vector<std::unique_ptr<Page>> pages;
  uint32_t used = 0;
  uint32_t rows = 1;
  std::unordered_map<uint64_t, Page *> byNumber;
  Page *last = nullptr;
};

/// What one block did to a page: Op::id + 1 of the last read and write of each
/// granule, and which writes were atomic (empty if none was).
struct PageSummary {
  uint64_t number;
  std::vector<uint16_t> reads, writes;
  std::vector<bool> atomics;
};

/// Races between blocks. Fed in a fixed order of blocks, so that its findings
/// do not depend on the host's threads.
class GridShadow {
public:
  struct Conflict {
    uint64_t address;
    uint32_t otherBlock;
    uint16_t op, otherOp; ///< Op::id
    bool write, otherWrite;
  };
  explicit GridShadow(uint32_t granule) : granule(granule) {}
  /// Accounts for a block; calls `found` for the first conflict of each pair of
  /// instructions.
  template <typename F>
  void add(uint32_t block, const std::vector<PageSummary> &pages, F found);

private:
  struct Page {
    std::vector<uint32_t> writer, reader,
        atomic; ///< block + 1; Many for more than one reader
    std::vector<uint16_t> writerOp, readerOp, atomicOp;
  };
  static constexpr uint32_t Many = ~0u;
  uint32_t granule;
  std::unordered_map<uint64_t, Page> pages;
};

template <typename F>
void GridShadow::add(uint32_t block, const std::vector<PageSummary> &summaries,
                     F found) {
  const uint32_t me = block + 1;
  for (const PageSummary &summary : summaries) {
    Page &page = pages[summary.number];
    size_t count = summary.reads.size();
    if (page.writer.empty()) {
      page.writer.resize(count);
      page.reader.resize(count);
      page.atomic.resize(count);
      page.writerOp.resize(count);
      page.readerOp.resize(count);
      page.atomicOp.resize(count);
    }
    for (size_t i = 0; i < count; ++i) {
      uint16_t read = summary.reads[i], write = summary.writes[i];
      if (!read && !write)
        continue;
      uint64_t address = summary.number * GlobalShadow::PageBytes + i * granule;
      bool atomic = write && !summary.atomics.empty() && summary.atomics[i];
      auto conflict = [&](uint32_t other, uint16_t op, uint16_t otherOp,
                          bool isWrite, bool otherWrite) {
        if (other && other != me)
          found(Conflict{address, other == Many ? 0 : other - 1,
                         uint16_t(op - 1), uint16_t(otherOp - 1), isWrite,
                         otherWrite});
      };
      if (read) {
        conflict(page.writer[i], read, page.writerOp[i], false, true);
        conflict(page.atomic[i], read, page.atomicOp[i], false, true);
        page.reader[i] =
            page.reader[i] == 0 || page.reader[i] == me ? me : Many;
        page.readerOp[i] = read;
      }
      if (write) {
        conflict(page.writer[i], write, page.writerOp[i], true, true);
        if (page.reader[i] != me)
          conflict(page.reader[i], write, page.readerOp[i], true, false);
        if (!atomic)
          conflict(page.atomic[i], write, page.atomicOp[i], true, true);
        (atomic ? page.atomic[i] : page.writer[i]) = me;
        (atomic ? page.atomicOp[i] : page.writerOp[i]) = write;
      }
    }
  }
}

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_SHADOW_H
