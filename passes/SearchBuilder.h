//===- SearchBuilder.h - binary searches as code ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_SEARCHBUILDER_H
#define ATTN_PASSES_SEARCHBUILDER_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn {

/// Asks for the first element that is not below `value`, or with `orEqual` for
/// the first one above it.
struct Search {
  Value value;
  bool orEqual;
};

/// Searches in elements start .. start + length - 1, which do not decrease, all
/// at once: the probes of one step do not wait for each other. `load` builds
/// an element of the type of the values. Returns indices, start + length where
/// there is no such element.
SmallVector<Value>
buildSearch(ImplicitLocOpBuilder &builder, Value start, Value length,
            ArrayRef<Search> searches,
            llvm::function_ref<Value(ImplicitLocOpBuilder &, Value)> load);

} // namespace mlir::attn

#endif // ATTN_PASSES_SEARCHBUILDER_H
