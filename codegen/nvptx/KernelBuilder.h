//===- KernelBuilder.h - builds the code of one thread ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_KERNELBUILDER_H
#define ATTN_CODEGEN_NVPTX_KERNELBUILDER_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::attn::nvptx {

/// How the rows of a tile are dealt to warps: warp w has rows [w * rows /
/// warps, (w + 1) * rows / warps).
struct BlockShape {
  int64_t rows;
  int64_t warps;
  int64_t getThreads() const { return warps * 32; }
  int64_t getRowsPerWarp() const { return rows / warps; }
  /// 16-row fragments of one warp.
  int64_t getRowFragments() const { return getRowsPerWarp() / 16; }
};

/// A builder of LLVM and NVVM ops with short names. The entry block of the
/// function holds constants and values that depend on the thread alone; code
/// goes into the blocks after it.
class KernelBuilder : public ImplicitLocOpBuilder {
public:
  /// Starts `function`, which has an empty entry block; leaves the insertion
  /// point in its second block.
  KernelBuilder(LLVM::LLVMFuncOp function, BlockShape shape);

  const BlockShape shape;
  Type i1Type, i16Type, i32Type, i64Type, f32Type, globalPointer, sharedPointer;
  /// tid.x, the lane, the warp, lane / 4 and lane % 4, as i32.
  Value thread, lane, warp, quad, quadLane;

  Value constant(Type type, int64_t value);
  Value i32(int64_t value) { return constant(i32Type, value); }
  Value i64(int64_t value) { return constant(i64Type, value); }
  Value f32(float value);
  /// 0 of a float type.
  Value zero(Type type) {
    return LLVM::ConstantOp::create(*this, type, getFloatAttr(type, 0.0));
  }

  Value add(Value a, Value b) { return LLVM::AddOp::create(*this, a, b); }
  Value sub(Value a, Value b) { return LLVM::SubOp::create(*this, a, b); }
  Value mul(Value a, Value b) { return LLVM::MulOp::create(*this, a, b); }
  Value andBits(Value a, Value b) { return LLVM::AndOp::create(*this, a, b); }
  Value orBits(Value a, Value b) { return LLVM::OrOp::create(*this, a, b); }
  Value xorBits(Value a, Value b) { return LLVM::XOrOp::create(*this, a, b); }
  Value shiftLeft(Value a, Value b) { return LLVM::ShlOp::create(*this, a, b); }
  Value shiftRight(Value a, Value b) {
    return LLVM::LShrOp::create(*this, a, b);
  }
  Value compare(LLVM::ICmpPredicate predicate, Value a, Value b) {
    return LLVM::ICmpOp::create(*this, predicate, a, b);
  }
  Value select(Value condition, Value a, Value b) {
    return LLVM::SelectOp::create(*this, condition, a, b);
  }
  Value minSigned(Value a, Value b) {
    return LLVM::SMinOp::create(*this, a, b);
  }
  /// i32 to i64, for values that are not negative.
  Value widen(Value value) {
    return LLVM::ZExtOp::create(*this, i64Type, value);
  }
  Value narrow(Value value) {
    return LLVM::TruncOp::create(*this, i32Type, value);
  }
  Value bitcast(Type type, Value value) {
    return value.getType() == type
               ? value
               : Value(LLVM::BitcastOp::create(*this, type, value));
  }
  /// `pointer` plus `bytes`.
  Value advance(Value pointer, Value bytes) {
    return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer,
                               ArrayRef<LLVM::GEPArg>{bytes});
  }
  Value advance(Value pointer, int64_t bytes) {
    return bytes == 0
               ? pointer
               : Value(LLVM::GEPOp::create(
                     *this, pointer.getType(), getI8Type(), pointer,
                     ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(bytes)}));
  }
  Value load(Type type, Value pointer, unsigned alignment) {
    return LLVM::LoadOp::create(*this, type, pointer, alignment);
  }
  /// Of memory that the kernel does not write.
  Value loadConstant(Type type, Value pointer, unsigned alignment) {
    auto op = LLVM::LoadOp::create(*this, type, pointer, alignment);
    op.setInvariant(true);
    return op;
  }
  void store(Value value, Value pointer, unsigned alignment) {
    LLVM::StoreOp::create(*this, value, pointer, alignment);
  }
  Value intrinsic(Type type, llvm::StringRef name, ValueRange arguments) {
    return LLVM::CallIntrinsicOp::create(*this, type, getStringAttr(name),
                                         arguments)
        .getResult(0);
  }
  /// The value of lane `lane ^ mask`.
  Value shuffleXor(Value value, int64_t mask);
  /// The value of lane `source`, an i32.
  Value shuffleFrom(Value value, Value source);
  /// `value`, an i32, in a way that the optimizer cannot see through.
  Value hide(Value value);
  /// `value`, an i64, times 2^`log2`, computed here and not before the loop.
  Value scaleHere(Value value, unsigned log2) {
    return shiftLeft(value, widen(hide(i32(log2))));
  }
  /// Waits for all threads that share the barrier: those of the block, or of
  /// the role that the code is for.
  void barrier();
  /// The same, and whether `flag`, an i1, holds in any of them.
  Value barrierOr(Value flag);
  /// The barrier's number and threads, i32; null for all threads of the block.
  Value barrierId, barrierThreads;
  /// Orders this thread's accesses to shared memory before those of tensor
  /// copies and of products of warpgroups.
  void fenceAsyncShared();

  /// Runs `build` with the insertion point where the current phase begins: in
  /// the entry block, or where `startPhase` was called last.
  Value hoist(llvm::function_ref<Value()> build);
  /// Computes the thread's coordinates anew from `thread`, its number, in a way
  /// that neither LLVM nor ptxas can see through: what a phase derives from
  /// them does not stay in registers through the loops of the phase before.
  void startPhase(Value thread);

  /// Appends a block to the function.
  Block *createBlockAfter(TypeRange argumentTypes = {});
  void branch(Block *target, ValueRange arguments = {}) {
    LLVM::BrOp::create(*this, arguments, target);
  }
  void branchIf(Value condition, Block *whenTrue, Block *whenFalse) {
    LLVM::CondBrOp::create(*this, condition, whenTrue, whenFalse);
  }
  void ifThenElse(Value condition, llvm::function_ref<void()> whenTrue,
                  llvm::function_ref<void()> whenFalse);
  void ifThen(Value condition, llvm::function_ref<void()> whenTrue) {
    ifThenElse(condition, whenTrue, [] {});
  }
  /// What `whenTrue` builds if the condition holds, else `otherwise`.
  Value choose(Value condition, llvm::function_ref<Value()> whenTrue,
               Value otherwise);
  /// for (i = lower; i < upper; i += step), i32, with `state` carried through
  /// the body.
  SmallVector<Value>
  loop(Value lower, Value upper, Value step, ValueRange state,
       llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);

private:
  void setThread(Value value);

  LLVM::LLVMFuncOp function;
  Block *phase;
  llvm::DenseMap<std::pair<Type, int64_t>, Value> integers;
  llvm::DenseMap<uint32_t, Value> floats;
};

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_KERNELBUILDER_H
