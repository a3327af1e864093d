//===- Wgmma.h - products of a warpgroup in flight -------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_WGMMA_H
#define ATTN_RUNTIME_SIM_WGMMA_H

#include <cstdint>
#include <vector>

namespace attn::sim {

struct Warp;
struct Op;

/// What a wgmma instruction says, beside the slots in Op::list (d, then a).
struct MmaInfo {
  void (*compute)(Warp &, const Op &) = nullptr; ///< works on MmaQueue::job
  uint16_t columns = 0;
  bool aInRegisters = false;
  bool transposeA = false, transposeB = false; ///< M-major, N-major
  bool negateA = false, negateB = false;
  int8_t scaleD = -1; ///< 0 or 1 where it is a constant, else a predicate
  /// Registers, first as the function numbers them, then by
  /// Program::mmaRegisters.
  std::vector<uint32_t> d, a;
};

/// One product of a warp: 16 rows of A times all of B, in chunks of 16 bytes.
/// K-major: chunk 2 * i + j holds k 8j.. of row (column) i; otherwise chunk
/// 16 * i + k holds rows (columns) 8i.. of k.
struct MmaJob {
  const MmaInfo *info = nullptr;
  const uint32_t *slots = nullptr; ///< Op::list
  bool accumulate = false;
  uint32_t *registers = nullptr; ///< where the accumulators are
  const uint8_t *a[32];
  const uint8_t *b[512];
};

/// The wgmma operations of one warp. A group is what one commit covers.
struct MmaQueue {
  struct Product {
    const Op *op;
    uint64_t a, b; ///< descriptors
    bool accumulate;
    uint32_t group;
    bool done;
  };
  /// State of a register that some wgmma names.
  struct Register {
    uint32_t group = 0;   ///< of the last product that uses it
    uint32_t touched = 0; ///< fences + 1 when other code last touched it
    const Op *user = nullptr;
    bool accumulator = false; ///< its role in that product
  };

  uint32_t issued = 0;           ///< products
  uint32_t committed = 0;        ///< groups
  uint32_t waited = 0;           ///< groups that are complete
  uint32_t fences = 0;           ///< wgmma.fence executed
  std::vector<Product> products; ///< not yet waited for
  std::vector<Register> registers;
  /// Accumulators of products in flight; the registers hold poison until then.
  std::vector<uint32_t> hidden;
  std::vector<bool> isHidden; ///< by Program::mmaRegisters
  MmaJob job;
};

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_WGMMA_H
