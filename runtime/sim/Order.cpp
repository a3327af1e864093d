//===- Order.cpp - what happens before what --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Block.h"

#include <algorithm>

namespace attn::sim {

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

void acquire(Warp &warp, uint32_t lanes, uint32_t agent, uint32_t clock) {
  uint32_t &seen = viewOf(warp, lanes).seen[agent];
  seen = std::max(seen, clock);
}

View release(Warp &warp, uint32_t lanes) {
  View view = warp.view;
  for (const LaneView &known : warp.laneViews)
    if (known.lanes & lanes)
      view.join(known.view);
  if (!(warp.touched & warp.live & ~lanes))
    view.seen[warp.id] = warp.clock;
  uint32_t &copies = view.seen[warp.block->agents.firstCopy + warp.id];
  copies = std::max(copies, warp.copies.doneForAll());
  tick(warp);
  return view;
}

uint32_t seenBy(const Warp &warp, uint32_t lane, uint32_t agent, bool fenced) {
  auto of = [&](const View &view) {
    return (fenced ? view.fenced : view.seen)[agent];
  };
  uint32_t clock = of(warp.view);
  if (lane < Lanes)
    for (const LaneView &known : warp.laneViews)
      if (known.lanes >> lane & 1)
        clock = std::max(clock, of(known.view));
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
