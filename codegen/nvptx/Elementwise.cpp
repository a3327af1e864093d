//===- Elementwise.cpp - one element of an elementwise op ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Elementwise.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

Type nvptx::getScalarType(Type type) {
  Type element = getElementTypeOrSelf(type);
  return element.isIndex() ? IntegerType::get(type.getContext(), 64) : element;
}

/// An integer conversion to `type`, extending by `Extend`.
template <typename Extend>
static Value resize(KernelBuilder &b, Value value, Type type) {
  unsigned from = value.getType().getIntOrFloatBitWidth(),
           to = type.getIntOrFloatBitWidth();
  if (from == to)
    return value;
  return from < to ? Value(Extend::create(b, type, value))
                   : Value(LLVM::TruncOp::create(b, type, value));
}

template <typename Op>
static Value binary(KernelBuilder &b, ValueRange x) {
  return Op::create(b, x[0], x[1]);
}

/// Rounds the quotient towards negative infinity.
static Value buildFloorDiv(KernelBuilder &b, Value x, Value y) {
  Value quotient = LLVM::SDivOp::create(b, x, y);
  Value rest = b.sub(x, b.mul(quotient, y));
  Value zero = b.constant(x.getType(), 0);
  Value inexact = b.compare(LLVM::ICmpPredicate::ne, rest, zero);
  Value opposite =
      b.compare(LLVM::ICmpPredicate::slt, b.xorBits(rest, y), zero);
  return b.select(b.andBits(inexact, opposite),
                  b.sub(quotient, b.constant(x.getType(), 1)), quotient);
}

static Value buildCeilDiv(KernelBuilder &b, Value x, Value y) {
  Value zero = b.constant(x.getType(), 0);
  return b.sub(zero, buildFloorDiv(b, b.sub(zero, x), y));
}

static Value buildInteger(KernelBuilder &b, Operation *op, ValueRange x) {
  Type type = getScalarType(op->getResult(0).getType());
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](arith::AddIOp) { return binary<LLVM::AddOp>(b, x); })
      .Case([&](arith::SubIOp) { return binary<LLVM::SubOp>(b, x); })
      .Case([&](arith::MulIOp) { return binary<LLVM::MulOp>(b, x); })
      .Case([&](arith::DivSIOp) { return binary<LLVM::SDivOp>(b, x); })
      .Case([&](arith::DivUIOp) { return binary<LLVM::UDivOp>(b, x); })
      .Case([&](arith::RemSIOp) { return binary<LLVM::SRemOp>(b, x); })
      .Case([&](arith::RemUIOp) { return binary<LLVM::URemOp>(b, x); })
      .Case([&](arith::FloorDivSIOp) { return buildFloorDiv(b, x[0], x[1]); })
      .Case([&](arith::CeilDivSIOp) { return buildCeilDiv(b, x[0], x[1]); })
      .Case([&](arith::AndIOp) { return binary<LLVM::AndOp>(b, x); })
      .Case([&](arith::OrIOp) { return binary<LLVM::OrOp>(b, x); })
      .Case([&](arith::XOrIOp) { return binary<LLVM::XOrOp>(b, x); })
      .Case([&](arith::ShLIOp) { return binary<LLVM::ShlOp>(b, x); })
      .Case([&](arith::ShRSIOp) { return binary<LLVM::AShrOp>(b, x); })
      .Case([&](arith::ShRUIOp) { return binary<LLVM::LShrOp>(b, x); })
      .Case([&](arith::MinSIOp) { return binary<LLVM::SMinOp>(b, x); })
      .Case([&](arith::MaxSIOp) { return binary<LLVM::SMaxOp>(b, x); })
      .Case([&](arith::MinUIOp) { return binary<LLVM::UMinOp>(b, x); })
      .Case([&](arith::MaxUIOp) { return binary<LLVM::UMaxOp>(b, x); })
      .Case([&](arith::CmpIOp cmp) -> Value {
        return LLVM::ICmpOp::create(
            b, static_cast<LLVM::ICmpPredicate>(cmp.getPredicate()), x[0],
            x[1]);
      })
      .Case([&](arith::IndexCastOp) {
        return resize<LLVM::SExtOp>(b, x[0], type);
      })
      .Case([&](arith::ExtSIOp) { return resize<LLVM::SExtOp>(b, x[0], type); })
      .Case<arith::IndexCastUIOp, arith::ExtUIOp, arith::TruncIOp>(
          [&](auto) { return resize<LLVM::ZExtOp>(b, x[0], type); })
      .Default(Value());
}

