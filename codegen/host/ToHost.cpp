//===- ToHost.cpp - kernels become loops over register blocks -------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/KernelLowering.h"
#include "attn/codegen/host/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTOHOST
#include "attn/codegen/host/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::host;

SmallVector<KernelParam>
mlir::attn::host::getKernelParams(func::FuncOp kernel) {
  SmallVector<KernelParam> params;
  for (auto [index, type] : llvm::enumerate(kernel.getArgumentTypes())) {
    unsigned argument = index;
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref) {
      params.push_back({KernelParam::Scalar, argument});
      continue;
    }
    params.push_back({KernelParam::Pointer, argument});
    for (unsigned dim = 0; dim < memref.getRank(); ++dim)
      if (memref.isDynamicDim(dim))
        params.push_back({KernelParam::Size, argument, dim});
    for (unsigned dim = 0; dim < memref.getRank(); ++dim)
      params.push_back({KernelParam::Stride, argument, dim});
  }
  return params;
}

std::string mlir::attn::host::getMergeName(StringRef kernel) {
  return (kernel + "_merge").str();
}

namespace {
struct AttnToHostPass : attn::impl::AttnToHostBase<AttnToHostPass> {
  using AttnToHostBase::AttnToHostBase;

  void runOnOperation() override {
    const Level *level = findLevel(cpu);
    if (!level) {
      getOperation().emitError()
          << "unknown instruction set '" << cpu.getValue()
          << "', expected one of " << listLevels();
      return signalPassFailure();
    }
    for (func::FuncOp function :
         llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      if (!function->hasAttr("attn.kernel"))
        continue;
      SmallVector<Share> shares = {Share::Whole};
      if (function->hasAttr("attn.splits"))
        shares = {Share::Part, Share::Merge};
      for (Share share : shares) {
        KernelLowering lowering(function, *level, share);
        if (failed(lowering.run()))
          return signalPassFailure();
        numStages += lowering.getCounts().stages;
        numConverted += lowering.getCounts().converted;
        numDot += lowering.getCounts().dot;
      }
      function.erase();
      ++numKernels;
    }
    // What called them passed memrefs; the manifest says what to launch.
    for (func::FuncOp function :
         llvm::to_vector(getOperation().getOps<func::FuncOp>()))
      if (!function->hasAttr("attn.scratch"))
        function.erase();
  }
};

} // namespace
