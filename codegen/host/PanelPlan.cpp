//===- PanelPlan.cpp - see PanelPlan.h ------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/PanelPlan.h"

#include "attn/codegen/host/Level.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::attn::host;

bool mlir::attn::host::isPairTile(Value value) {
  auto type = dyn_cast<VectorType>(value.getType());
  return type && type.getRank() == 2 && type.getDimSize(0) != 1 &&
         type.getDimSize(1) != 1;
}

bool mlir::attn::host::isRowTile(Value value) {
  auto type = dyn_cast<VectorType>(value.getType());
  return type && (type.getRank() == 1 ||
                  (type.getRank() == 2 && type.getDimSize(1) == 1));
}

static vector::ContractionOp getContract(Value value) {
  if (auto mask = value.getDefiningOp<vector::MaskOp>())
    return dyn_cast_or_null<vector::ContractionOp>(mask.getMaskableOp());
  return value.getDefiningOp<vector::ContractionOp>();
}

FailureOr<Product> mlir::attn::host::matchProduct(Value value,
                                                  const Level &level) {
  vector::ContractionOp contract = getContract(value);
  if (!contract)
    return failure();
  Product product{contract, {}};
  SmallVector<AffineMap> maps = contract.getIndexingMapsArray();
  auto types = contract.getIteratorTypesArray();
  auto reduction =
      llvm::find(types, vector::IteratorType::reduction) - types.begin();
  auto position = [&](AffineMap map, unsigned result) {
    return map.getDimPosition(result);
  };
  bool isMatrixProduct =
      types.size() == 3 &&
      llvm::count(types, vector::IteratorType::parallel) == 2 &&
      llvm::all_of(
          maps, [](AffineMap map) { return map.isProjectedPermutation(); }) &&
      maps[0].getNumResults() == 2 && maps[1].getNumResults() == 2 &&
      maps[2].getNumResults() == 2 && position(maps[0], 1) == reduction &&
      position(maps[0], 0) == position(maps[2], 0);
  if (!isMatrixProduct)
    return contract.emitOpError("expected a product of two matrices whose left "
                                "one has the rows of the result");
  product.isRhsByColumn = position(maps[1], 1) == reduction;
  if (auto mask = value.getDefiningOp<vector::MaskOp>()) {
    auto broadcast = mask.getMask().getDefiningOp<vector::BroadcastOp>();
    if (!broadcast || broadcast.getSourceType() !=
                          contract.getLhsType().clone(
                              IntegerType::get(value.getContext(), 1)))
      return mask.emitOpError("expected a mask that is broadcast from the "
                              "pairs of the left operand");
    product.mask = broadcast.getSource();
  }
  bool isBf16 = contract.getLhsType().getElementType().isBF16() &&
                contract.getRhsType().getElementType().isBF16();
  product.useDot = level.hasBf16Dot && isBf16 && product.getDepth() % 2 == 0;
  bool ofQueries =
      product.getLhs().getDefiningOp<vector::TransferReadOp>() != nullptr;
  if (level.fewRows == 0 || ofQueries != product.isRhsByColumn ||
      !product.getRhs().getDefiningOp<vector::TransferReadOp>())
    return product;
  int64_t length = product.isRhsByColumn ? product.getDepth()
                                         : contract.getRhsType().getDimSize(1);
  product.few =
      length % level.lanes == 0 && !(product.isRhsByColumn && product.mask);
  if (product.few)
    product.useDot &= product.isRhsByColumn && length % (2 * level.lanes) == 0;
  return product;
}

bool mlir::attn::host::isResultOf(Value value, const Product &product) {
  Operation *op = product.contract;
  return op == value.getDefiningOp() ||
         op->getParentOp() == value.getDefiningOp();
}

int64_t Stage::getNumColumns() const {
  return cast<VectorType>(roots.front().value.getType()).getDimSize(1);
}

bool Stage::hasProduct() const {
  return llvm::any_of(tiles, [&](Value tile) {
    return !loaded.contains(tile) && getContract(tile);
  });
}

bool PanelPlan::isHeavy(Value value) {
  if (!isPairTile(value))
    return false;
  auto [entry, isNew] = heavy.try_emplace(value, false);
  if (!isNew)
    return entry->second;
  Operation *op = value.getDefiningOp();
  bool result = op && (getContract(value) || isa<math::Exp2Op>(op) ||
                       llvm::any_of(op->getOperands(), [&](Value operand) {
                         return isHeavy(operand);
                       }));
  return heavy[value] = result;
}

