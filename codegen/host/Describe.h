//===- Describe.h - the manifest of compiled functions ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_DESCRIBE_H
#define ATTN_CODEGEN_HOST_DESCRIBE_H

#include "attn/runtime/core/Manifest.h"
#include "mlir/Support/LLVM.h"

namespace mlir::func {
class FuncOp;
} // namespace mlir::func

namespace mlir::attn::host {

/// What the arguments and results of a function on tensors are called, and
/// their extents: those that the attention ops require to be equal share a
/// name. Scalars have no extents.
struct Signature {
  struct Value {
    std::string name;
    std::vector<::attn::Dimension> shape;
  };
  std::vector<Value> arguments, results;
};
Signature getSignature(func::FuncOp function);

/// The temporary with the states of the parts of a kernel whose keys are split.
std::string getStatesName(StringRef kernel);

/// The manifest of a function at the level after `attn-outline`, but for the
/// target, the code, the kernels' scratch and the size of their states.
FailureOr<::attn::Manifest> describe(func::FuncOp function,
                                     const Signature &signature);

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_DESCRIBE_H
