//===- TileOps.cpp - attn.online_attention and attn.for_tiles ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"
#include "attn/dialect/Clauses.h"
#include "attn/dialect/Constraints.h"
#include "attn/dialect/ScoreClauses.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;

//===----------------------------------------------------------------------===//
// OnlineAttentionOp
//===----------------------------------------------------------------------===//

ParseResult OnlineAttentionOp::parse(OpAsmParser &parser,
                                     OperationState &result) {
  Builder &builder = parser.getBuilder();
  SmallVector<OpAsmParser::UnresolvedOperand> tiles, state, symbols, rows, keys,
      heads, maskData, inputs;
  SmallVector<Type> inputTypes;
  Region *score = result.addRegion();
  MaskAttr mask;
  double scale;
  int64_t numHeads = 1;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseOperandList(tiles, 3) || parser.parseKeyword("init") ||
      parser.parseOperandList(state, 3, OpAsmParser::Delimiter::Paren) ||
      parser.parseKeyword("scale") || parser.parseLParen() ||
      parser.parseFloat(scale) || parser.parseRParen())
    return failure();
  if (succeeded(parser.parseOptionalKeyword("mask")) &&
      parseMaskClause(parser, mask, symbols, maskData))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("rows"))) {
    if (parser.parseOperandList(rows, 2, OpAsmParser::Delimiter::Paren))
      return failure();
    if (succeeded(parser.parseOptionalKeyword("heads")) &&
        (parser.parseLParen() || parser.parseInteger(numHeads) ||
         parser.parseRParen()))
      return failure();
    if (parser.parseKeyword("keys") ||
        parser.parseOperandList(keys, 2, OpAsmParser::Delimiter::Paren))
      return failure();
    if (succeeded(parser.parseOptionalKeyword("head")) &&
        parser.parseOperandList(heads, 1, OpAsmParser::Delimiter::Paren))
      return failure();
  }
  if (succeeded(parser.parseOptionalKeyword("score")) &&
      parseScoreClause(parser, inputs, inputTypes, *score))
    return failure();
  Type q, k, v, acc;
  if (parser.parseOptionalAttrDict(result.attributes) || parser.parseColon() ||
      parser.parseType(q) || parser.parseComma() || parser.parseType(k) ||
      parser.parseComma() || parser.parseType(v) || parser.parseComma() ||
      parser.parseType(acc))
    return failure();
  SmallVector<Type> dataTypes;
  for (size_t number = 0; number < maskData.size(); ++number)
    if (parser.parseComma() || parser.parseType(dataTypes.emplace_back()))
      return failure();
  auto accType = dyn_cast<VectorType>(acc);
  if (!accType || accType.getRank() != 2)
    return parser.emitError(
               parser.getNameLoc(),
               "expected a 2-d vector type for the accumulator, found ")
           << acc;
  Type rowType =
      VectorType::get(accType.getShape().take_front(), builder.getF32Type());
  Type index = builder.getIndexType();
  if (parser.resolveOperands(tiles, {q, k, v}, loc, result.operands) ||
      parser.resolveOperands(state, {rowType, rowType, acc}, loc,
                             result.operands) ||
      parser.resolveOperands(symbols, index, result.operands) ||
      parser.resolveOperands(rows, index, result.operands) ||
      parser.resolveOperands(keys, index, result.operands) ||
      parser.resolveOperands(heads, index, result.operands) ||
      parser.resolveOperands(maskData, dataTypes, loc, result.operands) ||
      parser.resolveOperands(inputs, inputTypes, loc, result.operands))
    return failure();
  Properties &properties = result.getOrAddProperties<Properties>();
  properties.mask = mask;
  properties.scale = builder.getF32FloatAttr(static_cast<float>(scale));
  properties.heads = builder.getI64IntegerAttr(numHeads);
  llvm::copy(ArrayRef<int32_t>{1, 1, 1, 1, 1, 1,
                               static_cast<int32_t>(symbols.size()),
                               static_cast<int32_t>(rows.size()),
                               static_cast<int32_t>(keys.size()),
                               static_cast<int32_t>(heads.size()),
                               static_cast<int32_t>(maskData.size()),
                               static_cast<int32_t>(inputs.size())},
             properties.operandSegmentSizes.begin());
  result.addTypes({rowType, rowType, acc});
  return success();
}

void OnlineAttentionOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getQ() << ", " << getK() << ", " << getV() << " init("
          << getMax() << ", " << getSum() << ", " << getAcc() << ") scale(";
  printer.printFloat(getScale());
  printer << ")";
  if (MaskAttr mask = getMaskAttr()) {
    printer << ' ';
    printMaskClause(printer, mask, getSymbols(), getMaskData());
  }
  if (!getRows().empty()) {
    printer << " rows(" << getRows() << ")";
    if (getHeads() != 1)
      printer << " heads(" << getHeads() << ")";
    printer << " keys(" << getKeys() << ")";
  }
  if (getHead())
    printer << " head(" << getHead() << ")";
  printScoreClause(printer, getScoreInputs(), getScore());
  printer.printOptionalAttrDict(
      (*this)->getAttrs(), {"mask", "scale", "heads", "operandSegmentSizes"});
  printer << " : " << getQ().getType() << ", " << getK().getType() << ", "
          << getV().getType() << ", " << getAcc().getType();
  if (MaskAttr mask = getMaskAttr())
    for (Type type : getMaskDataTypes(mask, getMaskData()))
      printer << ", " << type;
}

// O1, the ranks and element types, is in the types of AttnOps.td.
LogicalResult OnlineAttentionOp::verify() {
  auto q = cast<VectorType>(getQ().getType());
  auto acc = cast<VectorType>(getAcc().getType());
  auto k = cast<ShapedType>(getK().getType());
  auto v = cast<ShapedType>(getV().getType());
  auto inner = [](ShapedType type, unsigned fromEnd) {
    return type.getDimSize(type.getRank() - 1 - fromEnd);
  };
  // O2
  if (isa<VectorType>(k) != isa<VectorType>(v))
    return emitOpError(
               "expected k and v to be both tiles or both slices, found ")
           << k << " and " << v << " (O2)";
  // O3
  if (k.getElementType() != q.getElementType() ||
      v.getElementType() != q.getElementType())
    return emitOpError("expected q, k and v of one element type, found ")
           << q.getElementType() << ", " << k.getElementType() << " and "
           << v.getElementType() << " (O3)";
  // O4
  for (ShapedType slice : {k, v})
    if (isa<RankedTensorType>(slice) &&
        slice.getShape().take_front(2) != ArrayRef<int64_t>{1, 1})
      return emitOpError("expected a slice of one batch and one head, found ")
             << slice << " (O4)";
  // O5
  if (inner(q, 0) != inner(k, 0))
    return emitOpError("expected q and k of one head size, found ")
           << q << " and " << k << " (O5)";
  // O6
  if (inner(k, 1) != inner(v, 1))
    return emitOpError("expected k and v of one length, found ")
           << k << " and " << v << " (O6)";
  // O7
  if (ShapedType::isDynamic(inner(v, 0)))
    return emitOpError("expected v of a static head size, found ")
           << v << " (O7)";
  VectorType expected =
      VectorType::get({inner(q, 1), inner(v, 0)}, acc.getElementType());
  VectorType row =
      VectorType::get(expected.getShape().take_front(), acc.getElementType());
  if (acc != expected || getNewAcc().getType() != expected)
    return emitOpError("expected an accumulator of type ")
           << expected << ", found " << acc << " -> " << getNewAcc().getType()
           << " (O7)";
  for (Value state : {getMax(), getSum(), getNewMax(), getNewSum()})
    if (state.getType() != row)
      return emitOpError("expected max and sum of type ")
             << row << ", found " << state.getType() << " (O7)";
  // O8
  if (failed(verifyScale(*this, getScale(), "O8")))
    return failure();
  // O9
  bool isPlaced = getMaskAttr() || !getScore().empty();
  size_t expectedPositions = isPlaced ? 2 : 0;
  if (getRows().size() != expectedPositions ||
      getKeys().size() != expectedPositions) {
    if (isPlaced)
      return emitOpError("expected two values for rows and two for keys with a "
                         "mask or a score region, found ")
             << getRows().size() << " and " << getKeys().size() << " (O9)";
    return emitOpError("expected rows, keys, symbols, tensors and head only "
                       "with a mask or a score region (O9)");
  }
  bool hasMaskOperands = !getSymbols().empty() || !getMaskData().empty();
  if (isPlaced ? !getMaskAttr() && hasMaskOperands
               : hasMaskOperands || getHead())
    return emitOpError("expected rows, keys, symbols, tensors and head only "
                       "with a mask or a score region (O9)");
  if (getMaskAttr()) {
    if (failed(verifySymbols(*this, getMaskAttr(), getSymbols(), "O10")) ||
        failed(verifyMaskData(*this, getMaskAttr(), getMaskData(), "O11")))
      return failure();
    bool areTiles = isa<VectorType>(k);
    for (Value data : getMaskData())
      if (isa<VectorType>(data.getType()) != areTiles)
        return emitOpError("expected ")
               << (areTiles ? "vectors" : "tensors")
               << " for the mask, as k and v are "
               << (areTiles ? "tiles" : "slices") << ", found "
               << data.getType() << " (O12)";
  }
  // O23
  int64_t heads = getHeads();
  if (heads < 1 || inner(q, 1) % heads != 0)
    return emitOpError("expected a number of heads that divides the ")
           << inner(q, 1) << " rows, found " << heads << " (O23)";
  if (heads > 1 && (getHead() || !getMaskData().empty() || !getScore().empty()))
    return emitOpError("expected no head, tensors or score region with rows of "
                       "several heads (O23)");
  return verifyScore(*this);
}

