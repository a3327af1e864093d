//===- Flow.h - order of blocks, registers left unwritten ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_FLOW_H
#define ATTN_RUNTIME_SIM_FLOW_H

#include "attn/runtime/sim/Machine.h"

namespace attn::sim {

/// Moves the operations into program.ops, blocks in a reverse post-order that
/// keeps every loop together and puts its exits behind it. Running the lanes
/// with the least position first then reconverges a divergent warp at the
/// nearest point that all its paths reach. Branch targets become positions.
void layoutBlocks(Program &program, const std::vector<Op> &ops,
                  const std::vector<RegisterEffects> &effects);

/// Numbers the registers that wgmma instructions name and marks all other
/// operations that touch one. Before trackRegisters, which renumbers.
void markMmaRegisters(Program &program);

/// Finds the registers that some path may read before it wrote them, and marks
/// every operation that touches one. All others need no check while running.
/// Renumbers the marked effects densely and sets program.registers to match.
void trackRegisters(Program &program);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_FLOW_H
