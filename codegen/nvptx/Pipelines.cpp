//===- Pipelines.cpp - from attention to kernels for a GPU ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Pipelines.h"

#include "attn/codegen/Passes.h"
#include "attn/passes/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

static void addPasses(OpPassManager &manager,
                      const AttnAssignScheduleOptions &assign) {
  manager.addNestedPass<func::FuncOp>(createAttnAssignSchedule(assign));
  buildTileProgramPipeline(manager, TileProgramOptions());
  manager.addNestedPass<func::FuncOp>(createAttnSchedule());
  manager.addPass(createAttnToNvvm());
}

void nvptx::buildNvptxPipeline(OpPassManager &manager,
                               const NvptxPipelineOptions &options) {
  AttnAssignScheduleOptions assign;
  assign.target = options.target;
  assign.qTile = options.schedule.qTile.value_or(0);
  assign.kvTile = options.schedule.kvTile.value_or(0);
  assign.warps = options.schedule.warps.value_or(0);
  assign.stages = options.schedule.stages.value_or(0);
  auto toText = [](std::optional<bool> flag) {
    return flag ? *flag ? "true" : "false" : "";
  };
  assign.qInRegisters = toText(options.schedule.qInRegisters);
  assign.overlap = toText(options.schedule.overlap);
  assign.turns = toText(options.schedule.turns);
  assign.weightsInShared = toText(options.schedule.weightsInShared);
  assign.persistent = toText(options.schedule.persistent);
  assign.heads = options.schedule.heads.value_or(0);
  addPasses(manager, assign);
}

namespace {
struct CommandLineOptions : PassPipelineOptions<CommandLineOptions> {
  Option<std::string> target{
      *this, "target",
      llvm::cl::desc("Architecture: sm_80, sm_86, sm_89, sm_90 or sm_90a"),
      llvm::cl::init("sm_80")};
  Option<int64_t> qTile{
      *this, "q-tile",
      llvm::cl::desc("Query rows of a tile; 0 leaves the choice to the table")};
  Option<int64_t> kvTile{
      *this, "kv-tile",
      llvm::cl::desc("Keys of a tile; 0 leaves the choice to the table")};
  Option<int64_t> warps{
      *this, "warps",
      llvm::cl::desc("Warps of a block; 0 leaves the choice to the table")};
  Option<int64_t> stages{
      *this, "stages",
      llvm::cl::desc(
          "Buffers in the rings of K and V; 0 for the table's choice")};
  Option<std::string> qInRegisters{
      *this, "q-in-registers",
      llvm::cl::desc("Keep the query fragments in registers: true or false")};
  Option<std::string> overlap{
      *this, "overlap",
      llvm::cl::desc("Run the softmax under the product before it: true or "
                     "false")};
  Option<std::string> turns{
      *this, "turns",
      llvm::cl::desc("Let warpgroups take turns at their products: true or "
                     "false")};
  Option<std::string> weightsInShared{
      *this, "weights-in-shared",
      llvm::cl::desc("Pass the weights through shared memory: true or false")};
  Option<std::string> persistent{
      *this, "persistent",
      llvm::cl::desc("With roles, let a block compute several query tiles: "
                     "true or false")};
  Option<int64_t> heads{
      *this, "heads",
      llvm::cl::desc("Query heads of a group in the rows of a tile; 0 leaves "
                     "the choice to their number of queries")};
};
} // namespace

void nvptx::registerNvptxPipelines() {
  PassPipelineRegistration<CommandLineOptions>(
      "attn-nvptx", "From attention to kernels of one thread for a GPU",
      [](OpPassManager &manager, const CommandLineOptions &options) {
        addPasses(manager,
                  {options.target, options.qTile, options.kvTile, options.warps,
                   options.stages, options.qInRegisters, options.overlap,
                   options.turns, options.weightsInShared, options.persistent,
                   options.heads});
      });
}
