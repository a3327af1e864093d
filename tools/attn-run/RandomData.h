//===- RandomData.h - random tensors for masks ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_ATTNRUN_RANDOMDATA_H
#define ATTN_TOOLS_ATTNRUN_RANDOMDATA_H

#include "attn/tools/attn-run/Run.h"
#include "attn/tools/support/Arguments.h"

#include "mlir/Interfaces/FunctionInterfaces.h"
#include <map>

namespace mlir::attn {

/// Random values for the arguments of `function` that are tensors of a mask, by
/// number: lengths up to that of the keys, ids that do not decrease, a valid
/// table, bits. `shapes` are those of all arguments. An error says why there is
/// none, as for a table with more entries than blocks.
::attn::Result<std::map<size_t, ::attn::run::Value>>
randomMaskData(FunctionOpInterface function,
               const std::vector<::attn::run::Slot> &slots,
               const std::vector<ArgumentSpec> &specs, uint64_t seed);

} // namespace mlir::attn

#endif // ATTN_TOOLS_ATTNRUN_RANDOMDATA_H
