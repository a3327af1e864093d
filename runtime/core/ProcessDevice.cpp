//===- ProcessDevice.cpp - A device in this process's memory --------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/ProcessDevice.h"

#include <cstdlib>
#include <cstring>

using namespace attn;

ProcessDevice::~ProcessDevice() {
  for (uint64_t address : allocations)
    std::free(reinterpret_cast<void *>(address));
}

Result<uint64_t> ProcessDevice::allocate(uint64_t bytes, Stream) {
  if (bytes == 0)
    return uint64_t(0);
  uint64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void *memory =
      rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (!memory)
    return Error{ErrorCode::OutOfMemory,
                 "cannot allocate " + std::to_string(bytes) + " bytes"};
  if (poisoned)
    std::memset(memory, 0xFF, rounded);
  uint64_t address = reinterpret_cast<uintptr_t>(memory);
  std::lock_guard<std::mutex> lock(mutex);
  allocations.insert(address);
  return address;
}

Status ProcessDevice::free(uint64_t address, Stream) {
  if (address == 0)
    return Status::success();
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (!allocations.erase(address))
      return invalidArgument("the address to free is not an allocation of this "
                             "device");
  }
  std::free(reinterpret_cast<void *>(address));
  return Status::success();
}

Status ProcessDevice::copyIn(const RowCopy &copy, Stream) {
  for (uint64_t row = 0; row < copy.rows; ++row)
    std::memcpy(reinterpret_cast<char *>(copy.device) + row * copy.devicePitch,
                static_cast<const char *>(copy.host) + row * copy.hostPitch,
                copy.width);
  return Status::success();
}

Status ProcessDevice::copyOut(const RowCopy &copy, Stream) {
  for (uint64_t row = 0; row < copy.rows; ++row)
    std::memcpy(static_cast<char *>(copy.host) + row * copy.hostPitch,
                reinterpret_cast<char *>(copy.device) + row * copy.devicePitch,
                copy.width);
  return Status::success();
}

Result<Stream> ProcessDevice::createStream() { return Stream(nullptr); }
Status ProcessDevice::destroyStream(Stream) { return Status::success(); }
Status ProcessDevice::synchronize(Stream) { return Status::success(); }
