//===- PackHeads.cpp - few queries: heads as rows, keys split -------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Passes.h"

#include "attn/dialect/Attn.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {
#define GEN_PASS_DEF_ATTNPACKHEADS
#include "attn/codegen/host/Passes.h.inc"
} // namespace mlir::attn

using namespace mlir;
using namespace mlir::attn;

/// More queries than this fill the lanes of a register by themselves, and give
/// enough work items.
static constexpr int64_t kMaxQueries = 16;
/// Rows of a tile, over which a tile of K and V is read from a near cache again
/// anyway.
static constexpr int64_t kMaxRows = 128;
/// A split reads so many keys that what it costs to begin, and to merge it, is
/// small; and there are enough of them for the threads of a large machine.
static constexpr int64_t kKeysPerSplit = 1024, kMaxSplits = 64;

namespace {

/// What the pass must know of a kernel: whether its op has few queries, and how
/// heads and loops are used.
class Kernel {
public:
  explicit Kernel(func::FuncOp kernel) : kernel(kernel) {}

  /// False if the kernel is not for this pass.
  bool match();
  int64_t getQueries() const { return queries; }
  scf::ForallOp getLoop() const { return forall; }
  /// Query heads that read the same keys and can be rows of one tile.
  int64_t getGroup();
  /// Whether the loops over the keys are one online softmax from its start,
  /// whose state is all that the rest of the kernel uses.
  bool canSplit();
  /// Parts into which the keys are split; 1 if they are too few.
  int64_t getSplits();

private:
  func::FuncOp kernel;
  scf::ForallOp forall;
  int64_t queries = 0;
};

} // namespace

bool Kernel::match() {
  auto loops = kernel.getOps<scf::ForallOp>();
  if (!llvm::hasSingleElement(loops))
    return false;
  forall = *loops.begin();
  if (forall.getRank() != 3)
    return false;
  std::optional<int64_t> extent = getConstantIntValue(
                             forall.getMixedUpperBound()[2]),
                         tile = getConstantIntValue(forall.getMixedStep()[2]);
  queries = extent.value_or(0);
  return queries >= 1 && queries <= kMaxQueries && tile && *tile >= queries;
}

int64_t Kernel::getGroup() {
  Value head = forall.getInductionVars()[1];
  auto isOffsetOfHeads = [](OpOperand &use) {
    auto view = dyn_cast<memref::SubViewOp>(use.getOwner());
    return view && view.getSourceType().getRank() >= 2 &&
           view.getMixedOffsets()[1] == OpFoldResult(use.get()) &&
           llvm::count(view.getOperands(), use.get()) == 1;
  };
  int64_t group = 0;
  DenseSet<Value> ofQueries, ofKeys;
  for (OpOperand &use : head.getUses()) {
    if (isOffsetOfHeads(use)) {
      ofQueries.insert(use.getOwner()->getResult(0));
      continue;
    }
    // The head of the keys.
    auto apply = dyn_cast<affine::AffineApplyOp>(use.getOwner());
    AffineMap map = apply ? apply.getAffineMap() : AffineMap();
    auto quotient = map && map.getNumInputs() == 1
                        ? dyn_cast<AffineBinaryOpExpr>(map.getResult(0))
                        : AffineBinaryOpExpr(nullptr);
    if (!quotient || quotient.getKind() != AffineExprKind::FloorDiv ||
        !isa<AffineDimExpr>(quotient.getLHS()) ||
        !isa<AffineConstantExpr>(quotient.getRHS()))
      return 1;
    int64_t by = cast<AffineConstantExpr>(quotient.getRHS()).getValue();
    if (group != 0 && group != by)
      return 1;
    group = by;
    for (OpOperand &inner : apply.getResult().getUses()) {
      if (!isOffsetOfHeads(inner))
        return 1;
      ofKeys.insert(inner.getOwner()->getResult(0));
    }
  }
  if (group <= 1)
    return 1;
  // Whatever else is read may belong to one head, or to one query.
  WalkResult known = forall.walk([&](Operation *op) {
    Value base;
    if (auto read = dyn_cast<vector::TransferReadOp>(op))
      base = read.getBase();
    else if (auto write = dyn_cast<vector::TransferWriteOp>(op))
      base = write.getBase();
    else
      return WalkResult::advance();
    bool inLoop = op->getParentOp() != forall;
    bool fits = inLoop ? ofKeys.contains(base) : ofQueries.contains(base);
    return fits ? WalkResult::advance() : WalkResult::interrupt();
  });
  if (known.wasInterrupted())
    return 1;
  auto next = [](int64_t n) {
    for (int64_t by = 2; by < n; ++by)
      if (n % by == 0)
        return n / by;
    return int64_t(1);
  };
  while (group > 1 && group * queries > kMaxRows)
    group = next(group);
  return group;
}

