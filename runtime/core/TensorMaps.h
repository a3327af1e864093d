//===- TensorMaps.h - Tensor maps of a kernel's parameters -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_TENSORMAPS_H
#define ATTN_RUNTIME_CORE_TENSORMAPS_H

#include "attn/runtime/core/Manifest.h"
#include "attn/runtime/core/Tensor.h"
#include "attn/runtime/sim/TensorMap.h"

namespace attn {

/// The arguments of the driver's cuTensorMapEncodeTiled for a parameter of kind
/// TensorMap over `tensor`, whose last dimension is contiguous. Dimensions are
/// in the driver's order, the last of the tensor first; classes come before the
/// dimension that they split. The error says what of the tensor TMA cannot
/// address. A tensor without elements gives a map that no
/// kernel may use.
Result<sim::TensorMap> describeTensorMap(const Tensor &tensor,
                                         const ParamDesc &param);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_TENSORMAPS_H
