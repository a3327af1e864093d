//===- ShapeNames.h - names for the dynamic sizes of a function ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_SHAPENAMES_H
#define ATTN_CODEGEN_NVPTX_SHAPENAMES_H

#include "attn/dialect/Attn.h"
#include "attn/runtime/core/Manifest.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/EquivalenceClasses.h"

namespace mlir::attn::nvptx {

/// Gives one name to all dynamic sizes of a function's tensors that its
/// attention ops require to be equal, and says what the arguments and results
/// are to those ops.
class ShapeNames {
public:
  explicit ShapeNames(func::FuncOp function);

  /// The shape of an argument, of a returned value or of a value between two
  /// ops.
  std::vector<::attn::Dimension> getShape(Value value);

  /// q, k, v, o, lse, offset or the name of a tensor of the mask if the value
  /// has that role in an op, else `fallback`; made unique with a number.
  std::string getName(Value value, StringRef fallback);

  /// What the attention ops require of the elements of an argument.
  std::vector<::attn::CheckDesc> getChecks(Value argument);

private:
  using Size = std::pair<void *, int64_t>;
  void unite(std::initializer_list<std::pair<Value, int64_t>> sizes);
  void addMaskData(AttentionOp op);
  ::attn::Expression getSize(Value value, int64_t dim);

  func::FuncOp function;
  llvm::EquivalenceClasses<Size> classes;
  /// The names given so far, and the constant sizes that some member of a class
  /// has.
  llvm::DenseMap<Size, std::string> names;
  llvm::DenseMap<Size, int64_t> constants;
  llvm::DenseMap<Value, llvm::StringRef> roles;
  llvm::StringMap<unsigned> taken;
};

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_SHAPENAMES_H
