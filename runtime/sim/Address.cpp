//===- Address.cpp - the global address space ------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Address.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {

namespace {
constexpr uint64_t Guard = 1 << 20, Alignment = 256;

std::string hex(uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}
} // namespace

const Range *MemoryState::find(uint64_t address) const {
  auto after = std::upper_bound(
      ranges.begin(), ranges.end(), address,
      [](uint64_t value, const Range &range) { return value < range.begin; });
  if (after == ranges.begin())
    return nullptr;
  const Range &range = *std::prev(after);
  return address < range.end ? &range : nullptr;
}

std::string MemoryState::describe(uint64_t address) const {
  auto after = allocations.upper_bound(address);
  const Allocation *before =
      after == allocations.begin() ? nullptr : &std::prev(after)->second;
  auto label = [](const Allocation &allocation) {
    return (allocation.name.empty() ? std::string("the allocation")
                                    : "'" + allocation.name + "'") +
           " at " + hex(allocation.begin) + " (" +
           std::to_string(allocation.end - allocation.begin) + " bytes)";
  };
  if (before && address < before->end)
    return "at byte " + std::to_string(address - before->begin) + " of " +
           label(*before);
  if (before && (after == allocations.end() ||
                 address - before->end < after->first - address))
    return std::to_string(address - before->end) + " bytes past the end of " +
           label(*before);
  if (after != allocations.end())
    return std::to_string(after->first - address) + " bytes before " +
           label(after->second);
  return "no memory is registered";
}

Memory::Memory() : state(std::make_unique<MemoryState>()) {}
Memory::~Memory() = default;
Memory::Memory(Memory &&) noexcept = default;
Memory &Memory::operator=(Memory &&) noexcept = default;

uint64_t Memory::registerExtent(uint64_t extent,
                                const std::vector<Segment> &segments,
                                std::string name) {
  std::vector<Segment> sorted(segments);
  std::sort(
      sorted.begin(), sorted.end(),
      [](const Segment &a, const Segment &b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const Segment &segment : sorted) {
    if (segment.offset < end || segment.offset > extent ||
        extent - segment.offset < segment.bytes)
      return 0;
    end = segment.offset + segment.bytes;
  }
  uint64_t begin = state->next, size = extent + Guard;
  if (size < extent || begin + size > ModuleGlobals)
    return 0;
  state->next += (size + Alignment - 1) / Alignment * Alignment + Guard;
  for (const Segment &segment : sorted)
    if (segment.bytes)
      state->ranges.push_back({begin + segment.offset,
                               begin + segment.offset + segment.bytes,
                               static_cast<uint8_t *>(segment.data)});
  state->allocations[begin] = {begin, begin + extent, std::move(name), nullptr};
  return begin;
}

uint64_t Memory::registerHost(void *data, size_t bytes, std::string name) {
  return registerExtent(bytes, {{0, data, bytes}}, std::move(name));
}

uint64_t Memory::allocate(size_t bytes, std::string name) {
  auto owned = std::make_unique<uint8_t[]>(bytes);
  uint64_t address = registerHost(owned.get(), bytes, std::move(name));
  if (address)
    state->allocations[address].owned = std::move(owned);
  return address;
}

bool Memory::release(uint64_t address) {
  auto found = state->allocations.find(address);
  if (found == state->allocations.end())
    return false;
  uint64_t begin = found->second.begin, end = found->second.end;
  std::vector<Range> &ranges = state->ranges;
  ranges.erase(std::remove_if(ranges.begin(), ranges.end(),
                              [&](const Range &range) {
                                return range.begin >= begin && range.end <= end;
                              }),
               ranges.end());
  state->allocations.erase(found);
  return true;
}

void *Memory::translate(uint64_t address, size_t bytes) const {
  const Range *range = state->find(address);
  return range && range->end - address >= bytes
             ? range->data + (address - range->begin)
             : nullptr;
}

bool Memory::write(uint64_t address, const void *source, size_t bytes) {
  void *data = translate(address, bytes);
  if (data)
    std::memcpy(data, source, bytes);
  return data || bytes == 0;
}

bool Memory::read(uint64_t address, void *destination, size_t bytes) const {
  const void *data = translate(address, bytes);
  if (data)
    std::memcpy(destination, data, bytes);
  return data || bytes == 0;
}

} // namespace attn::sim