//===----------------------------------------------------------------------===//
// SelectRowsOp
//===----------------------------------------------------------------------===//

int64_t SelectRowsOp::countRows(int64_t numRows, int64_t first, int64_t count,
                                int64_t step) {
  int64_t left = numRows - first;
  int64_t blocks = llvm::divideFloorSigned(left, step);
  return count * blocks + std::min(count, left - step * blocks);
}

void SelectRowsOp::build(OpBuilder &builder, OperationState &state,
                         Value source, int64_t first, int64_t count,
                         int64_t step) {
  auto type = cast<ShapedType>(source.getType());
  SmallVector<int64_t> shape(type.getShape());
  if (!type.isDynamicDim(2))
    shape[2] = countRows(shape[2], first, count, step);
  build(builder, state, type.clone(shape), source, first, count, step);
}

// V1, the ranks and element types, is in the types of AttnOps.td.
LogicalResult SelectRowsOp::verify() {
  int64_t first = getFirst(), count = getCount(), step = getStep();
  // V2
  if (first < 0 || count < 1 || first > step - count)
    return emitOpError("expected 0 <= first, 1 <= count and first + count <= "
                       "step, found first ")
           << first << ", count " << count << ", step " << step << " (V2)";
  // V3
  auto type = cast<ShapedType>(getSource().getType());
  SmallVector<int64_t> shape(type.getShape());
  if (!type.isDynamicDim(2))
    shape[2] = countRows(shape[2], first, count, step);
  if (getResult().getType() != type.clone(shape))
    return emitOpError("expected a result of type ")
           << type.clone(shape) << ", found " << getResult().getType()
           << " (V3)";
  return success();
}

//===----------------------------------------------------------------------===//
// AnyBitOp
//===----------------------------------------------------------------------===//

void AnyBitOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  if (isa<MemRefType>(getBits().getType()))
    effects.emplace_back(MemoryEffects::Read::get(), &getBitsMutable());
}

// B1, the rank and element types, is in the types of AttnOps.td.
LogicalResult AnyBitOp::verify() {
  auto type = cast<ShapedType>(getBits().getType());
  // B2
  if (type.getDimSize(0) != 1 || type.getDimSize(1) != 1)
    return emitOpError("expected one batch and one head, found ")
           << type << " (B2)";
  // B3
  if (static_cast<int64_t>(getCount()) < 1)
    return emitOpError("expected a count of at least 1, found ")
           << static_cast<int64_t>(getCount()) << " (B3)";
  return success();
}

