//===- MachineCode.h - Machine code of a GPU, kept on disk ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CUDA_MACHINECODE_H
#define ATTN_RUNTIME_CUDA_MACHINECODE_H

#include "attn/runtime/core/DiskCache.h"
#include "attn/runtime/cuda/Driver.h"

namespace attn::cuda {

/// The driver's log buffers, as options of a call that assembles.
class Logs {
public:
  Logs();
  Logs(const Logs &) = delete;
  Logs &operator=(const Logs &) = delete;

  static constexpr unsigned count = 4;
  int *options() { return keys; }
  void **values() { return pointers; }
  /// `error` with what the assembler wrote.
  Error add(Error error) const;

private:
  std::string errors, infos;
  int keys[count];
  void *pointers[count];
};

/// Assembles PTX for the GPU of the current context.
Result<std::string> assemble(const Driver &driver, const std::string &ptx);

/// What the driver of one GPU assembled, in the user's cache folder, so that
/// the next process assembles nothing. Machine code of another driver or kind
/// of GPU has another key. Where there is no folder, nothing is kept.
class MachineCode {
public:
  /// `gpu` tells kinds of GPUs apart. An empty `folder` is the user's.
  MachineCode(const Driver &driver, const std::string &gpu, bool enabled,
              const std::string &folder);

  bool isOn() const { return disk != nullptr; }
  std::optional<std::string> load(const std::string &ptx) const;
  void store(const std::string &ptx, const std::string &code) const;

private:
  std::string keyOf(const std::string &ptx) const;

  std::string origin; ///< driver and GPU
  std::unique_ptr<DiskCache> disk;
};

} // namespace attn::cuda

#endif // ATTN_RUNTIME_CUDA_MACHINECODE_H
