//===- ShapeNames.cpp - names for the dynamic sizes of a function ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/ShapeNames.h"

#include "attn/dialect/mask/MaskData.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

ShapeNames::ShapeNames(func::FuncOp function) : function(function) {
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
    addMaskData(op);
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

void ShapeNames::addMaskData(AttentionOp op) {
  Value q = op.getQ(), k = op.getK();
  for (MaskAttr atom : getDataAtoms(op.getMask())) {
    SmallVector<Value, 2> tensors;
    for (unsigned number : getData(atom))
      tensors.push_back(op.getMaskData()[number]);
    switch (atom.getKind()) {
    case MaskKind::Lengths:
      roles.try_emplace(tensors[0], "lengths");
      unite({{q, 0}, {tensors[0], 0}});
      break;
    case MaskKind::Documents:
      roles.try_emplace(tensors[0], "q_ids");
      roles.try_emplace(tensors[1], "k_ids");
      unite({{q, 0}, {tensors[0], 0}, {tensors[1], 0}});
      unite({{q, 2}, {tensors[0], 1}});
      unite({{k, 2}, {tensors[1], 1}});
      break;
    case MaskKind::Blocks: {
      roles.try_emplace(tensors[0], "row_ptr");
      roles.try_emplace(tensors[1], "col");
      auto type = cast<ShapedType>(tensors[0].getType());
      for (int64_t dim = 0; dim + 1 < type.getRank(); ++dim)
        if (type.getDimSize(dim) != 1)
          unite({{q, dim}, {tensors[0], dim}});
      break;
    }
    case MaskKind::Bits: {
      roles.try_emplace(tensors[0], "bits");
      auto type = cast<ShapedType>(tensors[0].getType());
      for (int64_t dim = 0; dim < 4; ++dim)
        if (type.getDimSize(dim) != 1)
          unite({{dim == 3 ? k : q, std::min<int64_t>(dim, 2)},
                 {tensors[0], dim}});
      break;
    }
    default:
      break;
    }
  }
}

::attn::Expression ShapeNames::getSize(Value value, int64_t dim) {
  ::attn::Dimension size = getShape(value)[dim];
  return size.isDynamic() ? ::attn::Expression(size.name)
                          : ::attn::Expression(size.size);
}

std::vector<::attn::CheckDesc> ShapeNames::getChecks(Value argument) {
  std::vector<::attn::CheckDesc> checks;
  auto add = [&](const ::attn::CheckDesc &check) {
    if (llvm::find(checks, check) == checks.end())
      checks.push_back(check);
  };
  function.walk([&](AttentionOp op) {
    auto heads = [](Value tensor) {
      return cast<ShapedType>(tensor.getType()).getDimSize(1);
    };
    if (op.getQ() == argument && (ShapedType::isDynamic(heads(op.getQ())) ||
                                  ShapedType::isDynamic(heads(op.getK()))))
      add(::attn::CheckDesc::multiple(1, getSize(op.getK(), 1)));
    // R7; an i32 cannot lie outside.
    auto offsets = dyn_cast<ShapedType>(argument.getType());
    if (op.getOffset() == argument && offsets &&
        !offsets.getElementType().isInteger(32))
      add(::attn::CheckDesc::range(-(int64_t(1) << 40), int64_t(1) << 40));
    for (MaskAttr atom : getDataAtoms(op.getMask()))
      for (auto [place, number] : llvm::enumerate(getData(atom))) {
        if (op.getMaskData()[number] != argument)
          continue;
        if (atom.getKind() == MaskKind::Lengths)
          add(::attn::CheckDesc::range(0, getSize(op.getK(), 2)));
        if (atom.getKind() == MaskKind::Documents)
          add(::attn::CheckDesc::sorted());
        if (atom.getKind() != MaskKind::Blocks)
          continue;
        Value table = op.getMaskData()[getData(atom)[0]],
              columns = op.getMaskData()[getData(atom)[1]];
        auto countBlocks = [&](::attn::Expression size, unsigned dim) {
          return ::attn::ceilDivExpr(std::move(size),
                                     atom.getBounds()[dim].getConstant());
        };
        if (place == 0) {
          int64_t last = cast<ShapedType>(table.getType()).getRank() - 1;
          add(::attn::CheckDesc::size(
              last, ::attn::addExpr(countBlocks(getSize(op.getQ(), 2), 0), 1)));
          add(::attn::CheckDesc::sorted());
          add(::attn::CheckDesc::range(0, getSize(columns, 0)));
        } else if (auto argument = dyn_cast<BlockArgument>(table)) {
          add(::attn::CheckDesc::range(
              0, ::attn::addExpr(countBlocks(getSize(op.getK(), 2), 1), -1)));
          add(::attn::CheckDesc::rising(argument.getArgNumber()));
        }
      }
  });
  return checks;
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
