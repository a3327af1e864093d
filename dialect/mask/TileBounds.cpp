//===- TileBounds.cpp - tiles as affine functions ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For each disjunct of the mask the pair (x, y) of a tile is eliminated; what
// remains are inequalities over the tile number and the parameters. Those
// linear in the tile number make the interval, the others the filter. The full
// tiles are those in which every disjunct of the complement is empty, which is
// a choice of one violated inequality for each.
//
//===----------------------------------------------------------------------===//

#include "attn/dialect/mask/Projection.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

enum class TileSide { Keys, Queries };

class TileBoundsBuilder {
public:
  TileBoundsBuilder(MaskAttr mask, MaskAttr inner, int64_t tile, TileSide side)
      : mask(mask), inner(inner), context(mask.getContext()), tile(tile),
        side(side), space(budget) {
    h = space.addVariable();
    p0 = space.addVariable();
    p1 = space.addVariable();
    n = space.addVariable();
    t = space.addVariable();
    for (unsigned column = h; column <= t; ++column)
      affineVariables.push_back(getAffineDimExpr(column, context));
    numSymbols = std::max(mask.getNumSymbols(), inner.getNumSymbols()) +
                 (side == TileSide::Queries);
    for (unsigned s = 0; s < numSymbols; ++s) {
      symbols.push_back(space.variable(space.addVariable()));
      affineVariables.push_back(getAffineSymbolExpr(s, context));
    }
    x = space.addVariable();
    y = space.addVariable();
    LinearExpr row = space.variable(x), column = space.variable(y);
    if (side == TileSide::Keys)
      dims = {space.variable(h), row, column};
    else
      dims = {space.variable(h), space.add(column, symbols.back()), row};
  }

  TileBounds build() {
    buildLive(getMaskPredicate(mask));
    buildFull(getMaskPredicate(inner));
    return std::move(bounds);
  }

private:
  LinearExpr var(unsigned column) const { return space.variable(column); }
  /// left - right + shift
  LinearExpr gap(const LinearExpr &left, const LinearExpr &right,
                 int64_t shift = 0) {
    return space.add(space.subtract(left, right), LinearExpr(shift));
  }
  LinearExpr firstOfTile() { return space.scale(var(t), tile); }

  Conjunction getRowContext() {
    Conjunction result;
    result.inequalities = {gap(var(p1), var(p0), -1), var(h)};
    if (side == TileSide::Queries)
      result.inequalities.push_back(var(p0));
    return result;
  }
  Conjunction getRow() {
    Conjunction row;
    row.inequalities = {gap(var(x), var(p0)), gap(var(p1), var(x), -1)};
    return row;
  }
  static Conjunction both(Conjunction a, const Conjunction &b) {
    llvm::append_range(a.inequalities, b.inequalities);
    llvm::append_range(a.equalities, b.equalities);
    return a;
  }

  void buildLive(const MaskPredicate &predicate) {
    Conjunction rowContext = getRowContext();
    Conjunction grid = getRow();
    grid.inequalities.push_back(var(y));
    grid.inequalities.push_back(gap(var(n), var(y), -1));
    Conjunction tileContext;
    tileContext.inequalities = {var(t), gap(var(n), firstOfTile(), -1)};
    auto disjuncts =
        getDisjuncts(predicate, /*negate=*/false, space, dims, symbols,
                     both(rowContext, grid), maxDisjuncts);
    if (!disjuncts) {
      disjuncts.emplace(1);
      bounds.exact = false;
    }
    grid.inequalities.push_back(gap(var(y), firstOfTile()));
    grid.inequalities.push_back(gap(firstOfTile(), var(y), tile - 1));
    Conjunction given = both(rowContext, tileContext);
    SmallVector<Conjunction, 4> intervals, filters;
    auto project = [&](const Conjunction &set, unsigned maxParts) {
      Projection projection = eliminate(space, set, {x, y}, given, t, maxParts);
      for (Conjunction &part : projection.parts) {
        for (const LinearExpr &row : tileContext.inequalities)
          addInequality(space, part, row);
        simplifyRows(part, rowContext);
      }
      return projection;
    };
    struct Projected {
      Conjunction set;
      Projection hull;
      bool isLinear;
    };
    SmallVector<Projected, 4> projected;
    bool needsFilter = false;
    for (const Conjunction &disjunct : *disjuncts) {
      Projected &entry = projected.emplace_back();
      entry.set = both(disjunct, grid);
      entry.hull = project(entry.set, 1);
      entry.isLinear =
          entry.hull.exact && llvm::all_of(entry.hull.parts, [&](auto &part) {
            return isInterval(part);
          });
      needsFilter |= !entry.isLinear;
    }
    space.setBudget(budget);
    for (Projected &entry : projected) {
      Projection precise =
          entry.hull.exact ? entry.hull : project(entry.set, maxParts);
      if (precise.parts.empty())
        continue;
      bounds.exact &= precise.exact;
      for (const Conjunction &part : entry.hull.parts) {
        Conjunction interval;
        for (const LinearExpr &row : part.inequalities)
          if (isLinearIn(space, row, t))
            interval.inequalities.push_back(row);
        addUnlessCovered(intervals, std::move(interval), rowContext);
      }
      for (Conjunction &part : precise.parts)
        addUnlessCovered(filters, std::move(part), rowContext);
    }
    if (intervals.size() > maxLiveIntervals) {
      intervals.assign(1, tileContext);
      needsFilter = true;
    }
    if (space.hasOverflowed()) {
      // Every tile is a sound answer when the parameters are too large to
      // compute with.
      intervals.assign(1, tileContext);
      bounds.exact = needsFilter = false;
    }
    for (const Conjunction &interval : intervals)
      bounds.live.push_back(getInterval(interval));
    // A set that holds for every tile filters nothing.
    if (needsFilter && llvm::none_of(filters, [&](const Conjunction &set) {
          return set.inequalities.empty();
        }))
      for (const Conjunction &set : filters)
        bounds.filter.push_back(getSet(set, /*withTile=*/true));
  }

