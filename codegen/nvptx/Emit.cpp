//===- Emit.cpp - from a function to a bundle ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Emit.h"

#include "attn/codegen/ElementTypes.h"
#include "attn/codegen/nvptx/Nvptx.h"
#include "attn/codegen/nvptx/Ptx.h"
#include "attn/codegen/nvptx/ShapeNames.h"
#include "attn/passes/Pipelines.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ScopeExit.h"

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

void nvptx::registerNvptxDialects(DialectRegistry &registry) {
  registry.insert<AttnDialect, NvptxDialect, affine::AffineDialect,
                  arith::ArithDialect, func::FuncDialect, gpu::GPUDialect,
                  index::IndexDialect, LLVM::LLVMDialect, memref::MemRefDialect,
                  tensor::TensorDialect>();
  registerPtxTranslations(registry);
}

namespace {
/// Fills the manifest of one function: first from its tensors, then from the
/// kernels that they became.
class ManifestBuilder {
public:
  explicit ManifestBuilder(func::FuncOp function) : names(function) {}

  LogicalResult addSignature(func::FuncOp function);
  LogicalResult addLaunches(func::FuncOp lowered, gpu::GPUModuleOp kernels);

  ::attn::Manifest manifest;

private:
  LogicalResult addBuffer(Location loc, Value tensor, ::attn::BufferRole role,
                          int64_t number, StringRef fallback);
  LogicalResult addTemporary(memref::AllocOp alloc);
  LogicalResult addLaunch(func::CallOp call, LLVM::LLVMFuncOp kernel);
  FailureOr<::attn::ParamDesc> getParameter(func::CallOp call,
                                            DictionaryAttr role);
  FailureOr<::attn::Expression> getGrid(func::CallOp call,
                                        LLVM::LLVMFuncOp kernel);
  /// The buffer that a memref of the lowered function is.
  std::optional<int64_t> getBuffer(Value memref);

  ShapeNames names;
  /// By argument of the lowered function: the index of its buffer, or -1 for a
  /// scalar.
  SmallVector<int64_t> argumentBuffers;
  DenseMap<Value, int64_t> temporaries;
};
} // namespace

LogicalResult ManifestBuilder::addBuffer(Location loc, Value tensor,
                                         ::attn::BufferRole role,
                                         int64_t number, StringRef fallback) {
  auto type = cast<ShapedType>(tensor.getType());
  std::optional<::attn::ElementType> element =
      getElementType(type.getElementType());
  if (!element)
    return emitError(loc) << "no buffer can hold elements of type "
                          << type.getElementType();
  // An index is stored as an i64.
  if (*element == ::attn::ElementType::Index)
    element = ::attn::ElementType::I64;
  ::attn::BufferDesc buffer;
  buffer.role = role;
  buffer.number = number;
  buffer.name = names.getName(tensor, fallback);
  buffer.type = *element;
  buffer.shape = names.getShape(tensor);
  buffer.alignment = ::attn::sizeOf(*element);
  if (role == ::attn::BufferRole::Argument)
    buffer.checks = names.getChecks(tensor);
  argumentBuffers.push_back(manifest.buffers.size());
  manifest.buffers.push_back(std::move(buffer));
  return success();
}

LogicalResult ManifestBuilder::addSignature(func::FuncOp function) {
  manifest.compiler = "attn 0.1.0";
  manifest.function = function.getName().str();
  for (BlockArgument argument : function.getArguments()) {
    int64_t number = argument.getArgNumber();
    if (isa<ShapedType>(argument.getType())) {
      if (failed(addBuffer(function.getLoc(), argument,
                           ::attn::BufferRole::Argument, number, "arg")))
        return failure();
      continue;
    }
    std::optional<::attn::ElementType> type =
        getElementType(argument.getType());
    if (!type || ::attn::isFloat(*type) || ::attn::sizeOf(*type) == 1)
      return function.emitOpError(
                 "expected scalar arguments of type i32, i64 or index, found ")
             << argument.getType();
    manifest.scalars.push_back(
        {number, names.getName(argument, "scalar"), *type});
    argumentBuffers.push_back(-1);
  }
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [number, value] : llvm::enumerate(terminator->getOperands()))
    if (failed(addBuffer(function.getLoc(), value, ::attn::BufferRole::Result,
                         number, "result")))
      return failure();
  return success();
}

