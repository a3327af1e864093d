//===- ShapeNames.cpp - names for the dynamic sizes of a function ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/ShapeNames.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

ShapeNames::ShapeNames(func::FuncOp function) {
  function.walk([&](AttentionOp op) {
    Value q = op.getQ(), k = op.getK(), v = op.getV(), o = op.getO(),
          lse = op.getLse();
    for (auto [value, role] : {std::pair(q, "q"), std::pair(k, "k"),
                               std::pair(v, "v"), std::pair(o, "o")})
      roles.try_emplace(value, role);
    unite({{q, 0}, {k, 0}, {v, 0}, {o, 0}});
    unite({{q, 1}, {o, 1}});
    unite({{k, 1}, {v, 1}});
    unite({{q, 2}, {o, 2}});
    unite({{k, 2}, {v, 2}});
    if (lse) {
      roles.try_emplace(lse, "lse");
      for (int64_t dim = 0; dim < 3; ++dim)
        unite({{q, dim}, {lse, dim}});
    }
    if (Value offset = op.getOffset()) {
      roles.try_emplace(offset, "offset");
      if (isa<ShapedType>(offset.getType()))
        unite({{q, 0}, {offset, 0}});
    }
    for (Value input : op.getScoreInputs()) {
      roles.try_emplace(input, "score_input");
      auto type = dyn_cast<ShapedType>(input.getType());
      if (type && type.getRank() == 1)
        unite({{q, 1}, {input, 0}});
      // A dimension that is not 1 is that of the scores.
      for (int64_t dim = 0; type && type.getRank() == 4 && dim < 4; ++dim)
        if (type.getDimSize(dim) != 1)
          unite({{dim == 3 ? k : q, dim == 3 ? 2 : dim}, {input, dim}});
    }
    if (Value sinks = op.getSinks()) {
      roles.try_emplace(sinks, "sinks");
      unite({{q, 1}, {sinks, 0}});
    }
  });
  // A size that one tensor states holds for all that must agree with it.
  function.walk([&](AttentionOp op) {
    auto note = [&](Value value) {
      if (auto type =
              dyn_cast_if_present<ShapedType>(value ? value.getType() : Type()))
        for (int64_t dim = 0; dim < type.getRank(); ++dim)
          if (!type.isDynamicDim(dim))
            constants[classes.getOrInsertLeaderValue(
                {value.getAsOpaquePointer(), dim})] = type.getDimSize(dim);
    };
    for (Value operand : op->getOperands())
      note(operand);
    for (Value result : op->getResults())
      note(result);
  });
}

void ShapeNames::unite(std::initializer_list<std::pair<Value, int64_t>> sizes) {
  auto key = [](std::pair<Value, int64_t> size) {
    return Size(size.first.getAsOpaquePointer(), size.second);
  };
  for (const auto &size : sizes)
    classes.unionSets(key(*sizes.begin()), key(size));
}

std::vector<::attn::Dimension> ShapeNames::getShape(Value value) {
  std::vector<::attn::Dimension> shape;
  auto type = cast<ShapedType>(value.getType());
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    if (!type.isDynamicDim(dim)) {
      shape.emplace_back(type.getDimSize(dim));
      continue;
    }
    Size leader =
        classes.getOrInsertLeaderValue({value.getAsOpaquePointer(), dim});
    if (auto constant = constants.find(leader); constant != constants.end()) {
      shape.emplace_back(constant->second);
      continue;
    }
    auto [name, isNew] = names.try_emplace(leader);
    if (isNew)
      name->second = "d" + std::to_string(names.size() - 1);
    shape.emplace_back(name->second);
  }
  return shape;
}

std::string ShapeNames::getName(Value value, StringRef fallback) {
  auto role = roles.find(value);
  StringRef base = role == roles.end() ? fallback : role->second;
  unsigned &count = taken[base];
  return count++ == 0 ? base.str()
                      : base.str() + "_" + std::to_string(count - 1);
}
