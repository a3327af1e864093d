//===- CudaDevice.h - A GPU through the CUDA driver -------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CUDA_CUDADEVICE_H
#define ATTN_RUNTIME_CUDA_CUDADEVICE_H

#include "attn/runtime/core/Device.h"

namespace attn::cuda {

/// Opens GPU number `ordinal` on its primary context, which frameworks share.
/// Options: `library`, the driver library's path; `cache` (on, off) and
/// `cache_dir`, whether and where the machine code that the driver makes of PTX
/// is kept.
Result<std::shared_ptr<Device>> openCudaDevice(int ordinal,
                                               const DeviceOptions &options);

} // namespace attn::cuda

#endif // ATTN_RUNTIME_CUDA_CUDADEVICE_H
