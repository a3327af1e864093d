//===- Emit.h - from a function to a bundle ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_EMIT_H
#define ATTN_CODEGEN_NVPTX_EMIT_H

#include "attn/codegen/nvptx/Pipelines.h"
#include "attn/runtime/core/Bundle.h"

#include "mlir/IR/BuiltinOps.h"

namespace mlir {
class DialectRegistry;
}

namespace mlir::attn::nvptx {

/// Compiles the function of that name to PTX and the manifest that says how to
/// launch it. `module` holds functions with `attn.attention` on tensors and is
/// left as it is. Its context needs `registerNvptxDialects`. Errors are
/// reported at their op.
FailureOr<::attn::Bundle> compileToBundle(ModuleOp module, StringRef function,
                                          const NvptxPipelineOptions &options);

/// Registers every dialect and translation that `compileToBundle` needs.
void registerNvptxDialects(DialectRegistry &registry);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_EMIT_H
