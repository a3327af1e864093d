//===- AttentionTiling.h - upstream's TilingInterface for attn.attention ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_ATTENTIONTILING_H
#define ATTN_PASSES_ATTENTIONTILING_H

namespace mlir {
class DialectRegistry;
}

namespace mlir::attn {

/// Lets `attn.attention` be tiled over (batch, query head, query): one batch,
/// one head or some that read the same KV head, any number of queries. Several
/// heads only as attn/passes/HeadRows.h says.
void registerAttentionTiling(DialectRegistry &registry);

} // namespace mlir::attn

#endif // ATTN_PASSES_ATTENTIONTILING_H
