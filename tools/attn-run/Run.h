//===- Run.h - inputs, runs and results of attn-run ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_RUN_RUN_H
#define ATTN_TOOLS_RUN_RUN_H

#include "attn/runtime/core/Executable.h"
#include "attn/runtime/core/Npy.h"

#include <string>
#include <vector>

namespace attn::run {

/// What a function takes or gives: an element type and, for tensors, extents
/// (-1: open). Integers have no extents.
struct Slot {
  ElementType type = ElementType::F32;
  std::vector<int64_t> shape;
  bool isTensor = true;
};

/// The value of a slot: row-major elements, or for an integer its 8 bytes.
struct Value {
  Slot slot;
  std::string bytes;

  int64_t integer() const;
  static Value fromInteger(int64_t value);
};

/// Reads `text` as the value of `slot`: the name of an .npy file, or an
/// integer. The error names the input by `number`.
Result<Value> readInput(const Slot &slot, const std::string &text,
                        size_t number);

/// Values from a normal distribution, rounded to the slot's type, of shape
/// `shape`; the same for the same seed on every machine.
Result<Value> randomInput(const Slot &slot, const std::vector<int64_t> &shape,
                          uint64_t seed, size_t number);

/// Runs `executable` on `inputs` with poisoned outputs and returns them;
/// `seconds` is the time from the first launch until the device is done.
Result<std::vector<Value>> runOnDevice(const Executable &executable,
                                       const std::vector<Value> &inputs,
                                       double &seconds);

/// Fills a row-major tensor with the poison that no arithmetic produces.
std::string poison(ElementType type, int64_t elements);

} // namespace attn::run

#endif // ATTN_TOOLS_RUN_RUN_H
