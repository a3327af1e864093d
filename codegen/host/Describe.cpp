//===- Describe.cpp - see Describe.h --------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Describe.h"

#include "attn/codegen/ElementTypes.h"
#include "attn/codegen/host/Passes.h"
#include "attn/codegen/nvptx/ShapeNames.h"
#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::host;

Signature mlir::attn::host::getSignature(func::FuncOp function) {
  nvptx::ShapeNames names(function);
  Signature signature;
  auto describe = [&](::mlir::Value value, StringRef fallback) {
    Signature::Value result;
    bool isTensor = isa<RankedTensorType>(value.getType());
    result.name = names.getName(value, isTensor ? fallback : "scalar");
    if (isTensor)
      result.shape = names.getShape(value);
    if (isTensor && isa<BlockArgument>(value))
      result.checks = names.getChecks(value);
    return result;
  };
  for (::mlir::Value argument : function.getArguments())
    signature.arguments.push_back(describe(argument, "argument"));
  auto *terminator = function.getBody().front().getTerminator();
  for (::mlir::Value result : terminator->getOperands())
    signature.results.push_back(describe(result, "result"));
  return signature;
}

//===----------------------------------------------------------------------===//
// The manifest
//===----------------------------------------------------------------------===//

namespace {
class Description {
public:
  Description(func::FuncOp function, const Signature &signature)
      : function(function), signature(signature) {}
  FailureOr<::attn::Manifest> run();

private:
  void addBuffer(Value value, ::attn::BufferRole role, int64_t number,
                 std::string name, ArrayRef<::attn::Dimension> shape);
  LogicalResult addTemporary(memref::AllocOp alloc);
  LogicalResult addLaunch(func::CallOp call);
  /// Where the kernel's keys are split: the states of the parts, and what
  /// merges them.
  LogicalResult addMerge(func::FuncOp kernel, ::attn::LaunchDesc &launch,
                         ::attn::LaunchDesc &merge);
  /// What a size is in terms of the shape names: `value` belongs to `kernel`,
  /// whose arguments are the operands of `call`.
  FailureOr<::attn::Expression> getSize(OpFoldResult value, func::CallOp call,
                                        func::FuncOp kernel);

  int64_t getNumber(Value value) const {
    while (auto cast = value.getDefiningOp<memref::CastOp>())
      value = cast.getSource();
    return numbers.find(value)->second;
  }

  func::FuncOp function;
  const Signature &signature;
  ::attn::Manifest manifest;
  /// The number of each memref's buffer, of each scalar's argument.
  DenseMap<Value, int64_t> numbers;
};
} // namespace

void Description::addBuffer(Value value, ::attn::BufferRole role,
                            int64_t number, std::string name,
                            ArrayRef<::attn::Dimension> shape) {
  ::attn::BufferDesc buffer;
  buffer.role = role;
  buffer.number = number;
  buffer.name = std::move(name);
  buffer.type =
      *getElementType(cast<MemRefType>(value.getType()).getElementType());
  buffer.shape.assign(shape.begin(), shape.end());
  buffer.alignment = ::attn::sizeOf(buffer.type);
  numbers[value] = int64_t(manifest.buffers.size());
  manifest.buffers.push_back(std::move(buffer));
}

static ::attn::Expression toExpression(const ::attn::Dimension &dimension) {
  return dimension.isDynamic() ? ::attn::Expression(dimension.name)
                               : ::attn::Expression(dimension.size);
}

LogicalResult Description::addTemporary(memref::AllocOp alloc) {
  std::vector<::attn::Dimension> shape;
  for (OpFoldResult size : alloc.getMixedSizes()) {
    if (std::optional<int64_t> number = getConstantIntValue(size)) {
      shape.emplace_back(*number);
      continue;
    }
    auto dim = cast<Value>(size).getDefiningOp<memref::DimOp>();
    auto known = dim ? numbers.find(dim.getSource()) : numbers.end();
    if (known == numbers.end() || !dim.getConstantIndex())
      return alloc.emitOpError("expected sizes that are those of arguments");
    shape.push_back(
        manifest.buffers[known->second].shape[*dim.getConstantIndex()]);
  }
  std::string name = "t" + std::to_string(manifest.buffers.size());
  addBuffer(alloc.getResult(), ::attn::BufferRole::Temporary, 0,
            std::move(name), shape);
  return success();
}

FailureOr<::attn::Expression> Description::getSize(OpFoldResult value,
                                                   func::CallOp call,
                                                   func::FuncOp kernel) {
  if (std::optional<int64_t> number = getConstantIntValue(value))
    return ::attn::Expression(*number);
  auto dim = cast<Value>(value).getDefiningOp<memref::DimOp>();
  auto argument =
      dim ? dyn_cast<BlockArgument>(dim.getSource()) : BlockArgument();
  if (!argument || argument.getOwner() != &kernel.getBody().front() ||
      !dim.getConstantIndex())
    return kernel.emitOpError(
        "expected a grid whose extents are those of arguments");
  int64_t buffer = getNumber(call.getOperand(argument.getArgNumber()));
  return toExpression(manifest.buffers[buffer].shape[*dim.getConstantIndex()]);
}

