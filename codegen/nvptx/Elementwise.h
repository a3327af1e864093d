//===- Elementwise.h - one element of an elementwise op ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_ELEMENTWISE_H
#define ATTN_CODEGEN_NVPTX_ELEMENTWISE_H

#include "attn/codegen/nvptx/KernelBuilder.h"

namespace mlir::attn::nvptx {

/// Whether `op` is an elementwise op of arith or math that `buildElement`
/// knows.
bool isElementwise(Operation *op);

/// The result of `op` on scalars (index as i64); null for an op that is not
/// known.
Value buildElement(KernelBuilder &b, Operation *op, ValueRange operands);

/// `type`, or i64 for index.
Type getScalarType(Type type);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_ELEMENTWISE_H
