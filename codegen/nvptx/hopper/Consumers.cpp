//===- Consumers.cpp - the main loop of the warps that compute ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/hopper/RoleScheduler.h"

#include "attn/passes/NextTile.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

// The named barriers of warpgroup w are these plus w; 0 and 1 are those of the
// block and of the role.
static constexpr int64_t turnBarrier = 2, weightsBarrier = 5;

//===----------------------------------------------------------------------===//
// Parts of an iteration
//===----------------------------------------------------------------------===//

void RoleScheduler::takeTurn(bool first) {
  if (schedule.getTurns())
    TakeTurnOp::create(b, turnBarrier, first && !isPersistent());
}

void RoleScheduler::passTurn(bool last) {
  if (schedule.getTurns())
    PassTurnOp::create(b, turnBarrier, last && !isPersistent());
}

/// Turns go on from item to item, as no warpgroup waits for the others between
/// two of them.
void RoleScheduler::beginTurns() {
  if (schedule.getTurns() && isPersistent())
    PassTurnOp::create(b, turnBarrier, /*last=*/false, /*alone=*/true);
}

void RoleScheduler::endTurns() {
  if (schedule.getTurns() && isPersistent())
    TakeTurnOp::create(b, turnBarrier, /*first=*/false, /*alone=*/true);
}

/// S = Q K^T of the tile at `position`, in flight.
Value RoleScheduler::issueScores(Position position) {
  Products product = products.front();
  return WgmmaOp::create(b, product.scores.getResultType(), query.buffer,
                         key.buffer, position.place, Value(),
                         query.tile.getDimSize(1),
                         /*transposed=*/false);
}

/// O + P V, in flight.
Value RoleScheduler::issueOutput(Value weights, Value acc, Position position) {
  return WgmmaOp::create(b, acc.getType(), weights, value.buffer,
                         position.place, acc, key.tile.getDimSize(0),
                         /*transposed=*/true);
}

/// Waits for `product`, which `pending` others may follow, and releases the
/// slot of `operand` that it read.
Value RoleScheduler::finish(Operand &operand, Value product, Position position,
                            int64_t pending) {
  Value result = WgmmaWaitOp::create(b, product.getType(), product,
                                     b.getI64IntegerAttr(pending));
  ReleaseOp::create(b, operand.empty, position.place);
  return result;
}

/// All of an iteration but its products, what they read, the accumulator and
/// the rounding of the weights.
void RoleScheduler::buildSoftmax(unsigned number, IRMapping &mapping) {
  Products product = products[number];
  SmallVector<Operation *, 8> others{product.key,    product.value,
                                     product.scores, product.output,
                                     product.scaled, product.rounded};
  if (product.mask) {
    others.push_back(product.mask);
    others.push_back(product.mask.getMask().getDefiningOp());
  }
  for (Operation &op : loops[number].getBody().front().without_terminator())
    if (!llvm::is_contained(others, &op))
      b.clone(op, mapping);
}

/// The weights in 16 bits: a tile in registers, or the buffer that holds them.
Value RoleScheduler::passWeights(unsigned number, IRMapping &mapping) {
  Value rounded = b.clone(*products[number].rounded, mapping)->getResult(0);
  if (!weights)
    return rounded;
  Value zero = index(0);
  vector::TransferWriteOp::create(b, rounded, weights,
                                  ValueRange{zero, zero, zero, zero},
                                  ArrayRef<bool>{true, true});
  PublishOp::create(b, weightsBarrier);
  return weights;
}

/// The accumulator times this iteration's factor.
Value RoleScheduler::scale(unsigned number, IRMapping &mapping) {
  arith::MulFOp scaled = products[number].scaled;
  Value acc = mapping.lookupOrDefault(scaled.getLhs()),
        factor = mapping.lookupOrDefault(scaled.getRhs());
  if (llvm::any_of(products, [](const Products &any) {
        return static_cast<bool>(any.live);
      })) {
    // An infinite sum stays infinite however small the factor: 0 would make it
    // NaN.
    Value least = arith::ConstantOp::create(
        b, DenseElementsAttr::get(cast<VectorType>(factor.getType()),
                                  std::numeric_limits<float>::min()));
    factor = arith::MaxNumFOp::create(b, factor, least);
  }
  return arith::MulFOp::create(b, acc, factor);
}

/// Takes what is not finite out of the tile of V at `position`, if some of its
/// pairs are dead.
Value RoleScheduler::absorb(unsigned number, IRMapping &mapping, Value acc,
                            Position position) {
  if (!products[number].mask)
    return acc;
  return AbsorbOp::create(b, acc.getType(), acc, value.buffer, position.place,
                          mapping.lookupOrDefault(products[number].live));
}

