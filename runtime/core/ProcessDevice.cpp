//===- ProcessDevice.cpp - A device in this process's memory --------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/ProcessDevice.h"

#include <cstdlib>
#include <cstring>
#include <tuple>

using namespace attn;

ProcessDevice::~ProcessDevice() {
  dropKept();
  for (auto [address, bytes] : used)
    std::free(reinterpret_cast<void *>(address));
}

void ProcessDevice::dropKept() {
  for (auto [bytes, address] : kept)
    std::free(reinterpret_cast<void *>(address));
  kept.clear();
  keptBytes = 0;
}

Result<uint64_t> ProcessDevice::allocate(uint64_t bytes, Stream) {
  if (bytes == 0)
    return uint64_t(0);
  Error error{ErrorCode::OutOfMemory,
              "cannot allocate " + std::to_string(bytes) + " bytes"};
  uint64_t size = (bytes + alignment - 1) / alignment * alignment;
  if (size < bytes)
    return error;
  std::lock_guard<std::mutex> lock(mutex);
  uint64_t address = 0;
  auto known = kept.lower_bound(size);
  if (known != kept.end() && known->first / 2 <= size) {
    std::tie(size, address) = *known;
    kept.erase(known);
    keptBytes -= size;
  } else {
    void *fresh = std::aligned_alloc(alignment, size);
    if (!fresh && !kept.empty()) {
      dropKept();
      fresh = std::aligned_alloc(alignment, size);
    }
    if (!fresh)
      return error;
    address = reinterpret_cast<uintptr_t>(fresh);
  }
  used[address] = size;
  if (poisoned)
    std::memset(reinterpret_cast<void *>(address), 0xFF, size);
  return address;
}

Status ProcessDevice::free(uint64_t address, Stream) {
  if (address == 0)
    return Status::success();
  std::lock_guard<std::mutex> lock(mutex);
  auto found = used.find(address);
  if (found == used.end())
    return invalidArgument("the address to free is not an allocation of this "
                           "device");
  uint64_t bytes = found->second;
  used.erase(found);
  if (keptBytes + bytes <= mostKept) {
    kept.emplace(bytes, address);
    keptBytes += bytes;
  } else {
    std::free(reinterpret_cast<void *>(address));
  }
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
