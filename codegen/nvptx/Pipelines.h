//===- Pipelines.h - from attention to kernels for a GPU ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_PIPELINES_H
#define ATTN_CODEGEN_NVPTX_PIPELINES_H

#include "attn/codegen/nvptx/Schedules.h"

namespace mlir {
class OpPassManager;
}

namespace mlir::attn::nvptx {

struct NvptxPipelineOptions {
  /// sm_80, sm_86, sm_89, sm_90 or sm_90a.
  std::string target = "sm_80";
  ScheduleOverrides schedule;
};

/// From functions with `attn.attention` to `llvm.func` kernels in a
/// `gpu.module`: all stages of docs/Stages.md.
void buildNvptxPipeline(OpPassManager &manager,
                        const NvptxPipelineOptions &options);

/// Makes the pipeline known by name, with its options: attn-nvptx.
void registerNvptxPipelines();

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_PIPELINES_H