//===----------------------------------------------------------------------===//
// ForTilesOp
//===----------------------------------------------------------------------===//

void ForTilesOp::build(OpBuilder &builder, OperationState &state,
                       ValueRange lower, ValueRange upper,
                       ValueRange exceptLower, ValueRange exceptUpper,
                       ValueRange inits) {
  for (ValueRange operands : {lower, upper, exceptLower, exceptUpper, inits})
    state.addOperands(operands);
  llvm::copy(
      ArrayRef<int32_t>{static_cast<int32_t>(lower.size()),
                        static_cast<int32_t>(upper.size()),
                        static_cast<int32_t>(exceptLower.size()),
                        static_cast<int32_t>(exceptUpper.size()),
                        static_cast<int32_t>(inits.size())},
      state.getOrAddProperties<Properties>().operandSegmentSizes.begin());
  state.addTypes(inits.getTypes());
  state.addRegion();
  OpBuilder::InsertionGuard guard(builder);
  Block *body = builder.createBlock(state.addRegion());
  body->addArgument(builder.getIndexType(), state.location);
  for (Value init : inits)
    body->addArgument(init.getType(), init.getLoc());
}

static ParseResult
parseIntervals(OpAsmParser &parser,
               SmallVectorImpl<OpAsmParser::UnresolvedOperand> &lower,
               SmallVectorImpl<OpAsmParser::UnresolvedOperand> &upper) {
  return parser.parseCommaSeparatedList(
      OpAsmParser::Delimiter::Square, [&]() -> ParseResult {
        return failure(parser.parseOperand(lower.emplace_back()) ||
                       parser.parseKeyword("to") ||
                       parser.parseOperand(upper.emplace_back()));
      });
}

static void printIntervals(OpAsmPrinter &printer, OperandRange lower,
                           OperandRange upper) {
  printer << '[';
  llvm::interleaveComma(
      llvm::zip_equal(lower, upper), printer, [&](auto interval) {
        printer << std::get<0>(interval) << " to " << std::get<1>(interval);
      });
  printer << ']';
}

ParseResult ForTilesOp::parse(OpAsmParser &parser, OperationState &result) {
  Type index = parser.getBuilder().getIndexType();
  OpAsmParser::Argument tile;
  SmallVector<OpAsmParser::UnresolvedOperand> lower, upper, exceptLower,
      exceptUpper, inits;
  SmallVector<OpAsmParser::Argument> iterArgs;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseArgument(tile) || parser.parseKeyword("in") ||
      parseIntervals(parser, lower, upper))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("except")) &&
      parseIntervals(parser, exceptLower, exceptUpper))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("iter_args")) &&
      (parser.parseAssignmentList(iterArgs, inits) ||
       parser.parseArrowTypeList(result.types)))
    return failure();
  if (iterArgs.size() != result.types.size())
    return parser.emitError(loc, "expected ")
           << iterArgs.size() << " iteration types, found "
           << result.types.size();
  Region *filter = result.addRegion();
  tile.type = index;
  if (succeeded(parser.parseOptionalKeyword("where")) &&
      parser.parseRegion(*filter, tile))
    return failure();
  for (auto [argument, type] : llvm::zip_equal(iterArgs, result.types))
    argument.type = type;
  iterArgs.insert(iterArgs.begin(), tile);
  if (parser.parseRegion(*result.addRegion(), iterArgs) ||
      parser.parseOptionalAttrDict(result.attributes))
    return failure();
  Region &body = *result.regions.back();
  if (body.front().empty() ||
      !body.front().back().hasTrait<OpTrait::IsTerminator>()) {
    OpBuilder builder(parser.getContext());
    builder.setInsertionPointToEnd(&body.front());
    YieldOp::create(builder, result.location);
  }
  if (parser.resolveOperands(lower, index, result.operands) ||
      parser.resolveOperands(upper, index, result.operands) ||
      parser.resolveOperands(exceptLower, index, result.operands) ||
      parser.resolveOperands(exceptUpper, index, result.operands) ||
      parser.resolveOperands(inits, result.types, loc, result.operands))
    return failure();
  llvm::copy(
      ArrayRef<int32_t>{static_cast<int32_t>(lower.size()),
                        static_cast<int32_t>(upper.size()),
                        static_cast<int32_t>(exceptLower.size()),
                        static_cast<int32_t>(exceptUpper.size()),
                        static_cast<int32_t>(inits.size())},
      result.getOrAddProperties<Properties>().operandSegmentSizes.begin());
  return success();
}

void ForTilesOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getInductionVar() << " in ";
  printIntervals(printer, getLower(), getUpper());
  if (!getExceptLower().empty()) {
    printer << " except ";
    printIntervals(printer, getExceptLower(), getExceptUpper());
  }
  if (!getInits().empty()) {
    printer << " iter_args(";
    llvm::interleaveComma(
        llvm::zip_equal(getIterArgs(), getInits()), printer, [&](auto pair) {
          printer << std::get<0>(pair) << " = " << std::get<1>(pair);
        });
    printer << ") -> (" << getInits().getTypes() << ")";
  }
  if (!getFilter().empty()) {
    printer << " where ";
    printer.shadowRegionArgs(getFilter(), getInductionVar());
    printer.printRegion(getFilter(), /*printEntryBlockArgs=*/false);
  }
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false,
                      !getInits().empty());
  printer.printOptionalAttrDict((*this)->getAttrs(), {"operandSegmentSizes"});
}

LogicalResult ForTilesOp::verify() {
  // T1
  if (getLower().size() != getUpper().size())
    return emitOpError("expected as many upper bounds as lower bounds, found ")
           << getUpper().size() << " and " << getLower().size() << " (T1)";
  if (getExceptLower().size() != getExceptUpper().size())
    return emitOpError("expected as many upper bounds as lower bounds to "
                       "except, found ")
           << getExceptUpper().size() << " and " << getExceptLower().size()
           << " (T1)";
  // T2
  if (getLower().empty())
    return emitOpError("expected at least one interval, found none (T2)");
  // T3
  TypeRange types = getInits().getTypes();
  if (getResultTypes() != types)
    return emitOpError("expected results of the types of the initial values, (")
           << types << "), found (" << getResultTypes() << ") (T3)";
  auto takes = [](Region &region, TypeRange iterTypes) {
    TypeRange arguments = region.getArgumentTypes();
    return !arguments.empty() && arguments.front().isIndex() &&
           arguments.drop_front() == iterTypes;
  };
  // T4
  if (!takes(getBody(), types))
    return emitOpError("expected a body of the tile number and the iteration "
                       "values, ('index'")
           << (types.empty() ? "" : ", ") << types << "), found ("
           << getBody().getArgumentTypes() << ") (T4)";
  // T6
  if (!getFilter().empty() && !takes(getFilter(), {}))
    return emitOpError(
               "expected a filter of the tile number, ('index'), found (")
           << getFilter().getArgumentTypes() << ") (T6)";
  return success();
}

// That attn.yield hands on values of the types of the initial values (T5) is
// checked by RegionBranchOpInterface.
LogicalResult ForTilesOp::verifyRegions() {
  // T5
  Operation *end = getBody().front().getTerminator();
  if (!isa<YieldOp>(end))
    return emitOpError("expected a body that ends with attn.yield, found '")
           << end->getName() << "' (T5)";
  // T6
  if (getFilter().empty())
    return success();
  end = getFilter().front().getTerminator();
  if (!isa<ConditionOp>(end))
    return emitOpError(
               "expected a filter that ends with attn.condition, found '")
           << end->getName() << "' (T6)";
  return success();
}

OperandRange ForTilesOp::getEntrySuccessorOperands(RegionSuccessor) {
  return getInits();
}

void ForTilesOp::getSuccessorRegions(
    RegionBranchPoint, SmallVectorImpl<RegionSuccessor> &regions) {
  regions.emplace_back(&getBody(), getIterArgs());
  regions.emplace_back(getOperation(), getResults());
}
