//===- Compile.h - from attention to object code for a CPU ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_COMPILE_H
#define ATTN_CODEGEN_HOST_COMPILE_H

#include "mlir/Support/LLVM.h"

#include <string>

namespace attn {
struct Bundle;
} // namespace attn

namespace mlir {
class DialectRegistry;
class ModuleOp;
class OpPassManager;
} // namespace mlir

namespace mlir::attn::host {

struct CompileOptions {
  /// The instruction set: a name of Level.h.
  std::string cpu = "x86-64";
  /// Tile sizes of ops without a schedule; 0 leaves the choice to the table.
  int64_t qTile = 0, kvTile = 0;
};

/// Registers what compileToBundle needs to translate to LLVM IR.
void registerHostTranslations(DialectRegistry &registry);

/// From functions with attention to functions of parameters, work item and
/// scratch: the level after `attn-to-host`.
void buildHostPipeline(OpPassManager &manager, const CompileOptions &options);
/// From there to the llvm dialect.
void buildHostToLlvmPipeline(OpPassManager &manager);
/// Makes the passes known by name, and both pipelines: attn-host,
/// attn-host-to-llvm.
void registerHostPasses();

/// Compiles the function `name` of `module`, which does not change. Errors are
/// reported at their locations.
FailureOr<::attn::Bundle> compileToBundle(ModuleOp module, StringRef name,
                                          const CompileOptions &options);

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_COMPILE_H
