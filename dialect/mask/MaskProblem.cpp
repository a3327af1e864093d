//===- MaskProblem.cpp - a mask on a grid ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// "Some pair of the box is live" and "some pair of the box is dead" become
// formulas over the corners of the box, by eliminating the pair. Where that is
// not exact, the live pairs of the box are counted instead.
//
//===----------------------------------------------------------------------===//

#include "attn/dialect/mask/GridFormula.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// The class of a box as a formula over its corners.
class BoxClassifier {
public:
  BoxClassifier(const MaskPredicate &predicate, int64_t head, int64_t offset)
      : space(budget) {
    for (unsigned &corner : corners)
      corner = space.addVariable();
    unsigned i = space.addVariable(), j = space.addVariable();
    auto var = [&](unsigned column) { return space.variable(column); };
    auto gap = [&](unsigned left, unsigned right, int64_t shift) {
      return space.add(space.subtract(var(left), var(right)),
                       LinearExpr(shift));
    };
    LinearExpr dims[] = {LinearExpr(head),
                         space.add(var(i), LinearExpr(offset)), var(j)};
    auto [i0, i1, j0, j1] = corners;
    Conjunction context, box;
    context.inequalities = {gap(i1, i0, -1), gap(j1, j0, -1), var(i0), var(j0)};
    box.inequalities = {gap(i, i0, 0), gap(i1, i, -1), gap(j, j0, 0),
                        gap(j1, j, -1)};
    for (bool negate : {false, true}) {
      Question &question = questions[negate];
      space.setBudget(budget);
      Conjunction given = context;
      llvm::append_range(given.inequalities, box.inequalities);
      auto disjuncts =
          getDisjuncts(predicate, negate, space, dims, {}, given, maxDisjuncts);
      if (!disjuncts) {
        question.exact = false;
        question.givenUp = true;
        continue;
      }
      for (Conjunction &disjunct : *disjuncts) {
        llvm::append_range(disjunct.inequalities, box.inequalities);
        Projection projection =
            eliminate(space, disjunct, {i, j}, context, std::nullopt, maxParts);
        question.exact &= projection.exact;
        for (Conjunction &part : projection.parts) {
          removeRedundant(space, part, context,
                          [](const LinearExpr &) { return true; });
          question.parts.push_back(std::move(part));
        }
      }
    }
    if (space.hasOverflowed())
      for (Question &question : questions)
        question = {{}, /*exact=*/false, /*givenUp=*/true};
  }

  bool isExact() const { return questions[0].exact && questions[1].exact; }
  const LinearSpace &getSpace() const { return space; }
  /// Whether a pair of the box is live, or dead; "maybe" if the formula is not
  /// exact.
  enum class Answer { No, Maybe, Yes };
  Answer holds(bool dead, ArrayRef<int64_t> box) const {
    const Question &question = questions[dead];
    bool found =
        question.givenUp ||
        llvm::any_of(question.parts, [&](const Conjunction &part) {
          return llvm::all_of(part.inequalities, [&](const LinearExpr &row) {
            return evaluate(row, box) >= 0;
          });
        });
    return !found ? Answer::No : question.exact ? Answer::Yes : Answer::Maybe;
  }

