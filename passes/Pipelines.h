//===- Pipelines.h - passes in their order ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_PIPELINES_H
#define ATTN_PASSES_PIPELINES_H

#include "mlir/Pass/PassOptions.h"

namespace mlir {
class ModuleOp;
class OpPassManager;
class PassManager;
} // namespace mlir

namespace mlir::attn {

struct TileProgramOptions : PassPipelineOptions<TileProgramOptions> {
  Option<int64_t> qTile{*this, "q-tile",
                        llvm::cl::desc("Query rows per tile of ops without a "
                                       "schedule; 0 asks for a schedule"),
                        llvm::cl::init(0)};
  Option<int64_t> kvTile{
      *this, "kv-tile",
      llvm::cl::desc("Keys per tile of ops without a schedule"),
      llvm::cl::init(64)};
  Option<int64_t> warps{*this, "warps",
                        llvm::cl::desc("Warps of ops without a schedule"),
                        llvm::cl::init(1)};
  Option<int64_t> stages{
      *this, "stages",
      llvm::cl::desc("Buffered key tiles of ops without a schedule"),
      llvm::cl::init(2)};
};

/// From functions with `attn.attention` to kernels: the level after
/// `attn-outline` in docs/Stages.md.
void buildTileProgramPipeline(OpPassManager &manager,
                              const TileProgramOptions &options);

/// Runs the passes and verifies their result once. attn-opt verifies after each
/// pass, which finds the guilty one and costs every compilation some per cent.
LogicalResult runAndVerify(PassManager &manager, ModuleOp module);

/// Makes the pipeline known by name: attn-tile-program.
void registerAttnPipelines();

} // namespace mlir::attn

#endif // ATTN_PASSES_PIPELINES_H
