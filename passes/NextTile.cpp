//===- NextTile.cpp - see NextTile.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/NextTile.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::attn;

/// `value`, an index or a tile number, as `type`.
static Value castTo(ImplicitLocOpBuilder &builder, Type type, Value value) {
  return value.getType() == type
             ? value
             : Value(arith::IndexCastOp::create(builder, type, value));
}

static Value constant(ImplicitLocOpBuilder &builder, Type type, int64_t value) {
  return arith::ConstantOp::create(builder,
                                   builder.getIntegerAttr(type, value));
}

static Value buildNone(ImplicitLocOpBuilder &builder, Type type) {
  return constant(builder, type, type.isIndex() ? kNoTile : kNoTile32);
}

/// The first tile >= `from` of the intervals of `in`, or none.
static Value buildNextLive(ImplicitLocOpBuilder &builder, ForTilesOp loop,
                           Value from) {
  Type type = from.getType();
  Value none = buildNone(builder, type);
  Value next;
  for (auto [lower, upper] :
       llvm::zip_equal(loop.getLower(), loop.getUpper())) {
    Value first =
        arith::MaxSIOp::create(builder, from, castTo(builder, type, lower));
    Value inside = arith::CmpIOp::create(builder, arith::CmpIPredicate::slt,
                                         first, castTo(builder, type, upper));
    Value candidate = arith::SelectOp::create(builder, inside, first, none);
    next = next ? arith::MinSIOp::create(builder, next, candidate).getResult()
                : candidate;
  }
  return next;
}

/// Where to look next instead of `tile`: past each interval of `except` that
/// holds it, else `tile` itself.
static Value skipExcepted(ImplicitLocOpBuilder &builder, ForTilesOp loop,
                          Value tile) {
  Value result = tile;
  for (auto [lowerIndex, upperIndex] :
       llvm::zip_equal(loop.getExceptLower(), loop.getExceptUpper())) {
    Value lower = castTo(builder, tile.getType(), lowerIndex);
    Value upper = castTo(builder, tile.getType(), upperIndex);
    Value atLeast = arith::CmpIOp::create(builder, arith::CmpIPredicate::sge,
                                          result, lower);
    Value below = arith::CmpIOp::create(builder, arith::CmpIPredicate::slt,
                                        result, upper);
    Value inside = arith::AndIOp::create(builder, atLeast, below);
    result = arith::SelectOp::create(builder, inside, upper, result);
  }
  return result;
}

/// The filter's verdict on `tile`: where to look next, `tile` itself if the
/// loop visits it.
static Value inlineFilter(ImplicitLocOpBuilder &builder, ForTilesOp loop,
                          Value tile) {
  Block &block = loop.getFilter().front();
  IRMapping mapping;
  mapping.map(block.getArgument(0),
              castTo(builder, builder.getIndexType(), tile));
  for (Operation &op : block.without_terminator())
    builder.clone(op, mapping);
  auto condition = cast<ConditionOp>(block.getTerminator());
  Type type = tile.getType();
  Value next = arith::AddIOp::create(builder, tile, constant(builder, type, 1));
  if (Value hint = condition.getNext()) {
    hint = mapping.lookupOrDefault(hint);
    if (!type.isIndex())
      hint = arith::MinSIOp::create(
          builder, hint, arith::ConstantIndexOp::create(builder, kNoTile32));
    next = arith::MaxSIOp::create(builder, next, castTo(builder, type, hint));
  }
  return arith::SelectOp::create(
      builder, mapping.lookupOrDefault(condition.getLive()), tile, next);
}

/// Where to look after the candidate `tile`: at `tile` itself if the loop
/// visits it, else further on.
static Value buildProbe(ImplicitLocOpBuilder &builder, ForTilesOp loop,
                        Value tile) {
  Value next = tile;
  if (!loop.getFilter().empty())
    next = inlineFilter(builder, loop, tile);
  // An excepted tile may be followed by more of them.
  if (!loop.getExceptLower().empty())
    next = arith::MaxSIOp::create(builder, next,
                                  skipExcepted(builder, loop, tile));
  return next;
}

Value mlir::attn::buildNextTile(OpBuilder &opBuilder, Location loc,
                                ForTilesOp loop, Value from) {
  ImplicitLocOpBuilder builder(loc, opBuilder);
  builder.setInsertionPoint(opBuilder.getInsertionBlock(),
                            opBuilder.getInsertionPoint());
  bool hasFilter = !loop.getFilter().empty();
  size_t numExcepted = loop.getExceptLower().size();
  if (!hasFilter && numExcepted <= 1) {
    Value candidate = buildNextLive(builder, loop, from);
    if (numExcepted == 0)
      return candidate;
    return buildNextLive(builder, loop, skipExcepted(builder, loop, candidate));
  }

  // A candidate and where to look after it, which are equal once the loop
  // visits the candidate. No candidate precedes the first look.
  Type type = from.getType();
  Value before =
      constant(builder, type, type.isIndex() ? INT64_MIN : INT32_MIN);
  auto search = scf::WhileOp::create(
      builder, TypeRange{type, type}, ValueRange{before, from},
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder inner(loc, nested);
        Value none = buildNone(inner, type);
        Value some = arith::CmpIOp::create(inner, arith::CmpIPredicate::ne,
                                           args[0], none);
        Value moves = arith::CmpIOp::create(inner, arith::CmpIPredicate::ne,
                                            args[0], args[1]);
        Value goOn = arith::AndIOp::create(inner, some, moves);
        scf::ConditionOp::create(inner, goOn, args);
      },
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder inner(loc, nested);
        Value tile = buildNextLive(inner, loop, args[1]);
        Value next = buildProbe(inner, loop, tile);
        scf::YieldOp::create(inner, ValueRange{tile, next});
      });
  return search.getResult(0);
}
