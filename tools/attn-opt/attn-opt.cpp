//===- attn-opt.cpp - mlir-opt with the attn dialect ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/Passes.h"
#include "attn/codegen/nvptx/Nvptx.h"
#include "attn/dialect/Attn.h"
#include "attn/dialect/Source.h"
#include "attn/passes/Passes.h"
#include "attn/passes/Pipelines.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

int main(int argc, char **argv) {
  llvm::InitLLVM y(argc, argv);
  DialectRegistry registry;
  registerAllDialects(registry);
  registry.insert<attn::AttnDialect, attn::nvptx::NvptxDialect>();
  registerTransformsPasses();
  attn::registerAttnPasses();
  attn::nvptx::registerAttnCodegenPasses();
  attn::registerAttnPipelines();
  auto [input, output] = registerAndParseCLIOptions(argc, argv, "attn optimizer driver", registry);
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> file = openInputFile(input, &error);
  std::unique_ptr<llvm::ToolOutputFile> out = file ? openOutputFile(output, &error) : nullptr;
  if (!out) {
    llvm::errs() << error << "\n";
    return 1;
  }
  auto prepared = llvm::MemoryBuffer::getMemBufferCopy(attn::prepareSource(file->getBuffer()), input);
  if (failed(MlirOptMain(out->os(), std::move(prepared), registry, MlirOptMainConfig::createFromCLOptions())))
    return 1;
  out->keep();
  return 0;
}
