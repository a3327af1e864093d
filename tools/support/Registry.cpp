//===- Registry.cpp - see Registry.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/support/Registry.h"

#include "attn/codegen/nvptx/Emit.h"
#include "attn/dialect/Attn.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"

using namespace mlir;

void mlir::attn::registerCompilerDialects(DialectRegistry &registry) {
  // All of upstream's, so that an op that does not belong is told by its name
  // and place.
  registerAllDialects(registry);
  registry.insert<AttnDialect>();
  nvptx::registerNvptxDialects(registry);
}

void mlir::attn::registerEverything(DialectRegistry &registry) {
  registerCompilerDialects(registry);
  registerAllExtensions(registry);
}