  /// The parts with the corners replaced by expressions of another space.
  SmallVector<Conjunction, 2> substitute(bool dead, LinearSpace &target,
                                         ArrayRef<LinearExpr> values) const {
    SmallVector<std::optional<LinearExpr>, 16> replaced(space.getNumColumns());
    for (auto [corner, value] : llvm::zip(corners, values))
      replaced[corner] = value;
    std::function<LinearExpr(const LinearExpr &)> rewrite =
        [&](const LinearExpr &x) {
          LinearExpr result(x.constant);
          for (auto [column, c] : llvm::enumerate(x.coefs)) {
            if (c == 0)
              continue;
            if (!replaced[column])
              replaced[column] =
                  target.floorDivide(rewrite(space.getNumerator(column)),
                                     space.getDivisor(column));
            result = target.combine(1, result, c, *replaced[column]);
          }
          return result;
        };
    SmallVector<Conjunction, 2> result;
    for (const Conjunction &part : questions[dead].parts) {
      Conjunction rewritten;
      if (llvm::all_of(part.inequalities, [&](const LinearExpr &row) {
            return addInequality(target, rewritten, rewrite(row));
          }))
        result.push_back(std::move(rewritten));
    }
    return result;
  }

private:
  int64_t evaluate(const LinearExpr &x, ArrayRef<int64_t> box) const {
    int64_t value = x.constant;
    for (auto [column, c] : llvm::enumerate(x.coefs)) {
      if (c == 0)
        continue;
      int64_t operand = space.isDivision(column)
                            ? llvm::divideFloorSigned(
                                  evaluate(space.getNumerator(column), box),
                                  space.getDivisor(column))
                            : box[column];
      value += c * operand;
    }
    return value;
  }
  static constexpr int64_t budget = 20000;
  static constexpr unsigned maxDisjuncts = 32;
  static constexpr unsigned maxParts = 24;

  struct Question {
    SmallVector<Conjunction, 4> parts;
    bool exact = true;
    /// There are no parts to look at: everything is possible.
    bool givenUp = false;
  };
  LinearSpace space;
  std::array<unsigned, 4> corners;
  std::array<Question, 2> questions;
};

} // namespace

struct MaskProblem::Impl {
  int64_t numQueries, numKeys;
  LinearSpace space{0};
  /// Over query and key index.
  std::unique_ptr<GridFormula> pairs;
  std::unique_ptr<BoxClassifier> boxes;

  /// The class of a box inside the grid that is not empty.
  TileClass classify(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    using Answer = BoxClassifier::Answer;
    Answer live = boxes->holds(/*dead=*/false, {i0, i1, j0, j1});
    if (live == Answer::No)
      return TileClass::Empty;
    Answer dead = boxes->holds(/*dead=*/true, {i0, i1, j0, j1});
    if (dead == Answer::No)
      return TileClass::Full;
    bool someLive = live == Answer::Yes, someDead = dead == Answer::Yes;
    for (int64_t i = i0; i < i1 && !(someLive && someDead); ++i) {
      int64_t count = pairs->countInRow(i, j0, j1);
      someLive |= count != 0;
      someDead |= count != j1 - j0;
    }
    return !someLive  ? TileClass::Empty
           : someDead ? TileClass::Partial
                      : TileClass::Full;
  }

  /// Adds the tiles of `numRows` full-height rows of tiles, or of one row of
  /// fewer queries: rows r cover the queries [first + r * step, first + r *
  /// step + height).
  void countTileRows(TileCounts &counts, int64_t first, int64_t step,
                     int64_t height, int64_t numRows,
                     int64_t keysPerTile) const;
};

MaskProblem::MaskProblem(MaskAttr mask, ArrayRef<int64_t> symbols, int64_t head,
                         int64_t numQueries, int64_t numKeys, int64_t offset)
    : impl(std::make_unique<Impl>()) {
  auto values = llvm::map_to_vector(
      symbols, [](int64_t value) { return MaskBound::constant(value); });
  MaskPredicate predicate = getMaskPredicate(mask.replaceSymbols(values));
  impl->numQueries = numQueries;
  impl->numKeys = numKeys;
  unsigned i = impl->space.addVariable(), j = impl->space.addVariable();
  impl->pairs = std::make_unique<GridFormula>(impl->space, i, j);
  LinearExpr dims[] = {
      LinearExpr(head),
      impl->space.add(impl->space.variable(i), LinearExpr(offset)),
      impl->space.variable(j)};
  impl->pairs->setRoot(impl->pairs->addPredicate(predicate, dims));
  impl->boxes = std::make_unique<BoxClassifier>(predicate, head, offset);
}

MaskProblem::~MaskProblem() = default;

