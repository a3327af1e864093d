//===- Compile.cpp - see Compile.h ----------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/support/Compile.h"

#include "attn/codegen/Passes.h"
#include "attn/codegen/host/Compile.h"
#include "attn/codegen/host/Passes.h"
#include "attn/codegen/nvptx/Emit.h"
#include "attn/codegen/nvptx/Schedules.h"
#include "attn/runtime/core/Bundle.h"
#include "attn/runtime/host/Cpu.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace mlir::attn;

bool mlir::attn::isCpu(StringRef target) {
  return ::attn::host::isCpuTarget(target.str());
}

bool mlir::attn::resolveTarget(std::string &target) {
  if (target == "host") {
    ::attn::Result<std::string> best = ::attn::host::bestCpuTarget();
    if (!best) {
      llvm::errs() << "error: --target: " << best.error().message << "\n";
      return false;
    }
    target = *best;
    return true;
  }
  if (nvptx::findTarget(target) || isCpu(target))
    return true;
  llvm::errs() << "error: --target: expected one of ";
  for (const nvptx::Target &known : nvptx::getTargets())
    llvm::errs() << known.name << ", ";
  llvm::errs() << "host";
  for (const std::string &known : ::attn::host::cpuTargets())
    llvm::errs() << ", " << known;
  llvm::errs() << "; found '" << target << "'\n";
  return false;
}

void mlir::attn::addAssignSchedule(OpPassManager &manager, StringRef target) {
  if (isCpu(target)) {
    AttnAssignHostScheduleOptions options;
    options.cpu = target.str();
    manager.addNestedPass<func::FuncOp>(createAttnAssignHostSchedule(options));
    return;
  }
  AttnAssignScheduleOptions options;
  options.target = target.str();
  manager.addNestedPass<func::FuncOp>(createAttnAssignSchedule(options));
}

FailureOr<::attn::Bundle> mlir::attn::compileForTarget(ModuleOp module,
                                                       StringRef name,
                                                       StringRef target) {
  if (isCpu(target)) {
    host::CompileOptions options;
    options.cpu = target.str();
    return host::compileToBundle(module, name, options);
  }
  nvptx::NvptxPipelineOptions options;
  options.target = target.str();
  return nvptx::compileToBundle(module, name, options);
}
