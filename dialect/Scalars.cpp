//===- Scalars.cpp - see Scalars.h ----------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Scalars.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::attn;

bool mlir::attn::foldKnown(
    Operation &op, KnownValues &known,
    function_ref<std::optional<ArrayRef<int64_t>>(Value)> getShape) {
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    std::optional<ArrayRef<int64_t>> shape = getShape(dim.getSource());
    auto index = dyn_cast_or_null<IntegerAttr>(known.lookup(dim.getIndex()));
    if (!shape || !index || index.getInt() < 0 ||
        index.getInt() >= static_cast<int64_t>(shape->size()))
      return false;
    known[dim] = IntegerAttr::get(dim.getType(), (*shape)[index.getInt()]);
    return true;
  }
  if (op.getNumResults() == 0 || op.getNumRegions() != 0)
    return false;
  SmallVector<Attribute> operands = llvm::map_to_vector(
      op.getOperands(), [&](Value operand) { return known.lookup(operand); });
  // A folder may change the op in place.
  Operation *copy = op.clone();
  SmallVector<OpFoldResult> results;
  bool folded = succeeded(copy->fold(operands, results)) &&
                results.size() == op.getNumResults();
  copy->destroy();
  if (!folded)
    return false;
  for (auto [result, value] : llvm::zip_equal(op.getResults(), results)) {
    Attribute constant = dyn_cast<Attribute>(value);
    if (!constant)
      constant = known.lookup(cast<Value>(value));
    folded &= bool(constant);
    if (constant)
      known[result] = constant;
  }
  return folded;
}