static bool isSplat(Value value, double number) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto attr = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue())
                       : DenseFPElementsAttr();
  return attr && attr.isSplat() &&
         attr.getSplatValue<APFloat>().convertToDouble() == number;
}

bool Kernel::canSplit() {
  ForTilesOp previous;
  for (ForTilesOp loop : forall.getBody()->getOps<ForTilesOp>()) {
    if (loop.getNumResults() != 3)
      return false;
    constexpr double inf = std::numeric_limits<double>::infinity();
    auto rank = [&](unsigned result) {
      auto type = dyn_cast<VectorType>(loop.getResult(result).getType());
      return type && type.getElementType().isF32() ? type.getRank() : 0;
    };
    if (rank(0) != 1 || rank(1) != 1 || rank(2) != 2)
      return false;
    bool starts = !previous && isSplat(loop.getInits()[0], -inf) &&
                  isSplat(loop.getInits()[1], 0) &&
                  isSplat(loop.getInits()[2], 0);
    bool goesOn = previous &&
                  llvm::equal(loop.getInits(), previous.getResults()) &&
                  llvm::all_of(previous.getResults(),
                               [](Value result) { return result.hasOneUse(); });
    if (!starts && !goesOn)
      return false;
    previous = loop;
  }
  return bool(previous);
}

int64_t Kernel::getSplits() {
  // The keys are what is read in the loops.
  int64_t keys = ShapedType::kDynamic;
  bool isKnown = false;
  forall.walk([&](vector::TransferReadOp read) {
    auto view = read.getBase().getDefiningOp<memref::SubViewOp>();
    if (isKnown || read->getParentOp() == forall || !view)
      return;
    isKnown = true;
    keys = view.getSourceType().getDimSize(2);
  });
  if (!isKnown)
    return 1;
  return ShapedType::isDynamic(keys)
             ? kMaxSplits
             : std::min(
                   kMaxSplits,
                   std::max<int64_t>(1, llvm::divideCeil(keys, kKeysPerSplit)));
}

namespace {
struct AttnPackHeadsPass : attn::impl::AttnPackHeadsBase<AttnPackHeadsPass> {
  void runOnOperation() override {
    Builder builder(&getContext());
    for (func::FuncOp function : getOperation().getOps<func::FuncOp>()) {
      Kernel kernel(function);
      if (!function->hasAttr("attn.kernel") || !kernel.match())
        continue;
      int64_t group = kernel.getGroup();
      int64_t splits = kernel.canSplit() ? kernel.getSplits() : 1;
      function->setAttr("attn.rows",
                        builder.getI64IntegerAttr(group * kernel.getQueries()));
      if (group > 1) {
        function->setAttr("attn.group", builder.getI64IntegerAttr(group));
        scf::ForallOp loop = kernel.getLoop();
        auto steps = llvm::to_vector(loop.getStaticStep());
        steps[1] = group;
        loop.setStaticStep(steps);
        ++numPacked;
      }
      if (splits > 1) {
        function->setAttr("attn.splits", builder.getI64IntegerAttr(splits));
        function->setAttr(
            "attn.tiles_per_split",
            builder.getI64IntegerAttr(std::max<int64_t>(
                1, kKeysPerSplit /
                       function->getAttrOfType<ScheduleAttr>("attn.schedule")
                           .getKvTile())));
        ++numSplit;
      }
    }
  }
};
} // namespace
