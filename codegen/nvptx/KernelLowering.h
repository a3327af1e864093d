//===- KernelLowering.h - from tile vectors to one thread's values ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_KERNELLOWERING_H
#define ATTN_CODEGEN_NVPTX_KERNELLOWERING_H

#include "attn/codegen/nvptx/Copy.h"
#include "attn/codegen/nvptx/Layout.h"
#include "attn/codegen/nvptx/Product.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::attn::nvptx {

class SharedOp;
class AbsorbOp;
class LoadAsyncOp;
class StoreOp;
class RolesOp;
class ForItemsOp;
class BarriersOp;
class WaitOp;
class ReleaseOp;
class TensorMapOp;
class LoadBoxOp;
class LoadRowsOp;
class StoreBoxOp;
class StoreWaitOp;
class WgmmaOp;
class WgmmaWaitOp;
class TakeTurnOp;
class PassTurnOp;
class PublishOp;

/// A tile in global memory that a thread reads element by element: the address
/// of column 0 in each of its rows, and how far from there its columns are, in
/// bytes.
struct InputTile {
  llvm::SmallVector<Value> rows, columns;
};

/// A strided array in global memory: sizes and strides in elements, i64.
struct GlobalArray {
  Value base;
  llvm::SmallVector<Value, 4> sizes, strides;
  /// Whether the rows of a slice start on 16 bytes; null for arrays that are
  /// not copied.
  Value aligned;
  std::optional<GlobalRows::Selection> selection = {};
};

/// Lowers the body of one scheduled kernel, in one walk. Values of the source
/// map to one thread's: scalars to scalars, vectors to the elements that the
/// thread holds.
class KernelLowering {
public:
  /// `sharedBase` is the start of dynamic shared memory.
  KernelLowering(KernelBuilder &b, Value sharedBase)
      : b(b), shared(b), sharedBase(sharedBase) {}

  void mapScalar(Value value, Value lowered) {
    scalars[value] = parameters[value] = lowered;
  }
  void mapArray(Value value, GlobalArray array) {
    arrays[value] = std::move(array);
  }
  /// The descriptors of `op`, pointers: for residue classes two, that of the
  /// longer ones last.
  void mapTensor(Operation *op, ArrayRef<Value> descriptors) {
    tensorMaps[op].assign(descriptors.begin(), descriptors.end());
  }
  /// The parameter that is 0 if no descriptor could be made, an i64.
  void mapTensorMapsFit(Value parameter) { tensorMapsFit = parameter; }
  Value getScalar(Value value) const { return scalars.lookup(value); }

  /// Lowers the ops of `block` but its terminator, at the insertion point.
  LogicalResult lowerBody(Block &block);

  int64_t getNumProducts() const { return numProducts; }

private:
  // Control flow.
  LogicalResult lower(scf::ForallOp op);
  /// The iterations of the kernel and the values that stand for the
  /// coordinates of one; `heads` as in attn_nvptx.for_items, null for 1.
  struct Iterations {
    scf::ForallOp forall;
    SmallVector<Value> coordinates;
    Value heads = {};
  };
  LogicalResult lowerProgram(const Iterations &iterations, Value number,
                             llvm::iterator_range<Block::iterator> ops);
  LogicalResult decode(const Iterations &iterations, Value number);
  FailureOr<SmallVector<Value>> countIterations(scf::ForallOp op);
  LogicalResult readParameters(scf::ForallOp forall);
  LogicalResult lower(scf::WhileOp op);
  LogicalResult lower(scf::IfOp op);
  /// See KernelBuilder::startPhase.
  void startPhase(Value thread) {
    b.startPhase(thread);
    shared.startPhase();
  }
  SmallVector<Type> getCarriedTypes(Value value);
  void appendCarried(Value value, Value like, SmallVectorImpl<Value> &values);
  void takeCarried(Value target, ValueRange &values, Value like);
  Layout getCarriedLayout(Value value, bool &partial);
  bool isPartial(Value value, llvm::SmallPtrSetImpl<Value> &visited);

