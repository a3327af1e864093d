//===- HostDevice.h - The CPU as a device -----------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_HOST_HOSTDEVICE_H
#define ATTN_RUNTIME_HOST_HOSTDEVICE_H

#include "attn/runtime/core/Device.h"

namespace attn::host {

/// Opens this machine's CPU. Options: `threads`, how many work on a launch, at
/// least 1, by default one for each processor that the process may use;
/// `poison`, a byte that scratch memory is filled with before each work item,
/// to see that no result depends on what is there. Runs bundles with code of
/// kind `object`. Launches are done when launch() returns, and their results do
/// not depend on the number of threads; streams have no effect.
Result<std::shared_ptr<Device>> openHostDevice(const DeviceOptions &options);

} // namespace attn::host

#endif // ATTN_RUNTIME_HOST_HOSTDEVICE_H
