//===- Elementwise.cpp - one element of an elementwise op ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Elementwise.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

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

static Value times(KernelBuilder &b, Value x, float factor) {
  return LLVM::FMulOp::create(b, x, b.f32(factor));
}

static Value buildExp2(KernelBuilder &b, Value x) {
  return b.intrinsic(b.f32Type, "llvm.nvvm.ex2.approx.ftz", x);
}

static Value buildLog2(KernelBuilder &b, Value x) {
  return b.intrinsic(b.f32Type, "llvm.nvvm.lg2.approx.ftz.f", x);
}

/// 1 - 2 / (1 + exp(2 x)): within 2^-22, where tanh.approx, within 2^-11, would
/// be visible in the log-sum-exp.
static Value buildTanh(KernelBuilder &b, Value x) {
  Value power = buildExp2(b, times(b, x, 2.88539008177792681f));
  Value sum = LLVM::FAddOp::create(b, power, b.f32(1.0f));
  Value inverse = b.intrinsic(b.f32Type, "llvm.nvvm.rcp.approx.ftz.f", sum);
  return LLVM::FMAOp::create(b, inverse, b.f32(-2.0f), b.f32(1.0f));
}

/// The exponent of a power, if it is a constant.
static std::optional<float> getConstantExponent(Operation *op) {
  FloatAttr exponent;
  if (matchPattern(op->getOperand(1), m_Constant(&exponent)))
    return exponent.getValue().convertToFloat();
  DenseFPElementsAttr splat;
  Value value = op->getOperand(1);
  if (auto broadcast = value.getDefiningOp<vector::BroadcastOp>())
    if (matchPattern(broadcast.getSource(), m_Constant(&exponent)))
      return exponent.getValue().convertToFloat();
  if (matchPattern(value, m_Constant(&splat)) && splat.isSplat())
    return splat.getSplatValue<APFloat>().convertToFloat();
  return std::nullopt;
}

/// A product for small whole exponents, which are right for negative x too;
/// else a power of 2.
static Value buildPower(KernelBuilder &b, Value x, float exponent) {
  constexpr float most = 64;
  if (exponent != std::floor(exponent) || std::fabs(exponent) > most)
    return buildExp2(b, times(b, buildLog2(b, x), exponent));
  Value result = b.f32(1.0f), square = x;
  for (auto rest = static_cast<unsigned>(std::fabs(exponent)); rest;
       rest >>= 1) {
    if (rest & 1)
      result = LLVM::FMulOp::create(b, result, square);
    square = LLVM::FMulOp::create(b, square, square);
  }
  return exponent < 0
             ? b.intrinsic(b.f32Type, "llvm.nvvm.rcp.approx.ftz.f", result)
             : result;
}

/// f32 from 16 bits.
static Value buildExtension(KernelBuilder &b, Value x) {
  if (!x.getType().isBF16())
    return LLVM::FPExtOp::create(b, b.f32Type, x);
  Value bits = LLVM::ZExtOp::create(b, b.i32Type, b.bitcast(b.i16Type, x));
  return b.bitcast(b.f32Type, b.shiftLeft(bits, b.i32(16)));
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
      .Case([&](arith::UIToFPOp) -> Value {
        return LLVM::UIToFPOp::create(b, b.f32Type, x[0]);
      })
      .Case([&](arith::ExtFOp) { return buildExtension(b, x[0]); })
      .Case([&](math::FmaOp) -> Value {
        return LLVM::FMAOp::create(b, x[0], x[1], x[2]);
      })
      .Case(
          [&](math::AbsFOp) -> Value { return LLVM::FAbsOp::create(b, x[0]); })
      .Case([&](math::Exp2Op) { return buildExp2(b, x[0]); })
      .Case([&](math::Log2Op) { return buildLog2(b, x[0]); })
      .Case([&](math::ExpOp) {
        return buildExp2(b, times(b, x[0], 1.44269504088896341f));
      })
      .Case([&](math::LogOp) {
        return times(b, buildLog2(b, x[0]), 0.693147180559945309f);
      })
      .Case([&](math::TanhOp) { return buildTanh(b, x[0]); })
      .Case([&](math::SqrtOp) {
        return b.intrinsic(b.f32Type, "llvm.nvvm.sqrt.approx.ftz.f", x);
      })
      .Case([&](math::RsqrtOp) {
        return b.intrinsic(b.f32Type, "llvm.nvvm.rsqrt.approx.ftz.f", x);
      })
      .Case([&](math::PowFOp) {
        return buildPower(b, x[0], *getConstantExponent(op));
      })
      .Default(Value());
}

/// What to write instead of an op.
static StringRef getNearest(StringRef name) {
  return llvm::StringSwitch<StringRef>(name)
      .Case("math.expm1", "; math.exp(x) - 1 has one")
      .Case("math.log1p", "; math.log(1 + x) has one")
      .Case("math.log10", "; math.log2(x) * 0.30103 has one")
      .Case("math.cbrt", "; math.powf(x, 1/3) has one")
      .Case("math.sinh", "; (math.exp(x) - math.exp(-x)) / 2 has one")
      .Case("math.cosh", "; (math.exp(x) + math.exp(-x)) / 2 has one")
      .Case("math.absi", "; arith.maxsi(x, -x) has one")
      .Case("math.fpowi", "; math.powf with a constant exponent has one")
      .Case("arith.remf", "; x - y * floor(x / y) over integers has one")
      .Default("; arith on f32 and integers, math.absf, exp, exp2, fma, log, "
               "log2, powf, rsqrt, sqrt and tanh have one");
}

bool nvptx::isElementwise(Operation *op) {
  return op->getNumResults() == 1 && op->getNumRegions() == 0 &&
         !isa<arith::ConstantOp>(op) &&
         OpTrait::hasElementwiseMappableTraits(op);
}

LogicalResult nvptx::checkElement(Operation *op) {
  if (isa<arith::AddIOp, arith::SubIOp, arith::MulIOp, arith::DivSIOp,
          arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, arith::FloorDivSIOp,
          arith::CeilDivSIOp, arith::AndIOp, arith::OrIOp, arith::XOrIOp,
          arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp, arith::MinSIOp,
          arith::MaxSIOp, arith::MinUIOp, arith::MaxUIOp, arith::CmpIOp,
          arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtSIOp,
          arith::ExtUIOp, arith::TruncIOp, arith::SelectOp, arith::AddFOp,
          arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
          arith::MaxNumFOp, arith::MinNumFOp, arith::MaximumFOp,
          arith::MinimumFOp, arith::CmpFOp, arith::SIToFPOp, arith::UIToFPOp,
          arith::ExtFOp, arith::TruncFOp, math::FmaOp, math::AbsFOp,
          math::Exp2Op, math::Log2Op, math::ExpOp, math::LogOp, math::TanhOp,
          math::SqrtOp, math::RsqrtOp>(op))
    return success();
  if (isa<math::PowFOp>(op)) {
    if (getConstantExponent(op))
      return success();
    return op->emitOpError("has a GPU lowering for constant exponents only; "
                           "exp2(y * log2(x)) is the same for x above 0");
  }
  return op->emitOpError("has no GPU lowering")
         << getNearest(op->getName().getStringRef());
}

Value nvptx::buildElement(KernelBuilder &b, Operation *op,
                          ValueRange operands) {
  Value value = buildInteger(b, op, operands);
  return value ? value : buildFloat(b, op, operands);
}
