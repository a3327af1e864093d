//===- Score.cpp - see Score.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Score.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace mlir::attn;

Type mlir::attn::getScoreElementType(Type input) {
  Type element = getElementTypeOrSelf(input);
  return element.isIndex() ? element : Float32Type::get(input.getContext());
}

/// The block's region has no op yet that would know the context.
static ImplicitLocOpBuilder atEnd(Location loc, Block *block) {
  ImplicitLocOpBuilder b(loc, loc.getContext());
  b.setInsertionPointToEnd(block);
  return b;
}

ScoreBuilder::ScoreBuilder(Location loc) : loc(loc) {
  block = &region.emplaceBlock();
  Builder b(loc.getContext());
  score = block->addArgument(b.getF32Type(), loc);
  for (unsigned number = kBatch; number < kFirstScoreInput; ++number)
    block->addArgument(b.getIndexType(), loc);
}

Value ScoreBuilder::addInput(Type type) {
  return block->addArgument(getScoreElementType(type), loc);
}

void ScoreBuilder::addSoftCap(float cap) {
  ImplicitLocOpBuilder b = atEnd(loc, block);
  auto times = [&](Value value, float factor) {
    Value constant =
        arith::ConstantOp::create(b, b.getF32FloatAttr(factor)).getResult();
    return arith::MulFOp::create(b, value, constant).getResult();
  };
  score = times(math::TanhOp::create(b, times(score, 1 / cap)), cap);
  empty = false;
}

void ScoreBuilder::addBias(Type bias) {
  ImplicitLocOpBuilder b = atEnd(loc, block);
  score = arith::AddFOp::create(b, score, addInput(bias));
  empty = false;
}

void ScoreBuilder::addAlibi(Type slopes) {
  ImplicitLocOpBuilder b = atEnd(loc, block);
  Value distance = arith::SubIOp::create(b, block->getArgument(kQuery),
                                         block->getArgument(kKey));
  distance = arith::IndexCastOp::create(b, b.getI64Type(), distance);
  distance = arith::SIToFPOp::create(b, b.getF32Type(), distance);
  distance = math::AbsFOp::create(b, distance);
  Value penalty = arith::MulFOp::create(b, addInput(slopes), distance);
  score = arith::SubFOp::create(b, score, penalty);
  empty = false;
}

void ScoreBuilder::addRegion(Region &other) {
  Block &from = other.front();
  from.getArgument(kScore).replaceAllUsesWith(score);
  for (unsigned number = kBatch; number < kFirstScoreInput; ++number)
    from.getArgument(number).replaceAllUsesWith(block->getArgument(number));
  for (BlockArgument argument :
       from.getArguments().drop_front(kFirstScoreInput))
    argument.replaceAllUsesWith(
        block->addArgument(argument.getType(), argument.getLoc()));
  Operation *yield = from.getTerminator();
  score = yield->getOperand(0);
  yield->erase();
  block->getOperations().splice(block->end(), from.getOperations());
  empty = false;
}

void ScoreBuilder::addBias(Value bias) {
  inputs.push_back(bias);
  addBias(bias.getType());
}

void ScoreBuilder::addAlibi(Value slopes) {
  inputs.push_back(slopes);
  addAlibi(slopes.getType());
}

void ScoreBuilder::addRegion(Region &region, ValueRange values) {
  llvm::append_range(inputs, values);
  addRegion(region);
}

Region &ScoreBuilder::finish() {
  ImplicitLocOpBuilder b = atEnd(loc, block);
  YieldOp::create(b, ValueRange(score));
  return region;
}

Value mlir::attn::addScoreIndex(AttentionOp op, Value index) {
  op.getScoreInputsMutable().append(index);
  return op.getScore().front().addArgument(index.getType(), index.getLoc());
}

bool mlir::attn::usesScoreArgument(Region &score, ScoreArgument number) {
  return !score.empty() && !score.front().getArgument(number).use_empty();
}

void mlir::attn::remapScoreArgument(AttentionOp op, ScoreArgument number,
                                    int64_t factor, Value first) {
  if (!usesScoreArgument(op.getScore(), number))
    return;
  Block &block = op.getScore().front();
  BlockArgument argument = block.getArgument(number);
  Value added = first ? addScoreIndex(op, first) : Value();
  auto b = ImplicitLocOpBuilder::atBlockBegin(op.getLoc(), &block);
  SmallPtrSet<Operation *, 2> own;
  Value value = argument;
  auto apply = [&](auto created) {
    own.insert(created);
    value = created;
  };
  if (factor != 1) {
    Value constant = arith::ConstantIndexOp::create(b, factor);
    apply(arith::MulIOp::create(b, value, constant));
  }
  if (added)
    apply(arith::AddIOp::create(b, value, added));
  if (value != argument)
    argument.replaceAllUsesExcept(value, own);
}
