//===- ToNvvm.cpp - scheduled kernels as functions of one thread ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/Passes.h"
#include "attn/codegen/nvptx/Elementwise.h"
#include "attn/codegen/nvptx/KernelLowering.h"
#include "attn/codegen/nvptx/Nvptx.h"
#include "attn/dialect/Attn.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNTONVVM
#include "attn/codegen/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

/// Replaces affine.apply, affine.min and affine.max by arithmetic.
static LogicalResult expandAffineOps(func::FuncOp kernel) {
  SmallVector<Operation *> ops;
  kernel.walk([&](Operation *op) {
    if (isa<affine::AffineApplyOp, affine::AffineMinOp, affine::AffineMaxOp>(
            op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    OpBuilder b(op);
    Location loc = op->getLoc();
    AffineMap map = cast<AffineMapAttr>(op->getAttr("map")).getValue();
    std::optional<SmallVector<Value, 8>> values =
        affine::expandAffineMap(b, loc, map, op->getOperands());
    if (!values)
      return op->emitOpError("has an affine map that cannot be expanded");
    Value result = values->front();
    for (Value value : ArrayRef(*values).drop_front())
      result = isa<affine::AffineMinOp>(op)
                   ? Value(arith::MinSIOp::create(b, loc, result, value))
                   : Value(arith::MaxSIOp::create(b, loc, result, value));
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }
  return success();
}

namespace {
/// A parameter of the kernel and the attribute that says what it is.
struct Parameter {
  StringRef role;
  SmallVector<int64_t, 2> what;
  Value value;
};

struct ToNvvm : attn::impl::AttnToNvvmBase<ToNvvm> {
  using AttnToNvvmBase::AttnToNvvmBase;

  void runOnOperation() override;
  LogicalResult lowerKernel(func::FuncOp kernel, gpu::GPUModuleOp module,
                            LLVM::GlobalOp sharedMemory);
  LogicalResult describeGrid(scf::ForallOp forall, LLVM::LLVMFuncOp function);
};
} // namespace

/// The number of blocks as an affine map over sizes of arguments.
LogicalResult ToNvvm::describeGrid(scf::ForallOp forall,
                                   LLVM::LLVMFuncOp function) {
  Builder b(&getContext());
  SmallVector<int64_t> sizes;
  AffineExpr blocks = b.getAffineConstantExpr(1);
  for (auto [upper, step] :
       llvm::zip_equal(forall.getMixedUpperBound(), forall.getMixedStep())) {
    AffineExpr bound;
    if (std::optional<int64_t> known = getConstantIntValue(upper)) {
      bound = b.getAffineConstantExpr(*known);
    } else {
      auto dim = cast<Value>(upper).getDefiningOp<memref::DimOp>();
      auto argument =
          dim ? dyn_cast<BlockArgument>(dim.getSource()) : BlockArgument();
      if (!argument || !dim.getConstantIndex())
        return forall.emitOpError(
            "expected bounds that are constants or sizes of arguments");
      auto type = cast<MemRefType>(argument.getType());
      if (!type.isDynamicDim(*dim.getConstantIndex())) {
        bound =
            b.getAffineConstantExpr(type.getDimSize(*dim.getConstantIndex()));
      } else {
        bound = b.getAffineSymbolExpr(sizes.size() / 2);
        sizes.append({argument.getArgNumber(), *dim.getConstantIndex()});
      }
    }
    std::optional<int64_t> stepSize = getConstantIntValue(step);
    if (!stepSize)
      return forall.emitOpError("expected constant steps");
    AffineExpr count = *stepSize == 1 ? bound : bound.ceilDiv(*stepSize);
    // A product of two sizes is only semi-affine, which a map may hold.
    blocks = blocks * count;
  }
  function->setAttr("attn.grid", AffineMapAttr::get(AffineMap::get(
                                     0, sizes.size() / 2, blocks)));
  function->setAttr("attn.grid_dims", b.getDenseI64ArrayAttr(sizes));
  return success();
}

LogicalResult ToNvvm::lowerKernel(func::FuncOp kernel, gpu::GPUModuleOp module,
                                  LLVM::GlobalOp sharedMemory) {
  auto schedule = kernel->getAttrOfType<ScheduleAttr>("attn.schedule");
  auto sharedBytes = kernel->getAttrOfType<IntegerAttr>("attn.shared_bytes");
  auto foralls = kernel.getOps<scf::ForallOp>();
  if (!schedule || !sharedBytes || !llvm::hasSingleElement(foralls))
    return kernel.emitOpError(
        "expected a kernel that went through attn-schedule");
  if (failed(expandAffineOps(kernel)))
    return failure();
  scf::ForallOp forall = *foralls.begin();

  OpBuilder moduleBuilder = OpBuilder::atBlockEnd(module.getBody());
  auto voidType = LLVM::LLVMVoidType::get(&getContext());
  auto function =
      LLVM::LLVMFuncOp::create(moduleBuilder, kernel.getLoc(), kernel.getName(),
                               LLVM::LLVMFunctionType::get(voidType, {}));
  function.getBody().emplaceBlock();
  BlockShape shape{schedule.getQTile(), schedule.getWarps()};
  KernelBuilder b(function, shape);

  // One parameter for everything that may be needed; those without uses go away
  // at the end.
  SmallVector<Parameter> parameters;
  Block &entry = function.getBody().front();
  auto addParameter = [&](Type type, StringRef role, ArrayRef<int64_t> what) {
    Value value = entry.addArgument(type, kernel.getLoc());
    parameters.push_back({role, SmallVector<int64_t, 2>(what), value});
    return value;
  };
  bool hasFit = false;
  Value base =
      b.hoist([&] { return LLVM::AddressOfOp::create(b, sharedMemory); });
  KernelLowering lowering(b, base);
  for (BlockArgument argument : kernel.getArguments()) {
    int64_t number = argument.getArgNumber();
    auto type = dyn_cast<MemRefType>(argument.getType());
    if (!type) {
      if (!argument.getType().isIntOrIndex())
        return kernel.emitOpError(
                   "expected arguments that are arrays or integers, found ")
               << argument.getType();
      lowering.mapScalar(argument,
                         addParameter(b.i64Type, "attn.scalar", {number}));
      continue;
    }
    int64_t offset;
    SmallVector<int64_t> strides;
    if (failed(type.getStridesAndOffset(strides, offset)))
      return kernel.emitOpError("expected strided arrays, found ") << type;
    GlobalArray array;
    array.base = addParameter(b.globalPointer, "attn.pointer", {number});
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      array.sizes.push_back(
          type.isDynamicDim(dim)
              ? addParameter(b.i64Type, "attn.size", {number, dim})
              : b.i64(type.getDimSize(dim)));
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      array.strides.push_back(
          ShapedType::isDynamic(strides[dim])
              ? addParameter(b.i64Type, "attn.stride", {number, dim})
              : b.i64(strides[dim]));
    lowering.mapArray(argument, std::move(array));
  }

  kernel.walk([&](Operation *op) {
    if (auto map = dyn_cast<TensorMapOp>(op)) {
      int64_t number = cast<BlockArgument>(map.getSource()).getArgNumber();
      int64_t rows = map.getRows(), columns = map.getColumns(),
              heads = map.getHeads();
      auto add = [&](ArrayRef<int64_t> what) {
        return addParameter(LLVM::LLVMPointerType::get(&getContext()),
                            "attn.tensor_map", what);
      };
      if (std::optional<int64_t> modulus = map.getModulus())
        lowering.mapTensor(op,
                           {add({number, heads, rows, columns, *modulus, 0}),
                            add({number, heads, rows, columns, *modulus, 1})});
      else
        lowering.mapTensor(op, add({number, heads, rows, columns}));
    } else if (isa<TensorMapsFitOp>(op)) {
      if (!hasFit)
        lowering.mapTensorMapsFit(
            addParameter(b.i64Type, "attn.tensor_maps_fit", {0}));
      hasFit = true;
    }
  });

  if (failed(lowering.lowerBody(kernel.getBody().front())))
    return failure();
  LLVM::ReturnOp::create(b, ValueRange());
  numProducts += lowering.getNumProducts();

  llvm::BitVector unused(parameters.size());
  SmallVector<Type> types;
  SmallVector<Attribute> roles;
  for (auto [number, parameter] : llvm::enumerate(parameters)) {
    if (parameter.value.use_empty()) {
      unused.set(number);
      continue;
    }
    types.push_back(parameter.value.getType());
    Attribute what =
        parameter.what.size() == 1
            ? Attribute(b.getI64IntegerAttr(parameter.what.front()))
            : b.getDenseI64ArrayAttr(parameter.what);
    SmallVector<NamedAttribute> attributes{
        b.getNamedAttr(parameter.role, what)};
    if (parameter.role == "attn.tensor_map") {
      // Passed by value and read in place: 128 bytes, aligned to 64.
      attributes.push_back(b.getNamedAttr(
          "llvm.byval",
          TypeAttr::get(LLVM::LLVMArrayType::get(b.i64Type, 16))));
      attributes.push_back(
          b.getNamedAttr("llvm.align", b.getI64IntegerAttr(64)));
      attributes.push_back(
          b.getNamedAttr("nvvm.grid_constant", b.getUnitAttr()));
    }
    roles.push_back(b.getDictionaryAttr(attributes));
  }
  entry.eraseArguments(unused);
  function.setFunctionType(LLVM::LLVMFunctionType::get(voidType, types));
  function.setArgAttrsAttr(b.getArrayAttr(roles));
  function->setAttr("nvvm.kernel", b.getUnitAttr());
  // With roles, four more warps load.
  int64_t threads = shape.getThreads() + (schedule.hasRoles() ? 128 : 0);
  function->setAttr("nvvm.reqntid", b.getDenseI32ArrayAttr(
                                        {static_cast<int32_t>(threads), 1, 1}));
  // Without it ptxas takes fewer registers than there are, to fit more blocks,
  // and spills.
  function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(1));
  function->setAttr("attn.shared_bytes", sharedBytes);
  if (kernel->hasAttr("attn.persistent"))
    function->setAttr("attn.persistent", b.getUnitAttr());
  function->setAttr("attn.schedule", schedule);
  if (Attribute mask = kernel->getAttr("attn.mask"))
    function->setAttr("attn.mask", mask);
  if (failed(describeGrid(forall, function)))
    return failure();

  kernel.getBody().getBlocks().clear();
  kernel.setPrivate();
  for (StringRef name :
       {"attn.shared_bytes", "attn.schedule", "attn.mask", "attn.persistent"})
    kernel->removeAttr(name);
  ++numKernels;
  return success();
}

void ToNvvm::runOnOperation() {
  SmallVector<func::FuncOp> kernels;
  for (auto function : getOperation().getOps<func::FuncOp>())
    if (function->hasAttr("attn.kernel") && !function.isExternal())
      kernels.push_back(function);
  if (kernels.empty())
    return;
  OpBuilder b = OpBuilder::atBlockEnd(getOperation().getBody());
  auto module =
      gpu::GPUModuleOp::create(b, getOperation().getLoc(), "attn_kernels");
  b.setInsertionPointToStart(module.getBody());
  // 1024 bytes: no swizzle pattern of a tile straddles its period.
  auto sharedMemory = LLVM::GlobalOp::create(
      b, module.getLoc(), LLVM::LLVMArrayType::get(b.getI8Type(), 0),
      /*isConstant=*/false, LLVM::Linkage::External, "attn_shared", Attribute(),
      /*alignment=*/1024, static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared));
  for (func::FuncOp kernel : kernels)
    if (failed(lowerKernel(kernel, module, sharedMemory)))
      return signalPassFailure();
}
