//===- ProcessDevice.h - A device in this process's memory ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_PROCESSDEVICE_H
#define ATTN_RUNTIME_CORE_PROCESSDEVICE_H

#include "attn/runtime/core/Device.h"

#include <map>
#include <mutex>

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
  /// 0xFF bytes, which is NaN in every float type, if they are poisoned. Up to
  /// `mostKept` freed bytes are kept for later allocations.
  ProcessDevice(DeviceProperties limits, uint64_t alignment, bool poisoned,
                uint64_t mostKept = 0)
      : limits(std::move(limits)), alignment(alignment), poisoned(poisoned),
        mostKept(mostKept) {}

  const DeviceProperties limits;

private:
  void dropKept();

  const uint64_t alignment;
  const bool poisoned;
  const uint64_t mostKept;
  std::mutex mutex;                       ///< guards what follows
  std::map<uint64_t, uint64_t> used;      ///< sizes by address
  std::multimap<uint64_t, uint64_t> kept; ///< addresses by size
  uint64_t keptBytes = 0;
};

} // namespace attn

#endif // ATTN_RUNTIME_CORE_PROCESSDEVICE_H