void PanelPlan::collect(Value value, size_t stage,
                        llvm::SetVector<Value> &tiles,
                        llvm::SmallPtrSet<Value, 4> *loaded) {
  if (!isPairTile(value) || tiles.contains(value))
    return;
  bool isMask = masks.contains(value);
  if (isMask || isHeavy(value))
    for (size_t earlier = 0; earlier < stage; ++earlier) {
      Stage &from = stages[earlier];
      if (!from.tiles.contains(value) || from.loaded.contains(value))
        continue;
      if (loaded)
        loaded->insert(value);
      if (loaded && !isMask) {
        bool isStored = llvm::any_of(from.roots, [&](const Root &root) {
          return root.kind == Root::Store && root.value == value &&
                 root.form == Form::Float && root.place == value;
        });
        if (!isStored)
          from.roots.push_back(
              {Root::Store, value, nullptr, Form::Float, value});
      }
      tiles.insert(value);
      return;
    }
  tiles.insert(value);
  if (vector::ContractionOp contract = getContract(value)) {
    collect(contract.getAcc(), stage, tiles, loaded);
    return;
  }
  Operation *op = value.getDefiningOp();
  if (!op || op->getNumRegions() != 0)
    return;
  for (Value operand : op->getOperands())
    collect(operand, stage, tiles, loaded);
}

/// Whether a reduction of the stages from `firstStage` on feeds `value`.
bool PanelPlan::dependsOnReductions(Value value, size_t firstStage) {
  llvm::SmallPtrSet<Operation *, 8> reductions;
  for (size_t stage = firstStage; stage < stages.size(); ++stage)
    for (const Root &root : stages[stage].roots)
      if (root.kind == Root::Reduce)
        reductions.insert(root.op);
  SmallVector<Value> worklist = {value};
  llvm::SmallPtrSet<Operation *, 32> seen;
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (!op || !seen.insert(op).second)
      continue;
    if (reductions.contains(op))
      return true;
    llvm::append_range(worklist, op->getOperands());
    if (auto mask = dyn_cast<vector::MaskOp>(op))
      llvm::append_range(worklist, mask.getMaskableOp()->getOperands());
  }
  return false;
}

void PanelPlan::addRoot(Root root) {
  size_t chosen = stages.size();
  bool isProduct = bool(getContract(root.value));
  for (size_t stage = 0; stage < stages.size() && chosen == stages.size();
       ++stage) {
    llvm::SetVector<Value> tiles;
    collect(root.value, stage, tiles, nullptr);
    bool isComputedThere = stages[stage].tiles.contains(root.value);
    bool shares =
        isComputedThere || (!isProduct && llvm::any_of(tiles, [&](Value tile) {
          return isHeavy(tile) && stages[stage].tiles.contains(tile) &&
                 !stages[stage].loaded.contains(tile);
        }));
    if (shares && !dependsOnReductions(root.value, stage))
      chosen = stage;
  }
  if (chosen == stages.size())
    stages.emplace_back();
  llvm::SetVector<Value> tiles;
  llvm::SmallPtrSet<Value, 4> loaded;
  collect(root.value, chosen, tiles, &loaded);
  Stage &stage = stages[chosen];
  stage.roots.push_back(root);
  for (Value tile : tiles)
    stage.tiles.insert(tile);
  stage.loaded.insert(loaded.begin(), loaded.end());
}

LogicalResult PanelPlan::addProduct(Value result) {
  FailureOr<Product> product = matchProduct(result, level);
  if (failed(product))
    return failure();
  products.push_back(*product);
  Value lhs = product->getLhs();
  if (!lhs.getDefiningOp<vector::TransferReadOp>())
    addRoot({Root::Store, lhs, nullptr,
             product->useDot ? Form::Dot : Form::Float, lhs});
  return success();
}

/// Before everything else, so that the mask is a stage of its own.
void PanelPlan::addMask(const Product &product) {
  Value mask = product.mask;
  if (!mask || !masks.insert(mask).second)
    return;
  addRoot({Root::Store, mask, nullptr, Form::Mask, mask});
  if (product.useDot)
    addRoot({Root::Store, mask, nullptr, Form::DotMask, mask});
}

