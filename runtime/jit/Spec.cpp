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

static std::string tensorType(const std::vector<int64_t> &shape,
                              ElementType element) {
  std::string text = "tensor<";
  for (int64_t size : shape)
    text += (size == AttentionSpec::dynamic ? "?" : std::to_string(size)) + "x";
  return text + std::string(nameOf(element)) + ">";
}

/// Text goes into a clause, or into a region, and must end where that does.
static bool isBalanced(const std::string &text, char open, char close) {
  int depth = 0;
  for (char c : text) {
    depth += (c == open) - (c == close);
    if (depth < 0)
      return false;
  }
  return depth == 0;
}

static bool isNameCharacter(unsigned char c) {
  return std::isalnum(c) || c == '_';
}

static bool isName(const std::string &text) {
  return !text.empty() && !std::isdigit(static_cast<unsigned char>(text[0])) &&
         std::all_of(text.begin(), text.end(), isNameCharacter);
}

static Status checkSize(const std::string &name, int64_t size) {
  if (size >= 0 || size == AttentionSpec::dynamic)
    return Status::success();
  return invalidArgument(name +
                         ": expected a size, or -1 for one that is known at "
                         "run time, found " +
                         std::to_string(size));
}

/// The function's arguments have names of their own.
static Status checkNames(const AttentionSpec &spec) {
  std::vector<std::string> seen = {"q", "k", "v", "o", "lse", "offset"};
  auto check = [&](const char *what, const std::string &name) -> Status {
    if (!isName(name) || std::count(seen.begin(), seen.end(), name))
      return invalidArgument(std::string(what) +
                             ": expected a name other than q, k, v, o, lse, "
                             "offset and those before it, found '" +
                             name + "'");
    seen.push_back(name);
    return Status::success();
  };
  for (const std::string &symbol : spec.symbols)
    if (Status status = check("symbols", symbol); !status)
      return status;
  for (const AttentionSpec::Tensor &tensor : spec.tensors) {
    if (Status status = check("tensors", tensor.name); !status)
      return status;
    if (tensor.type == ElementType::Index)
      return invalidArgument("tensors: expected an element type other than "
                             "index for '" +
                             tensor.name + "'");
    for (int64_t size : tensor.shape)
      if (Status status = checkSize("tensors: " + tensor.name, size); !status)
        return status;
  }
  return Status::success();
}

static Status checkSpec(const AttentionSpec &spec) {
  if (spec.type != ElementType::F16 && spec.type != ElementType::BF16 &&
      spec.type != ElementType::F32)
    return invalidArgument("expected element type f16, bf16 or f32, found " +
                           std::string(nameOf(spec.type)));
  for (auto [name, size] : {std::pair("batch", spec.batch),
                            {"query heads", spec.queryHeads},
                            {"kv heads", spec.kvHeads},
                            {"queries", spec.queries},
                            {"keys", spec.keys}})
    if (Status status = checkSize(name, size); !status)
      return status;
  if (spec.headSize < 1 || spec.valueHeadSize < 0)
    return invalidArgument(
        "expected head sizes of at least 1, found " +
        std::to_string(spec.headSize < 1 ? spec.headSize : spec.valueHeadSize));
  if (spec.scale && !std::isfinite(*spec.scale))
    return invalidArgument("scale: expected a finite number");
  if (spec.softcap && !(std::isfinite(*spec.softcap) && *spec.softcap > 0))
    return invalidArgument("softcap: expected a finite number above 0");
  if (!isBalanced(spec.mask, '(', ')') ||
      spec.mask.find_first_of("\n/") != std::string::npos)
    return invalidArgument("mask: expected one line with balanced parentheses, "
                           "found '" +
                           spec.mask + "'");
  if (!isBalanced(spec.score, '{', '}'))
    return invalidArgument("score: expected ops with balanced braces, found '" +
                           spec.score + "'");
  return checkNames(spec);
}

namespace {
/// Writes the clauses of the op, and notes the types that follow those of q, k
/// and v.
class Clauses {
public:
  explicit Clauses(const AttentionSpec &spec) : spec(spec) {}

  Result<std::string> write(const std::string &offsetType);
  const std::string &dataTypes() const { return types; }

private:
  const AttentionSpec::Tensor *find(const std::string &name) const {
    auto found = std::find_if(spec.tensors.begin(), spec.tensors.end(),
                              [&](const auto &t) { return t.name == name; });
    return found == spec.tensors.end() ? nullptr : &*found;
  }
  Status add(const char *clause, const std::string &name);
  Status addRegion();

  const AttentionSpec &spec;
  std::string text, types;
};
} // namespace

static std::string number(const char *clause, double value) {
  char digits[64];
  std::snprintf(digits, sizeof digits, " %s(%.16e)", clause, value);
  return digits;
}

/// A clause of one tensor.
Status Clauses::add(const char *clause, const std::string &name) {
  if (name.empty())
    return Status::success();
  const AttentionSpec::Tensor *tensor = find(name);
  if (!tensor)
    return invalidArgument(std::string(clause) +
                           ": expected the name of a tensor, found '" + name +
                           "'");
  text += std::string(" ") + clause + "(%" + name + " : " +
          tensorType(tensor->shape, tensor->type) + ")";
  return Status::success();
}

