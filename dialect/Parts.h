//===- Parts.h - what an attn.attention op is made of ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_PARTS_H
#define ATTN_DIALECT_PARTS_H

#include "attn/dialect/Attn.h"

namespace mlir::attn {

class AttentionOp;

/// The operands, attributes and score region of an attn.attention op, to build
/// an op that differs in some of them.
struct AttentionParts {
  AttentionParts() = default;
  /// Those of `op`; the region stays where it is and is cloned on building.
  explicit AttentionParts(AttentionOp op);

  Value q, k, v;
  llvm::SmallVector<Value, 2> symbols;
  Value offset, head;
  llvm::SmallVector<Value, 2> maskData, scoreInputs;
  Value sinks, initO, initLse;
  MaskAttr mask;
  AlignmentAttr alignment;
  FloatAttr scale;
  ScheduleAttr schedule;
  Region *score = nullptr;
};

} // namespace mlir::attn

#endif // ATTN_DIALECT_PARTS_H
