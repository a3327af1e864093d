//===- Transpose.h - rows in memory, columns in scratch ---------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_TRANSPOSE_H
#define ATTN_CODEGEN_HOST_TRANSPOSE_H

#include "mlir/IR/Value.h"

namespace mlir::attn::host {

class RegisterBuilder;

/// `columns` neighbouring elements of `Level::lanes` rows, transposed in
/// registers. In memory each row has an address of its own; in scratch the
/// elements of a column are next to each other, and a column begins
/// `columnBytes` after the one before it, aligned to a register.
struct TransposedRows {
  /// Where the addresses of the rows lie (storeAddresses); rows are aligned for
  /// their elements only.
  Value rows;
  Value scratch;
  int64_t columnBytes;
  int64_t columns;
};

/// Stores the address of each of `Level::lanes` rows, given the row's number
/// (an index), to `table`, which has 8 bytes for each.
void storeAddresses(RegisterBuilder &b, Value table,
                    function_ref<Value(Value)> getAddress);

/// From memory to scratch: floats of 16 bits become f32. With `asPairs` two
/// neighbours of 16 bits are one element, and `columns` counts pairs.
void loadTransposed(RegisterBuilder &b, const TransposedRows &block,
                    Type element, bool asPairs = false);

/// From scratch to memory, elements as they are.
void storeTransposed(RegisterBuilder &b, const TransposedRows &block,
                     Type element);

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_TRANSPOSE_H
