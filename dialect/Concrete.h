//===- Concrete.h - a function's attention ops at given argument shapes and
// values ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_CONCRETE_H
#define ATTN_DIALECT_CONCRETE_H

#include "attn/dialect/Attn.h"
#include "attn/dialect/mask/MaskAnalysis.h"
#include "attn/dialect/mask/MaskData.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include <map>

namespace mlir::attn {

/// What one argument is at run time. A tensor has a shape; of a tensor of
/// integers the elements are wanted too, row-major. An index or integer has one
/// element and no shape.
struct ArgumentValue {
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<int64_t> elements;
};

/// An attention op whose every dimension and symbol is a number.
struct ConcreteAttention {
  AttentionOp op;
  int64_t batches, queryHeads, kvHeads, queries, keys, headSize, valueSize;
  llvm::SmallVector<int64_t> symbols;
  /// The offset of each batch.
  llvm::SmallVector<int64_t> offsets;
  int64_t firstHead = 0;
  /// The tensors of the mask; one whose elements are not known has none.
  std::vector<DataTensor> maskData;

  /// The mask of a batch as a set: lengths and a few documents are exact; every
  /// pair of other atoms with tensors is taken to be live, and of tensors that
  /// are not known.
  MaskAttr getClosedMask(int64_t batch) const;
  /// Whether something was taken to be live.
  bool isAssumed() const;
  int64_t getGroupSize() const { return queryHeads / kvHeads; }
  /// The mask of query head `head` (counted from 0) in batch `batch`.
  MaskProblem getMask(int64_t batch, int64_t head) const;
};

/// The attention ops of `function` in order. Errors, at the function or the op:
/// arguments that do not fit its types, extents that contradict each other, an
/// index that is not a function of the arguments' shapes and values.
FailureOr<llvm::SmallVector<ConcreteAttention>>
bindArguments(FunctionOpInterface function,
              llvm::ArrayRef<ArgumentValue> arguments);

/// The arguments of a function whose types say everything: static shapes and no
/// values, but those of tensors of masks, which stay unknown. Arguments in
/// `given`, by number, are what it says. Failure, without a diagnostic, if
/// types leave something open.
FailureOr<llvm::SmallVector<ArgumentValue>>
getStaticArguments(FunctionOpInterface function,
                   const std::map<unsigned, ArgumentValue> &given = {});

} // namespace mlir::attn

#endif // ATTN_DIALECT_CONCRETE_H
