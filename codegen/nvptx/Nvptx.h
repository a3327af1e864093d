//===- Nvptx.h - the attn_nvptx dialect ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_NVPTX_H
#define ATTN_CODEGEN_NVPTX_NVPTX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "attn/codegen/nvptx/NvptxDialect.h.inc"

#define GET_OP_CLASSES
#include "attn/codegen/nvptx/NvptxOps.h.inc"

namespace mlir::attn::nvptx {

/// Rows and columns of a slot of a buffer in shared memory, columns over all of
/// its panels.
int64_t getRows(MemRefType buffer);
int64_t getColumns(MemRefType buffer);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_NVPTX_H
