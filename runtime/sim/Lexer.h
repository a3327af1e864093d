//===- Lexer.h - tokens of PTX ---------------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_LEXER_H
#define ATTN_RUNTIME_SIM_LEXER_H

#include "attn/runtime/sim/Ast.h"

namespace attn::sim {

struct Token {
  enum Kind : uint8_t {
    End,
    Word,    ///< identifier, `%r1`, `$L__BB0_1`
    DotWord, ///< `.global`, text without the point; holds `::` too
    Integer,
    Float, ///< f64 bits in value; `single` for 0f
    String,
    Punctuation, ///< one character in text
  } kind = End;
  std::string_view text;
  uint64_t value = 0;
  bool single = false;
  Place place;

  bool is(char c) const { return kind == Punctuation && text[0] == c; }
};

/// Splits the text into tokens, the last of which is End. Comments and line
/// directives of a preprocessor vanish.
Result<std::vector<Token>> lexPtx(std::string_view text);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_LEXER_H