LogicalResult Description::addMerge(func::FuncOp kernel,
                                    ::attn::LaunchDesc &launch,
                                    ::attn::LaunchDesc &merge) {
  int64_t splits = kernel->getAttrOfType<IntegerAttr>("attn.splits").getInt();
  ::attn::BufferDesc states;
  states.role = ::attn::BufferRole::Temporary;
  states.name = getStatesName(kernel.getName());
  states.type = ::attn::ElementType::F32;
  states.alignment = 4;
  for (const ::attn::Expression &count : launch.grid.args) {
    if (count.kind == ::attn::Expression::Kind::Name)
      states.shape.emplace_back(count.name);
    else if (::attn::Result<int64_t> number = ::attn::evaluate(count, {}))
      states.shape.emplace_back(*number);
    else
      return kernel.emitOpError("expected numbers of work items that are "
                                "constants or sizes of arguments");
  }
  states.shape.emplace_back(splits);
  // The lowering knows the size of a state.
  states.shape.emplace_back(int64_t(0));
  launch.params.push_back(
      ::attn::ParamDesc::pointer(int64_t(manifest.buffers.size())));
  manifest.buffers.push_back(std::move(states));
  merge = launch;
  merge.entry = getMergeName(kernel.getName());
  launch.grid.args.push_back(::attn::Expression(splits));
  return success();
}

LogicalResult Description::addLaunch(func::CallOp call) {
  auto kernel = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(
      call, call.getCalleeAttr());
  ::attn::LaunchDesc launch;
  launch.entry = kernel.getName().str();
  launch.threads = 1;
  auto forall = *kernel.getOps<scf::ForallOp>().begin();
  std::vector<::attn::Expression> counts;
  for (auto [upper, step] :
       llvm::zip_equal(forall.getMixedUpperBound(), forall.getMixedStep())) {
    FailureOr<::attn::Expression> extent = getSize(upper, call, kernel);
    if (failed(extent))
      return failure();
    int64_t by = *getConstantIntValue(step);
    counts.push_back(by == 1 ? *extent : ::attn::ceilDivExpr(*extent, by));
  }
  launch.grid = {::attn::Expression::Kind::Mul, counts};
  for (const KernelParam &param : getKernelParams(kernel)) {
    int64_t number = getNumber(call.getOperand(param.argument));
    switch (param.kind) {
    case KernelParam::Pointer:
      launch.params.push_back(::attn::ParamDesc::pointer(number));
      break;
    case KernelParam::Size:
      launch.params.push_back(::attn::ParamDesc::size(number, param.dim));
      break;
    case KernelParam::Stride:
      launch.params.push_back(::attn::ParamDesc::stride(number, param.dim));
      break;
    case KernelParam::Scalar:
      launch.params.push_back(::attn::ParamDesc::scalar(number));
      break;
    }
  }
  auto toText = [](Attribute attr) {
    std::string text;
    llvm::raw_string_ostream os(text);
    if (attr)
      attr.print(os);
    return text;
  };
  launch.schedule = toText(kernel->getAttr("attn.schedule"));
  if (auto mask = kernel->getAttrOfType<StringAttr>("attn.mask"))
    launch.mask = mask.str();
  ::attn::LaunchDesc merge;
  if (kernel->hasAttr("attn.splits") && failed(addMerge(kernel, launch, merge)))
    return failure();
  manifest.launches.push_back(std::move(launch));
  if (!merge.entry.empty())
    manifest.launches.push_back(std::move(merge));
  return success();
}

FailureOr<::attn::Manifest> Description::run() {
  manifest.compiler = "attn 0.1.0";
  manifest.function = function.getName().str();
  manifest.code.kind = "object";
  manifest.code.file = function.getName().str() + ".o";
  // Results became arguments after the original ones.
  size_t numArguments = signature.arguments.size();
  for (BlockArgument argument : function.getArguments()) {
    size_t number = argument.getArgNumber();
    if (number >= numArguments) {
      const Signature::Value &result = signature.results[number - numArguments];
      addBuffer(argument, ::attn::BufferRole::Result,
                int64_t(number - numArguments), result.name, result.shape);
      continue;
    }
    const Signature::Value &value = signature.arguments[number];
    if (isa<MemRefType>(argument.getType())) {
      addBuffer(argument, ::attn::BufferRole::Argument, int64_t(number),
                value.name, value.shape);
      manifest.buffers.back().checks = value.checks;
      continue;
    }
    Type type = argument.getType();
    numbers[argument] = int64_t(number);
    manifest.scalars.push_back(
        {int64_t(number), value.name, *getElementType(type)});
  }
  for (Operation &op : function.getBody().front()) {
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      if (failed(addTemporary(alloc)))
        return failure();
    } else if (auto call = dyn_cast<func::CallOp>(op)) {
      if (failed(addLaunch(call)))
        return failure();
    }
  }
  return std::move(manifest);
}

std::string mlir::attn::host::getStatesName(StringRef kernel) {
  return (kernel + "_states").str();
}

FailureOr<::attn::Manifest>
mlir::attn::host::describe(func::FuncOp function, const Signature &signature) {
  return Description(function, signature).run();
}
