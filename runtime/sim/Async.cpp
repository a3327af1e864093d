//===- Async.cpp - the copy queues of a warp -------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Async.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {

void GroupLog::reset() {
  groups.clear();
  committed = 0;
}

uint32_t GroupLog::commit(uint32_t lanes) {
  groups.push_back({++committed, lanes});
  return committed;
}

uint32_t GroupLog::limit(unsigned lane, unsigned keep) const {
  uint32_t limit = committed;
  unsigned kept = 0;
  for (size_t i = groups.size(); i-- > 0 && kept < keep;)
    if (groups[i].lanes >> lane & 1) {
      ++kept;
      limit = groups[i].sequence - 1;
    }
  return limit;
}

void GroupLog::retire(const uint32_t *limits) {
  size_t left = 0;
  for (Group &group : groups) {
    for (unsigned lane = 0; lane < 32; ++lane)
      if (group.sequence <= limits[lane])
        group.lanes &= ~(1u << lane);
    if (group.lanes)
      groups[left++] = group;
  }
  groups.resize(left);
}

void CopyQueue::reset() {
  copies.clear();
  groups.reset();
  std::fill(std::begin(done), std::end(done), 0);
}

void CopyQueue::perform(Copy &copy) {
  if (!copy.done)
    std::memcpy(copy.destination, copy.data, copy.bytes);
  copy.done = true;
}

void CopyQueue::commit(uint32_t lanes) {
  uint32_t sequence = groups.commit(lanes);
  for (Copy &copy : copies)
    if (!copy.sequence && (lanes >> copy.lane & 1))
      copy.sequence = sequence;
}

void CopyQueue::wait(uint32_t lanes, unsigned keep) {
  uint32_t limit[32]; // by lane: groups up to this one complete
  for (unsigned lane = 0; lane < 32; ++lane) {
    limit[lane] = lanes >> lane & 1 ? groups.limit(lane, keep) : 0;
    if (lanes >> lane & 1)
      done[lane] = groups.last();
  }
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
  groups.retire(limit);
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
  if (copies.empty() && !groups.open())
    return "";
  size_t open = 0;
  for (const Copy &copy : copies)
    open += !copy.sequence;
  return std::to_string(copies.size()) + " cp.async copies in flight in " +
         std::to_string(groups.open()) + " groups, " + std::to_string(open) +
         " not committed";
}

void StoreQueue::reset() {
  stores.clear();
  groups.reset();
  std::fill(std::begin(done), std::end(done), 0);
}

void StoreQueue::perform(Store &store) {
  if (!store.done)
    for (const Piece &piece : store.pieces)
      std::memcpy(piece.to, piece.from, piece.bytes);
  store.done = true;
}

void StoreQueue::commit(uint32_t lanes) {
  uint32_t sequence = groups.commit(lanes);
  for (Store &store : stores)
    if (!store.sequence && (lanes >> store.lane & 1))
      store.sequence = sequence;
}

uint32_t StoreQueue::wait(uint32_t lanes, unsigned keep) {
  uint32_t limit[32], owners = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    limit[lane] = lanes >> lane & 1 ? groups.limit(lane, keep) : 0;
    if (lanes >> lane & 1)
      done[lane] = groups.last();
  }
  size_t kept = 0;
  for (Store &store : stores) {
    if (store.sequence && store.sequence <= limit[store.lane]) {
      perform(store);
      owners |= 1u << store.lane;
      continue;
    }
    if (lanes >> store.lane & 1)
      done[store.lane] = std::min(done[store.lane], store.issued - 1);
    if (&stores[kept] != &store)
      stores[kept] = std::move(store);
    ++kept;
  }
  stores.resize(kept);
  groups.retire(limit);
  return owners;
}

uint32_t StoreQueue::waitedFor() const {
  uint32_t oldest = nextSequence();
  for (const Store &store : stores)
    oldest = std::min(oldest, store.issued);
  return oldest - 1;
}

const StoreQueue::Store *StoreQueue::open(uint32_t lanes) const {
  for (const Store &store : stores)
    if (lanes >> store.lane & 1)
      return &store;
  return nullptr;
}

void StoreQueue::completeSome(uint64_t seed) {
  // Nothing orders one bulk copy with another.
  for (Store &store : stores) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    if (seed >> 63)
      perform(store);
  }
}

void StoreQueue::drain() {
  for (Store &store : stores)
    perform(store);
  stores.clear();
}

std::string StoreQueue::describe() const {
  return stores.empty() ? ""
                        : std::to_string(stores.size()) +
                              " bulk stores that no wait covers";
}

} // namespace attn::sim
