//===- Clauses.cpp - see Clauses.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Clauses.h"

#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/MaskParser.h"

using namespace mlir;
using namespace mlir::attn;

/// Moves MLIR's parser to `end`, over tokens that the mask parser has read as
/// text. Collects the values on the way.
static ParseResult
skipTo(OpAsmParser &parser, const char *end,
       SmallVectorImpl<OpAsmParser::UnresolvedOperand> &operands) {
  while (parser.getCurrentLocation().getPointer() < end) {
    OpAsmParser::UnresolvedOperand operand;
    OptionalParseResult isOperand = parser.parseOptionalOperand(operand);
    if (isOperand.has_value()) {
      if (failed(*isOperand))
        return failure();
      operands.push_back(operand);
      continue;
    }
    StringRef keyword;
    std::string string;
    APInt integer;
    if (succeeded(parser.parseOptionalKeyword(&keyword)) ||
        succeeded(parser.parseOptionalMinus()) ||
        succeeded(parser.parseOptionalLess()) ||
        succeeded(parser.parseOptionalGreater()) ||
        succeeded(parser.parseOptionalComma()) ||
        succeeded(parser.parseOptionalStar()) ||
        succeeded(parser.parseOptionalVerticalBar()) ||
        succeeded(parser.parseOptionalLParen()) ||
        succeeded(parser.parseOptionalRParen()) ||
        succeeded(parser.parseOptionalLSquare()) ||
        succeeded(parser.parseOptionalRSquare()) ||
        succeeded(parser.parseOptionalColon()) ||
        succeeded(parser.parseOptionalEqual()) ||
        succeeded(parser.parseOptionalPlus()) ||
        succeeded(parser.parseOptionalString(&string)))
      continue;
    OptionalParseResult isInteger = parser.parseOptionalInteger(integer);
    if (!isInteger.has_value() || failed(*isInteger))
      return parser.emitError(parser.getCurrentLocation(),
                              "unexpected text in a mask clause");
  }
  return success();
}

ParseResult mlir::attn::parseMaskClause(
    OpAsmParser &parser, MaskAttr &mask,
    SmallVectorImpl<OpAsmParser::UnresolvedOperand> &symbols,
    SmallVectorImpl<OpAsmParser::UnresolvedOperand> &data) {
  if (parser.parseLParen())
    return failure();
  const char *start = parser.getCurrentLocation().getPointer();
  // The buffer that MLIR's lexer reads ends with a null character.
  FailureOr<ParsedMask> parsed = parseMaskExpression(
      StringRef(start), MaskSymbolSyntax::Named, parser.getContext(),
      [&](size_t offset, const Twine &message) {
        parser.emitError(SMLoc::getFromPointer(start + offset), message);
      });
  if (failed(parsed))
    return failure();
  SmallVector<OpAsmParser::UnresolvedOperand> uses;
  if (skipTo(parser, start + parsed->length, uses) || parser.parseRParen())
    return failure();
  // The use that a name of the mask parser is.
  auto take = [&](StringRef name) {
    StringRef value = name.split('#').first;
    unsigned result = 0;
    name.split('#').second.getAsInteger(10, result);
    return *llvm::find_if(uses, [&](const OpAsmParser::UnresolvedOperand &use) {
      return use.name.drop_front() == value && use.number == result;
    });
  };
  for (StringRef name : parsed->symbolNames)
    symbols.push_back(take(name));
  for (StringRef name : parsed->dataNames)
    data.push_back(take(name));
  mask = parsed->mask;
  return success();
}

SmallVector<Type> mlir::attn::getMaskDataTypes(MaskAttr mask, ValueRange data) {
  SmallVector<Value> seen;
  for (MaskAttr atom : getDataAtoms(mask))
    for (unsigned number : getData(atom))
      if (!llvm::is_contained(seen, data[number]))
        seen.push_back(data[number]);
  return llvm::map_to_vector(seen, [](Value value) { return value.getType(); });
}

void mlir::attn::printMaskClause(OpAsmPrinter &printer, MaskAttr mask,
                                 ValueRange symbols, ValueRange data) {
  printer << "mask(";
  mask.printExpression(
      printer.getStream(),
      [&](const MaskBound &bound) {
        printer.printOperand(bound.isData() ? data[bound.getData()]
                                            : symbols[bound.getSymbol()]);
      },
      /*quoteSets=*/false);
  printer << ")";
}
