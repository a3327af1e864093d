//===- Elementwise.h - one element of an elementwise op ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_ELEMENTWISE_H
#define ATTN_CODEGEN_NVPTX_ELEMENTWISE_H

#include "attn/codegen/nvptx/KernelBuilder.h"

namespace mlir::attn::nvptx {

/// Whether `op` is one of the elementwise ops of arith and math that kernels
/// are made of.
bool isElementwise(Operation *op);

/// Reports an elementwise op whose elements cannot be built, naming what can.
LogicalResult checkElement(Operation *op);

/// The result of `op`, which is elementwise and not a rounding to 16 bits, on
/// scalars (index as i64).
Value buildElement(KernelBuilder &b, Operation *op, ValueRange operands);

/// `type`, or i64 for index.
Type getScalarType(Type type);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_ELEMENTWISE_H
