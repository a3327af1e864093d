//===- Address.h - the global address space --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_ADDRESS_H
#define ATTN_RUNTIME_SIM_ADDRESS_H

#include "attn/runtime/sim/Machine.h"

namespace attn::sim {

/// A run of mapped bytes.
struct Range {
  uint64_t begin, end;
  uint8_t *data;
};

struct MemoryState {
  struct Allocation {
    uint64_t begin, end;
    std::string name;
    std::unique_ptr<uint8_t[]> owned;
  };
  std::map<uint64_t, Allocation> allocations;
  std::vector<Range> ranges; ///< sorted, disjoint
  uint64_t next = 0x1000000000;

  const Range *find(uint64_t address) const;
  /// `3 bytes past the end of 'q' (0x..., 4096 bytes)`
  std::string describe(uint64_t address) const;
};

/// The last range that was hit.
struct AddressCache {
  Range last{1, 0, nullptr};
};

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_ADDRESS_H
