//===- AttentionOp.cpp - attn.attention: syntax and interfaces ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"
#include "attn/dialect/Clauses.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include <cmath>

using namespace mlir;
using namespace mlir::attn;

float AttentionOp::getScaleValue() {
  if (std::optional<APFloat> scale = getScale())
    return scale->convertToFloat();
  return 1.0f / std::sqrt(static_cast<float>(
                    cast<RankedTensorType>(getQ().getType()).getDimSize(3)));
}

int64_t AttentionOp::getGroupSize() {
  return cast<RankedTensorType>(getQ().getType()).getDimSize(1) /
         cast<RankedTensorType>(getK().getType()).getDimSize(1);
}

AttentionParts::AttentionParts(AttentionOp op)
    : q(op.getQ()), k(op.getK()), v(op.getV()), symbols(op.getSymbols()),
      offset(op.getOffset()), head(op.getHead()), maskData(op.getMaskData()),
      scoreInputs(op.getScoreInputs()), sinks(op.getSinks()),
      initO(op.getInitO()), initLse(op.getInitLse()), mask(op.getMaskAttr()),
      alignment(op.getAlignmentAttr()), scale(op.getScaleAttr()),
      schedule(op.getScheduleAttr()), score(&op.getScore()) {}

void AttentionOp::build(OpBuilder &, OperationState &state, Type o, Type lse,
                        const AttentionParts &parts) {
  auto add = [&](ValueRange values) {
    state.addOperands(values);
    return static_cast<int32_t>(values.size());
  };
  auto addOptional = [&](Value value) {
    return add(value ? ValueRange(value) : ValueRange());
  };
  Properties &properties = state.getOrAddProperties<Properties>();
  // In the order of the operands.
  int32_t sizes[] = {add(parts.q),
                     add(parts.k),
                     add(parts.v),
                     add(parts.symbols),
                     addOptional(parts.offset),
                     addOptional(parts.head),
                     add(parts.maskData),
                     add(parts.scoreInputs),
                     addOptional(parts.sinks),
                     addOptional(parts.initO),
                     addOptional(parts.initLse)};
  llvm::copy(sizes, properties.operandSegmentSizes.begin());
  properties.mask = parts.mask;
  properties.alignment = parts.alignment;
  properties.scale = parts.scale;
  properties.schedule = parts.schedule;
  state.addTypes(o);
  if (lse)
    state.addTypes(lse);
  Region *score = state.addRegion();
  IRMapping mapping;
  if (parts.score)
    parts.score->cloneInto(score, mapping);
}

