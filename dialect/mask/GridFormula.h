//===- GridFormula.h - counting points of a grid ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_GRIDFORMULA_H
#define ATTN_DIALECT_MASK_GRIDFORMULA_H

#include "attn/dialect/mask/Projection.h"

namespace mlir::attn {

/// A Boolean formula over linear constraints with floor divisions on two
/// integers, the row y and the column x. It counts the x of a row without
/// visiting them, and the rows of a grid without visiting all of those.
class GridFormula {
public:
  /// Expressions come from `space`, in which `row` and `column` are the only
  /// variables that they use.
  GridFormula(LinearSpace &space, unsigned row, unsigned column)
      : space(space), row(row), column(column) {}

  using Node = unsigned;
  Node addLiteral(const LinearExpr &expr, bool isEquality);
  Node addNode(MaskPredicate::Kind kind, llvm::ArrayRef<Node> operands);
  /// A predicate without symbols, its three dimensions replaced by `dims`.
  Node addPredicate(const MaskPredicate &predicate,
                    llvm::ArrayRef<LinearExpr> dims);
  /// A union of conjunctions.
  Node addUnion(llvm::ArrayRef<Conjunction> parts);
  /// Must be called once, after all nodes are there.
  void setRoot(Node node);

  bool holds(int64_t y, int64_t x) const;
  /// The number of x in [x0, x1) for which the formula holds.
  int64_t countInRow(int64_t y, int64_t x0, int64_t x1) const;

  /// Covers the rows [y0, y1) by runs along which the count in [x0, x1) changes
  /// by a constant; `visit` gets the counts of the first and the last row and
  /// the number of rows.
  void
  forEachRun(int64_t y0, int64_t y1, int64_t x0, int64_t x1,
             llvm::function_ref<void(int64_t first, int64_t last, int64_t rows)>
                 visit) const;
  /// The number of points with y in [y0, y1) and x in [x0, x1).
  int64_t count(int64_t y0, int64_t y1, int64_t x0, int64_t x1) const;

private:
  struct Term {
    int64_t factor;
    unsigned division;
  };
  /// x * byX + y * byY + constant + sum of terms.
  struct Sum {
    int64_t byX = 0, byY = 0, constant = 0;
    llvm::SmallVector<Term, 2> terms;
  };
  struct Division {
    Sum numerator;
    int64_t divisor;
    bool usesX;
    bool nestsX; // a division inside uses x
    /// The quotient grows by a constant when x, or y, grows by this much.
    int64_t periodX, periodY;
  };
  struct Literal {
    Sum sum;
    bool isEquality;
    enum Shape {
      RowOnly,   // no x
      Affine,    // x outside divisions only
      Staircase, // x in one division only
      Residue,   // a condition on (x * b + e) mod m
      Periodic,  // some other function with a period in x
      Trend, // a function that rises or falls with x, up to a bounded deviation
    } shape;
    int64_t periodX = 1;
    int64_t rise = 0; // over one period
    int64_t deviation = 0;
  };
  enum class Status : uint8_t { False, True, Open };
  struct FormulaNode {
    MaskPredicate::Kind kind;
    unsigned literal = 0;
    llvm::SmallVector<Node, 4> operands;
  };
  /// What a row looks like: where the statuses of literals change.
  struct RowState {
    struct Break {
      int64_t at;
      unsigned literal;
      Status status;
    };
    int64_t y = 0, x0 = 0, x1 = 0;
    /// Whether the rows of a stretch are neighbours, not a period apart.
    bool neighbours = false;
    /// Of each division: its numerator without x and without divisions that use
    /// x.
    llvm::SmallVector<int64_t, 4> base;
    /// Of each literal: its sum without x and without divisions that use x.
    llvm::SmallVector<int64_t, 8> rest;
    /// Of each residue literal: the residues for which it holds.
    llvm::SmallVector<std::pair<int64_t, int64_t>, 8> residues;
    llvm::SmallVector<Status, 8> initial;
    llvm::SmallVector<Break, 8> breaks;
    /// Equal in both ends of a stretch: the counts are linear, if the phases
    /// are equal in neighbouring rows.
    llvm::SmallVector<int64_t, 16> signature, phase;
  };

  Sum convert(const LinearExpr &expr);
  unsigned convertDivision(unsigned column);
  int64_t evaluate(const Sum &sum, const RowState &state, int64_t x) const;
  int64_t evaluateDivision(unsigned index, const RowState &state,
                           int64_t x) const;
  bool evaluateLiteral(unsigned index, const RowState &state, int64_t x) const;
  bool isUnitResidue(unsigned literal) const;
  bool allowsNeighbours() const;
  void prepareRow(RowState &state, int64_t y, int64_t x0, int64_t x1) const;
  void addBreaks(RowState &state, unsigned literal) const;
  int64_t countSegments(RowState &state) const;
  int64_t countOpen(RowState &state, int64_t first, int64_t last) const;
  int64_t countResidue(RowState &state, unsigned literal, int64_t first,
                       int64_t last) const;
  Status statusOf(Node node, llvm::ArrayRef<Status> literals) const;
  bool holdsAt(Node node, const RowState &state, int64_t x) const;
  void collectOpen(Node node, const RowState &state,
                   llvm::SmallVectorImpl<unsigned> &open) const;

  LinearSpace &space;
  unsigned row, column;
  llvm::SmallVector<Division, 4> divisions;
  llvm::SmallVector<std::pair<unsigned, unsigned>, 4> divisionOfColumn;
  llvm::SmallVector<Literal, 8> literals;
  std::vector<FormulaNode> nodes;
  Node root = 0;
  /// Rows this far apart look alike; 0 if no such distance is known.
  int64_t rowPeriod = 1;
  /// Conditions on residues repeat along x with this period; 0 if there is
  /// none.
  int64_t columnPeriod = 1;
};

/// The least common multiple; 0 if an argument is 0, or where it is past the
/// point at which periods help.
int64_t getCommonPeriod(int64_t a, int64_t b);

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_GRIDFORMULA_H
