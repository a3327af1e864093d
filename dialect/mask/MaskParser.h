//===- MaskParser.h - reads mask expressions ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_MASKPARSER_H
#define ATTN_DIALECT_MASK_MASKPARSER_H

#include "attn/dialect/Attn.h"

namespace mlir::attn {

struct ParsedMask {
  MaskAttr mask;
  /// What `%name` stands behind symbol i, without the percent sign; empty when
  /// symbols are written s0, s1, ...
  llvm::SmallVector<llvm::StringRef> symbolNames;
  /// The same for tensor i: written t0, t1, ... or `%name`.
  llvm::SmallVector<llvm::StringRef> dataNames;
  /// Characters read: up to the first one that cannot continue the expression.
  size_t length = 0;
};

/// How symbols and tensors are written: `s0`, `t0`, ... in the attribute,
/// `%name` in the clause of an op.
enum class MaskSymbolSyntax { Numbered, Named };

/// Reads the longest mask expression at the start of `text`. `*` and `-` are
/// accepted for `&` and `!`, which MLIR's lexer does not know (see Source.h).
/// `emitError` is called at most once, with the offset of the error.
llvm::FailureOr<ParsedMask> parseMaskExpression(
    llvm::StringRef text, MaskSymbolSyntax syntax, MLIRContext *context,
    llvm::function_ref<void(size_t offset, const llvm::Twine &message)>
        emitError);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_MASKPARSER_H