  void buildFull(const MaskPredicate &predicate) {
    space.setBudget(budget);
    Conjunction tileContext;
    tileContext.inequalities = {var(t), gap(var(n), firstOfTile(), -tile)};
    Conjunction given = both(getRowContext(), tileContext);
    Conjunction grid = getRow();
    grid.inequalities.push_back(gap(var(y), firstOfTile()));
    grid.inequalities.push_back(gap(firstOfTile(), var(y), tile - 1));
    // Tiles inside one disjunct.
    auto live = getDisjuncts(predicate, /*negate=*/false, space, dims, symbols,
                             both(given, grid), maxDisjuncts);
    FullTiles full;
    full.exact = false;
    if (live)
      for (const Conjunction &disjunct : *live) {
        space.setBudget(budget / 4);
        FullTiles inside =
            getFull(getComplement(disjunct), given, grid, tileContext);
        if (!space.isBudgetSpent())
          for (Conjunction &part : inside.intervals)
            addUnlessCovered(full.intervals, std::move(part), getRowContext());
      }
    // All full tiles, unless this takes many intervals: those that need several
    // disjuncts are few.
    space.setBudget(budget);
    auto dead = getDisjuncts(predicate, /*negate=*/true, space, dims, symbols,
                             both(given, grid), maxDisjuncts);
    if (dead) {
      FullTiles all = getFull(*dead, given, grid, tileContext);
      size_t compact = std::max<size_t>(2, full.intervals.size());
      if ((all.exact || full.intervals.empty()) &&
          all.intervals.size() <= compact && !space.isBudgetSpent())
        full = std::move(all);
    }
    if (full.intervals.size() > maxFullIntervals || space.hasOverflowed()) {
      full.intervals.resize(space.hasOverflowed() ? 0 : maxFullIntervals);
      full.exact = false;
    }
    bounds.fullExact = full.exact;
    for (Conjunction &part : full.intervals) {
      simplifyRows(part, getRowContext());
      bounds.full.push_back(getInterval(part));
    }
  }

  struct FullTiles {
    SmallVector<Conjunction, 4> intervals;
    bool exact = true;
  };

  /// The tiles in which every one of the `dead` sets is empty.
  FullTiles getFull(ArrayRef<Conjunction> dead, const Conjunction &given,
                    const Conjunction &grid, const Conjunction &tileContext) {
    Conjunction rowContext = getRowContext();
    FullTiles full;
    full.intervals.push_back(tileContext);
    for (const Conjunction &disjunct : dead) {
      Projection projection =
          eliminate(space, both(disjunct, grid), {x, y}, given, t, maxParts);
      full.exact &= projection.exact;
      for (Conjunction &part : projection.parts) {
        removeRedundant(space, part, given,
                        [](const LinearExpr &) { return true; });
        SmallVector<Conjunction, 4> next;
        for (const Conjunction &candidate : full.intervals) {
          for (const LinearExpr &row : part.inequalities) {
            if (!isLinearIn(space, row, t)) {
              full.exact = false;
              continue;
            }
            Conjunction violated = candidate;
            if (!addInequality(space, violated,
                               space.combine(-1, row, 1, LinearExpr(-1))))
              continue;
            if (space.isInfeasible(both(violated, rowContext)))
              continue;
            addUnlessCovered(next, std::move(violated), rowContext);
          }
        }
        if (next.size() > 2 * maxFullIntervals || space.isBudgetSpent()) {
          // An interval less is a sound answer.
          next.resize(std::min<size_t>(next.size(), 2 * maxFullIntervals));
          full.exact = false;
        }
        full.intervals = std::move(next);
      }
    }
    return full;
  }

