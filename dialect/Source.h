//===- Source.h - what MLIR's lexer needs before it can read a mask clause ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_SOURCE_H
#define ATTN_DIALECT_SOURCE_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace mlir::attn {

/// MLIR's lexer has no token for `&` and reads `!name` as a type. Inside the
/// `mask(...)` clause of an attn op this writes `*` for `&` and `-` for `!`,
/// character for character, so that every location stays what it was. All text
/// outside such clauses, and what is already written with `*` and `-`, is left
/// alone. Whoever parses source that a person wrote calls this first.
std::string prepareSource(llvm::StringRef source);

} // namespace mlir::attn

#endif // ATTN_DIALECT_SOURCE_H
