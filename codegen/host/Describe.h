//===- Describe.h - the manifest of compiled functions ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_DESCRIBE_H
#define ATTN_CODEGEN_HOST_DESCRIBE_H

#include "attn/runtime/core/Manifest.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::func {
class FuncOp;
} // namespace mlir::func

namespace mlir::attn::host {

/// Names for the extents of a function's tensors: extents that the attention
/// ops require to be equal share one.
class ShapeNames {
public:
  /// `function` is on tensors.
  explicit ShapeNames(func::FuncOp function);

  unsigned getNumArguments() const { return arguments.size(); }
  /// The extents of argument `index`, of result `index`.
  ArrayRef<::attn::Dimension> getArgument(unsigned index) const {
    return arguments.at(index);
  }
  ArrayRef<::attn::Dimension> getResult(unsigned index) const {
    return results.at(index);
  }

private:
  std::vector<std::vector<::attn::Dimension>> arguments, results;
};

/// The manifest of a function at the level after `attn-outline`, but for the
/// target, the code and the kernels' scratch.
FailureOr<::attn::Manifest> describe(func::FuncOp function,
                                     const ShapeNames &shapes);

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_DESCRIBE_H