Status Clauses::addRegion() {
  if (spec.score.empty()) {
    if (!spec.scoreInputs.empty())
      return invalidArgument("score inputs: expected none without a score, "
                             "found '" +
                             spec.scoreInputs.front() + "'");
    return Status::success();
  }
  std::string names, inputTypes, parameters;
  std::vector<std::string> seen = {"s", "b", "h", "i", "j"};
  for (const std::string &name : spec.scoreInputs) {
    if (std::count(seen.begin(), seen.end(), name))
      return invalidArgument("score inputs: expected names other than s, b, h, "
                             "i, j and those before it, found '" +
                             name + "'");
    seen.push_back(name);
    const AttentionSpec::Tensor *tensor = find(name);
    if (!tensor && !std::count(spec.symbols.begin(), spec.symbols.end(), name))
      return invalidArgument("score inputs: expected the name of a tensor or "
                             "a symbol, found '" +
                             name + "'");
    const char *separator = names.empty() ? "" : ", ";
    names += separator + ("%" + name);
    inputTypes += separator + (tensor ? tensorType(tensor->shape, tensor->type)
                                      : std::string("index"));
    parameters += ", %" + name + (tensor ? ": f32" : ": index");
  }
  text += " score";
  if (!names.empty())
    text += "(" + names + " : " + inputTypes + ")";
  text += " {\n    ^bb0(%s: f32, %b: index, %h: index, %i: index, %j: index" +
          parameters + "):\n" + spec.score;
  text += text.back() == '\n' ? "    }" : "\n    }";
  return Status::success();
}

Result<std::string> Clauses::write(const std::string &offsetType) {
  text = " mask(" + spec.mask + ")";
  // The types of the mask's tensors, each once, as the mask names them.
  std::vector<std::string> seen;
  for (size_t at = 0; (at = spec.mask.find('%', at)) != std::string::npos;) {
    size_t end = ++at;
    while (end < spec.mask.size() && isNameCharacter(spec.mask[end]))
      ++end;
    std::string name = spec.mask.substr(at, end - at);
    const AttentionSpec::Tensor *tensor = find(name);
    if (!tensor || std::count(seen.begin(), seen.end(), name))
      continue;
    seen.push_back(name);
    types += ", " + tensorType(tensor->shape, tensor->type);
  }
  if (spec.scale)
    text += number("scale", *spec.scale);
  if (spec.alignment == AttentionSpec::Alignment::Start)
    text += " align(start)";
  else if (!offsetType.empty())
    text += " align(%offset" +
            (offsetType == "index" ? "" : " : " + offsetType) + ")";
  if (spec.softcap)
    text += number("softcap", *spec.softcap);
  for (auto [clause, name] : {std::pair("bias", &spec.bias),
                              {"alibi", &spec.alibi},
                              {"sinks", &spec.sinks}})
    if (Status status = add(clause, *name); !status)
      return status.error();
  if (Status status = addRegion(); !status)
    return status.error();
  return text;
}

Result<std::string> attn::toMlir(const AttentionSpec &spec) {
  if (Status status = checkSpec(spec); !status)
    return status.error();
  std::string offsetType;
  if (spec.alignment == AttentionSpec::Alignment::Offset)
    offsetType = "index";
  else if (spec.alignment == AttentionSpec::Alignment::OffsetPerBatch)
    offsetType = tensorType({spec.batch}, ElementType::I64);
  Clauses clauses(spec);
  Result<std::string> written = clauses.write(offsetType);
  if (!written)
    return written.error();

  int64_t valueSize = spec.valueHeadSize ? spec.valueHeadSize : spec.headSize;
  std::string q = tensorType(
      {spec.batch, spec.queryHeads, spec.queries, spec.headSize}, spec.type);
  std::string k = tensorType(
      {spec.batch, spec.kvHeads, spec.keys, spec.headSize}, spec.type);
  std::string v =
      tensorType({spec.batch, spec.kvHeads, spec.keys, valueSize}, spec.type);
  std::string results = tensorType(
      {spec.batch, spec.queryHeads, spec.queries, valueSize}, spec.type);
  std::string values = "%o", resultList = results;
  if (spec.lse) {
    results += ", " + tensorType({spec.batch, spec.queryHeads, spec.queries},
                                 ElementType::F32);
    resultList = "(" + results + ")";
    values += ", %lse";
  }

  std::string arguments = "%q: " + q + ", %k: " + k + ", %v: " + v;
  for (const std::string &symbol : spec.symbols)
    arguments += ", %" + symbol + ": index";
  if (!offsetType.empty())
    arguments += ", %offset: " + offsetType;
  for (const AttentionSpec::Tensor &tensor : spec.tensors)
    arguments +=
        ", %" + tensor.name + ": " + tensorType(tensor.shape, tensor.type);
  return "func.func @attention(" + arguments + ")\n    -> " + resultList +
         " {\n  " + values + " = attn.attention %q, %k, %v" + *written +
         "\n      : (" + q + ", " + k + ", " + v + clauses.dataTypes() +
         ") -> " + resultList + "\n  return " + values + " : " + results +
         "\n}\n";
}
