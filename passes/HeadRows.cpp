//===- HeadRows.cpp - see HeadRows.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/HeadRows.h"

#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/Packing.h"

using namespace mlir;
using namespace mlir::attn;

std::string mlir::attn::findHeadRowsProblem(AttentionOp op,
                                            ScheduleAttr schedule) {
  int64_t heads = schedule.getHeads();
  if (heads == 1)
    return "";
  if (op.getQ().getType().isDynamicDim(1) ||
      op.getK().getType().isDynamicDim(1))
    return "the numbers of heads are not static";
  if (op.getK().getType().getDimSize(1) == 0)
    return "there are no heads";
  int64_t group = op.getGroupSize();
  if (heads < group && group % heads != 0)
    return "a group of " + std::to_string(group) +
           " query heads is neither a multiple of " + std::to_string(heads) +
           " nor at most that";
  if (op.getMask().dependsOnHead())
    return "the mask depends on the head";
  // Lengths hold for a batch.
  if (!llvm::all_of(getDataAtoms(op.getMask()), [](MaskAttr atom) {
        return atom.getKind() == MaskKind::Lengths;
      }))
    return "the mask has tensors with values for each query";
  if (!op.getScore().empty() || op.getSinks() || op.getInitO())
    return "the op has a score region, sinks or a state to continue";
  SmallVector<Packing, 1> packings =
      getPackings(op, schedule.getQueries(), schedule.getKvTile());
  if (packings.size() != 1 || packings.front().parts.size() != 1 ||
      packings.front().parts.front().modulus != 1)
    return "the mask runs in parts or residue classes";
  return "";
}

int64_t mlir::attn::getHeadsPerTile(AttentionOp op, ScheduleAttr schedule) {
  return schedule.getHeads() == 1
             ? 1
             : std::min<int64_t>(schedule.getHeads(), op.getGroupSize());
}
