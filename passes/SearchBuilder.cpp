//===- SearchBuilder.cpp - see SearchBuilder.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/SearchBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::attn;

SmallVector<Value> mlir::attn::buildSearch(
    ImplicitLocOpBuilder &builder, Value start, Value length,
    ArrayRef<Search> searches,
    function_ref<Value(ImplicitLocOpBuilder &, Value)> load) {
  SmallVector<Value> inits(searches.size() + 1, start);
  inits.front() = length;
  SmallVector<Type> types(inits.size(), builder.getIndexType());
  Location loc = builder.getLoc();
  // Each answer lies in base .. base + left.
  auto loop = scf::WhileOp::create(
      builder, types, inits,
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        Value zero = arith::ConstantIndexOp::create(b, 0);
        Value more = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt,
                                           args.front(), zero);
        scf::ConditionOp::create(b, more, args);
      },
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        Value one = arith::ConstantIndexOp::create(b, 1);
        Value half = arith::ShRUIOp::create(
            b, arith::AddIOp::create(b, args.front(), one), one);
        SmallVector<Value> next = {
            arith::SubIOp::create(b, args.front(), half)};
        for (auto [search, base] :
             llvm::zip_equal(searches, args.drop_front())) {
          Value end = arith::AddIOp::create(b, base, half);
          Value element = load(b, arith::SubIOp::create(b, end, one));
          Value before =
              arith::CmpIOp::create(b,
                                    search.orEqual ? arith::CmpIPredicate::sle
                                                   : arith::CmpIPredicate::slt,
                                    element, search.value);
          next.push_back(arith::SelectOp::create(b, before, end, base));
        }
        scf::YieldOp::create(b, next);
      });
  return SmallVector<Value>(loop.getResults().drop_front());
}
