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

/// The first tile >= `from` of the intervals of `in`, or kNoTile.
static Value buildNextLive(ImplicitLocOpBuilder &builder, ForTilesOp loop,
                           Value from) {
  Value none = arith::ConstantIndexOp::create(builder, kNoTile);
  Value next;
  for (auto [lower, upper] :
       llvm::zip_equal(loop.getLower(), loop.getUpper())) {
    Value first = arith::MaxSIOp::create(builder, from, lower);
    Value inside =
        arith::CmpIOp::create(builder, arith::CmpIPredicate::slt, first, upper);
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
  for (auto [lower, upper] :
       llvm::zip_equal(loop.getExceptLower(), loop.getExceptUpper())) {
    Value atLeast = arith::CmpIOp::create(builder, arith::CmpIPredicate::sge,
                                          result, lower);
    Value below = arith::CmpIOp::create(builder, arith::CmpIPredicate::slt,
                                        result, upper);
    Value inside = arith::AndIOp::create(builder, atLeast, below);
    result = arith::SelectOp::create(builder, inside, upper, result);
  }
  return result;
}

/// The filter's verdict on `tile`.
static Value inlineFilter(ImplicitLocOpBuilder &builder, ForTilesOp loop,
                          Value tile) {
  Block &block = loop.getFilter().front();
  IRMapping mapping;
  mapping.map(block.getArgument(0), tile);
  for (Operation &op : block.without_terminator())
    builder.clone(op, mapping);
  return mapping.lookupOrDefault(
      cast<ConditionOp>(block.getTerminator()).getLive());
}

Value mlir::attn::buildNextTile(OpBuilder &opBuilder, Location loc,
                                ForTilesOp loop, Value from) {
  ImplicitLocOpBuilder builder(loc, opBuilder);
  builder.setInsertionPoint(opBuilder.getInsertionBlock(),
                            opBuilder.getInsertionPoint());
  Value candidate = buildNextLive(builder, loop, from);
  bool hasFilter = !loop.getFilter().empty();
  if (loop.getExceptLower().empty() && !hasFilter)
    return candidate;
  if (loop.getExceptLower().size() == 1 && !hasFilter)
    return buildNextLive(builder, loop, skipExcepted(builder, loop, candidate));

  // Advance while the candidate is a tile that the loop does not visit.
  auto search = scf::WhileOp::create(
      builder, TypeRange{builder.getIndexType()}, ValueRange{candidate},
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder inner(loc, nested);
        Value tile = args[0];
        Value next = tile;
        if (hasFilter) {
          Value following = arith::AddIOp::create(
              inner, tile, arith::ConstantIndexOp::create(inner, 1));
          next = arith::SelectOp::create(inner, inlineFilter(inner, loop, tile),
                                         tile, following);
        }
        // A tile that is excepted may be followed by more of them: skip from
        // where the filter leaves off.
        if (!loop.getExceptLower().empty())
          next = arith::MaxSIOp::create(inner, next,
                                        skipExcepted(inner, loop, tile));
        Value none = arith::ConstantIndexOp::create(inner, kNoTile);
        Value some =
            arith::CmpIOp::create(inner, arith::CmpIPredicate::ne, tile, none);
        Value moves =
            arith::CmpIOp::create(inner, arith::CmpIPredicate::ne, next, tile);
        Value goOn = arith::AndIOp::create(inner, some, moves);
        // While the search goes on this is where to look next, in the end it is
        // the tile itself.
        Value result = arith::SelectOp::create(inner, goOn, next, tile);
        scf::ConditionOp::create(inner, goOn, result);
      },
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder inner(loc, nested);
        scf::YieldOp::create(inner, buildNextLive(inner, loop, args[0]));
      });
  return search.getResult(0);
}
