//===- MaskMembership.h - a mask evaluated from its definition ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_REFERENCE_MASKMEMBERSHIP_H
#define ATTN_DIALECT_REFERENCE_MASKMEMBERSHIP_H

#include "attn/dialect/Attn.h"

namespace mlir::attn::reference {

/// Whether `mask` holds (head, query position, key position), `symbols` being
/// the values of s0, s1, ... Shares nothing with the Presburger engine: it is
/// the judge of what that derives.
/// `holds` says whether an atom with tensors does.
bool contains(MaskAttr mask, llvm::ArrayRef<int64_t> symbols, int64_t head,
              int64_t p, int64_t j,
              llvm::function_ref<bool(MaskAttr atom)> holds = nullptr);

} // namespace mlir::attn::reference

#endif // ATTN_DIALECT_REFERENCE_MASKMEMBERSHIP_H
