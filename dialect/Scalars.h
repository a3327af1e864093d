//===- Scalars.h - arithmetic on values that are known ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_SCALARS_H
#define ATTN_DIALECT_SCALARS_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::attn {

/// Scalars, and tensors of integers, whose values are known.
using KnownValues = llvm::DenseMap<Value, Attribute>;

/// Adds the results of `op` to `known`: of tensor.dim the size that `getShape`
/// gives for its source, of another op what its folder makes of known operands.
/// False if they are not known.
bool foldKnown(
    Operation &op, KnownValues &known,
    llvm::function_ref<std::optional<llvm::ArrayRef<int64_t>>(Value)> getShape);

} // namespace mlir::attn

#endif // ATTN_DIALECT_SCALARS_H
