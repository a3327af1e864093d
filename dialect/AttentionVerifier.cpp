//===- AttentionVerifier.cpp - the constraints of docs/Spec.md ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"

using namespace mlir;
using namespace mlir::attn;

LogicalResult AttentionOp::verify() {
  if (getMask().getNumSymbols() > getSymbols().size())
    return emitOpError("mask uses symbol s") << getMask().getNumSymbols() - 1 << ", but only "
                                             << getSymbols().size() << " values are bound";
  return success();
}

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &, MLIRContext *) {}