bool MaskProblem::isLive(int64_t query, int64_t key) const {
  return impl->pairs->holds(query, key);
}

TileClass MaskProblem::classify(int64_t i0, int64_t i1, int64_t j0,
                                int64_t j1) const {
  i0 = std::max<int64_t>(i0, 0);
  j0 = std::max<int64_t>(j0, 0);
  i1 = std::min(i1, impl->numQueries);
  j1 = std::min(j1, impl->numKeys);
  if (i0 >= i1 || j0 >= j1)
    return TileClass::Empty;
  return impl->classify(i0, i1, j0, j1);
}

bool MaskProblem::hasEmptyRow() const {
  bool found = false;
  impl->pairs->forEachRun(0, impl->numQueries, 0, impl->numKeys,
                          [&](int64_t first, int64_t last, int64_t) {
                            found |= first == 0 || last == 0;
                          });
  return found;
}

bool MaskProblem::isEmpty() const {
  return classify(0, impl->numQueries, 0, impl->numKeys) == TileClass::Empty;
}

int64_t MaskProblem::countLivePairs() const {
  return impl->pairs->count(0, impl->numQueries, 0, impl->numKeys);
}

void MaskProblem::Impl::countTileRows(TileCounts &counts, int64_t first,
                                      int64_t step, int64_t height,
                                      int64_t numRows,
                                      int64_t keysPerTile) const {
  int64_t numTiles = llvm::divideCeilSigned(numKeys, keysPerTile);
  counts.total += numRows * numTiles;
  if (!boxes->isExact()) {
    for (int64_t r = 0; r < numRows; ++r)
      for (int64_t t = 0; t < numTiles; ++t) {
        int64_t i0 = first + r * step, j0 = t * keysPerTile;
        TileClass c =
            classify(i0, i0 + height, j0, std::min(j0 + keysPerTile, numKeys));
        ++(c == TileClass::Empty  ? counts.empty
           : c == TileClass::Full ? counts.full
                                  : counts.partial);
      }
    return;
  }
  // Whole key tiles, then the one cut short by the end of the keys.
  auto countColumns = [&](int64_t from, int64_t to, int64_t width) {
    if (from == to)
      return;
    int64_t found[2];
    for (bool dead : {false, true}) {
      LinearSpace tiles(0);
      unsigned r = tiles.addVariable(), t = tiles.addVariable();
      LinearExpr i0 =
          tiles.add(tiles.scale(tiles.variable(r), step), LinearExpr(first));
      LinearExpr j0 = tiles.scale(tiles.variable(t), keysPerTile);
      LinearExpr corners[] = {i0, tiles.add(i0, LinearExpr(height)), j0,
                              tiles.add(j0, LinearExpr(width))};
      GridFormula formula(tiles, r, t);
      formula.setRoot(
          formula.addUnion(boxes->substitute(dead, tiles, corners)));
      found[dead] = formula.count(0, numRows, from, to);
    }
    int64_t all = numRows * (to - from);
    counts.empty += all - found[0];
    counts.full += all - found[1];
    counts.partial += found[0] + found[1] - all;
  };
  int64_t whole = numKeys / keysPerTile;
  countColumns(0, whole, keysPerTile);
  countColumns(whole, numTiles, numKeys - whole * keysPerTile);
}

MaskProblem::TileCounts MaskProblem::countTiles(int64_t rowsPerTile,
                                                int64_t keysPerTile) const {
  TileCounts counts;
  int64_t whole = impl->numQueries / rowsPerTile,
          left = impl->numQueries - whole * rowsPerTile;
  if (whole != 0)
    impl->countTileRows(counts, 0, rowsPerTile, rowsPerTile, whole,
                        keysPerTile);
  if (left != 0)
    impl->countTileRows(counts, whole * rowsPerTile, rowsPerTile, left, 1,
                        keysPerTile);
  counts.executedPairs =
      (counts.partial + counts.full) * rowsPerTile * keysPerTile;
  return counts;
}
