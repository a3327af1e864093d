//===- Consumers.cpp - the main loop of the warps that compute ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/hopper/RoleScheduler.h"

#include "attn/passes/NextTile.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

void RoleScheduler::buildIteration(unsigned number, Value slot, Value parity,
                                   IRMapping &mapping) {
  ForTilesOp loop = loops[number];
  Products product = products[number];
  bool canBeInfinite = llvm::any_of(products, [](const Products &any) {
    return static_cast<bool>(any.live);
  });
  auto multiply = [&](Operand &operand, Value left, Value acc, Type type,
                      int64_t depth, bool transposed) -> Value {
    Value result = WgmmaOp::create(b, type, left, operand.buffer, slot, acc,
                                   depth, transposed);
    result = WgmmaWaitOp::create(b, type, result, b.getI64IntegerAttr(0));
    ReleaseOp::create(b, operand.empty, slot);
    return result;
  };
  for (Operation &op : loop.getBody().front().without_terminator()) {
    if (&op == product.key.getOperation() ||
        &op == product.value.getOperation())
      continue;
    if (&op == product.scores.getOperation()) {
      WaitOp::create(b, key.full, slot, parity);
      mapping.map(product.scores.getResult(),
                  multiply(key, query.buffer, Value(),
                           product.scores.getResultType(),
                           query.tile.getDimSize(1), false));
      continue;
    }
    if (&op == product.scaled.getOperation() && canBeInfinite) {
      // An infinite sum stays infinite however small the factor: 0 would make
      // it NaN.
      Value factor = mapping.lookupOrDefault(product.scaled.getRhs());
      Value least = arith::ConstantOp::create(
          b, DenseElementsAttr::get(cast<VectorType>(factor.getType()),
                                    std::numeric_limits<float>::min()));
      factor = arith::MaxNumFOp::create(b, factor, least);
      Value acc = mapping.lookupOrDefault(product.scaled.getLhs());
      mapping.map(product.scaled.getResult(),
                  arith::MulFOp::create(b, acc, factor).getResult());
      continue;
    }
    bool isMask = product.mask && &op == product.mask.getOperation();
    if (isMask || &op == product.output.getOperation()) {
      WaitOp::create(b, value.full, slot, parity);
      vector::ContractionOp contract = product.output;
      Value acc = mapping.lookupOrDefault(contract.getAcc());
      if (isMask)
        acc = AbsorbOp::create(b, acc.getType(), acc, value.buffer, slot,
                               mapping.lookupOrDefault(product.live));
      Value result =
          multiply(value, mapping.lookupOrDefault(contract.getLhs()), acc,
                   contract.getResultType(),
                   cast<VectorType>(contract.getLhsType()).getDimSize(1), true);
      mapping.map(op.getResult(0), result);
      continue;
    }
    b.clone(op, mapping);
  }
}

RoleScheduler::Position RoleScheduler::computeTiles(Position position) {
  for (auto [number, loop] : llvm::enumerate(loops)) {
    b.setLoc(loop.getLoc());
    SmallVector<Value> state =
        walkTiles(loop, buildNextTile(b, b.getLoc(), loop, index(0)), position,
                  loop.getInits(),
                  [&, number = number, loop = loop](
                      Value tile, Position position, ValueRange state) {
                    IRMapping mapping;
                    ForTilesOp tiles = loop;
                    mapping.map(tiles.getInductionVar(), tile);
                    mapping.map(tiles.getIterArgs(), state);
                    buildIteration(number, toIndex(position.slot),
                                   position.parity, mapping);
                    SmallVector<Value> results;
                    for (Value value :
                         cast<YieldOp>(tiles.getBody().front().getTerminator())
                             .getValues())
                      results.push_back(mapping.lookupOrDefault(value));
                    return results;
                  });
    position = {state[0], state[1]};
    for (auto [before, now] :
         llvm::zip_equal(loop.getResults(), ArrayRef(state).drop_front(2)))
      before.replaceAllUsesWith(now);
  }
  return position;
}