/// The accumulator at the end of an iteration.
static Value getOutput(Products product) {
  return product.mask ? product.mask.getResult(0) : product.output.getResult();
}

/// What an iteration yields.
static SmallVector<Value> getState(ForTilesOp loop, IRMapping &mapping) {
  SmallVector<Value> state;
  for (Value value :
       cast<YieldOp>(loop.getBody().front().getTerminator()).getValues())
    state.push_back(mapping.lookupOrDefault(value));
  return state;
}

//===----------------------------------------------------------------------===//
// One tile after the other
//===----------------------------------------------------------------------===//

SmallVector<Value> RoleScheduler::computeInOrder(Position &position) {
  SmallVector<Value> state(loops.front().getInits());
  for (auto [number, loop] : llvm::enumerate(loops)) {
    auto body = [&, number = number, loop = loop](Value tile, Position position,
                                                  ValueRange carried) {
      ForTilesOp tiles = loop;
      Products product = products[number];
      IRMapping mapping;
      mapping.map(tiles.getInductionVar(), tile);
      mapping.map(tiles.getIterArgs(), carried);
      WaitOp::create(b, key.full, position.place, position.parity);
      mapping.map(product.scores.getResult(),
                  finish(key, issueScores(position), position, 0));
      buildSoftmax(number, mapping);
      Value left = passWeights(number, mapping);
      Value acc = scale(number, mapping);
      WaitOp::create(b, value.full, position.place, position.parity);
      acc = absorb(number, mapping, acc, position);
      acc = finish(value, issueOutput(left, acc, position), position, 0);
      mapping.map(getOutput(product), acc);
      return getState(tiles, mapping);
    };
    b.setLoc(loop.getLoc());
    Value first = buildNextTile(b, b.getLoc(), loop, i32(0));
    SmallVector<Value> results = walkTiles(loop, first, position, state, body);
    position = makePosition(results[0], results[1]);
    state.assign(results.begin() + 2, results.end());
  }
  return state;
}

//===----------------------------------------------------------------------===//
// The softmax of a tile under the product before it
//===----------------------------------------------------------------------===//

