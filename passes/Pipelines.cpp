//===- Pipelines.cpp - see Pipelines.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Pipelines.h"

#include "attn/passes/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::attn;

void mlir::attn::buildTileProgramPipeline(OpPassManager &manager,
                                          const TileProgramOptions &options) {
  manager.addPass(createAttnCheckInput());
  OpPassManager &functions = manager.nest<func::FuncOp>();
  AttnTileOptions tile;
  tile.qTile = options.qTile;
  tile.kvTile = options.kvTile;
  tile.warps = options.warps;
  tile.stages = options.stages;
  AttnPackOptions pack;
  if (options.qTile != 0)
    pack = {options.qTile, options.kvTile};
  functions.addPass(createAttnRefineShapes());
  functions.addPass(createAttnPack(pack));
  functions.addPass(createAttnTile(tile));
  functions.addPass(createAttnToOnline());
  functions.addPass(createAttnCompact());
  functions.addPass(createAttnTileKv());
  functions.addPass(createAttnDecompose());
  functions.addPass(createCSEPass());
  manager.addPass(createAttnBufferize());
  manager.addPass(createAttnOutline());
  manager.nest<func::FuncOp>().addPass(createCSEPass());
}

LogicalResult mlir::attn::runAndVerify(PassManager &manager, ModuleOp module) {
  manager.enableVerifier(false);
  return failure(failed(manager.run(module)) || failed(verify(module)));
}

void mlir::attn::registerAttnPipelines() {
  PassPipelineRegistration<TileProgramOptions>(
      "attn-tile-program",
      "From attention to kernels as tile programs: the level after "
      "attn-outline",
      buildTileProgramPipeline);
}
