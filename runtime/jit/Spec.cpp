//===- Spec.cpp - One attention, described by values ----------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/jit/Spec.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

using namespace attn;

static std::string tensorType(std::initializer_list<int64_t> shape,
                              std::string_view element) {
  std::string text = "tensor<";
  for (int64_t size : shape)
    text += (size == AttentionSpec::dynamic ? "?" : std::to_string(size)) + "x";
  return text + std::string(element) + ">";
}

/// A clause must end where the expression ends, not inside it.
static Status checkMask(const std::string &mask) {
  int depth = 0;
  for (char c : mask) {
    depth += (c == '(') - (c == ')');
    if (depth < 0 || c == '\n' || c == '/')
      break;
  }
  if (depth == 0 && mask.find_first_of("\n/") == std::string::npos)
    return Status::success();
  return invalidArgument("mask: expected one line with balanced parentheses, "
                         "found '" +
                         mask + "'");
}

static bool isName(const std::string &text) {
  return !text.empty() && !std::isdigit(static_cast<unsigned char>(text[0])) &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '_';
         });
}

Result<std::string> attn::toMlir(const AttentionSpec &spec) {
  if (spec.type != ElementType::F16 && spec.type != ElementType::BF16 &&
      spec.type != ElementType::F32)
    return invalidArgument("expected element type f16, bf16 or f32, found " +
                           std::string(nameOf(spec.type)));
  for (auto [name, size] : {std::pair("batch", spec.batch),
                            {"query heads", spec.queryHeads},
                            {"kv heads", spec.kvHeads},
                            {"queries", spec.queries},
                            {"keys", spec.keys}})
    if (size < 0 && size != AttentionSpec::dynamic)
      return invalidArgument(std::string(name) +
                             ": expected a size, or -1 for one that is known "
                             "at run time, found " +
                             std::to_string(size));
  if (spec.headSize < 1 || spec.valueHeadSize < 0)
    return invalidArgument(
        "expected head sizes of at least 1, found " +
        std::to_string(spec.headSize < 1 ? spec.headSize : spec.valueHeadSize));
  if (spec.scale && !std::isfinite(*spec.scale))
    return invalidArgument("scale: expected a finite number");
  if (Status status = checkMask(spec.mask); !status)
    return status.error();
  for (const std::string &symbol : spec.symbols)
    if (!isName(symbol) || symbol == "q" || symbol == "k" || symbol == "v" ||
        symbol == "offset")
      return invalidArgument("symbols: expected a name other than q, k, v and "
                             "offset, found '" +
                             symbol + "'");

  std::string_view element = nameOf(spec.type);
  int64_t valueSize = spec.valueHeadSize ? spec.valueHeadSize : spec.headSize;
  std::string q = tensorType(
      {spec.batch, spec.queryHeads, spec.queries, spec.headSize}, element);
  std::string k =
      tensorType({spec.batch, spec.kvHeads, spec.keys, spec.headSize}, element);
  std::string v =
      tensorType({spec.batch, spec.kvHeads, spec.keys, valueSize}, element);
  std::string o = tensorType(
      {spec.batch, spec.queryHeads, spec.queries, valueSize}, element);
  std::string results = o, values = "%o";
  if (spec.lse) {
    results +=
        ", " + tensorType({spec.batch, spec.queryHeads, spec.queries}, "f32");
    values += ", %lse";
  }

  std::string arguments = "%q: " + q + ", %k: " + k + ", %v: " + v;
  for (const std::string &symbol : spec.symbols)
    arguments += ", %" + symbol + ": index";
  std::string alignment, offsetType;
  switch (spec.alignment) {
  case AttentionSpec::Alignment::End:
    break;
  case AttentionSpec::Alignment::Start:
    alignment = " align(start)";
    break;
  case AttentionSpec::Alignment::Offset:
  case AttentionSpec::Alignment::OffsetPerBatch:
    offsetType = spec.alignment == AttentionSpec::Alignment::Offset
                     ? "index"
                     : tensorType({spec.batch}, "i64");
    arguments += ", %offset: " + offsetType;
    alignment = " align(%offset" +
                (offsetType == "index" ? "" : " : " + offsetType) + ")";
    break;
  }
  std::string scale;
  if (spec.scale) {
    char digits[64];
    std::snprintf(digits, sizeof digits, " scale(%.16e)", *spec.scale);
    scale = digits;
  }
  std::string call = "  " + values + " = attn.attention %q, %k, %v mask(" +
                     spec.mask + ")" + scale + alignment + "\n      : (" + q +
                     ", " + k + ", " + v + ") -> ";
  std::string resultList = spec.lse ? "(" + results + ")" : results;
  return "func.func @attention(" + arguments + ")\n    -> " + resultList +
         " {\n" + call + resultList + "\n  return " + values + " : " + results +
         "\n}\n";
}
