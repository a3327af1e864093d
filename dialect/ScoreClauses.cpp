//===- ScoreClauses.cpp - see ScoreClauses.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/ScoreClauses.h"

#include "attn/dialect/Constraints.h"
#include "attn/dialect/Score.h"

#include <cmath>

using namespace mlir;
using namespace mlir::attn;

bool ScoreClauses::contains(StringRef clause) {
  return llvm::is_contained({"softcap", "bias", "alibi", "score"}, clause);
}

bool ScoreClauses::isGiven(StringRef clause) const {
  return clause == "softcap" ? cap.has_value()
         : clause == "bias"  ? bias.has_value()
         : clause == "alibi" ? slopes.has_value()
                             : region != nullptr;
}

ParseResult ScoreClauses::parseInput(OpAsmParser &parser,
                                     std::optional<Input> &input) {
  input.emplace();
  return failure(parser.parseLParen() || parser.parseOperand(input->operand) ||
                 parser.parseColonType(input->type) || parser.parseRParen());
}

ParseResult ScoreClauses::parse(OpAsmParser &parser, StringRef clause) {
  if (clause == "bias")
    return parseInput(parser, bias);
  if (clause == "alibi")
    return parseInput(parser, slopes);
  if (clause == "score") {
    regionLoc = parser.getCurrentLocation();
    region = std::make_unique<Region>();
    SmallVector<OpAsmParser::UnresolvedOperand> operands;
    SmallVector<Type> types;
    if (parseScoreClause(parser, operands, types, *region))
      return failure();
    for (auto [operand, type] : llvm::zip_equal(operands, types))
      inputs.push_back({operand, type});
    return success();
  }
  double value;
  if (parser.parseLParen())
    return failure();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseFloat(value) || parser.parseRParen())
    return failure();
  cap = static_cast<float>(value);
  // A25
  if (!(*cap > 0) || !std::isfinite(*cap) || !std::isfinite(1 / *cap))
    return parser.emitError(loc, "expected a soft cap above 0 and finite, as "
                                 "its inverse, found ")
           << value << " (A25)";
  return success();
}

size_t ScoreClauses::getNumInputs() const {
  return bias.has_value() + slopes.has_value() + inputs.size();
}

ParseResult ScoreClauses::resolve(OpAsmParser &parser, OperationState &state) {
  auto resolve = [&](const Input &input) {
    return parser.resolveOperand(input.operand, input.type, state.operands);
  };
  for (const std::optional<Input> *input : {&bias, &slopes})
    if (*input && resolve(**input))
      return failure();
  for (const Input &input : inputs)
    if (resolve(input))
      return failure();
  return success();
}

ParseResult ScoreClauses::addRegion(OpAsmParser &parser, Region &target) {
  // Written out alone, it stays as it is, and the verifier sees it so.
  if (!cap && !bias && !slopes) {
    if (region)
      target.takeBody(*region);
    return success();
  }
  Location loc = parser.getEncodedSourceLoc(parser.getNameLoc());
  ScoreBuilder builder(loc);
  if (cap)
    builder.addSoftCap(*cap);
  if (bias)
    builder.addBias(bias->type);
  if (slopes)
    builder.addAlibi(slopes->type);
  if (region) {
    auto types = llvm::map_to_vector(
        inputs, [](const Input &input) { return input.type; });
    if (failed(verifyScoreRegion(parser.getContext(),
                                 [&] { return parser.emitError(regionLoc); },
                                 *region, types, {"A26", "A27", "A28"})))
      return failure();
    builder.addRegion(*region);
  }
  target.takeBody(builder.finish());
  return success();
}

ParseResult mlir::attn::parseScoreClause(
    OpAsmParser &parser,
    SmallVectorImpl<OpAsmParser::UnresolvedOperand> &operands,
    SmallVectorImpl<Type> &types, Region &region) {
  if (succeeded(parser.parseOptionalLParen()) &&
      failed(parser.parseOptionalRParen())) {
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseOperandList(operands) || parser.parseColonTypeList(types) ||
        parser.parseRParen())
      return failure();
    if (operands.size() != types.size())
      return parser.emitError(loc, "expected ")
             << operands.size() << " types, found " << types.size();
  }
  return parser.parseRegion(region, {}, /*enableNameShadowing=*/true);
}

void mlir::attn::printScoreClause(OpAsmPrinter &printer, ValueRange inputs,
                                  Region &region) {
  if (region.empty() && inputs.empty())
    return;
  printer << " score";
  if (!inputs.empty())
    printer << "(" << inputs << " : " << inputs.getTypes() << ")";
  printer << ' ';
  printer.printRegion(region);
}
