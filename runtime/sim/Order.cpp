//===- Order.cpp - what happens before what --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Block.h"

#include <algorithm>

namespace attn::sim {

void View::reset(size_t agents) {
  seen.assign(agents, 0);
  fenced.assign(agents, 0);
  parts.clear();
}

void View::add(const Part &part) {
  for (Part &known : parts)
    if (known.agent == part.agent && known.lanes == part.lanes) {
      known.clock = std::max(known.clock, part.clock);
      return;
    }
  parts.push_back(part);
}

void View::join(const View &other) {
  for (size_t i = 0; i < seen.size(); ++i) {
    seen[i] = std::max(seen[i], other.seen[i]);
    fenced[i] = std::max(fenced[i], other.fenced[i]);
  }
  for (const Part &part : other.parts)
    if (part.clock > seen[part.agent])
      add(part);
}

bool View::holds(uint32_t agent, uint32_t lane, uint32_t clock) const {
  if (clock <= seen[agent])
    return true;
  for (const Part &part : parts)
    if (part.agent == agent && clock <= part.clock && lane < Lanes &&
        (part.lanes >> lane & 1))
      return true;
  return false;
}

void tick(Warp &warp) {
  if (++warp.clock >= MaxClock)
    warp.block->report(FindingKind::InstructionBudget, warp,
                       warp.block->program.ops[warp.pc], 0, 0,
                       "the race checker is limited to " +
                           std::to_string(MaxClock) + " barriers for a block",
                       true);
}

void advanceClock(Warp &warp) {
  const Agents &agents = warp.block->agents;
  for (const LaneView &lanes : warp.laneViews)
    warp.view.join(lanes.view);
  warp.laneViews.clear();
  warp.touched = 0;
  warp.view.seen[warp.id] = warp.clock;
  uint32_t &copies = warp.view.seen[agents.firstCopy + warp.id];
  copies = std::max(copies, warp.copies.doneForAll());
  uint32_t &stores = warp.view.seen[agents.firstStore + warp.id];
  stores = std::max(stores, warp.stores.waitedFor());
  tick(warp);
}

static View &viewOf(Warp &warp, uint32_t lanes) {
  if (!(warp.live & ~lanes))
    return warp.view;
  for (LaneView &known : warp.laneViews)
    if (known.lanes == lanes)
      return known.view;
  warp.laneViews.push_back({lanes, {}});
  warp.laneViews.back().view.reset(warp.view.seen.size());
  return warp.laneViews.back().view;
}

void acquire(Warp &warp, uint32_t lanes, const View &view) {
  viewOf(warp, lanes).join(view);
}

void acquire(Warp &warp, uint32_t lanes, const View::Part &part) {
  viewOf(warp, lanes).add(part);
}

void acquire(Warp &warp, uint32_t lanes, uint32_t agent, uint32_t clock) {
  uint32_t &seen = viewOf(warp, lanes).seen[agent];
  seen = std::max(seen, clock);
}

View release(Warp &warp, uint32_t lanes) {
  View view = warp.view;
  for (const LaneView &known : warp.laneViews)
    if (known.lanes & lanes)
      view.join(known.view);
  const uint32_t copies = warp.block->agents.firstCopy + warp.id;
  if (!(warp.touched & warp.live & ~lanes)) {
    view.seen[warp.id] = warp.clock;
    view.seen[copies] = std::max(view.seen[copies], warp.copies.doneForAll());
  } else {
    uint32_t done = MaxClock;
    for (uint32_t m = lanes; m; m &= m - 1)
      done = std::min(done, warp.copies.doneFor(firstLane(m)));
    view.add({warp.id, lanes, warp.clock});
    view.add({copies, lanes, done});
  }
  tick(warp);
  return view;
}

bool hasSeen(const Warp &warp, uint32_t lane, uint32_t agent, uint32_t by,
             uint32_t clock) {
  if (warp.view.holds(agent, by, clock))
    return true;
  if (lane < Lanes)
    for (const LaneView &known : warp.laneViews)
      if ((known.lanes >> lane & 1) && known.view.holds(agent, by, clock))
        return true;
  return false;
}

uint32_t fencedBy(const Warp &warp, uint32_t lane, uint32_t agent) {
  uint32_t clock = warp.view.fenced[agent];
  if (lane < Lanes)
    for (const LaneView &known : warp.laneViews)
      if (known.lanes >> lane & 1)
        clock = std::max(clock, known.view.fenced[agent]);
  return clock;
}

void fenceProxy(Warp &warp, uint32_t lanes) {
  View before = warp.view;
  for (const LaneView &known : warp.laneViews)
    if (known.lanes & lanes)
      before.join(known.view);
  View &view = viewOf(warp, lanes);
  for (size_t i = 0; i < view.fenced.size(); ++i)
    view.fenced[i] = std::max(view.fenced[i], before.seen[i]);
  view.fenced[warp.id] = warp.clock;
  tick(warp);
}

} // namespace attn::sim
