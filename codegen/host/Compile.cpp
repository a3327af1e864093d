//===- Compile.cpp - see Compile.h ----------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Compile.h"

#include "attn/codegen/host/Describe.h"
#include "attn/codegen/host/Object.h"
#include "attn/codegen/host/Passes.h"
#include "attn/passes/Passes.h"
#include "attn/passes/Pipelines.h"
#include "attn/runtime/core/Bundle.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::attn;

void host::registerHostTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

static void addToTileProgram(OpPassManager &manager,
                             const host::CompileOptions &options) {
  AttnAssignHostScheduleOptions schedule;
  schedule.cpu = options.cpu;
  schedule.qTile = options.qTile;
  schedule.kvTile = options.kvTile;
  manager.nest<func::FuncOp>().addPass(createAttnAssignHostSchedule(schedule));
  buildTileProgramPipeline(manager, TileProgramOptions());
  manager.addPass(createAttnPackHeads());
}

static void addToHost(OpPassManager &manager,
                      const host::CompileOptions &options) {
  AttnToHostOptions lower;
  lower.cpu = options.cpu;
  manager.addPass(createAttnToHost(lower));
}

void host::buildHostPipeline(OpPassManager &manager,
                             const CompileOptions &options) {
  addToTileProgram(manager, options);
  addToHost(manager, options);
}

void host::buildHostToLlvmPipeline(OpPassManager &manager) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createAttnLowerTiles());
  functions.addPass(createLowerAffinePass());
  functions.addPass(createCSEPass());
  functions.addPass(createSCFToControlFlowPass());
  manager.addPass(createConvertVectorToLLVMPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createConvertFuncToLLVMPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
}

namespace {
struct HostPipelineOptions : PassPipelineOptions<HostPipelineOptions> {
  Option<std::string> cpu{*this, "cpu", llvm::cl::desc("Instruction set"),
                          llvm::cl::init("x86-64")};
  Option<int64_t> qTile{
      *this, "q-tile",
      llvm::cl::desc("Query rows of a tile; 0 leaves the choice to the table"),
      llvm::cl::init(0)};
  Option<int64_t> kvTile{
      *this, "kv-tile",
      llvm::cl::desc("Keys of a tile; 0 leaves the choice to the table"),
      llvm::cl::init(0)};
};
} // namespace

void host::registerHostPasses() {
  registerAttnHostPasses();
  PassPipelineRegistration<HostPipelineOptions>(
      "attn-host",
      "From attention to functions on register blocks of a CPU: the level "
      "after attn-to-host",
      [](OpPassManager &manager, const HostPipelineOptions &options) {
        buildHostPipeline(manager,
                          {options.cpu, options.qTile, options.kvTile});
      });
  PassPipelineRegistration<>(
      "attn-host-to-llvm",
      "From the level after attn-to-host to the llvm dialect",
      buildHostToLlvmPipeline);
}

FailureOr<::attn::Bundle> host::compileToBundle(ModuleOp module, StringRef name,
                                                const CompileOptions &options) {
  auto source = module.lookupSymbol<func::FuncOp>(name);
  if (!source || source.isExternal())
    return module.emitError()
           << "expected a function '" << name << "' with a body, found none";
  MLIRContext *context = module.getContext();
  DialectRegistry registry;
  registerHostTranslations(registry);
  context->appendDialectRegistry(registry);

  OwningOpRef<ModuleOp> work = ModuleOp::create(module.getLoc());
  work->push_back(source->clone());
  func::FuncOp function = *work->getOps<func::FuncOp>().begin();
  Signature signature = getSignature(function);

  PassManager toTiles(context);
  addToTileProgram(toTiles, options);
  if (failed(toTiles.run(*work)))
    return failure();
  FailureOr<::attn::Manifest> manifest =
      describe(work->lookupSymbol<func::FuncOp>(name), signature);
  if (failed(manifest))
    return failure();
  manifest->target = options.cpu;

  PassManager toLlvm(context);
  addToHost(toLlvm, options);
  if (failed(toLlvm.run(*work)))
    return failure();
  for (::attn::LaunchDesc &launch : manifest->launches) {
    Operation *entry = work->lookupSymbol(launch.entry);
    launch.shared = entry->getAttrOfType<IntegerAttr>("attn.scratch").getInt();
    if (auto state = entry->getAttrOfType<IntegerAttr>("attn.state"))
      for (::attn::BufferDesc &buffer : manifest->buffers)
        if (buffer.name == getStatesName(launch.entry))
          buffer.shape.back() = state.getInt();
  }
  PassManager lower(context);
  buildHostToLlvmPipeline(lower);
  if (failed(lower.run(*work)))
    return failure();
  FailureOr<std::string> code = emitObject(*work, options.cpu);
  if (failed(code))
    return failure();
  ::attn::Result<::attn::Bundle> bundle =
      ::attn::makeBundle(std::move(*manifest), std::move(*code));
  if (!bundle)
    return module.emitError()
           << "internal error: the bundle breaks a rule of its format: "
           << bundle.error().message;
  return std::move(*bundle);
}