static Value buildFloat(KernelBuilder &b, Operation *op, ValueRange x) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](arith::SelectOp) { return b.select(x[0], x[1], x[2]); })
      .Case([&](arith::AddFOp) { return binary<LLVM::FAddOp>(b, x); })
      .Case([&](arith::SubFOp) { return binary<LLVM::FSubOp>(b, x); })
      .Case([&](arith::MulFOp) { return binary<LLVM::FMulOp>(b, x); })
      .Case([&](arith::DivFOp) {
        return b.intrinsic(b.f32Type, "llvm.nvvm.div.full.ftz", x);
      })
      .Case(
          [&](arith::NegFOp) -> Value { return LLVM::FNegOp::create(b, x[0]); })
      .Case([&](arith::MaxNumFOp) { return binary<LLVM::MaxNumOp>(b, x); })
      .Case([&](arith::MinNumFOp) { return binary<LLVM::MinNumOp>(b, x); })
      .Case([&](arith::MaximumFOp) { return binary<LLVM::MaximumOp>(b, x); })
      .Case([&](arith::MinimumFOp) { return binary<LLVM::MinimumOp>(b, x); })
      .Case([&](arith::CmpFOp cmp) -> Value {
        return LLVM::FCmpOp::create(
            b, static_cast<LLVM::FCmpPredicate>(cmp.getPredicate()), x[0],
            x[1]);
      })
      .Case([&](arith::SIToFPOp) -> Value {
        return LLVM::SIToFPOp::create(b, b.f32Type, x[0]);
      })
      .Case([&](math::FmaOp) -> Value {
        return LLVM::FMAOp::create(b, x[0], x[1], x[2]);
      })
      .Case(
          [&](math::AbsFOp) -> Value { return LLVM::FAbsOp::create(b, x[0]); })
      .Case([&](math::Exp2Op) {
        return b.intrinsic(b.f32Type, "llvm.nvvm.ex2.approx.ftz", x);
      })
      .Case([&](math::Log2Op) {
        return b.intrinsic(b.f32Type, "llvm.nvvm.lg2.approx.ftz.f", x);
      })
      .Default(Value());
}

bool nvptx::isElementwise(Operation *op) {
  return isa<arith::AddIOp, arith::SubIOp, arith::MulIOp, arith::DivSIOp,
             arith::DivUIOp, arith::RemSIOp, arith::RemUIOp,
             arith::FloorDivSIOp, arith::CeilDivSIOp, arith::AndIOp,
             arith::OrIOp, arith::XOrIOp, arith::ShLIOp, arith::ShRSIOp,
             arith::ShRUIOp, arith::MinSIOp, arith::MaxSIOp, arith::MinUIOp,
             arith::MaxUIOp, arith::CmpIOp, arith::IndexCastOp,
             arith::IndexCastUIOp, arith::ExtSIOp, arith::ExtUIOp,
             arith::TruncIOp, arith::SelectOp, arith::AddFOp, arith::SubFOp,
             arith::MulFOp, arith::DivFOp, arith::NegFOp, arith::MaxNumFOp,
             arith::MinNumFOp, arith::MaximumFOp, arith::MinimumFOp,
             arith::CmpFOp, arith::SIToFPOp, arith::TruncFOp, math::FmaOp,
             math::AbsFOp, math::Exp2Op, math::Log2Op>(op);
}

Value nvptx::buildElement(KernelBuilder &b, Operation *op,
                          ValueRange operands) {
  Value value = buildInteger(b, op, operands);
  return value ? value : buildFloat(b, op, operands);
}
