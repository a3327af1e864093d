//===- MergeStates.h - softmax states of parts of the keys ------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_MERGESTATES_H
#define ATTN_CODEGEN_HOST_MERGESTATES_H

#include "attn/codegen/host/PanelEmitter.h"

namespace mlir::attn::host {

/// One value of the state of an online softmax in scratch: `columns` numbers
/// for each row.
struct StateBuffer {
  TileBuffer buffer;
  int64_t columns = 1;
};

/// Bytes of the state of one part: its values one after the other, all panels
/// of each.
int64_t getStateBytes(ArrayRef<StateBuffer> state, int64_t tileRows,
                      const Level &level);

/// Copies the state from scratch to the place of (item, part), both indices.
void storeStates(PanelContext &context, ArrayRef<StateBuffer> state,
                 Value states, Value item, int64_t numPlaces, Value part,
                 int64_t tileRows);

/// Merges the states of the first `numParts` (an index) parts of `item` into
/// `state` in scratch: (maximum to base 2, sum, accumulator). Parts are added
/// in their order.
void mergeStates(PanelContext &context, ArrayRef<StateBuffer> state,
                 Value states, Value item, int64_t numPlaces, Value numParts,
                 int64_t tileRows);

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_MERGESTATES_H
