//===- Expression.cpp - Integer expressions of shape names ----------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Expression.h"

#include "attn/runtime/core/Arith.h"

#include <algorithm>

using namespace attn;

const char *attn::operatorName(Expression::Kind kind) {
  switch (kind) {
  case Expression::Kind::Add:
    return "add";
  case Expression::Kind::Mul:
    return "mul";
  case Expression::Kind::CeilDiv:
    return "ceildiv";
  case Expression::Kind::Min:
    return "min";
  case Expression::Kind::Max:
    return "max";
  case Expression::Kind::Constant:
  case Expression::Kind::Name:
    break;
  }
  return "";
}

std::string attn::toText(const Expression &expression) {
  switch (expression.kind) {
  case Expression::Kind::Constant:
    return std::to_string(expression.value);
  case Expression::Kind::Name:
    return expression.name;
  default:
    break;
  }
  std::string text = operatorName(expression.kind);
  const char *separator = "(";
  for (const Expression &arg : expression.args) {
    text += separator + toText(arg);
    separator = ", ";
  }
  return text + ")";
}

/// Applies `kind` to two values; nothing where the result leaves int64.
static std::optional<int64_t> apply(Expression::Kind kind, int64_t a,
                                    int64_t b) {
  switch (kind) {
  case Expression::Kind::Add:
    return checkedAdd(a, b);
  case Expression::Kind::Mul:
    return checkedMul(a, b);
  case Expression::Kind::CeilDiv:
    return ceilDiv(a, b);
  case Expression::Kind::Min:
    return std::min(a, b);
  case Expression::Kind::Max:
    return std::max(a, b);
  case Expression::Kind::Constant:
  case Expression::Kind::Name:
    break;
  }
  return std::nullopt;
}

Result<int64_t> attn::evaluate(const Expression &expression,
                               const Bindings &bindings) {
  if (expression.kind == Expression::Kind::Constant)
    return expression.value;
  if (expression.kind == Expression::Kind::Name) {
    auto found = bindings.find(expression.name);
    if (found == bindings.end())
      return invalidArgument("'" + expression.name +
                             "' is not bound by any argument's shape");
    return found->second;
  }
  if (expression.args.empty())
    return invalidArgument(std::string("'") + operatorName(expression.kind) +
                           "' needs arguments");
  std::optional<int64_t> total;
  for (const Expression &arg : expression.args) {
    Result<int64_t> value = evaluate(arg, bindings);
    if (!value)
      return value;
    if (!total) {
      total = *value;
      continue;
    }
    if (expression.kind == Expression::Kind::CeilDiv && *value < 1)
      return invalidArgument("the divisor of " + toText(expression) + " is " +
                             std::to_string(*value) +
                             ", expected a positive number");
    total = apply(expression.kind, *total, *value);
    if (!total)
      return invalidArgument("the value of " + toText(expression) +
                             " does not fit in 64 bits");
  }
  return *total;
}
