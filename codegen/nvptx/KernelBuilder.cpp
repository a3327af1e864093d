//===- KernelBuilder.cpp - builds the code of one thread ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/KernelBuilder.h"

#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace mlir::attn::nvptx;

KernelBuilder::KernelBuilder(LLVM::LLVMFuncOp function, BlockShape shape)
    : ImplicitLocOpBuilder(function.getLoc(), function.getContext()),
      shape(shape), function(function) {
  i1Type = getI1Type();
  i16Type = getI16Type();
  i32Type = getI32Type();
  i64Type = getI64Type();
  f32Type = getF32Type();
  globalPointer = LLVM::LLVMPointerType::get(
      getContext(), static_cast<unsigned>(NVVM::NVVMMemorySpace::Global));
  sharedPointer = LLVM::LLVMPointerType::get(
      getContext(), static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared));
  Block *entry = &function.getBody().front();
  setInsertionPointToEnd(entry);
  branch(createBlockAfter());
  setInsertionPoint(entry->getTerminator());
  phase = entry;
  setThread(NVVM::ThreadIdXOp::create(*this, i32Type));
  setInsertionPointToStart(entry->getNextNode());
}

void KernelBuilder::setThread(Value value) {
  thread = value;
  lane = andBits(thread, i32(31));
  warp = shiftRight(thread, i32(5));
  quad = shiftRight(lane, i32(2));
  quadLane = andBits(lane, i32(3));
}

void KernelBuilder::startPhase(Value thread) {
  Block *begin = createBlockAfter(), *rest = createBlockAfter();
  branch(begin);
  setInsertionPointToStart(begin);
  phase = begin;
  // Every lane asks itself.
  setThread(shuffleXor(thread, 0));
  branch(rest);
  setInsertionPointToStart(rest);
}

Value KernelBuilder::constant(Type type, int64_t value) {
  Value &known = integers[{type, value}];
  if (!known) {
    InsertionGuard guard(*this);
    setInsertionPointToStart(&function.getBody().front());
    known = LLVM::ConstantOp::create(*this, type, getIntegerAttr(type, value));
  }
  return known;
}

Value KernelBuilder::f32(float value) {
  Value &known = floats[llvm::bit_cast<uint32_t>(value)];
  if (!known) {
    InsertionGuard guard(*this);
    setInsertionPointToStart(&function.getBody().front());
    known = LLVM::ConstantOp::create(*this, f32Type, getF32FloatAttr(value));
  }
  return known;
}

Value KernelBuilder::shuffleXor(Value value, int64_t mask) {
  return NVVM::ShflOp::create(*this, value.getType(), i32(-1), value, i32(mask),
                              i32(31), NVVM::ShflKind::bfly, UnitAttr());
}

Value KernelBuilder::shuffleFrom(Value value, Value source) {
  return NVVM::ShflOp::create(*this, value.getType(), i32(-1), value, source,
                              i32(31), NVVM::ShflKind::idx, UnitAttr());
}

void KernelBuilder::barrier() {
  NVVM::BarrierOp::create(*this, TypeRange(), barrierId, barrierThreads,
                          NVVM::BarrierReductionAttr(), Value());
}

Value KernelBuilder::barrierOr(Value flag) {
  // NVVM's op has no reduction over the threads of a role.
  if (barrierId)
    return intrinsic(i1Type, "llvm.nvvm.barrier.cta.red.or.aligned.count",
                     {barrierId, barrierThreads, flag});
  Value any =
      NVVM::BarrierOp::create(*this, i32Type, Value(), Value(),
                              NVVM::BarrierReductionAttr::get(
                                  getContext(), NVVM::BarrierReduction::OR),
                              LLVM::ZExtOp::create(*this, i32Type, flag))
          .getResult(0);
  return compare(LLVM::ICmpPredicate::ne, any, i32(0));
}