  // Memory.
  LogicalResult lower(memref::SubViewOp op);
  LogicalResult lower(SelectRowsOp op);
  LogicalResult lower(memref::LoadOp op);
  LogicalResult lower(SharedOp op);
  LogicalResult lower(LoadAsyncOp op);
  LogicalResult lower(StoreOp op);
  LogicalResult lower(vector::TransferReadOp op);
  LogicalResult readRows(vector::TransferReadOp op);
  LogicalResult lowerIntegers(vector::TransferReadOp op);
  /// An integer of `type` at `address`; an i1 is a byte that is 0 or not.
  Value loadInteger(Type type, Value address);
  /// Element (i, n, c) of a tile of integers that is read where it is used.
  Value loadPair(vector::TransferReadOp op, const TileValue &tile, int64_t i,
                 int64_t n, int64_t c);
  LogicalResult lower(vector::TransferWriteOp op);
  void lowerInput(vector::TransferReadOp op, const GlobalArray &array);
  /// The rows of a slice, of which tiles of `tileRows` rows have those of
  /// `heads` heads.
  GlobalRows getRows(Value array, int64_t tileRows = 0, int64_t heads = 1);
  void writeTile(const TileValue &value, VectorType type,
                 const GlobalRows &target, Value warpRow);
  Value getSlotBase(vector::TransferReadOp read);

  // Kernels with roles.
  LogicalResult lower(RolesOp op);
  LogicalResult lower(ForItemsOp op);
  LogicalResult lower(BarriersOp op);
  LogicalResult lower(WaitOp op);
  LogicalResult lower(ReleaseOp op);
  LogicalResult lower(TensorMapOp op);
  LogicalResult lower(LoadBoxOp op);
  LogicalResult lower(LoadRowsOp op);
  LogicalResult lower(StoreBoxOp op);
  LogicalResult lower(StoreWaitOp op);
  LogicalResult lower(WgmmaOp op);
  LogicalResult lower(WgmmaWaitOp op);
  LogicalResult lower(TakeTurnOp op);
  LogicalResult lower(PassTurnOp op);
  LogicalResult lower(PublishOp op);
  Value getWarpgroup();
  void storeWarpRows(StoreOp op);
  struct BoxPosition;
  void copySelected(LoadBoxOp op, BoxPosition position, const SharedTile &tile,
                    Value start, Value barrier);
  void copyBoxes(const BoxPosition &position, const SharedTile &tile,
                 Value start, Value barrier);
  Value getBarrier(Value barriers, Value slot);
  Value electProducer();

  // Vectors.
  LogicalResult lowerConstant(Operation *op);
  LogicalResult lowerElementwise(Operation *op);
  FailureOr<TileValue> buildElementwise(Operation *op);
  LogicalResult lower(vector::StepOp op);
  LogicalResult lowerReshape(Operation *op, Value source);
  LogicalResult lower(vector::MultiDimReductionOp op);
  LogicalResult lower(AnyBitOp op);
  LogicalResult lower(vector::ContractionOp op);
  LogicalResult lower(AbsorbOp op);
  SmallVector<Value> getAccumulators(Value value);
  /// The value as a vector's: a scalar is a splat; partial sums are added up if
  /// `whole`.
  TileValue getTile(Value value, bool whole = true);
  TileValue reduceParts(const TileValue &partial);
  /// An element as TileValue::at numbers them, computed here if it was put off.
  /// `built` holds those of the same pair.
  Value getElement(Value value, int64_t i, int64_t n, int64_t numN, int64_t c,
                   DenseMap<Value, Value> &built);
  Value getElement(Value value, int64_t i, int64_t n, int64_t numN, int64_t c) {
    DenseMap<Value, Value> built;
    return getElement(value, i, n, numN, c, built);
  }
  /// Whether the elements of `op` are computed where they are used.
  bool isPutOff(Operation *op, ArrayRef<TileValue> operands);
  void buildElements(Value value);
  LogicalResult lowerAgain(Value value, Block *block,
                           DenseMap<Value, TileValue> &saved);
  int64_t getNumN(VectorType type) const { return type.getShape().back() / 8; }

  LogicalResult lowerOp(Operation *op);

  KernelBuilder &b;
  SharedMemory shared;
  Value sharedBase;
  DenseMap<Value, Value> scalars;
  /// The scalars that are parameters of the kernel.
  DenseMap<Value, Value> parameters;
  DenseMap<Value, TileValue> tiles;
  DenseMap<Value, GlobalArray> arrays;
  DenseMap<Value, SharedTile> buffers;
  DenseMap<Operation *, InputTile> inputs;
  DenseMap<Operation *, SmallVector<Value, 2>> tensorMaps;
  Value tensorMapsFit;
  int64_t numProducts = 0;
  /// The number of the block, an i32.
  Value blockIndex;
  /// In a loop over iterations: what depends on the parameters alone is
  /// computed in each one, and not kept in registers from one to the next.
  bool inItems = false;
  /// Positions are computed anew, hidden from the optimizer, so that it does
  /// not find them in the common path and keep them alive.
  bool inRarePath = false;
};

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_KERNELLOWERING_H
