//===- Projection.h - eliminating integer variables ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_PROJECTION_H
#define ATTN_DIALECT_MASK_PROJECTION_H

#include "attn/dialect/mask/LinearSpace.h"

namespace mlir::attn {

/// "There are integers for the eliminated columns", as a union of conjunctions
/// of inequalities over the other columns and divisions of these. If not
/// `exact`, the union holds more than that.
struct Projection {
  llvm::SmallVector<Conjunction, 2> parts;
  bool exact = true;
};

/// Eliminates `columns` from `set`, under the assumption that `context`, which
/// is free of them, holds. `linear` (if any) is a column to keep out of
/// divisions where that is possible; where it is not, a linear consequence is
/// added, so that the inequalities linear in it describe a hull. At most
/// `maxParts` parts come out: a variable with two-sided coefficients beyond one
/// may need a split by residue.
Projection eliminate(LinearSpace &space, const Conjunction &set,
                     llvm::ArrayRef<unsigned> columns,
                     const Conjunction &context, std::optional<unsigned> linear,
                     unsigned maxParts);

/// Whether x is linear in `column`: no division contains it.
bool isLinearIn(const LinearSpace &space, const LinearExpr &x, unsigned column);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_PROJECTION_H
