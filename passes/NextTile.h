//===- NextTile.h - the first tile of a loop from some tile on ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_NEXTTILE_H
#define ATTN_PASSES_NEXTTILE_H

#include "attn/dialect/Attn.h"
#include "mlir/IR/Builders.h"

namespace mlir::attn {

/// The first tile t >= from that `loop` visits, or INT64_MAX.
Value buildNextTile(OpBuilder &builder, Location loc, ForTilesOp loop,
                    Value from);

} // namespace mlir::attn

#endif // ATTN_PASSES_NEXTTILE_H
