//===- TensorMap.h - what a TMA copy knows of a tensor ---------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_TENSORMAP_H
#define ATTN_RUNTIME_SIM_TENSORMAP_H

#include "attn/runtime/sim/Result.h"

#include <array>
#include <cstdint>

namespace attn::sim {

/// The arguments of the driver's cuTensorMapEncodeTiled, with its limits. The
/// driver's 128 bytes are opaque; the simulator has an encoding of its own.
struct TensorMap {
  /// The values are the driver's.
  enum class Element : uint8_t {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    BF16,
    F32Ftz,
    TF32,
    TF32Ftz,
  };
  enum class Swizzle : uint8_t { None, Bytes32, Bytes64, Bytes128 };
  static constexpr unsigned MaxRank = 5, Bytes = 128, Alignment = 64;

  Element element = Element::BF16;
  unsigned rank = 1;
  uint64_t address = 0; ///< device address, a multiple of 16
  uint64_t dims[MaxRank] = {1, 1, 1, 1, 1}; ///< elements; dim 0 is innermost
  /// Bytes from one index of dim i + 1 to the next: multiples of 16 below 2^40.
  uint64_t strides[MaxRank - 1] = {};
  uint32_t box[MaxRank] = {1, 1, 1, 1, 1};            ///< elements, 1 to 256
  uint32_t elementStrides[MaxRank] = {1, 1, 1, 1, 1}; ///< 1 to 8; dim 0: 1
  Swizzle swizzle = Swizzle::None;
  bool nanFill = false; ///< of what is out of bounds; else zero

  /// Elements of the box along a dimension, in shared memory.
  uint32_t extent(unsigned dim) const {
    return (box[dim] + elementStrides[dim] - 1) / elementStrides[dim];
  }
  /// Bytes of the whole box: what complete_tx counts.
  uint32_t boxBytes() const;

  /// The parameter to launch with, 64-byte aligned in the parameter block; or
  /// what the driver, too, would refuse.
  Result<std::array<uint8_t, Bytes>> encode() const;
  /// Reads encode()'s bytes back.
  static Result<TensorMap> decode(const uint8_t *bytes);
};

/// Bytes of one element.
unsigned bytesOf(TensorMap::Element element);
/// Where a byte of shared memory goes: an XOR of address bits 4-6 with bits
/// 7-9, of which a narrower swizzle takes fewer.
inline uint32_t swizzled(uint32_t address, TensorMap::Swizzle swizzle) {
  static constexpr uint32_t masks[] = {0, 0x10, 0x30, 0x70};
  return address ^ (address >> 3 & masks[unsigned(swizzle)]);
}

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_TENSORMAP_H
