//===- MaskSet.h - a mask as a Presburger set ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_MASKSET_H
#define ATTN_DIALECT_MASK_MASKSET_H

#include "attn/dialect/mask/LinearSpace.h"
#include "mlir/Analysis/Presburger/PresburgerRelation.h"

namespace mlir::attn {

/// The set over (h, p, j) with `numSymbols` symbols (at least the mask's own),
/// built by MLIR's set operations. Its answers are exact and take unbounded
/// time: it judges the procedures that loops and reports use.
presburger::PresburgerSet getMaskSet(MaskAttr mask, unsigned numSymbols);

/// The conjunction as a set of points of `numVariables` variables, which are
/// the first columns of the space; divisions become local variables.
presburger::IntegerPolyhedron getPolyhedron(const LinearSpace &space,
                                            const Conjunction &set,
                                            unsigned numVariables);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_MASKSET_H
