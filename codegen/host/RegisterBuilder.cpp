//===- RegisterBuilder.cpp - see RegisterBuilder.h ------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/RegisterBuilder.h"

#include "attn/codegen/host/Level.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::attn::host;

//===----------------------------------------------------------------------===//
// Scalars, memory, loops
//===----------------------------------------------------------------------===//

VectorType RegisterBuilder::vectorOf(Type element) {
  return VectorType::get({level.lanes}, element);
}

Value RegisterBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}
Value RegisterBuilder::add(Value lhs, Value rhs) {
  return createOrFold<arith::AddIOp>(lhs, rhs);
}
Value RegisterBuilder::add(Value lhs, int64_t rhs) {
  return rhs == 0 ? lhs : add(lhs, index(rhs));
}
Value RegisterBuilder::multiply(Value lhs, Value rhs) {
  return createOrFold<arith::MulIOp>(lhs, rhs);
}
Value RegisterBuilder::multiply(Value lhs, int64_t rhs) {
  return rhs == 1 ? lhs : multiply(lhs, index(rhs));
}
Value RegisterBuilder::minimum(Value lhs, Value rhs) {
  return createOrFold<arith::MinSIOp>(lhs, rhs);
}

Value RegisterBuilder::constant(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr = FloatAttr::get(element, value);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(*this, attr);
}