LogicalResult PanelPlan::addOps(Block::iterator begin, Block::iterator end) {
  for (Operation &op : llvm::make_range(begin, end))
    if (isa<vector::MaskOp>(op)) {
      FailureOr<Product> product = matchProduct(op.getResult(0), level);
      if (failed(product))
        return failure();
      addMask(*product);
    }
  for (Operation &op : llvm::make_range(begin, end)) {
    if (auto reduction = dyn_cast<vector::MultiDimReductionOp>(op)) {
      bool isKnown = reduction.getKind() == vector::CombiningKind::ADD ||
                     reduction.getKind() == vector::CombiningKind::MAXNUMF;
      if (!isKnown || reduction.getReductionDims() != ArrayRef<int64_t>{1})
        return reduction.emitOpError("expected a sum or a maxnumf of each row");
      addRoot({Root::Reduce, reduction.getSource(), &op});
    } else if (isa<vector::ContractionOp, vector::MaskOp>(op)) {
      if (failed(addProduct(op.getResult(0))))
        return failure();
    } else if (auto write = dyn_cast<vector::TransferWriteOp>(op)) {
      if (isPairTile(write.getVector()))
        addRoot({Root::Write, write.getVector(), &op});
    }
  }
  return success();
}

void PanelPlan::addState(Value value, Value place) {
  if (isPairTile(value))
    addRoot({Root::Store, value, nullptr, Form::Float, place});
}

namespace {
/// What a tile holds for the pairs that do not count.
enum class Dead { Unknown, NegativeInfinity, Zero };
} // namespace

static std::optional<APFloat> getSplatFloat(Value value) {
  DenseFPElementsAttr attr;
  if (!matchPattern(value, m_Constant(&attr)) || !attr.isSplat())
    return std::nullopt;
  return attr.getSplatValue<APFloat>();
}

static bool isPositive(Value value) {
  std::optional<APFloat> number = getSplatFloat(value);
  return number && number->isFiniteNonZero() && !number->isNegative();
}

/// Minus infinity stays what it is under positive factors and finite summands.
/// A summand that is a NaN, the shift of a row, has made NaN of the row's sum
/// and accumulator already.
static Dead getDead(Value value, Value live) {
  Operation *op = value.getDefiningOp();
  auto staysInfinite = [&](Value operand) {
    return getDead(operand, live) == Dead::NegativeInfinity
               ? Dead::NegativeInfinity
               : Dead::Unknown;
  };
  if (auto select = dyn_cast_or_null<arith::SelectOp>(op)) {
    std::optional<APFloat> dead = getSplatFloat(select.getFalseValue());
    if (select.getCondition() != live || !dead)
      return Dead::Unknown;
    return dead->isInfinity() && dead->isNegative() ? Dead::NegativeInfinity
           : dead->isPosZero()                      ? Dead::Zero
                                                    : Dead::Unknown;
  }
  if (auto fma = dyn_cast_or_null<math::FmaOp>(op);
      fma && isPositive(fma.getB()))
    return staysInfinite(fma.getA());
  if (isa_and_nonnull<arith::AddFOp>(op))
    return staysInfinite(op->getOperand(0));
  if (isa_and_nonnull<math::Exp2Op>(op))
    return staysInfinite(op->getOperand(0)) == Dead::NegativeInfinity
               ? Dead::Zero
               : Dead::Unknown;
  if (isa_and_nonnull<arith::TruncFOp>(op))
    return getDead(op->getOperand(0), live);
  return Dead::Unknown;
}

void PanelPlan::finish() {
  live = {};
  if (masks.size() != 1)
    return;
  Value mask = *masks.begin();
  llvm::SmallPtrSet<Value, 8> left;
  for (Stage &stage : llvm::drop_begin(stages)) {
    if (!stage.tiles.contains(mask) &&
        llvm::none_of(stage.loaded,
                      [&](Value tile) { return left.contains(tile); }))
      continue;
    for (const Root &root : stage.roots) {
      bool isNeutral = false;
      if (root.kind == Root::Reduce) {
        auto kind = cast<vector::MultiDimReductionOp>(root.op).getKind();
        isNeutral =
            getDead(root.value, mask) == (kind == vector::CombiningKind::ADD
                                              ? Dead::Zero
                                              : Dead::NegativeInfinity);
      } else if (root.kind == Root::Store) {
        isNeutral = root.place == root.value;
        left.insert(root.value);
      }
      if (!isNeutral)
        return;
    }
    stage.skipsDead = true;
  }
  bool allMasked = llvm::all_of(products, [&](Product &product) {
    return product.mask == mask || !left.contains(product.getLhs());
  });
  if (allMasked)
    live = mask;
}
