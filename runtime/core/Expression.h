//===- Expression.h - Integer expressions of shape names --------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_EXPRESSION_H
#define ATTN_RUNTIME_CORE_EXPRESSION_H

#include "attn/runtime/core/Result.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace attn {

/// The values of a bundle's shape names in one run.
using Bindings = std::map<std::string, int64_t>;

/// An integer, a shape name, or an operation on expressions: what the manifest
/// writes as 3, "d0" or {"op": "mul", "args": [...]}.
struct Expression {
  enum class Kind : uint8_t { Constant, Name, Add, Mul, CeilDiv, Min, Max };

  Kind kind = Kind::Constant;
  int64_t value = 0;            ///< of a Constant
  std::string name;             ///< of a Name
  std::vector<Expression> args; ///< two for CeilDiv, two or more otherwise

  Expression() = default;
  Expression(int64_t value) : value(value) {}
  Expression(std::string name) : kind(Kind::Name), name(std::move(name)) {}
  Expression(Kind kind, std::vector<Expression> args)
      : kind(kind), args(std::move(args)) {}

  bool operator==(const Expression &other) const {
    return kind == other.kind && value == other.value && name == other.name &&
           args == other.args;
  }
  bool operator!=(const Expression &other) const { return !(*this == other); }
};

inline Expression addExpr(Expression a, Expression b) {
  return {Expression::Kind::Add, {std::move(a), std::move(b)}};
}
inline Expression mulExpr(Expression a, Expression b) {
  return {Expression::Kind::Mul, {std::move(a), std::move(b)}};
}
inline Expression ceilDivExpr(Expression a, Expression b) {
  return {Expression::Kind::CeilDiv, {std::move(a), std::move(b)}};
}
inline Expression minExpr(Expression a, Expression b) {
  return {Expression::Kind::Min, {std::move(a), std::move(b)}};
}
inline Expression maxExpr(Expression a, Expression b) {
  return {Expression::Kind::Max, {std::move(a), std::move(b)}};
}

/// `add`, `mul`, `ceildiv`, `min`, `max`; empty for a constant or a name.
const char *operatorName(Expression::Kind kind);

/// The expression as readable text: `mul(ceildiv(d0, 128), 16)`.
std::string toText(const Expression &expression);

/// The value under `bindings`. An unbound name, a divisor below one or a result
/// outside int64 is an error that shows the failing subexpression.
Result<int64_t> evaluate(const Expression &expression,
                         const Bindings &bindings);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_EXPRESSION_H