  SmallVector<Conjunction, 4> getComplement(const Conjunction &set) {
    SmallVector<Conjunction, 4> result;
    auto addNegated = [&](const LinearExpr &row, int64_t sign) {
      Conjunction part;
      if (addInequality(space, part,
                        space.combine(sign, row, 1, LinearExpr(-1))))
        result.push_back(std::move(part));
    };
    for (const LinearExpr &row : set.inequalities)
      addNegated(row, -1);
    for (const LinearExpr &row : set.equalities) {
      addNegated(row, 1);
      addNegated(row, -1);
    }
    return result;
  }

  bool isInterval(const Conjunction &part) {
    return llvm::all_of(part.inequalities, [&](const LinearExpr &row) {
      return isLinearIn(space, row, t);
    });
  }

  /// The condition first, then the bounds, so that a condition which the bounds
  /// imply goes; the filter last.
  void simplifyRows(Conjunction &part, const Conjunction &rowContext) {
    Conjunction linear, rest;
    for (LinearExpr &row : part.inequalities)
      (isLinearIn(space, row, t) ? linear : rest)
          .inequalities.push_back(std::move(row));
    removeRedundant(space, linear, rowContext,
                    [&](const LinearExpr &row) { return row.coef(t) == 0; });
    removeRedundant(space, linear, rowContext,
                    [](const LinearExpr &) { return true; });
    removeRedundant(space, rest, both(rowContext, linear),
                    [](const LinearExpr &) { return true; });
    part = both(std::move(linear), rest);
  }

  void addUnlessCovered(SmallVectorImpl<Conjunction> &sets, Conjunction set,
                        const Conjunction &rowContext) {
    if (space.isBudgetSpent()) {
      sets.push_back(std::move(set));
      return;
    }
    Conjunction within = both(set, rowContext);
    if (llvm::any_of(sets, [&](const Conjunction &other) {
          return space.implies(within, other);
        }))
      return;
    llvm::erase_if(sets, [&](const Conjunction &other) {
      return space.implies(both(other, rowContext), set);
    });
    sets.push_back(std::move(set));
  }

  IntegerSet getSet(const Conjunction &set, bool withTile) {
    SmallVector<AffineExpr> constraints;
    for (const LinearExpr &row : set.inequalities)
      constraints.push_back(space.toAffine(row, affineVariables, context));
    SmallVector<bool> isEquality(constraints.size(), false);
    if (constraints.empty()) {
      constraints.push_back(getAffineConstantExpr(0, context));
      isEquality.push_back(true);
    }
    return IntegerSet::get(withTile ? 5 : 4, numSymbols, constraints,
                           isEquality);
  }

  TileInterval getInterval(const Conjunction &set) {
    SmallVector<AffineExpr> lower, upper;
    Conjunction condition;
    for (const LinearExpr &row : set.inequalities) {
      int64_t c = row.coef(t);
      if (c == 0) {
        condition.inequalities.push_back(row);
        continue;
      }
      LinearExpr rest = row;
      rest.coefs[t] = 0;
      if (c > 0) // t >= ceil(-rest / c)
        lower.push_back(
            space
                .toAffine(space.combine(-1, rest, 1, LinearExpr(c - 1)),
                          affineVariables, context)
                .floorDiv(c));
      else // t < floor(rest / -c) + 1
        upper.push_back(space
                            .toAffine(space.add(rest, LinearExpr(1)),
                                      affineVariables, context)
                            .ceilDiv(-c));
    }
    // Redundancy removal leaves 0 <= t and t * tile < n unless something
    // tighter is there.
    if (lower.empty())
      lower.push_back(getAffineConstantExpr(0, context));
    if (upper.empty())
      upper.push_back(affineVariables[n].ceilDiv(tile));
    return {AffineMap::get(4, numSymbols, lower, context),
            AffineMap::get(4, numSymbols, upper, context),
            getSet(condition, /*withTile=*/false)};
  }

  /// For each of: the intervals, the filter, the full tiles.
  static constexpr int64_t budget = 12000;
  static constexpr unsigned maxDisjuncts = 24;
  static constexpr unsigned maxParts = 16;
  static constexpr unsigned maxLiveIntervals = 8;
  static constexpr unsigned maxFullIntervals = 8;

  MaskAttr mask, inner;
  MLIRContext *context;
  int64_t tile;
  TileSide side;
  LinearSpace space;
  unsigned h, p0, p1, n, t, x, y, numSymbols;
  SmallVector<LinearExpr> dims, symbols;
  SmallVector<AffineExpr> affineVariables;
  TileBounds bounds;
};

} // namespace

TileBounds mlir::attn::getKeyTileBounds(MaskAttr mask, int64_t tile) {
  return getKeyTileBounds(mask, mask, tile);
}

TileBounds mlir::attn::getKeyTileBounds(MaskAttr outer, MaskAttr inner,
                                        int64_t tile) {
  return TileBoundsBuilder(outer, inner, tile, TileSide::Keys).build();
}

TileBounds mlir::attn::getQueryTileBounds(MaskAttr mask, int64_t tile) {
  return TileBoundsBuilder(mask, mask, tile, TileSide::Queries).build();
}
