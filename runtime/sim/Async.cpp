//===- Async.cpp - the cp.async queue of a warp ----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Async.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {

void CopyQueue::reset() {
  copies.clear();
  groups.clear();
  committed = 0;
  std::fill(std::begin(done), std::end(done), 0);
}

void CopyQueue::perform(Copy &copy) {
  if (!copy.done)
    std::memcpy(copy.destination, copy.data, copy.bytes);
  copy.done = true;
}

void CopyQueue::commit(uint32_t lanes) {
  ++committed;
  for (Copy &copy : copies)
    if (!copy.sequence && (lanes >> copy.lane & 1))
      copy.sequence = committed;
  groups.push_back({committed, lanes});
}

void CopyQueue::wait(uint32_t lanes, unsigned keep) {
  uint32_t limit[32]; // by lane: groups up to this one complete
  for (unsigned lane = 0; lane < 32; ++lane) {
    limit[lane] = lanes >> lane & 1 ? committed : 0;
    unsigned kept = 0;
    for (size_t i = groups.size(); i-- > 0 && limit[lane] && kept < keep;)
      if (groups[i].lanes >> lane & 1) {
        ++kept;
        limit[lane] = groups[i].sequence - 1;
      }
  }
  for (unsigned lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      done[lane] = committed;
  size_t kept = 0;
  for (Copy &copy : copies) {
    bool mine = lanes >> copy.lane & 1;
    if (mine && copy.sequence && copy.sequence <= limit[copy.lane]) {
      perform(copy);
      continue;
    }
    if (mine)
      done[copy.lane] = std::min(done[copy.lane], copy.issued - 1);
    copies[kept++] = copy;
  }
  copies.resize(kept);
  size_t left = 0;
  for (Group &group : groups) {
    for (unsigned lane = 0; lane < 32; ++lane)
      if (group.sequence <= limit[lane])
        group.lanes &= ~(1u << lane);
    if (group.lanes)
      groups[left++] = group;
  }
  groups.resize(left);
}

uint32_t CopyQueue::doneForAll() const {
  uint32_t oldest = *std::max_element(std::begin(done), std::end(done)) + 1;
  for (const Copy &copy : copies)
    oldest = std::min(oldest, copy.issued);
  return oldest - 1;
}

void CopyQueue::completeSome(uint64_t seed) {
  // Groups of one lane complete in order; within a group any order is legal.
  uint32_t held[32] = {}; // by lane: first group with a copy that stays pending
  for (Copy &copy : copies) {
    if (copy.done)
      continue;
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    uint32_t first = held[copy.lane];
    if ((first && first < copy.issued) || seed >> 63)
      held[copy.lane] = first ? first : copy.issued;
    else
      perform(copy);
  }
}

void CopyQueue::drain() {
  for (Copy &copy : copies)
    perform(copy);
  copies.clear();
}

std::string CopyQueue::describe() const {
  if (copies.empty() && groups.empty())
    return "";
  size_t open = 0;
  for (const Copy &copy : copies)
    open += !copy.sequence;
  return std::to_string(copies.size()) + " cp.async copies in flight in " +
         std::to_string(groups.size()) + " groups, " + std::to_string(open) +
         " not committed";
}

} // namespace attn::sim
