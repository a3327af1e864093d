//===- MaskMembership.cpp - see MaskMembership.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/reference/MaskMembership.h"

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// Wide enough for any product of two parameters.
using Integer = __int128;

Integer floorDiv(Integer a, Integer b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
Integer mod(Integer a, Integer b) { return a - b * floorDiv(a, b); }

/// A parameter of an atom with its symbol replaced by a value.
class Extended {
public:
  Extended(const MaskBound &bound, ArrayRef<int64_t> symbols)
      : infinite(bound.isInfinity()),
        value(infinite             ? 0
              : bound.isConstant() ? bound.getConstant()
                                   : symbols[bound.getSymbol()]) {}
  bool isAtLeast(Integer x) const { return infinite || value >= x; }
  bool isAbove(Integer x) const { return infinite || value > x; }
  /// The same bound counted in steps of `step`.
  Extended times(Integer step) const {
    Extended scaled = *this;
    scaled.value *= step;
    return scaled;
  }
  Integer finite() const {
    assert(!infinite);
    return value;
  }

private:
  bool infinite;
  Integer value;
};

struct Point {
  Integer head, p, j;
};

Integer evaluate(AffineExpr expr, const Point &point,
                 ArrayRef<Extended> symbols) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dim.getPosition() == 0   ? point.head
           : dim.getPosition() == 1 ? point.p
                                    : point.j;
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbols[symbol.getPosition()].finite();
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Integer lhs = evaluate(binary.getLHS(), point, symbols);
  Integer rhs = evaluate(binary.getRHS(), point, symbols);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return lhs + rhs;
  case AffineExprKind::Mul:
    return lhs * rhs;
  case AffineExprKind::Mod:
    return mod(lhs, rhs);
  case AffineExprKind::FloorDiv:
    return floorDiv(lhs, rhs);
  default:
    assert(expr.getKind() == AffineExprKind::CeilDiv);
    return -floorDiv(-lhs, rhs);
  }
}

} // namespace

bool mlir::attn::reference::contains(MaskAttr mask, ArrayRef<int64_t> symbols,
                                     int64_t head, int64_t p, int64_t j,
                                     function_ref<bool(MaskAttr)> holdsData) {
  auto holds = [&](MaskAttr operand) {
    return contains(operand, symbols, head, p, j, holdsData);
  };
  SmallVector<Extended, 3> b;
  for (const MaskBound &bound : mask.getBounds())
    if (!bound.isData())
      b.emplace_back(bound, symbols);
  const Integer distance = Integer(p) - j;
  auto inRange = [&](Integer x) {
    return x >= b[0].finite() && b[1].isAbove(x);
  };

  switch (mask.getKind()) {
  case MaskKind::All:
    return true;
  case MaskKind::Causal:
    return j <= p;
  case MaskKind::Window: // p - l <= j <= p + r
    return b[0].isAtLeast(distance) && b[1].isAtLeast(-distance);
  case MaskKind::Dilated: { // (p - j) mod step = 0 and -r * step <= p - j <= l
                            // * step
    Integer step = b[2].finite();
    return mod(distance, step) == 0 && b[0].times(step).isAtLeast(distance) &&
           b[1].times(step).isAtLeast(-distance);
  }
  case MaskKind::Stride:
    return mod(distance, b[0].finite()) == 0;
  case MaskKind::SameBlock:
    return floorDiv(j, b[0].finite()) == floorDiv(p, b[0].finite());
  case MaskKind::Summary:
    return mod(j, b[0].finite()) >= b[0].finite() - b[1].finite();
  case MaskKind::Global:
    return b[0].isAbove(p) || b[0].isAbove(j);
  case MaskKind::Keys:
    return inRange(j);
  case MaskKind::Queries:
    return inRange(p);
  case MaskKind::Heads:
    return inRange(head);
  case MaskKind::Set: {
    IntegerSet set = mask.getSet();
    for (unsigned n = 0; n < set.getNumConstraints(); ++n) {
      Integer value = evaluate(set.getConstraint(n), {head, p, j}, b);
      if (set.isEq(n) ? value != 0 : value < 0)
        return false;
    }
    return true;
  }
  case MaskKind::Lengths:
  case MaskKind::Documents:
  case MaskKind::Blocks:
  case MaskKind::Bits:
    return holdsData(mask);
  case MaskKind::And:
    return llvm::all_of(mask.getOperands(), holds);
  case MaskKind::Or:
    return llvm::any_of(mask.getOperands(), holds);
  case MaskKind::Not:
    return !holds(mask.getOperands().front());
  }
  llvm_unreachable("every kind has a definition");
}