std::optional<int64_t> ManifestBuilder::getBuffer(Value memref) {
  while (auto cast = memref.getDefiningOp<memref::CastOp>())
    memref = cast.getSource();
  if (auto argument = dyn_cast<BlockArgument>(memref))
    return argumentBuffers[argument.getArgNumber()];
  auto temporary = temporaries.find(memref);
  return temporary == temporaries.end() ? std::nullopt
                                        : std::optional(temporary->second);
}

LogicalResult ManifestBuilder::addTemporary(memref::AllocOp alloc) {
  ::attn::BufferDesc buffer;
  buffer.role = ::attn::BufferRole::Temporary;
  buffer.name = "t" + std::to_string(temporaries.size());
  buffer.type = *getElementType(alloc.getType().getElementType());
  buffer.alignment = 16;
  ValueRange sizes = alloc.getDynamicSizes();
  for (int64_t size : alloc.getType().getShape()) {
    if (!ShapedType::isDynamic(size)) {
      buffer.shape.emplace_back(size);
      continue;
    }
    auto dim = sizes.front().getDefiningOp<memref::DimOp>();
    std::optional<int64_t> source =
        dim ? getBuffer(dim.getSource()) : std::nullopt;
    if (!source || !dim.getConstantIndex())
      return alloc.emitOpError(
          "expected the sizes of a temporary to be sizes of arguments");
    buffer.shape.push_back(
        manifest.buffers[*source].shape[*dim.getConstantIndex()]);
    sizes = sizes.drop_front();
  }
  temporaries[alloc.getResult()] = manifest.buffers.size();
  manifest.buffers.push_back(std::move(buffer));
  return success();
}

FailureOr<::attn::ParamDesc>
ManifestBuilder::getParameter(func::CallOp call, DictionaryAttr role) {
  NamedAttribute what = *role.begin();
  auto pair = dyn_cast<DenseI64ArrayAttr>(what.getValue());
  int64_t number = pair ? pair[0] : cast<IntegerAttr>(what.getValue()).getInt();
  if (what.getName() == "attn.tensor_maps_fit")
    return ::attn::ParamDesc::tensorMapsFit();
  Value operand = call.getOperand(number);
  if (what.getName() == "attn.scalar") {
    auto argument = dyn_cast<BlockArgument>(operand);
    if (!argument)
      return call.emitOpError(
          "expected scalar operands that are arguments of the function");
    return ::attn::ParamDesc::scalar(argument.getArgNumber());
  }
  std::optional<int64_t> buffer = getBuffer(operand);
  if (!buffer)
    return call.emitOpError(
        "expected operands that are arguments, results or temporaries");
  if (what.getName() == "attn.tensor_map") {
    // Of one batch.
    int64_t heads = pair[1], rows = pair[2], columns = pair[3];
    bool hasClasses = pair.size() > 4;
    return ::attn::ParamDesc::tensorMap(*buffer, {1, heads, rows, columns},
                                        2 * columns, hasClasses ? pair[4] : 1,
                                        hasClasses && pair[5] != 0);
  }
  if (what.getName() == "attn.pointer")
    return ::attn::ParamDesc::pointer(*buffer);
  return what.getName() == "attn.size"
             ? ::attn::ParamDesc::size(*buffer, pair[1])
             : ::attn::ParamDesc::stride(*buffer, pair[1]);
}

static ::attn::Expression getExpression(AffineExpr expr,
                                        ArrayRef<::attn::Expression> symbols) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return {constant.getValue()};
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return symbols[symbol.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  ::attn::Expression left = getExpression(binary.getLHS(), symbols),
                     right = getExpression(binary.getRHS(), symbols);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return ::attn::addExpr(left, right);
  case AffineExprKind::Mul:
    return ::attn::mulExpr(left, right);
  case AffineExprKind::CeilDiv:
    return ::attn::ceilDivExpr(left, right);
  default:
    llvm_unreachable("a grid is a product of rounded quotients");
  }
}

