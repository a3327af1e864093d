//===- PanelPlan.h - loops over columns of tiles ----------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_PANELPLAN_H
#define ATTN_CODEGEN_HOST_PANELPLAN_H

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallPtrSet.h"

namespace mlir::attn::host {

struct Level;

/// A product of tiles, as the register block code sees it.
struct Product {
  vector::ContractionOp contract;
  /// The pairs that count; null if all do. Of the shape of `lhs`.
  Value mask;
  /// The rows of `rhs` run along the result's columns: rhs is (column, k).
  /// Otherwise it is (k, column).
  bool isRhsByColumn = false;
  /// Multiplies pairs of bf16. Otherwise both operands are f32 in memory.
  bool useDot = false;
  /// The tile has a few rows only: lanes are along the head size, and operands
  /// are read from memory as they are.
  bool few = false;

  Value getLhs() { return contract.getLhs(); }
  Value getRhs() { return contract.getRhs(); }
  /// Products whose operands are prepared alike have the same.
  int getOperandKind() const {
    return few ? 2 : !useDot ? 0 : isRhsByColumn ? 1 : 3;
  }
  int64_t getDepth() { return contract.getLhsType().getDimSize(1); }
  /// Of the summed dimension: neighbours are one step where pairs are
  /// multiplied.
  int64_t getNumSteps() { return getDepth() / (useDot ? 2 : 1); }
};

bool isResultOf(Value value, const Product &product);
/// The product that `value` is the result of.
FailureOr<Product> matchProduct(Value value, const Level &level);

/// What a tile is stored as: f32, pairs of bf16 of neighbouring columns,
/// booleans, or pairs of booleans as masks of pairs of bf16.
enum class Form { Float, Dot, Mask, DotMask };

/// Whether a tile has a value for each pair of a query row and a column; not
/// only for each row, or each column.
bool isPairTile(Value value);
bool isRowTile(Value value);

/// A use of a tile of pairs that makes it be computed.
struct Root {
  enum Kind { Reduce, Store, Write };
  Kind kind;
  Value value;
  /// vector.multi_reduction or vector.transfer_write.
  Operation *op = nullptr;
  /// Of Store: what as, and for which value's place (an iteration value of a
  /// loop, or `value` itself).
  Form form = Form::Float;
  Value place = {};
};

/// One loop over the columns of tiles.
struct Stage {
  SmallVector<Root> roots;
  /// The tiles that it computes or reads.
  llvm::SetVector<Value> tiles;
  /// The ones it reads because an earlier stage stored them.
  llvm::SmallPtrSet<Value, 4> loaded;
  /// Its columns without a pair that counts (PanelPlan::getLive) change
  /// nothing.
  bool skipsDead = false;

  int64_t getNumColumns() const;
  bool hasProduct() const;
};

/// Distributes roots over stages: in order, each in the first stage that
/// computes what it needs anyway and whose reductions it does not depend on.
/// Tiles with a product or an exponential that a later stage needs are stored.
/// The pairs that count are a stage of their own, the first one: where nothing
/// but them can change a result, the others run from the first column with such
/// a pair to the last one only.
class PanelPlan {
public:
  explicit PanelPlan(const Level &level) : level(level) {}

  /// Adds the products, reductions and writes of the block from `begin` to
  /// `end`.
  LogicalResult addOps(Block::iterator begin, Block::iterator end);
  /// Adds a store of `value` to the place of `place`.
  void addState(Value value, Value place);

  ArrayRef<Stage> getStages() const { return stages; }
  /// When everything has been added: finds out whether stages can leave columns
  /// out.
  void finish();
  /// The pairs that count, if all others contribute nothing; else null.
  Value getLive() const { return live; }
  ArrayRef<Product> getProducts() const { return products; }

private:
  void addRoot(Root root);
  LogicalResult addProduct(Value result);
  void addMask(const Product &product);
  void collect(Value value, size_t stage, llvm::SetVector<Value> &tiles,
               llvm::SmallPtrSet<Value, 4> *loaded);
  bool isHeavy(Value value);
  bool dependsOnReductions(Value value, size_t firstStage);

  const Level &level;
  SmallVector<Stage> stages;
  SmallVector<Product> products;
  /// The masks of the products: stored before anything else.
  llvm::SmallPtrSet<Value, 2> masks;
  Value live;
  DenseMap<Value, bool> heavy;
};

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_PANELPLAN_H