Value RegisterBuilder::integer(Type type, int64_t value) {
  TypedAttr attr = IntegerAttr::get(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(*this, attr);
}

Value RegisterBuilder::splat(Value scalar) {
  return vector::BroadcastOp::create(*this, vectorOf(scalar.getType()), scalar);
}

Value RegisterBuilder::pointer(Value base, Value bytes) {
  Value offset = arith::IndexCastOp::create(*this, getI64Type(), bytes);
  return LLVM::GEPOp::create(*this, base.getType(), getI8Type(), base,
                             ArrayRef<LLVM::GEPArg>{offset});
}

Value RegisterBuilder::pointer(Value base, int64_t bytes) {
  if (bytes == 0)
    return base;
  return LLVM::GEPOp::create(*this, base.getType(), getI8Type(), base,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}

Value RegisterBuilder::load(Type type, Value address, int64_t alignment) {
  return LLVM::LoadOp::create(*this, type, address, unsigned(alignment));
}

void RegisterBuilder::store(Value value, Value address, int64_t alignment) {
  LLVM::StoreOp::create(*this, value, address, unsigned(alignment));
}

void RegisterBuilder::prefetch(Value address) {
  // For reading, into the second level: a tile of K and V would push what is in
  // use out of the first.
  LLVM::Prefetch::create(*this, address, /*rw=*/0, /*hint=*/2, /*cache=*/1);
}

scf::ForOp RegisterBuilder::beginLoop(Value lower, Value upper, int64_t step,
                                      ValueRange inits) {
  auto loop = scf::ForOp::create(*this, lower, upper, index(step), inits);
  Block *body = loop.getBody();
  if (!body->empty())
    body->back().erase();
  setInsertionPointToEnd(body);
  return loop;
}

scf::ForOp RegisterBuilder::beginLoop(int64_t upper, int64_t step,
                                      ValueRange inits) {
  Value zero = index(0);
  return beginLoop(zero, index(upper), step, inits);
}

void RegisterBuilder::endLoop(scf::ForOp loop, ValueRange yielded) {
  scf::YieldOp::create(*this, yielded);
  setInsertionPointAfter(loop);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

Type RegisterBuilder::likeType(Value value, Type element) {
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    return vector.clone(element);
  return element;
}

Value RegisterBuilder::select(Value condition, Value yes, Value no) {
  return arith::SelectOp::create(*this, condition, yes, no);
}

Value RegisterBuilder::compare(arith::CmpFPredicate predicate, Value lhs,
                               Value rhs) {
  return arith::CmpFOp::create(*this, predicate, lhs, rhs);
}

Value RegisterBuilder::bitcast(Value value, Type element) {
  return arith::BitcastOp::create(*this, likeType(value, element), value);
}

Value RegisterBuilder::fma(Value a, Value b, Value c) {
  if (level.hasFma)
    return math::FmaOp::create(*this, a, b, c);
  return arith::AddFOp::create(*this, arith::MulFOp::create(*this, a, b), c);
}

Value RegisterBuilder::dotPairs(Value acc, Value a, Value b) {
  auto pairs = VectorType::get({2 * level.lanes}, getBF16Type());
  Value lhs = vector::BitCastOp::create(*this, pairs, a),
        rhs = vector::BitCastOp::create(*this, pairs, b);
  return LLVM::CallIntrinsicOp::create(
             *this, acc.getType(),
             getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
             ValueRange{acc, lhs, rhs})
      .getResults();
}

Value RegisterBuilder::polynomial(Value x, ArrayRef<double> coefficients) {
  Value result = constant(x.getType(), coefficients.back());
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    result = fma(result, x, constant(x.getType(), coefficient));
  return result;
}

Value RegisterBuilder::exp2(Value x) {
  // Minimax for the relative error of 2^f on [-1/2, 1/2]: 1.9e-9 before
  // rounding.
  static constexpr double kCoefficients[] = {1.0,
                                             0.693147205737267,
                                             0.240226468906343,
                                             0.0555032877696563,
                                             0.00961848895710891,
                                             0.00133999312191502,
                                             0.000153458120037593};
  // Beyond these the result is 0 or infinite. Comparisons that NaN fails keep
  // it.
  bool hasScalef = level.lanes == 16 && isa<VectorType>(x.getType());
  Value low = constant(x.getType(), -151), high = constant(x.getType(), 129);
  x = select(compare(arith::CmpFPredicate::OLT, x, low), low, x);
  x = select(compare(arith::CmpFPredicate::OGT, x, high), high, x);
  if (hasScalef) {
    Value n = math::RoundEvenOp::create(*this, x);
    Value p = polynomial(arith::SubFOp::create(*this, x, n), kCoefficients);
    Value every = integer(getI16Type(), -1), current = integer(getI32Type(), 4);
    return LLVM::CallIntrinsicOp::create(
               *this, x.getType(),
               getStringAttr("llvm.x86.avx512.mask.scalef.ps.512"),
               ValueRange{p, n, p, every, current})
        .getResults();
  }
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits. The scale is
  // applied in two steps, so that neither leaves the range of normal numbers.
  Value magic = constant(x.getType(), 12582912.0);
  Value shifted = arith::AddFOp::create(*this, x, magic);
  Value n = arith::SubFOp::create(*this, shifted, magic);
  Value p = polynomial(arith::SubFOp::create(*this, x, n), kCoefficients);
  Value bits = arith::SubIOp::create(*this, bitcast(shifted, getI32Type()),
                                     bitcast(magic, getI32Type()));
  Type type = bits.getType();
  Value half = arith::ShRSIOp::create(*this, bits, integer(type, 1));
  Value rest = arith::SubIOp::create(*this, bits, half);
  for (Value part : {half, rest}) {
    Value biased = arith::AddIOp::create(*this, part, integer(type, 127));
    Value scale = arith::ShLIOp::create(*this, biased, integer(type, 23));
    p = arith::MulFOp::create(*this, p, bitcast(scale, getF32Type()));
  }
  return p;
}

Value RegisterBuilder::log2(Value x) {
  // 2 / ln 2 times the series of artanh(s), s = (m - 1) / (m + 1), for m in
  // [sqrt(1/2), sqrt(2)).
  static constexpr double kCoefficients[] = {
      2.88539008177793, 0.961796693925976, 0.577078016355585, 0.412198583111132,
      0.320598897975325};
  Type floats = x.getType(), ints = likeType(x, getI32Type());
  // Denormals are brought into the normal range first.
  Value isSmall =
      compare(arith::CmpFPredicate::OLT, x, constant(floats, 0x1p-126));
  Value scaled = select(
      isSmall, arith::MulFOp::create(*this, x, constant(floats, 0x1p32)), x);
  Value correction = select(isSmall, constant(floats, 32), constant(floats, 0));
  Value bits = bitcast(scaled, getI32Type());
  Value offset = arith::SubIOp::create(*this, bits, integer(ints, 0x3f3504f3));
  Value exponent = arith::ShRSIOp::create(*this, offset, integer(ints, 23));
  Value mantissa =
      bitcast(arith::SubIOp::create(
                  *this, bits,
                  arith::ShLIOp::create(*this, exponent, integer(ints, 23))),
              getF32Type());
  Value one = constant(floats, 1);
  Value s =
      arith::DivFOp::create(*this, arith::SubFOp::create(*this, mantissa, one),
                            arith::AddFOp::create(*this, mantissa, one));
  Value log = arith::MulFOp::create(
      *this, s, polynomial(arith::MulFOp::create(*this, s, s), kCoefficients));
  Value whole = arith::SubFOp::create(
      *this, arith::SIToFPOp::create(*this, floats, exponent), correction);
  Value result = arith::AddFOp::create(*this, log, whole);
  constexpr double inf = std::numeric_limits<double>::infinity();
  Value zero = constant(floats, 0);
  result = select(compare(arith::CmpFPredicate::OEQ, x, constant(floats, inf)),
                  x, result);
  result = select(compare(arith::CmpFPredicate::OEQ, x, zero),
                  constant(floats, -inf), result);
  return select(compare(arith::CmpFPredicate::OGE, x, zero), result,
                constant(floats, std::numeric_limits<double>::quiet_NaN()));
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

Value RegisterBuilder::bitsOf16(Value x) {
  Value bits = bitcast(x, getI16Type());
  return arith::ExtUIOp::create(*this, likeType(x, getI32Type()), bits);
}

Value RegisterBuilder::extendF16(Value bits) {
  // The exponent is rebased by an addition; infinity and NaN once more;
  // denormals by a float subtraction.
  Type type = bits.getType();
  Value magnitude = arith::ShLIOp::create(
      *this, arith::AndIOp::create(*this, bits, integer(type, 0x7fff)),
      integer(type, 13));
  Value exponent =
      arith::AndIOp::create(*this, magnitude, integer(type, 0x7c00 << 13));
  Value rebased =
      arith::AddIOp::create(*this, magnitude, integer(type, 112 << 23));
  Value special =
      arith::AddIOp::create(*this, rebased, integer(type, 112 << 23));
  Value lifted =
      bitcast(arith::AddIOp::create(*this, rebased, integer(type, 1 << 23)),
              getF32Type());
  Value denormal = bitcast(
      arith::SubFOp::create(*this, lifted, constant(lifted.getType(), 0x1p-14))
          .getResult(),
      getI32Type());
  auto equals = [&](Value value, int64_t number) {
    return arith::CmpIOp::create(*this, arith::CmpIPredicate::eq, value,
                                 integer(type, number));
  };
  Value result = select(equals(exponent, 0x7c00 << 13), special, rebased);
  result = select(equals(exponent, 0), denormal, result);
  Value sign = arith::ShLIOp::create(
      *this, arith::AndIOp::create(*this, bits, integer(type, 0x8000)),
      integer(type, 16));
  return bitcast(arith::OrIOp::create(*this, result, sign), getF32Type());
}

Value RegisterBuilder::extend(Value x) {
  Type floats = likeType(x, getF32Type());
  if (getElementTypeOrSelf(x).isF32())
    return x;
  if (getElementTypeOrSelf(x).isBF16()) {
    Value bits = bitsOf16(x);
    return bitcast(
        arith::ShLIOp::create(*this, bits, integer(bits.getType(), 16)),
        getF32Type());
  }
  if (level.hasF16)
    return arith::ExtFOp::create(*this, floats, x);
  return extendF16(bitsOf16(x));
}

Value RegisterBuilder::truncateToF16(Value x) {
  Value bits = bitcast(x, getI32Type());
  Type type = bits.getType();
  auto unsignedLess = [&](Value value, int64_t limit) {
    return arith::CmpIOp::create(*this, arith::CmpIPredicate::ult, value,
                                 integer(type, limit));
  };
  Value magnitude =
      arith::AndIOp::create(*this, bits, integer(type, 0x7fffffff));
  Value sign = arith::ShRUIOp::create(
      *this, arith::SubIOp::create(*this, bits, magnitude), integer(type, 16));
  // Normal: rebase, and round to even by adding just below one half.
  Value odd = arith::AndIOp::create(
      *this, arith::ShRUIOp::create(*this, magnitude, integer(type, 13)),
      integer(type, 1));
  Value rounded = arith::AddIOp::create(
      *this,
      arith::AddIOp::create(*this, magnitude,
                            integer(type, -(112 << 23) + 0xfff)),
      odd);
  Value normal = arith::ShRUIOp::create(*this, rounded, integer(type, 13));
  // Denormal: adding 1/2 lets the float unit round at the right bit.
  Value half = constant(x.getType(), 0.5);
  Value shifted =
      arith::AddFOp::create(*this, bitcast(magnitude, getF32Type()), half);
  Value denormal = arith::SubIOp::create(*this, bitcast(shifted, getI32Type()),
                                         bitcast(half, getI32Type()));
  Value result = select(unsignedLess(magnitude, 0x38800000), denormal, normal);
  Value special = select(unsignedLess(magnitude, 0x7f800001),
                         integer(type, 0x7c00), integer(type, 0x7e00));
  result = select(unsignedLess(magnitude, 0x47800000), result, special);
  result = arith::OrIOp::create(*this, result, sign);
  Value narrow =
      arith::TruncIOp::create(*this, likeType(x, getI16Type()), result);
  return bitcast(narrow, getF16Type());
}

Value RegisterBuilder::truncate(Value x, Type element) {
  if (element.isF32())
    return x;
  if (element.isF16() && !level.hasF16)
    return truncateToF16(x);
  if (element.isF16() || level.hasBf16Dot)
    return arith::TruncFOp::create(*this, likeType(x, element), x);
  Value bits = bitcast(x, getI32Type());
  Type type = bits.getType();
  Value sixteen = integer(type, 16);
  Value odd = arith::AndIOp::create(
      *this, arith::ShRUIOp::create(*this, bits, sixteen), integer(type, 1));
  Value rounded = arith::AddIOp::create(
      *this, arith::AddIOp::create(*this, bits, integer(type, 0x7fff)), odd);
  Value quiet = arith::OrIOp::create(*this, bits, integer(type, 0x400000));
  Value isNaN = compare(arith::CmpFPredicate::UNO, x, x);
  Value result =
      arith::ShRUIOp::create(*this, select(isNaN, quiet, rounded), sixteen);
  return bitcast(
      arith::TruncIOp::create(*this, likeType(x, getI16Type()), result),
      element);
}

Value RegisterBuilder::elementwise(Operation *op, ValueRange operands) {
  Type element = getElementTypeOrSelf(op->getResult(0));
  if (isa<math::Exp2Op>(op))
    return exp2(operands[0]);
  if (isa<math::Log2Op>(op))
    return log2(operands[0]);
  if (isa<math::FmaOp>(op))
    return fma(operands[0], operands[1], operands[2]);
  if (isa<arith::TruncFOp>(op))
    return truncate(operands[0], element);
  if (isa<arith::ExtFOp>(op))
    return extend(operands[0]);
  if (isa<arith::MaxNumFOp>(op)) {
    // One instruction; the right operand wins where the left one is NaN, and
    // where it is itself, the left one.
    Value larger =
        select(compare(arith::CmpFPredicate::OGT, operands[0], operands[1]),
               operands[0], operands[1]);
    return select(compare(arith::CmpFPredicate::UNO, operands[1], operands[1]),
                  operands[0], larger);
  }
  // Conditions may be scalar where the values are not.
  Value shaped = operands.front();
  for (Value operand : operands)
    if (isa<VectorType>(operand.getType()))
      shaped = operand;
  IRMapping mapping;
  mapping.map(op->getOperands(), operands);
  Operation *clone = ImplicitLocOpBuilder::clone(*op, mapping);
  clone->getResult(0).setType(likeType(shaped, element));
  return clone->getResult(0);
}