FailureOr<::attn::Expression>
ManifestBuilder::getGrid(func::CallOp call, LLVM::LLVMFuncOp kernel) {
  auto dims =
      kernel->getAttrOfType<DenseI64ArrayAttr>("attn.grid_dims").asArrayRef();
  SmallVector<::attn::Expression> symbols;
  for (size_t i = 0; i < dims.size(); i += 2) {
    std::optional<int64_t> buffer = getBuffer(call.getOperand(dims[i]));
    if (!buffer)
      return call.emitOpError(
          "expected operands that are arguments, results or temporaries");
    const ::attn::Dimension &size =
        manifest.buffers[*buffer].shape[dims[i + 1]];
    symbols.push_back(size.isDynamic() ? ::attn::Expression(size.name)
                                       : ::attn::Expression(size.size));
  }
  return getExpression(
      kernel->getAttrOfType<AffineMapAttr>("attn.grid").getValue().getResult(0),
      symbols);
}

LogicalResult ManifestBuilder::addLaunch(func::CallOp call,
                                         LLVM::LLVMFuncOp kernel) {
  ::attn::LaunchDesc launch;
  launch.entry = kernel.getName().str();
  FailureOr<::attn::Expression> grid = getGrid(call, kernel);
  if (failed(grid))
    return failure();
  launch.grid = std::move(*grid);
  launch.persistent = kernel->hasAttr("attn.persistent");
  launch.threads = kernel->getAttrOfType<DenseI32ArrayAttr>("nvvm.reqntid")[0];
  launch.shared =
      kernel->getAttrOfType<IntegerAttr>("attn.shared_bytes").getInt();
  for (auto role : kernel.getArgAttrsAttr().getAsRange<DictionaryAttr>()) {
    FailureOr<::attn::ParamDesc> parameter = getParameter(call, role);
    if (failed(parameter))
      return failure();
    launch.params.push_back(*parameter);
  }
  llvm::raw_string_ostream(launch.schedule) << kernel->getAttr("attn.schedule");
  if (auto mask = kernel->getAttrOfType<StringAttr>("attn.mask"))
    launch.mask = mask.str();
  manifest.launches.push_back(std::move(launch));
  return success();
}

LogicalResult ManifestBuilder::addLaunches(func::FuncOp lowered,
                                           gpu::GPUModuleOp kernels) {
  for (Operation &op : lowered.getBody().front()) {
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      if (failed(addTemporary(alloc)))
        return failure();
    } else if (auto call = dyn_cast<func::CallOp>(op)) {
      auto kernel =
          kernels ? kernels.lookupSymbol<LLVM::LLVMFuncOp>(call.getCallee())
                  : LLVM::LLVMFuncOp();
      if (!kernel)
        return call.emitOpError("expected a call of a kernel");
      if (failed(addLaunch(call, kernel)))
        return failure();
    }
  }
  return success();
}

FailureOr<::attn::Bundle>
nvptx::compileToBundle(ModuleOp module, StringRef name,
                       const NvptxPipelineOptions &options) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function || function.isExternal())
    return module.emitError("has no function ") << name << " with a body";
  const Target *target = findTarget(options.target);
  if (!target) {
    InFlightDiagnostic diagnostic =
        module.emitError("expected a target among ");
    llvm::interleaveComma(getTargets(), diagnostic, [&](const Target &known) {
      diagnostic << known.name;
    });
    return diagnostic << ", found " << options.target;
  }

  // Only this function: the others may not even be meant for a GPU.
  OwningOpRef<ModuleOp> work = ModuleOp::create(module.getLoc());
  work->getBody()->push_back(function->clone());
  PassManager manager(module.getContext());
  buildNvptxPipeline(manager, options);
  if (failed(runAndVerify(manager, *work)))
    return failure();
  auto modules = work->getOps<gpu::GPUModuleOp>();
  if (modules.empty())
    return function.emitOpError(
        "expected at least one attn.attention to compile");
  gpu::GPUModuleOp kernels = *modules.begin();

  ManifestBuilder builder(function);
  if (failed(builder.addSignature(function)) ||
      failed(
          builder.addLaunches(work->lookupSymbol<func::FuncOp>(name), kernels)))
    return failure();
  FailureOr<std::string> ptx = emitPtx(kernels, *target);
  if (failed(ptx))
    return failure();
  builder.manifest.target = target->name.str();
  builder.manifest.code.file = name.str() + ".ptx";
  ::attn::Result<::attn::Bundle> bundle =
      ::attn::makeBundle(std::move(builder.manifest), std::move(*ptx));
  if (!bundle)
    return function.emitOpError("internal error: ") << bundle.error().message;
  return std::move(*bundle);
}
