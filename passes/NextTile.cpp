//===- NextTile.cpp - the first tile of a loop from some tile on ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/NextTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::attn;

Value attn::buildNextTile(OpBuilder &builder, Location loc, ForTilesOp loop,
                          Value from) {
  ImplicitLocOpBuilder b(loc, builder);
  auto cmp = [&](arith::CmpIPredicate predicate, Value x, Value y) -> Value {
    return arith::CmpIOp::create(b, predicate, x, y);
  };
  Value none =
      arith::ConstantIndexOp::create(b, std::numeric_limits<int64_t>::max());
  if (loop.getLower().size() == 1 && loop.getExceptLower().size() <= 1 &&
      loop.getFilter().empty()) {
    Value t = arith::MaxSIOp::create(b, from, loop.getLower()[0]);
    if (!loop.getExceptLower().empty()) {
      Value inside = arith::AndIOp::create(
          b, cmp(arith::CmpIPredicate::sge, t, loop.getExceptLower()[0]),
          cmp(arith::CmpIPredicate::slt, t, loop.getExceptUpper()[0]));
      t = arith::SelectOp::create(b, inside, loop.getExceptUpper()[0], t);
    }
    return arith::SelectOp::create(
        b, cmp(arith::CmpIPredicate::slt, t, loop.getUpper()[0]), t, none);
  }
  Value one = arith::ConstantIndexOp::create(b, 1);
  Value end = loop.getUpper()[0];
  for (Value upper : loop.getUpper().drop_front())
    end = arith::MaxSIOp::create(b, end, upper);
  auto search = scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{from},
      [&](OpBuilder &, Location, ValueRange args) {
        Value t = args[0];
        auto inside = [&](ValueRange lower, ValueRange upper) {
          Value any;
          for (auto [lo, hi] : llvm::zip_equal(lower, upper)) {
            Value in =
                arith::AndIOp::create(b, cmp(arith::CmpIPredicate::sge, t, lo),
                                      cmp(arith::CmpIPredicate::slt, t, hi));
            any = any ? arith::OrIOp::create(b, any, in) : in;
          }
          return any;
        };
        Value visited = inside(loop.getLower(), loop.getUpper());
        Value yes = arith::ConstantIntOp::create(b, 1, 1);
        if (!loop.getExceptLower().empty())
          visited = arith::AndIOp::create(
              b, visited,
              arith::XOrIOp::create(
                  b, inside(loop.getExceptLower(), loop.getExceptUpper()),
                  yes));
        if (!loop.getFilter().empty()) {
          IRMapping mapping;
          mapping.map(loop.getFilter().front().getArgument(0), t);
          for (Operation &op : loop.getFilter().front().without_terminator())
            b.clone(op, mapping);
          auto condition =
              cast<ConditionOp>(loop.getFilter().front().getTerminator());
          visited = arith::AndIOp::create(
              b, visited, mapping.lookupOrDefault(condition.getLive()));
        }
        Value go =
            arith::AndIOp::create(b, arith::XOrIOp::create(b, visited, yes),
                                  cmp(arith::CmpIPredicate::slt, t, end));
        scf::ConditionOp::create(b, go, args);
      },
      [&](OpBuilder &, Location, ValueRange args) {
        scf::YieldOp::create(
            b, ValueRange{arith::AddIOp::create(b, args[0], one)});
      });
  Value t = search.getResult(0);
  return arith::SelectOp::create(b, cmp(arith::CmpIPredicate::slt, t, end), t,
                                 none);
}
