//===- Passes.h - the passes of the host target -----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_PASSES_H
#define ATTN_CODEGEN_HOST_PASSES_H

#include "mlir/Pass/Pass.h"

#include <memory>

namespace mlir {
class ModuleOp;
namespace func {
class FuncOp;
} // namespace func
} // namespace mlir

namespace mlir::attn {

#define GEN_PASS_DECL
#include "attn/codegen/host/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "attn/codegen/host/Passes.h.inc"

namespace host {

/// A parameter of a lowered kernel, 8 bytes each: what code generation and the
/// manifest agree on.
struct KernelParam {
  enum Kind { Pointer, Size, Stride, Scalar };
  Kind kind;
  /// The argument of the kernel as it was outlined, and the dimension of a size
  /// or stride.
  unsigned argument;
  unsigned dim = 0;
};

/// The parameters of an outlined kernel: for each memref its address, its
/// dynamic sizes, and all its strides.
/// Where `attn.splits` is set, the address of the parts' states follows.
SmallVector<KernelParam> getKernelParams(func::FuncOp kernel);

/// The function that merges the parts of a kernel whose keys are split.
std::string getMergeName(StringRef kernel);

} // namespace host

} // namespace mlir::attn

#endif // ATTN_CODEGEN_HOST_PASSES_H
