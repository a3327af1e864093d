//===- RegisterBuilder.h - ops on registers of the host ---------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_REGISTERBUILDER_H
#define ATTN_CODEGEN_HOST_REGISTERBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn::host {

struct Level;

/// Builds scalar code, loops, memory accesses and operations on vectors of
/// `Level::lanes` elements. Sizes, offsets and positions are of type index,
/// addresses are !llvm.ptr.
class RegisterBuilder : public ImplicitLocOpBuilder {
public:
  RegisterBuilder(Location loc, MLIRContext *context, const Level &level)
      : ImplicitLocOpBuilder(loc, context), level(level) {}

  const Level &getLevel() const { return level; }
  VectorType vectorOf(Type element);

  Value index(int64_t value);
  Value add(Value lhs, Value rhs);
  Value add(Value lhs, int64_t rhs);
  Value multiply(Value lhs, Value rhs);
  Value multiply(Value lhs, int64_t rhs);
  Value minimum(Value lhs, Value rhs);

  /// A float or integer constant; a splat where `type` is a vector.
  Value constant(Type type, double value);
  Value integer(Type type, int64_t value);
  /// One scalar in every lane.
  Value splat(Value scalar);

  /// `base` plus an index or a number of bytes.
  Value pointer(Value base, Value bytes);
  Value pointer(Value base, int64_t bytes);
  /// `alignment` in bytes.
  Value load(Type type, Value address, int64_t alignment);
  void store(Value value, Value address, int64_t alignment);
  /// Asks for the cache line of an address that need not be valid.
  void prefetch(Value address);

  /// An scf.for with the insertion point in its body, until endLoop. Bounds are
  /// of type index.
  scf::ForOp beginLoop(Value lower, Value upper, int64_t step,
                       ValueRange inits = {});
  scf::ForOp beginLoop(int64_t upper, int64_t step, ValueRange inits = {});
  void endLoop(scf::ForOp loop, ValueRange yielded = {});

  /// The elementwise operation `op` on registers (or, for what varies along the
  /// keys only, scalars).

  Value elementwise(Operation *op, ValueRange operands);

  Value fma(Value a, Value b, Value c);
  /// acc + sum of the products of neighbours, on registers of pairs of bf16
  /// given as vectors of i32.
  Value dotPairs(Value acc, Value a, Value b);
  /// 2 to the power of x: at most 2 units in the last place away, with
  /// denormals, infinities and NaN.
  Value exp2(Value x);
  /// The logarithm to base 2: absolute error below 2^-22 times its size, and
  /// the special values of log2.
  Value log2(Value x);
  /// From f16 or bf16 to f32, exactly; back, to the nearest with ties to even.
  Value extend(Value x);
  Value truncate(Value x, Type element);
  /// The bits of 16-bit floats as i32 with zeros above.
  Value bitsOf16(Value x);

private:
  Type likeType(Value value, Type element);
  Value select(Value condition, Value yes, Value no);
  Value compare(arith::CmpFPredicate predicate, Value lhs, Value rhs);
  Value bitcast(Value value, Type element);
  Value polynomial(Value x, ArrayRef<double> coefficients);
  Value truncateToF16(Value x);
  Value extendF16(Value bits);

  const Level &level;
};

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_REGISTERBUILDER_H
