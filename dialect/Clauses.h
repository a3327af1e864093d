//===- Clauses.h - the mask clause that two ops share ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_CLAUSES_H
#define ATTN_DIALECT_CLAUSES_H

#include "attn/dialect/Attn.h"

namespace mlir::attn {

/// Reads what follows the keyword `mask`: `(expression)`, whose `%name`s become
/// `symbols` and tensors in `data`, each in order of appearance.
ParseResult
parseMaskClause(OpAsmParser &parser, MaskAttr &mask,
                llvm::SmallVectorImpl<OpAsmParser::UnresolvedOperand> &symbols,
                llvm::SmallVectorImpl<OpAsmParser::UnresolvedOperand> &data);

/// The types of the mask's tensors in the order in which the clause names them,
/// each tensor once.
llvm::SmallVector<Type> getMaskDataTypes(MaskAttr mask, ValueRange data);

/// Writes `mask(expression)`.
void printMaskClause(OpAsmPrinter &printer, MaskAttr mask, ValueRange symbols,
                     ValueRange data);

} // namespace mlir::attn

#endif // ATTN_DIALECT_CLAUSES_H
