//===- Source.cpp - see Source.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Source.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

static bool isIdentifier(char c) {
  return isAlnum(c) || c == '_' || c == '$' || c == '.';
}

/// The position after the string literal or comment that starts at `i`, or `i`
/// if none does.
static size_t skipOpaque(StringRef text, size_t i) {
  if (text.substr(i).starts_with("//"))
    return std::min(text.find('\n', i), text.size());
  if (text[i] != '"')
    return i;
  for (++i; i < text.size() && text[i] != '"' && text[i] != '\n'; ++i)
    if (text[i] == '\\')
      ++i;
  return std::min(i + 1, text.size());
}

std::string mlir::attn::prepareSource(StringRef source) {
  std::string text = source.str();
  bool inAttnOp = false;
  for (size_t i = 0; i < source.size();) {
    if (size_t next = skipOpaque(source, i); next != i) {
      i = next;
      continue;
    }
    if (!isIdentifier(source[i])) {
      // A prefixed name (%x, #x, !x, @x, ^x) says nothing about which op this
      // is.
      bool prefix = StringRef("%#!@^").contains(source[i]);
      for (++i; prefix && i < source.size() && isIdentifier(source[i]);)
        ++i;
      continue;
    }
    size_t end = i;
    while (end < source.size() && isIdentifier(source[end]))
      ++end;
    StringRef word = source.slice(i, end);
    i = end;
    if (word.contains('.') && !isDigit(word.front()))
      inAttnOp = word.starts_with("attn.");
    if (!inAttnOp || word != "mask")
      continue;
    while (i < source.size() && isSpace(source[i]))
      ++i;
    if (i == source.size() || source[i] != '(')
      continue;
    for (int depth = 0; i < source.size();) {
      if (size_t next = skipOpaque(source, i); next != i) {
        i = next;
        continue;
      }
      char c = source[i++];
      depth += (c == '(') - (c == ')');
      if (c == '&')
        text[i - 1] = '*';
      else if (c == '!')
        text[i - 1] = '-';
      if (depth == 0)
        break;
    }
  }
  return text;
}
