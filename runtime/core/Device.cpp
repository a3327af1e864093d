//===- Device.cpp - What runs kernels -------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Device.h"

#include "attn/runtime/core/Arith.h"
#include "attn/runtime/core/Target.h"

using namespace attn;

Kernel::~Kernel() = default;
Module::~Module() = default;
Device::~Device() = default;

Status Device::checkTarget(const std::string &target) const {
  const DeviceProperties &limits = properties();
  return checkRunsOn(target, limits.name, limits.major, limits.minor);
}

Result<std::string> Device::report(bool) {
  return Error{ErrorCode::Unsupported,
               "'" + properties().name +
                   "' makes no report; the device 'sim' does"};
}

Status attn::checkSharedMemory(const DeviceProperties &limits,
                               int64_t staticBytes, int64_t dynamicBytes) {
  if (staticBytes + dynamicBytes <= limits.sharedMemoryPerBlock)
    return Status::success();
  return Error{ErrorCode::Unsupported,
               "needs " + std::to_string(staticBytes) + " static and " +
                   std::to_string(dynamicBytes) +
                   " dynamic bytes of shared memory, '" + limits.name +
                   "' has " + std::to_string(limits.sharedMemoryPerBlock)};
}

namespace {

/// A dimension of a copy in bytes.
struct Step {
  int64_t size;
  int64_t device; ///< bytes from one index to the next
  int64_t host;
};

/// The dimensions of `tensor` that move, coarsest first, with neighbours merged
/// where both sides allow it. The last one is the element's bytes.
std::vector<Step> stepsOf(const Tensor &tensor) {
  int64_t bytes = sizeOf(tensor.type);
  std::vector<int64_t> host = rowMajorStrides(tensor.shape);
  std::vector<Step> reversed = {{bytes, 1, 1}};
  for (size_t d = tensor.rank(); d-- > 0;) {
    if (tensor.shape[d] == 1)
      continue;
    Step step = {tensor.shape[d], tensor.strides[d] * bytes, host[d] * bytes};
    Step &finer = reversed.back();
    if (step.device == finer.size * finer.device &&
        step.host == finer.size * finer.host)
      finer.size *= step.size;
    else
      reversed.push_back(step);
  }
  return {reversed.rbegin(), reversed.rend()};
}

/// Walks all but the last two steps and copies those as rows.
template <typename Copy>
Status copyRows(const Tensor &tensor, char *host, Copy copy) {
  std::vector<Step> steps = stepsOf(tensor);
  size_t inner = steps.size() - 1;
  // A pitch that overlaps its rows or runs backwards is not a row copy.
  bool hasRows = inner > 0 && steps[inner - 1].device >= steps[inner].size;
  size_t outer = hasRows ? inner - 1 : inner;
  std::vector<int64_t> index(outer, 0);
  while (true) {
    RowCopy rows;
    rows.device = tensor.address();
    rows.host = host;
    for (size_t d = 0; d < outer; ++d) {
      rows.device += static_cast<uint64_t>(index[d] * steps[d].device);
      rows.host = static_cast<char *>(rows.host) + index[d] * steps[d].host;
    }
    rows.width = static_cast<uint64_t>(steps[inner].size);
    rows.devicePitch = rows.hostPitch = rows.width;
    if (hasRows) {
      rows.rows = static_cast<uint64_t>(steps[inner - 1].size);
      rows.devicePitch = static_cast<uint64_t>(steps[inner - 1].device);
      rows.hostPitch = static_cast<uint64_t>(steps[inner - 1].host);
    }
    if (Status status = copy(rows); !status)
      return status;
    size_t d = outer;
    while (d > 0 && ++index[d - 1] == steps[d - 1].size)
      index[--d] = 0;
    if (d == 0)
      return Status::success();
  }
}

Status checkCopy(Device &device, const Tensor &tensor, bool &empty) {
  if (tensor.space != device.properties().memory)
    return invalidArgument("expected a tensor in " +
                           toText(device.properties().memory) +
                           " memory, found " + toText(tensor.space));
  Result<MemoryRange> range = extentOf(tensor);
  if (!range)
    return range.error();
  Result<int64_t> count = elementCount(tensor.shape);
  if (!count)
    return count.error();
  if (!checkedMul(*count, sizeOf(tensor.type)))
    return invalidArgument("the copy's bytes do not fit in 64 bits");
  empty = range->size() == 0;
  return Status::success();
}

} // namespace

Status attn::copyToTensor(Device &device, const Tensor &destination,
                          const void *rowMajor, Stream stream) {
  bool empty = false;
  if (Status status = checkCopy(device, destination, empty); !status || empty)
    return status;
  if (!hasNestedStrides(destination))
    return invalidArgument("elements of the destination share memory");
  auto *host = const_cast<char *>(static_cast<const char *>(rowMajor));
  if (Status status =
          copyRows(destination, host,
                   [&](const RowCopy &r) { return device.copyIn(r, stream); });
      !status)
    return status;
  return device.synchronize(stream);
}

Status attn::copyFromTensor(Device &device, void *rowMajor,
                            const Tensor &source, Stream stream) {
  bool empty = false;
  if (Status status = checkCopy(device, source, empty); !status || empty)
    return status;
  if (Status status =
          copyRows(source, static_cast<char *>(rowMajor),
                   [&](const RowCopy &r) { return device.copyOut(r, stream); });
      !status)
    return status;
  return device.synchronize(stream);
}
