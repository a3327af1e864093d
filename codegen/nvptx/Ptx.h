//===- Ptx.h - from lowered kernels to PTX text ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_PTX_H
#define ATTN_CODEGEN_NVPTX_PTX_H

#include "attn/codegen/nvptx/Schedules.h"

#include <string>

namespace mlir {
class DialectRegistry;
namespace gpu {
class GPUModuleOp;
} // namespace gpu
} // namespace mlir

namespace mlir::attn::nvptx {

/// Registers what `emitPtx` needs to translate the llvm, nvvm and gpu dialects.
void registerPtxTranslations(DialectRegistry &registry);

/// The PTX of all kernels of `module`, which `attn-to-nvvm` made and which
/// loses its launch attributes. Needs no CUDA toolkit. Reports errors at
/// `module`.
FailureOr<std::string> emitPtx(gpu::GPUModuleOp module, const Target &target);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_PTX_H
