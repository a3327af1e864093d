//===- RefineShapes.cpp - what one type says of a size, all say ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/IntEqClasses.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNREFINESHAPES
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

namespace {

/// The sizes of a function's tensors, those that attention makes equal joined.
class Sizes {
public:
  void join(ArrayRef<std::pair<Value, unsigned>> equal) {
    std::optional<unsigned> first;
    for (auto [value, dim] : equal) {
      if (!value || !isa<RankedTensorType>(value.getType()))
        continue;
      unsigned number = getNumber(value, dim);
      if (first)
        classes.join(*first, number);
      else
        first = number;
    }
  }

  /// Fails, at `op`, if two types contradict each other.
  LogicalResult resolve(Operation *op);
  bool refine(Value value);

private:
  unsigned getNumber(Value value, unsigned dim) {
    auto [entry, isNew] = numbers.try_emplace({value, dim}, numbers.size());
    if (isNew)
      classes.grow(numbers.size());
    return entry->second;
  }

  llvm::MapVector<std::pair<Value, unsigned>, unsigned> numbers;
  llvm::IntEqClasses classes;
  SmallVector<int64_t> sizes;
};

LogicalResult Sizes::resolve(Operation *op) {
  classes.compress();
  sizes.assign(classes.getNumClasses(), ShapedType::kDynamic);
  for (auto [key, number] : numbers) {
    int64_t size =
        cast<RankedTensorType>(key.first.getType()).getDimSize(key.second);
    int64_t &known = sizes[classes[number]];
    if (ShapedType::isDynamic(known))
      known = size;
    else if (!ShapedType::isDynamic(size) && size != known)
      return op->emitOpError("the types make one size both ")
             << known << " and " << size << "; no input fits";
  }
  return success();
}

bool Sizes::refine(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return false;
  SmallVector<int64_t> shape(type.getShape());
  for (auto [dim, size] : llvm::enumerate(shape))
    if (auto entry = numbers.find({value, dim}); entry != numbers.end())
      size = sizes[classes[entry->second]];
  if (shape == type.getShape())
    return false;
  value.setType(type.clone(shape));
  return true;
}

struct AttnRefineShapesPass
    : attn::impl::AttnRefineShapesBase<AttnRefineShapesPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    Sizes sizes;
    function.walk([&](AttentionOp op) {
      Value q = op.getQ(), k = op.getK(), v = op.getV(), o = op.getO(),
            lse = op.getLse(), o0 = op.getInitO(), lse0 = op.getInitLse();
      sizes.join({{q, 0},
                  {k, 0},
                  {v, 0},
                  {o, 0},
                  {lse, 0},
                  {op.getOffset(), 0},
                  {o0, 0},
                  {lse0, 0}});
      sizes.join({{q, 1}, {o, 1}, {lse, 1}, {o0, 1}, {lse0, 1}});
      sizes.join({{q, 2}, {o, 2}, {lse, 2}, {o0, 2}, {lse0, 2}});
      sizes.join({{k, 1}, {v, 1}});
      sizes.join({{k, 2}, {v, 2}});
      // A dimension of a score input that is not 1 is that of the scores.
      for (Value input : op.getScoreInputs()) {
        auto type = dyn_cast<RankedTensorType>(input.getType());
        if (type && type.getRank() == 1)
          sizes.join({{q, 1}, {input, 0}});
        for (unsigned dim = 0; type && type.getRank() == 4 && dim < 4; ++dim)
          if (type.getDimSize(dim) != 1)
            sizes.join({{dim == 3 ? k : q, dim == 3 ? 2 : dim}, {input, dim}});
      }
      if (op.getSinks())
        sizes.join({{q, 1}, {op.getSinks(), 0}});
    });
    if (failed(sizes.resolve(function)))
      return signalPassFailure();
    for (Value argument : function.getArguments())
      numRefined += sizes.refine(argument);
    function.walk([&](AttentionOp op) {
      for (Value result : op->getResults())
        numRefined += sizes.refine(result);
    });
    Block &body = function.getBody().front();
    function.setType(
        FunctionType::get(&getContext(), body.getArgumentTypes(),
                          body.getTerminator()->getOperandTypes()));
  }
};

} // namespace
