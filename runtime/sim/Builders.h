//===- Builders.h - declarations of all builder functions ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_BUILDERS_H
#define ATTN_RUNTIME_SIM_BUILDERS_H

#include "attn/runtime/sim/Build.h"

namespace attn::sim {

namespace builders {
#define ATTN_SIM_DECLARE(name) Handler name(Build &b);
ATTN_SIM_OTHER_BUILDERS(ATTN_SIM_DECLARE)
} // namespace builders

/// Time as the special registers show it: instructions that the block has
/// executed.
uint64_t clockOfBlock(const Warp &warp);

/// Reports that a warp-wide instruction was reached by some lanes only.
void reportPartialWarp(Warp &warp, const Op &op);

/// Any conversion between scalar types, one lane. Rounding: 0 nearest, 1 zero,
/// 2 down, 3 up, of floats to 16 or 32 bits and of integers to floats; plus 4
/// to round a float to an integral value. Slow; the usual ones have loops of
/// their own.
struct Conversion {
  Type from, to;
  uint8_t rounding;
  bool saturate, ftz;
};
uint64_t convertScalar(const Conversion &conversion, uint64_t bits);

/// Lane builders in the order of BuilderId, once for each instruction set; all
/// give the same results.
const Builder *laneBuildersBase();
const Builder *laneBuildersAvx2();
const Builder *laneBuildersAvx512();

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_BUILDERS_H
