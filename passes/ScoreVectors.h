//===- ScoreVectors.h - a score region over a tile, as vector code ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_SCOREVECTORS_H
#define ATTN_PASSES_SCOREVECTORS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn {

class OnlineAttentionOp;

/// Builds the scores of the tile of `op`, whose k and v are vectors, from
/// `scores`, vector<M x N x f32> of scaled products: its score region on every
/// pair. What depends on the query alone is computed on vector<M x 1>, on the
/// key alone on vector<1 x N>; positions are relative to the tile in 32 bits
/// where the ops on them allow it.
Value buildScores(ImplicitLocOpBuilder &builder, OnlineAttentionOp op,
                  Value scores);

} // namespace mlir::attn

#endif // ATTN_PASSES_SCOREVECTORS_H
