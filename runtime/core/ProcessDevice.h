//===- ProcessDevice.h - A device in this process's memory ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_PROCESSDEVICE_H
#define ATTN_RUNTIME_CORE_PROCESSDEVICE_H

#include "attn/runtime/core/Device.h"

#include <mutex>
#include <set>

namespace attn {

/// What the simulator and the CPU share: memory is this process's, launches are
/// done when launch() returns, and streams have no effect.
class ProcessDevice : public Device {
public:
  ~ProcessDevice() override;

  const DeviceProperties &properties() const override { return limits; }
  Result<uint64_t> allocate(uint64_t bytes, Stream stream) override;
  Status free(uint64_t address, Stream stream) override;
  Status copyIn(const RowCopy &copy, Stream stream) override;
  Status copyOut(const RowCopy &copy, Stream stream) override;
  Result<Stream> createStream() override;
  Status destroyStream(Stream stream) override;
  Status synchronize(Stream stream) override;

protected:
  /// Allocations are aligned to `alignment` bytes, a power of two, and hold
  /// 0xFF bytes, which is NaN in every float type, if they are poisoned.
  ProcessDevice(DeviceProperties limits, uint64_t alignment, bool poisoned)
      : limits(std::move(limits)), alignment(alignment), poisoned(poisoned) {}

  const DeviceProperties limits;

private:
  const uint64_t alignment;
  const bool poisoned;
  std::mutex mutex; ///< guards the allocations
  std::set<uint64_t> allocations;
};

} // namespace attn

#endif // ATTN_RUNTIME_CORE_PROCESSDEVICE_H
