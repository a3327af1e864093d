//===- ScoreVerifier.cpp - constraints on score regions and sinks ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Constraints.h"
#include "attn/dialect/Score.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::attn;

/// f32, index, and the integers that comparisons and conversions give.
static bool isScoreType(Type type) {
  return type.isF32() || type.isIndex() || type.isInteger(1) ||
         type.isInteger(32) || type.isInteger(64);
}

static bool isScoreOp(Operation &op) {
  if (isa<arith::ConstantOp>(op))
    return true;
  return isa_and_nonnull<arith::ArithDialect, math::MathDialect>(
             op.getDialect()) &&
         op.getNumRegions() == 0 && op.getNumResults() == 1 &&
         OpTrait::hasElementwiseMappableTraits(&op);
}

LogicalResult mlir::attn::verifyScoreRegion(
    MLIRContext *context, function_ref<InFlightDiagnostic()> emitError,
    Region &region, TypeRange inputs, const ScoreLabels &labels) {
  SmallVector<Type> expected(kFirstScoreInput, IndexType::get(context));
  expected[kScore] = Float32Type::get(context);
  for (Type input : inputs)
    expected.push_back(getScoreElementType(input));
  // A26, O22
  SmallVector<Type> found;
  if (!region.empty())
    llvm::append_range(found, region.getArgumentTypes());
  if (found != expected)
    return emitError() << "expected a score region of the score, batch, head, "
                          "query and key position, and an element of each of "
                       << inputs.size() << " inputs, (" << expected
                       << "), found (" << found << ") (" << labels.arguments
                       << ")";
  // A27, O22
  Block &block = region.front();
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield || yield.getNumOperands() != 1 ||
      !yield.getOperand(0).getType().isF32())
    return emitError()
           << "expected a score region that ends with attn.yield of one f32 ("
           << labels.result << ")";
  // A28, O22
  for (Operation &op : block.without_terminator()) {
    if (!isScoreOp(op)) {
      InFlightDiagnostic diagnostic =
          emitError() << "expected a score region of scalar arith and math "
                         "ops, found '"
                      << op.getName() << "' (" << labels.ops << ")";
      diagnostic.attachNote(op.getLoc()) << "the op is here";
      return diagnostic;
    }
    for (Type type :
         llvm::concat<const Type>(SmallVector<Type>(op.getOperandTypes()),
                                  SmallVector<Type>(op.getResultTypes())))
      if (!isScoreType(type)) {
        InFlightDiagnostic diagnostic =
            emitError() << "expected values of type f32, index, i1, i32 and "
                           "i64 in a score region, found "
                        << type << " (" << labels.ops << ")";
        diagnostic.attachNote(op.getLoc()) << "the op is here";
        return diagnostic;
      }
  }
  return success();
}

/// Each dimension of a score input is 1 or that of the scores.
static LogicalResult verifyInput(AttentionOp op, unsigned number,
                                 RankedTensorType type) {
  auto q = cast<RankedTensorType>(op.getQ().getType());
  auto k = cast<RankedTensorType>(op.getK().getType());
  SmallVector<int64_t> full = {q.getDimSize(0), q.getDimSize(1),
                               q.getDimSize(2), k.getDimSize(2)};
  bool fits;
  if (type.getRank() == 1) {
    full = {q.getDimSize(1)};
    fits = succeeded(verifyCompatibleShape(type.getShape(), full));
  } else {
    fits = llvm::all_of_zip(
        type.getShape(), full, [](int64_t found, int64_t wanted) {
          return found == 1 || found == wanted ||
                 ShapedType::isDynamic(found) || ShapedType::isDynamic(wanted);
        });
  }
  if (fits)
    return success();
  InFlightDiagnostic diagnostic =
      op.emitOpError("expected score input ")
      << number << " to be "
      << (type.getRank() == 1 ? "one element for each query head, "
                              : "broadcastable to B x Hq x Nq x Nk, ")
      << RankedTensorType::get(full, type.getElementType()) << ", found "
      << type << " (A18)";
  diagnostic.attachNote(op.getScoreInputs()[number].getLoc())
      << "the input is defined here";
  return diagnostic;
}

LogicalResult mlir::attn::verifyScore(AttentionOp op) {
  // A18
  for (auto [number, input] : llvm::enumerate(op.getScoreInputs()))
    if (auto type = dyn_cast<RankedTensorType>(input.getType());
        type && failed(verifyInput(op, number, type)))
      return failure();
  // A19
  if (Value sinks = op.getSinks()) {
    auto type = cast<RankedTensorType>(sinks.getType());
    auto q = cast<RankedTensorType>(op.getQ().getType());
    if (failed(verifyCompatibleShape(type.getShape(),
                                     ArrayRef(q.getShape()[1])))) {
      InFlightDiagnostic diagnostic =
          op.emitOpError("expected one sink for each of the ")
          << q.getDimSize(1) << " query heads, found " << type.getDimSize(0)
          << " (A19)";
      diagnostic.attachNote(sinks.getLoc()) << "the sinks are a " << type;
      return diagnostic;
    }
  }
  // A29
  if (op.getSinks() && op.getInitO())
    return op.emitOpError("expected sinks or an initial state, found both; the "
                          "state is what holds the sinks then (A29)");
  if (op.getScore().empty() && op.getScoreInputs().empty())
    return success();
  return verifyScoreRegion(op.getContext(), [&] { return op.emitOpError(); },
                           op.getScore(), op.getScoreInputs().getTypes(),
                           {"A26", "A27", "A28"});
}

LogicalResult mlir::attn::verifyScore(OnlineAttentionOp op) {
  // O21
  bool isTile = isa<VectorType>(op.getK().getType());
  int64_t rows = cast<VectorType>(op.getQ().getType()).getDimSize(0);
  auto k = cast<ShapedType>(op.getK().getType());
  int64_t keys = k.getDimSize(k.getRank() - 2);
  for (Value input : op.getScoreInputs()) {
    auto type = dyn_cast<ShapedType>(input.getType());
    if (!type)
      continue;
    // A slice has as many rows as there are queries, a tile has one for each
    // row of q.
    bool fits =
        isa<RankedTensorType>(type)
            ? type.getShape().take_front(2) == ArrayRef<int64_t>{1, 1}
            : llvm::is_contained({rows, int64_t(1)}, type.getDimSize(0)) &&
                  llvm::is_contained({keys, int64_t(1)}, type.getDimSize(1));
    if (!fits || (isTile && !isa<VectorType>(type)))
      return op.emitOpError("expected score inputs of one batch and one head, "
                            "or broadcastable to tiles of ")
             << rows << " x " << keys << ", found " << type << " (O21)";
  }
  // O22
  if (op.getScore().empty() && op.getScoreInputs().empty())
    return success();
  return verifyScoreRegion(op.getContext(), [&] { return op.emitOpError(); },
                           op.getScore(), op.getScoreInputs().getTypes(),
                           {"O22", "O22", "O22"});
}
