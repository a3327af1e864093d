//===- Lexer.cpp - tokens of PTX -------------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Lexer.h"

#include <cstdlib>
#include <cstring>

namespace attn::sim {
namespace {

bool isLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '$';
}
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWordPart(char c) { return isLetter(c) || isDigit(c); }

int digitValue(char c) {
  if (isDigit(c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return 99;
}

class Lexer {
public:
  explicit Lexer(std::string_view text) : text(text) {}

  Result<std::vector<Token>> run() {
    std::vector<Token> tokens;
    tokens.reserve(text.size() / 4);
    for (;;) {
      if (!skipBlank())
        return Error{"comment does not end", place().line, place().column};
      Token token;
      token.place = place();
      if (at == text.size()) {
        tokens.push_back(token);
        return tokens;
      }
      size_t begin = at;
      char c = text[at];
      bool fine = true;
      if (isLetter(c) ||
          (c == '%' && at + 1 < text.size() && isLetter(text[at + 1]))) {
        token.kind = Token::Word;
        for (++at; at < text.size() && isWordPart(text[at]);)
          ++at;
      } else if (isDigit(c)) {
        fine = number(token);
      } else if (c == '.' && at + 1 < text.size() && isWordPart(text[at + 1])) {
        token.kind = Token::DotWord;
        for (++at; at < text.size();) {
          if (isWordPart(text[at]))
            ++at;
          else if (text.compare(at, 2, "::") == 0)
            at += 2;
          else
            break;
        }
        ++begin;
      } else if (c == '"') {
        token.kind = Token::String;
        for (++at; at < text.size() && text[at] != '"' && text[at] != '\n';)
          ++at;
        fine = at < text.size() && text[at] == '"';
        ++at;
      } else if (std::strchr("{}()[]<>,;:+-!|@=*/~&^.", c)) {
        token.kind = Token::Punctuation;
        ++at;
      } else {
        return Error{std::string("unexpected character '") + c + "'",
                     token.place.line, token.place.column};
      }
      if (!fine)
        return Error{token.kind == Token::String ? "string does not end"
                                                 : "malformed number",
                     token.place.line, token.place.column};
      token.text = text.substr(begin, at - begin);
      tokens.push_back(token);
    }
  }

private:
  Place place() const { return {line, unsigned(at - lineStart) + 1}; }

  bool skipBlank() {
    while (at < text.size()) {
      char c = text[at];
      if (c == '\n') {
        ++at;
        ++line;
        lineStart = at;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
        ++at;
      } else if (text.compare(at, 2, "//") == 0) {
        while (at < text.size() && text[at] != '\n')
          ++at;
      } else if (text.compare(at, 2, "/*") == 0) {
        for (at += 2; text.compare(at, 2, "*/") != 0; ++at) {
          if (at >= text.size())
            return false;
          if (text[at] == '\n') {
            ++line;
            lineStart = at + 1;
          }
        }
        at += 2;
      } else if (c == '#' && at == lineStart) {
        while (at < text.size() && text[at] != '\n')
          ++at;
      } else {
        break;
      }
    }
    return true;
  }

  bool number(Token &token) {
    token.kind = Token::Integer;
    char second = at + 1 < text.size() ? text[at + 1] : 0;
    if (text[at] == '0' &&
        (second == 'f' || second == 'F' || second == 'd' || second == 'D')) {
      bool single = second == 'f' || second == 'F';
      at += 2;
      uint64_t bits = 0;
      unsigned digits = single ? 8 : 16;
      for (unsigned i = 0; i < digits; ++i, ++at) {
        if (at >= text.size() || digitValue(text[at]) > 15)
          return false;
        bits = bits * 16 + digitValue(text[at]);
      }
      token.kind = Token::Float;
      token.single = single;
      token.value = bits;
      return at == text.size() || !isWordPart(text[at]);
    }
    unsigned base = 10;
    if (text[at] == '0' && (second == 'x' || second == 'X')) {
      base = 16;
      at += 2;
    } else if (text[at] == '0' && (second == 'b' || second == 'B')) {
      base = 2;
      at += 2;
    } else if (text[at] == '0' && isDigit(second)) {
      base = 8;
    }
    size_t begin = at;
    uint64_t value = 0;
    while (at < text.size() && digitValue(text[at]) < int(base)) {
      value = value * base + digitValue(text[at]);
      ++at;
    }
    if (at == begin)
      return false;
    if (base == 10 && at < text.size() &&
        (text[at] == '.' || text[at] == 'e' || text[at] == 'E') &&
        (text[at] != '.' || (at + 1 < text.size() && isDigit(text[at + 1])))) {
      std::string copy(text.substr(begin, 64));
      char *end = nullptr;
      double real = std::strtod(copy.c_str(), &end);
      at = begin + (end - copy.c_str());
      token.kind = Token::Float;
      std::memcpy(&value, &real, 8);
    } else if (at < text.size() && text[at] == 'U') {
      ++at;
    }
    token.value = value;
    return at == text.size() || !isWordPart(text[at]);
  }

  std::string_view text;
  size_t at = 0;
  unsigned line = 1;
  size_t lineStart = 0;
};

} // namespace

Result<std::vector<Token>> lexPtx(std::string_view text) {
  return Lexer(text).run();
}

} // namespace attn::sim
