//===- HeadRows.h - rows of a tile from several query heads ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_HEADROWS_H
#define ATTN_PASSES_HEADROWS_H

#include "attn/dialect/Attn.h"

#include <string>

namespace mlir::attn {

/// Why a tile of `op` cannot have the rows of as many query heads as `schedule`
/// says; empty if it can, as with one head.
std::string findHeadRowsProblem(AttentionOp op, ScheduleAttr schedule);

/// How many query heads of `op` a tile under `schedule` computes: those of a
/// group if the schedule has room for all of them. Rows of others are dead.
int64_t getHeadsPerTile(AttentionOp op, ScheduleAttr schedule);

} // namespace mlir::attn

#endif // ATTN_PASSES_HEADROWS_H
