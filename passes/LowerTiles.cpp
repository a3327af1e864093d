//===- LowerTiles.cpp - turns loops over tiles into scf loops ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/NextTile.h"
#include "attn/passes/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNLOWERTILES
#include "attn/passes/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

static bool isSingleInterval(ForTilesOp loop) {
  return loop.getLower().size() == 1 && loop.getExceptLower().empty() &&
         loop.getFilter().empty();
}

static ValueRange lowerToFor(RewriterBase &rewriter, ForTilesOp loop) {
  Location loc = loop.getLoc();
  Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
  auto forOp = scf::ForOp::create(rewriter, loc, loop.getLower()[0],
                                  loop.getUpper()[0], one, loop.getInits());
  Block *body = forOp.getBody();
  if (!body->empty())
    rewriter.eraseOp(body->getTerminator());
  Operation *yield = loop.getBody().front().getTerminator();
  rewriter.mergeBlocks(&loop.getBody().front(), body, body->getArguments());
  rewriter.setInsertionPoint(yield);
  rewriter.replaceOpWithNewOp<scf::YieldOp>(yield, yield->getOperands());
  return forOp.getResults();
}

static ValueRange lowerToWhile(RewriterBase &rewriter, ForTilesOp loop) {
  Location loc = loop.getLoc();
  Value start = arith::ConstantIndexOp::create(rewriter, loc, INT64_MIN + 1);
  SmallVector<Value> inits = {buildNextTile(rewriter, loc, loop, start)};
  llvm::append_range(inits, loop.getInits());
  auto whileOp = scf::WhileOp::create(
      rewriter, loc, TypeRange(ValueRange(inits)), inits,
      [](OpBuilder &builder, Location loc, ValueRange args) {
        Value none = arith::ConstantIndexOp::create(builder, loc, kNoTile);
        Value some = arith::CmpIOp::create(
            builder, loc, arith::CmpIPredicate::ne, args[0], none);
        scf::ConditionOp::create(builder, loc, some, args);
      },
      nullptr);
  Operation *yield = loop.getBody().front().getTerminator();
  Block *after = whileOp.getAfterBody();
  rewriter.mergeBlocks(&loop.getBody().front(), after, after->getArguments());
  rewriter.setInsertionPoint(yield);
  Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
  Value from = arith::AddIOp::create(rewriter, loc, after->getArgument(0), one);
  SmallVector<Value> next = {buildNextTile(rewriter, loc, loop, from)};
  llvm::append_range(next, yield->getOperands());
  rewriter.replaceOpWithNewOp<scf::YieldOp>(yield, next);
  return whileOp.getResults().drop_front();
}

namespace {
struct AttnLowerTilesPass : attn::impl::AttnLowerTilesBase<AttnLowerTilesPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<ForTilesOp> loops;
    getOperation().walk([&](ForTilesOp loop) { loops.push_back(loop); });
    for (ForTilesOp loop : loops) {
      rewriter.setInsertionPoint(loop);
      bool isFor = isSingleInterval(loop);
      rewriter.replaceOp(loop, isFor ? lowerToFor(rewriter, loop)
                                     : lowerToWhile(rewriter, loop));
      ++(isFor ? numFor : numWhile);
    }
  }
};
} // namespace
