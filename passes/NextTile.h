//===- NextTile.h - which tile a loop over tiles visits next ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_NEXTTILE_H
#define ATTN_PASSES_NEXTTILE_H

#include "mlir/IR/Builders.h"
#include <cstdint>

namespace mlir::attn {

class ForTilesOp;

/// What stands for "no tile": larger than every tile number.
inline constexpr int64_t kNoTile = INT64_MAX;

/// The same for tile numbers of 32 bits.
inline constexpr int64_t kNoTile32 = INT32_MAX;

/// Builds the number of the first tile >= `from` that the loop visits, in the
/// type of `from`: an index, or an i32 if the loop's bounds are known to fit;
/// kNoTile or kNoTile32 if there is none. Straight-line code where the loop
/// excepts at most one interval and has no filter, else an scf.while over the
/// candidates, which passes its arguments on unchanged. `from` is above the
/// least value of its type. The operands of the loop and whatever its filter
/// uses must be visible at the insertion point; the loop does not change.
Value buildNextTile(OpBuilder &builder, Location loc, ForTilesOp loop,
                    Value from);

} // namespace mlir::attn

#endif // ATTN_PASSES_NEXTTILE_H
