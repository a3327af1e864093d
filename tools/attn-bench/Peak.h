//===- Peak.h - what this CPU can do at most --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_ATTN_BENCH_PEAK_H
#define ATTN_TOOLS_ATTN_BENCH_PEAK_H

#include <cstdint>

namespace attn::bench {

/// Floating-point operations per second of one thread in a loop of independent
/// f32 fused multiply-adds on the widest registers that the CPU has; the best
/// of several short runs.
double measureFmaPeak();

/// The same for products of pairs of bf16; 0 where the CPU has none.
double measureBf16Peak();

/// Bytes per second that `threads` threads together read from memory that no
/// cache holds, each in a loop over a part of its own.
double measureReadBandwidth(int64_t threads);

} // namespace attn::bench

#endif // ATTN_TOOLS_ATTN_BENCH_PEAK_H
