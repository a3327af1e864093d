//===- Access.h - checked memory accesses of a warp ------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_ACCESS_H
#define ATTN_RUNTIME_SIM_ACCESS_H

#include "attn/runtime/sim/Block.h"

namespace attn::sim {

/// How an access takes part in the race check.
enum class AccessKind : uint8_t {
  Read,
  Write,
  StrongRead,  ///< volatile, relaxed, acquire: does not race with other strong
               ///< accesses
  StrongWrite, ///< atomics too
  CopyWrite,   ///< the shared-memory side of cp.async
};

/// Addresses of the lanes, from a base register or constant plus an offset.
void laneAddresses(const Warp &warp, uint32_t base, bool wide, uint64_t offset,
                   uint64_t *addresses);

/// Checks bounds, alignment and races, counts the traffic, and finds the host
/// memory of each lane in `mask`. Lanes whose access is illegal are reported
/// and left out of the result. `addresses` is in the given space; `bytes` (at
/// most 16) is what one lane touches. `codes` overrides the lane that the race
/// check sees (ldmatrix).
uint32_t resolve(Warp &warp, const Op &op, Space space,
                 const uint64_t *addresses, uint32_t mask, unsigned bytes,
                 AccessKind kind, uint8_t **pointers, bool collective = false);

/// The space of a generic address, and where its window starts.
Space windowOf(uint64_t address, uint64_t &window);

/// Host memory of a run of global memory, or null after a finding. No race
/// check. `alignment` is a power of two.
uint8_t *resolveRun(Warp &warp, const Op &op, unsigned lane, uint64_t address,
                    uint64_t bytes, unsigned alignment, bool write);
/// Accounts for a run of global memory that the asynchronous unit reads for
/// `lane`, or writes as `epoch`.
void traceRun(Warp &warp, const Op &op, unsigned lane, uint64_t address,
              uint64_t bytes, Epoch epoch);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_ACCESS_H