void KernelBuilder::fenceAsyncShared() {
  NVVM::FenceProxyOp::create(
      *this,
      NVVM::ProxyKindAttr::get(getContext(), NVVM::ProxyKind::async_shared),
      NVVM::SharedSpaceAttr::get(getContext(), NVVM::SharedSpace::shared_cta));
}

Value KernelBuilder::hide(Value value) {
  return LLVM::InlineAsmOp::create(
             *this, i32Type, ValueRange{value}, "", "=r,0",
             /*has_side_effects=*/true, /*is_align_stack=*/false,
             LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}

Value KernelBuilder::hoist(function_ref<Value()> build) {
  InsertionGuard guard(*this);
  setInsertionPoint(phase->getTerminator());
  return build();
}

Block *KernelBuilder::createBlockAfter(TypeRange argumentTypes) {
  InsertionGuard guard(*this);
  return createBlock(&function.getBody(), function.getBody().end(),
                     argumentTypes,
                     SmallVector<Location>(argumentTypes.size(), getLoc()));
}

void KernelBuilder::ifThenElse(Value condition, function_ref<void()> whenTrue,
                               function_ref<void()> whenFalse) {
  Block *origin = getInsertionBlock();
  Block *first = createBlockAfter();
  setInsertionPointToStart(first);
  whenTrue();
  Block *firstEnd = getInsertionBlock();
  Block *second = createBlockAfter();
  setInsertionPointToStart(second);
  whenFalse();
  Block *merge = second;
  // An empty alternative is where the two meet.
  if (!second->empty() || getInsertionBlock() != second) {
    merge = createBlockAfter();
    branch(merge);
  }
  setInsertionPointToEnd(firstEnd);
  branch(merge);
  setInsertionPointToEnd(origin);
  branchIf(condition, first, second);
  setInsertionPointToEnd(merge);
}

Value KernelBuilder::choose(Value condition, function_ref<Value()> whenTrue,
                            Value otherwise) {
  Block *origin = getInsertionBlock(), *build = createBlockAfter();
  setInsertionPointToStart(build);
  Value built = whenTrue();
  Block *merge = createBlockAfter(otherwise.getType());
  branch(merge, built);
  setInsertionPointToEnd(origin);
  LLVM::CondBrOp::create(*this, condition, build, ValueRange(), merge,
                         ValueRange(otherwise));
  setInsertionPointToStart(merge);
  return merge->getArgument(0);
}

SmallVector<Value>
KernelBuilder::loop(Value lower, Value upper, Value step, ValueRange state,
                    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  SmallVector<Value> arguments{lower};
  llvm::append_range(arguments, state);
  Block *header = createBlockAfter(ValueRange(arguments).getTypes());
  branch(header, arguments);
  Block *first = createBlockAfter();
  setInsertionPointToStart(first);
  Value i = header->getArgument(0);
  SmallVector<Value> carried(llvm::drop_begin(header->getArguments()));
  // Loops are rare paths: the optimizer would find induction variables in them
  // and keep their starting values in registers all the time.
  SmallVector<Value> next{};
  SmallVector<Value> results = body(hide(i), carried);
  next.push_back(add(i, step));
  llvm::append_range(next, results);
  auto yes = BoolAttr::get(getContext(), true);
  auto noUnroll = LLVM::LoopUnrollAttr::get(getContext(), /*disable=*/yes, {},
                                            {}, {}, {}, {}, {});
  auto latch = LLVM::BrOp::create(*this, next, header);
  latch.setLoopAnnotationAttr(
      LLVM::LoopAnnotationAttr::get(getContext(), {}, {}, {}, noUnroll, {}, {},
                                    {}, {}, {}, {}, {}, {}, {}, {}, {}));
  Block *exit = createBlockAfter();
  setInsertionPointToEnd(header);
  branchIf(compare(LLVM::ICmpPredicate::slt, i, upper), first, exit);
  setInsertionPointToEnd(exit);
  return carried;
}
