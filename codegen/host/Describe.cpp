//===- Describe.cpp - see Describe.h --------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Describe.h"

#include "attn/codegen/host/Passes.h"
#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/EquivalenceClasses.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::host;

//===----------------------------------------------------------------------===//
// Names of extents
//===----------------------------------------------------------------------===//

ShapeNames::ShapeNames(func::FuncOp function) {
  using Extent = std::pair<void *, unsigned>;
  llvm::EquivalenceClasses<Extent> classes;
  auto getExtent = [](Value value, unsigned dim) {
    return Extent(value.getAsOpaquePointer(), dim);
  };
  auto unite = [&](ArrayRef<Value> values, unsigned dim) {
    for (Value value : values)
      if (value)
        classes.unionSets(getExtent(values.front(), dim),
                          getExtent(value, dim));
  };
  function.walk([&](AttentionOp op) {
    unite({op.getQ(), op.getK(), op.getV(), op.getO(), op.getLse()}, 0);
    unite({op.getQ(), op.getO(), op.getLse()}, 1);
    unite({op.getQ(), op.getO(), op.getLse()}, 2);
    unite({op.getK(), op.getV()}, 1);
    unite({op.getK(), op.getV()}, 2);
    if (op.getOffset() && isa<RankedTensorType>(op.getOffset().getType()))
      classes.unionSets(getExtent(op.getQ(), 0), getExtent(op.getOffset(), 0));
  });
  // An extent of one tensor that is static makes the others known.
  std::map<Extent, int64_t> sizes;
  auto noteSizes = [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    for (unsigned dim = 0; type && dim < type.getRank(); ++dim) {
      classes.insert(getExtent(value, dim));
      if (!type.isDynamicDim(dim))
        sizes[classes.getLeaderValue(getExtent(value, dim))] =
            type.getDimSize(dim);
    }
  };
  for (Value argument : function.getArguments())
    noteSizes(argument);
  function.walk([&](AttentionOp op) {
    for (Value result : op->getResults())
      noteSizes(result);
  });
  std::map<Extent, std::string> names;
  auto getShape = [&](Value value) {
    std::vector<::attn::Dimension> shape;
    auto type = dyn_cast<RankedTensorType>(value.getType());
    for (unsigned dim = 0; type && dim < type.getRank(); ++dim) {
      classes.insert(getExtent(value, dim));
      Extent leader = classes.getLeaderValue(getExtent(value, dim));
      if (auto size = sizes.find(leader); size != sizes.end()) {
        shape.emplace_back(size->second);
        continue;
      }
      auto [name, isNew] = names.try_emplace(leader);
      if (isNew)
        name->second = "d" + std::to_string(names.size() - 1);
      shape.emplace_back(name->second);
    }
    return shape;
  };
  for (Value argument : function.getArguments())
    arguments.push_back(getShape(argument));
  auto returnOp =
      cast<func::ReturnOp>(function.getBody().front().getTerminator());
  for (Value result : returnOp.getOperands())
    results.push_back(getShape(result));
}

//===----------------------------------------------------------------------===//
// The manifest
//===----------------------------------------------------------------------===//

static ::attn::ElementType getElement(Type type) {
  if (type.isF16())
    return ::attn::ElementType::F16;
  if (type.isBF16())
    return ::attn::ElementType::BF16;
  if (type.isF32())
    return ::attn::ElementType::F32;
  return type.isInteger(32) ? ::attn::ElementType::I32
                            : ::attn::ElementType::I64;
}

namespace {
class Description {
public:
  Description(func::FuncOp function, const ShapeNames &shapes)
      : function(function), shapes(shapes) {}
  FailureOr<::attn::Manifest> run();

private:
  void addBuffer(Value value, ::attn::BufferRole role, int64_t number,
                 std::string name, ArrayRef<::attn::Dimension> shape);
  LogicalResult addTemporary(memref::AllocOp alloc);
  LogicalResult addLaunch(func::CallOp call);
  /// What a size is in terms of the shape names: `value` belongs to `kernel`,
  /// whose arguments are the operands of `call`.
  FailureOr<::attn::Expression> getSize(OpFoldResult value, func::CallOp call,
                                        func::FuncOp kernel);

  func::FuncOp function;
  const ShapeNames &shapes;
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
  buffer.type = getElement(cast<MemRefType>(value.getType()).getElementType());
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
  int64_t buffer = numbers.lookup(call.getOperand(argument.getArgNumber()));
  return toExpression(manifest.buffers[buffer].shape[*dim.getConstantIndex()]);
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
    int64_t number = numbers.lookup(call.getOperand(param.argument));
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
  manifest.launches.push_back(std::move(launch));
  return success();
}

FailureOr<::attn::Manifest> Description::run() {
  manifest.compiler = "attn 0.1.0";
  manifest.function = function.getName().str();
  manifest.code.kind = "object";
  manifest.code.file = function.getName().str() + ".o";
  // Results became arguments after the original ones.
  unsigned results = 0;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    BlockArgument argument = function.getArgument(i);
    std::string name = "a" + std::to_string(i);
    bool isResult = i >= shapes.getNumArguments();
    if (isResult) {
      addBuffer(argument, ::attn::BufferRole::Result, results,
                "r" + std::to_string(results), shapes.getResult(results));
      ++results;
    } else if (isa<MemRefType>(argument.getType())) {
      addBuffer(argument, ::attn::BufferRole::Argument, i, name,
                shapes.getArgument(i));
    } else {
      Type type = argument.getType();
      numbers[argument] = i;
      manifest.scalars.push_back(
          {int64_t(i), name,
           type.isIndex() ? ::attn::ElementType::Index : getElement(type)});
    }
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

FailureOr<::attn::Manifest>
mlir::attn::host::describe(func::FuncOp function, const ShapeNames &shapes) {
  return Description(function, shapes).run();
}