/// The product of the weights of a tile with V is issued after that of the
/// scores of the next one, and runs while that tile's weights are computed. The
/// weights are carried from iteration to iteration; nothing is in flight from
/// one to the next.
SmallVector<Value> RoleScheduler::computeOverlapped(Position &position) {
  b.setLoc(loops.front().getLoc());
  Value none = i32(kNoTile32);
  auto exists = [&](Value tile) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, tile, none);
  };
  // The first tile of all, and for each loop whether it comes after that one.
  Value first;
  SmallVector<Value> comesAfter;
  for (ForTilesOp loop : loops) {
    Value own = buildNextTile(b, b.getLoc(), loop, i32(0));
    comesAfter.push_back(first ? exists(first) : Value());
    first =
        first ? arith::SelectOp::create(b, comesAfter.back(), first, own) : own;
  }

  bool inRegisters = !schedule.getWeightsInShared();
  // What an iteration does between its products; gives the state, and the
  // weights if in registers. `mapping` knows the scores.
  auto finishTile = [&](unsigned number, IRMapping &mapping, Value left,
                        Value acc, Position position) {
    mapping.map(getOutput(products[number]),
                absorb(number, mapping, acc, position));
    SmallVector<Value> carried = getState(loops[number], mapping);
    if (inRegisters)
      carried.push_back(left);
    return carried;
  };
  size_t numState = loops.front().getInits().size();
  auto getWeights = [&](ValueRange carried) {
    return inRegisters ? carried.back() : weights;
  };

  unsigned accNumber =
      cast<BlockArgument>(products.front().scaled.getLhs()).getArgNumber() - 1;

  auto startWith = [&](unsigned masked, Position position) {
    ForTilesOp loop = loops[masked];
    IRMapping mapping;
    mapping.map(loop.getInductionVar(), toIndex(first));
    mapping.map(loop.getIterArgs(), loops.front().getInits());
    WaitOp::create(b, key.full, position.place, position.parity);
    takeTurn(/*first=*/true);
    Value scores = issueScores(position);
    passTurn();
    mapping.map(products[masked].scores.getResult(),
                finish(key, scores, position, 0));
    buildSoftmax(masked, mapping);
    WaitOp::create(b, value.full, position.place, position.parity);
    Value left = passWeights(masked, mapping);
    Value acc = loops.front().getInits()[accNumber];
    if (!matchPattern(acc, m_AnyZeroFloat()))
      acc = scale(masked, mapping);
    return finishTile(masked, mapping, left, acc, position);
  };
  // With a tile of the loops from `number` on.
  std::function<SmallVector<Value>(unsigned, Position)> startPipeline =
      [&](unsigned number, Position position) {
        // Over one slice the mask of the masked loop holds for every tile.
        unsigned masked = number, end = number;
        for (; end < loops.size() &&
               products[end].keys.source == products[number].keys.source;
             ++end)
          if (products[end].live)
            masked = end;
        if (end == loops.size())
          return startWith(masked, position);
        auto here = [&](OpBuilder &, Location) {
          scf::YieldOp::create(b, startWith(masked, position));
        };
        auto later = [&](OpBuilder &, Location) {
          scf::YieldOp::create(b, startPipeline(end, position));
        };
        auto choice = scf::IfOp::create(b, comesAfter[end], here, later);
        return SmallVector<Value>(choice.getResults());
      };
  auto runPipeline = [&](unsigned number, Value tile, Position position,
                         ValueRange carried) {
    ForTilesOp loop = loops[number];
    Position pending = getPrevious(position);
    IRMapping mapping;
    mapping.map(loop.getInductionVar(), tile);
    mapping.map(loop.getIterArgs(), carried.take_front(numState));
    WaitOp::create(b, key.full, position.place, position.parity);
    takeTurn();
    Value scores = issueScores(position);
    Value output =
        issueOutput(getWeights(carried), carried[accNumber], pending);
    passTurn();
    mapping.map(products[number].scores.getResult(),
                finish(key, scores, position, 1));
    auto finishOutput = [&] {
      mapping.map(loop.getIterArgs()[accNumber],
                  finish(value, output, pending, 0));
    };
    auto waitForValue = [&] {
      WaitOp::create(b, value.full, position.place, position.parity);
    };
    if (products[number].mask) {
      // A mask leaves no registers for the weights that the product reads.
      finishOutput();
      buildSoftmax(number, mapping);
    } else {
      buildSoftmax(number, mapping);
      // What the next iteration needs; the loop that waits for it also keeps
      // ptxas from moving the wait for the product before the softmax.
      waitForValue();
      finishOutput();
    }
    Value left = passWeights(number, mapping);
    Value acc = scale(number, mapping);
    if (products[number].mask)
      waitForValue();
    return finishTile(number, mapping, left, acc, position);
  };
  auto drainPipeline = [&](Position position, ValueRange carried) {
    Position pending = getPrevious(position);
    takeTurn();
    Value output =
        issueOutput(getWeights(carried), carried[accNumber], pending);
    passTurn(/*last=*/true);
    SmallVector<Value> state(carried.take_front(numState));
    state[accNumber] = finish(value, output, pending, 0);
    return state;
  };

  auto whenSome = [&](OpBuilder &, Location) {
    SmallVector<Value> carried = startPipeline(0, position);
    Position next = getNext(position);
    Value second = arith::AddIOp::create(b, first, i32(1));
    for (auto [number, loop] : llvm::enumerate(loops)) {
      Value from = second;
      if (comesAfter[number])
        from = arith::SelectOp::create(b, comesAfter[number], i32(0), second);
      SmallVector<Value> results = walkTiles(
          loop, buildNextTile(b, b.getLoc(), loop, from), next, carried,
          [&, number = number](Value tile, Position position,
                               ValueRange carried) {
            return runPipeline(number, tile, position, carried);
          });
      next = makePosition(results[0], results[1]);
      carried.assign(results.begin() + 2, results.end());
    }
    SmallVector<Value> results = drainPipeline(next, carried);
    llvm::append_range(results, ValueRange{next.slot, next.parity});
    scf::YieldOp::create(b, results);
  };
  auto whenNone = [&](OpBuilder &, Location) {
    SmallVector<Value> results(loops.front().getInits());
    llvm::append_range(results, ValueRange{position.slot, position.parity});
    scf::YieldOp::create(b, results);
  };
  auto choice = scf::IfOp::create(b, exists(first), whenSome, whenNone);
  SmallVector<Value> state(choice.getResults());
  Value parity = state.pop_back_val(), slot = state.pop_back_val();
  position = makePosition(slot, parity);
  return state;
}

RoleScheduler::Position RoleScheduler::computeTiles(Position position) {
  SmallVector<Value> state = schedule.getOverlap() ? computeOverlapped(position)
                                                   : computeInOrder(position);
  for (auto [before, now] : llvm::zip_equal(loops.back().getResults(), state))
    before.replaceAllUsesWith(now);
  return position;
}