ParseResult AttentionOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  MLIRContext *context = parser.getContext();
  SmallVector<OpAsmParser::UnresolvedOperand> tensors, symbols, offsets, heads,
      inits;
  Type offsetType = builder.getIndexType();
  SmallVector<Type> initTypes;
  MaskAttr mask;
  std::optional<Alignment> alignment;
  FloatAttr scale;
  ScheduleAttr schedule;

  SMLoc operandsLoc = parser.getCurrentLocation();
  if (parser.parseOperandList(tensors, 3))
    return failure();
  // The clauses, in any order, each at most once.
  StringRef clause;
  SMLoc clauseLoc;
  auto once = [&](bool seen) -> ParseResult {
    if (seen)
      return parser.emitError(clauseLoc, "clause '")
             << clause << "' is given twice";
    return success();
  };
  while (
      clauseLoc = parser.getCurrentLocation(),
      succeeded(parser.parseOptionalKeyword(
          &clause, {"mask", "scale", "align", "head", "init", "schedule"}))) {
    if (clause == "mask") {
      if (once(bool(mask)) || parseMaskClause(parser, mask, symbols))
        return failure();
    } else if (clause == "scale") {
      double value;
      if (once(bool(scale)) || parser.parseLParen() ||
          parser.parseFloat(value) || parser.parseRParen())
        return failure();
      scale = builder.getF32FloatAttr(static_cast<float>(value));
    } else if (clause == "align") {
      if (once(alignment.has_value()) || parser.parseLParen())
        return failure();
      if (succeeded(parser.parseOptionalKeyword("end"))) {
        alignment = Alignment::End;
      } else if (succeeded(parser.parseOptionalKeyword("start"))) {
        alignment = Alignment::Start;
      } else {
        alignment = Alignment::Offset;
        if (parser.parseOperand(offsets.emplace_back()) ||
            (succeeded(parser.parseOptionalColon()) &&
             parser.parseType(offsetType)))
          return failure();
      }
      if (parser.parseRParen())
        return failure();
    } else if (clause == "head") {
      if (once(!heads.empty()) || parser.parseLParen() ||
          parser.parseOperand(heads.emplace_back()) || parser.parseRParen())
        return failure();
    } else if (clause == "init") {
      if (once(!inits.empty()) || parser.parseLParen() ||
          parser.parseOperandList(inits, 2) ||
          parser.parseColonTypeList(initTypes) || parser.parseRParen())
        return failure();
    } else {
      if (once(bool(schedule)) || parser.parseLParen() ||
          parser.parseAttribute(schedule) || parser.parseRParen())
        return failure();
    }
  }

  FunctionType type;
  if (parser.parseOptionalAttrDict(result.attributes) ||
      parser.parseColonType(type))
    return failure();
  if (type.getNumInputs() != 3 || type.getNumResults() < 1 ||
      type.getNumResults() > 2)
    return parser.emitError(
        parser.getNameLoc(),
        "expected the types of q, k, v -> the types of o and, if wanted, lse");

  Type index = builder.getIndexType();
  if (parser.resolveOperands(tensors, type.getInputs(), operandsLoc,
                             result.operands) ||
      parser.resolveOperands(symbols, index, result.operands) ||
      parser.resolveOperands(offsets, offsetType, result.operands) ||
      parser.resolveOperands(heads, index, result.operands) ||
      parser.resolveOperands(inits, initTypes, clauseLoc, result.operands))
    return failure();
  int32_t numInits = inits.empty() ? 0 : 1;
  Properties &properties = result.getOrAddProperties<Properties>();
  properties.mask = mask ? mask : MaskAttr::getAll(context);
  properties.alignment =
      AlignmentAttr::get(context, alignment.value_or(Alignment::End));
  properties.scale = scale;
  properties.schedule = schedule;
  llvm::copy(ArrayRef<int32_t>{1, 1, 1, static_cast<int32_t>(symbols.size()),
                               static_cast<int32_t>(offsets.size()),
                               static_cast<int32_t>(heads.size()), 0, 0, 0,
                               numInits, numInits},
             properties.operandSegmentSizes.begin());
  result.addRegion();
  result.addTypes(type.getResults());
  return success();
}

void AttentionOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getQ() << ", " << getK() << ", " << getV();
  if (getMask().getKind() != MaskKind::All) {
    printer << ' ';
    printMaskClause(printer, getMask(), getSymbols());
  }
  if (FloatAttr scale = getScaleAttr()) {
    printer << " scale(";
    printer.printFloat(scale.getValue());
    printer << ")";
  }
  if (getAlignment() == Alignment::Start) {
    printer << " align(start)";
  } else if (getAlignment() == Alignment::Offset) {
    printer << " align(" << getOffset();
    if (!getOffset().getType().isIndex())
      printer << " : " << getOffset().getType();
    printer << ")";
  }
  if (getHead())
    printer << " head(" << getHead() << ")";
  if (getInitO())
    printer << " init(" << getInitO() << ", " << getInitLse() << " : "
            << getInitO().getType() << ", " << getInitLse().getType() << ")";
  if (getSchedule())
    printer << " schedule(" << getScheduleAttr() << ")";
  printer.printOptionalAttrDict(
      (*this)->getAttrs(),
      {"mask", "alignment", "scale", "schedule", "operandSegmentSizes"});
  printer << " : ";
  printer.printFunctionalType(
      TypeRange{getQ().getType(), getK().getType(), getV().getType()},
      (*this)->getResultTypes());
}

LogicalResult
AttentionOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &shapes) {
  SmallVector<OpFoldResult> q =
      tensor::getMixedSizes(builder, getLoc(), getQ());
  shapes.push_back(
      {q[0], q[1], q[2], tensor::getMixedSize(builder, getLoc(), getV(), 3)});
  if (getLse())
    shapes.push_back({q[0], q[1], q[2]});
  return success();
}
