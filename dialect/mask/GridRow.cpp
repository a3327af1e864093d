//===- GridRow.cpp - one row of a formula on a grid ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/mask/GridFormula.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::attn;

using Wide = __int128;

static Wide floorDivide(Wide a, Wide b) {
  Wide q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
static Wide ceilDivide(Wide a, Wide b) { return -floorDivide(-a, b); }
static int64_t floorDivide(int64_t a, int64_t b) {
  return llvm::divideFloorSigned(a, b);
}
/// Far outside any grid, with room for arithmetic.
static int64_t clamp(Wide value) {
  constexpr int64_t limit = int64_t(1) << 61;
  return value > limit ? limit : value < -limit ? -limit : int64_t(value);
}

int64_t GridFormula::evaluateDivision(unsigned index, const RowState &state,
                                      int64_t x) const {
  const Division &division = divisions[index];
  int64_t value = state.base[index] + division.numerator.byX * x;
  if (division.nestsX)
    for (const Term &term : division.numerator.terms)
      if (divisions[term.division].usesX)
        value += term.factor * evaluateDivision(term.division, state, x);
  return floorDivide(value, division.divisor);
}

int64_t GridFormula::evaluate(const Sum &sum, const RowState &state,
                              int64_t x) const {
  int64_t value = sum.constant + sum.byY * state.y + sum.byX * x;
  for (const Term &term : sum.terms)
    value += term.factor * evaluateDivision(term.division, state, x);
  return value;
}

bool GridFormula::evaluateLiteral(unsigned index, const RowState &state,
                                  int64_t x) const {
  const Literal &literal = literals[index];
  int64_t value = state.rest[index] + literal.sum.byX * x;
  for (const Term &term : literal.sum.terms)
    if (divisions[term.division].usesX)
      value += term.factor * evaluateDivision(term.division, state, x);
  return literal.isEquality ? value == 0 : value >= 0;
}

void GridFormula::addBreaks(RowState &state, unsigned index) const {
  const Literal &literal = literals[index];
  const Sum &sum = literal.sum;
  int64_t rest = state.rest[index];
  auto put = [&](int64_t at, Status status) {
    state.signature.push_back(at <= state.x0 ? 0 : at < state.x1 ? 1 : 2);
    if (at <= state.x0)
      state.initial[index] = status;
    else if (at < state.x1)
      state.breaks.push_back({at, index, status});
  };
  auto holdsIn = [&](Wide first, Wide last) { // inclusive
    state.initial[index] = Status::False;
    if (first > last)
      return;
    put(clamp(first), Status::True);
    put(clamp(last + 1), Status::False);
  };
  auto from = [&](Wide first) {
    state.initial[index] = Status::False;
    put(clamp(first), Status::True);
  };
  auto upTo = [&](Wide last) {
    state.initial[index] = Status::True;
    put(clamp(last + 1), Status::False);
  };
  auto xTerm = [&]() -> const Term & {
    return *llvm::find_if(sum.terms, [&](const Term &term) {
      return divisions[term.division].usesX;
    });
  };
  switch (literal.shape) {
  case Literal::RowOnly:
    state.initial[index] = (literal.isEquality ? rest == 0 : rest >= 0)
                               ? Status::True
                               : Status::False;
    // Two ends can both miss an equality that a row between them meets.
    state.signature.push_back(rest > 0);
    return;
  case Literal::Affine: {
    Wide a = sum.byX;
    state.phase.push_back(int64_t(rest - floorDivide(Wide(rest), a) * a));
    if (literal.isEquality) {
      if (rest % sum.byX == 0)
        holdsIn(-Wide(rest) / a, -Wide(rest) / a);
      else
        state.initial[index] = Status::False;
    } else if (a > 0) {
      from(ceilDivide(-Wide(rest), a));
    } else {
      upTo(floorDivide(Wide(rest), -a));
    }
    return;
  }
  case Literal::Staircase: {
    Term term = xTerm();
    const Division &division = divisions[term.division];
    Wide base = state.base[term.division], b = division.numerator.byX,
         m = division.divisor, c = term.factor;
    state.phase.push_back(int64_t(rest - floorDivide(Wide(rest), c) * c));
    if (literal.isEquality && rest % term.factor != 0) {
      state.initial[index] = Status::False;
      return;
    }
    // The quotient is at least, or at most, this.
    Wide quotient =
        c > 0 ? ceilDivide(-Wide(rest), c) : floorDivide(Wide(rest), -c);
    Wide low = m * quotient - base, high = low + m - 1; // of b * x
    state.phase.push_back(int64_t(low - floorDivide(low, b) * b));
    state.phase.push_back(int64_t(high - floorDivide(high, b) * b));
    Wide first = b > 0 ? ceilDivide(low, b) : ceilDivide(high, b);
    Wide last = b > 0 ? floorDivide(high, b) : floorDivide(low, b);
    if (literal.isEquality)
      holdsIn(first, last);
    else if ((c > 0) == (b > 0))
      from(first);
    else
      upTo(last);
    return;
  }
  case Literal::Residue: {
    Term term = xTerm();
    Wide m = divisions[term.division].divisor, c = term.factor,
         base = state.base[term.division];
    Wide scaled = m * rest + c * base; // m * value = scaled - c * residue
    Wide low = 0, high = m - 1;
    if (literal.isEquality) {
      if (scaled % c != 0)
        low = m;
      else
        low = high = scaled / c;
    } else if (c > 0) {
      high = std::min(high, floorDivide(scaled, c));
    } else {
      low = std::max(low, ceilDivide(-scaled, -c));
    }
    low = std::max<Wide>(low, 0);
    high = std::min<Wide>(high, m - 1);
    bool none = low > high, all = low == 0 && high == m - 1;
    state.initial[index] = none  ? Status::False
                           : all ? Status::True
                                 : Status::Open;
    state.residues[index] = none ? std::pair<int64_t, int64_t>(1, 0)
                                 : std::pair<int64_t, int64_t>(low, high);
    state.signature.push_back(state.residues[index].first);
    state.signature.push_back(state.residues[index].second);
    if (!state.neighbours)
      state.phase.push_back(int64_t(base - floorDivide(base, m) * m));
    return;
  }
  case Literal::Periodic:
    state.initial[index] = Status::Open;
    state.signature.push_back(evaluate(sum, state, 0));
    return;
  case Literal::Trend: {
    Wide value = evaluate(sum, state, 0), slack = Wide(2) * literal.deviation,
         period = literal.periodX;
    Wide surely = (value - slack) * period, maybe = (value + slack) * period,
         rise = literal.rise;
    // rise * x + surely >= 0 decides for true, rise * x + maybe < 0 for false.
    Wide openFrom, openTo;
    Status before, after;
    if (rise > 0) {
      openFrom = ceilDivide(-maybe, rise);
      openTo = literal.isEquality ? floorDivide(-surely, rise) + 1
                                  : ceilDivide(-surely, rise);
      before = Status::False;
      after = literal.isEquality ? Status::False : Status::True;
    } else {
      openFrom = literal.isEquality ? ceilDivide(surely, -rise)
                                    : floorDivide(surely, -rise) + 1;
      openTo = floorDivide(maybe, -rise) + 1;
      before = literal.isEquality ? Status::False : Status::True;
      after = Status::False;
    }
    Wide width = rise > 0 ? rise : -rise;
    state.phase.push_back(int64_t(surely - floorDivide(surely, width) * width));
    state.phase.push_back(int64_t(maybe - floorDivide(maybe, width) * width));
    state.signature.push_back(clamp(value * period + rise * openFrom));
    state.initial[index] = before;
    put(clamp(openFrom), Status::Open);
    put(clamp(openTo), after);
    return;
  }
  }
}

void GridFormula::prepareRow(RowState &state, int64_t y, int64_t x0,
                             int64_t x1) const {
  state.y = y;
  state.x0 = x0;
  state.x1 = x1;
  state.signature.clear();
  state.phase.clear();
  state.base.resize(divisions.size());
  auto withoutX = [&](const Sum &sum) {
    int64_t value = sum.constant + sum.byY * y;
    for (const Term &term : sum.terms)
      if (!divisions[term.division].usesX)
        value += term.factor * floorDivide(state.base[term.division],
                                           divisions[term.division].divisor);
    return value;
  };
  for (auto [i, division] : llvm::enumerate(divisions)) {
    state.base[i] = withoutX(division.numerator);
    if (state.neighbours && !division.usesX)
      state.signature.push_back(floorDivide(state.base[i], division.divisor));
  }
  state.rest.resize(literals.size());
  state.residues.resize(literals.size());
  state.initial.assign(literals.size(), Status::False);
  state.breaks.clear();
  for (unsigned i = 0; i < literals.size(); ++i) {
    state.rest[i] = withoutX(literals[i].sum);
    addBreaks(state, i);
  }
  // Few breaks, nearly sorted.
  for (size_t i = 1; i < state.breaks.size(); ++i)
    for (size_t k = i; k > 0 && state.breaks[k].at < state.breaks[k - 1].at;
         --k)
      std::swap(state.breaks[k], state.breaks[k - 1]);
  for (Status status : state.initial)
    state.signature.push_back(int64_t(status));
  for (const RowState::Break &b : state.breaks) {
    state.signature.push_back(b.literal * 4 + int64_t(b.status));
    if (!state.neighbours)
      state.phase.push_back(columnPeriod == 0
                                ? b.at
                                : b.at - floorDivide(b.at, columnPeriod) *
                                             columnPeriod);
  }
}

GridFormula::Status GridFormula::statusOf(Node node,
                                          ArrayRef<Status> statuses) const {
  const FormulaNode &n = nodes[node];
  switch (n.kind) {
  case MaskPredicate::Kind::True:
    return Status::True;
  case MaskPredicate::Kind::False:
    return Status::False;
  case MaskPredicate::Kind::Inequality:
  case MaskPredicate::Kind::Equality:
    return statuses[n.literal];
  case MaskPredicate::Kind::Data:
    llvm_unreachable("a mask with tensors is no formula");
  case MaskPredicate::Kind::Not: {
    Status inner = statusOf(n.operands.front(), statuses);
    return inner == Status::Open   ? Status::Open
           : inner == Status::True ? Status::False
                                   : Status::True;
  }
  case MaskPredicate::Kind::And:
  case MaskPredicate::Kind::Or:
    break;
  }
  Status absorbing =
      n.kind == MaskPredicate::Kind::And ? Status::False : Status::True;
  Status result = absorbing == Status::False ? Status::True : Status::False;
  for (Node operand : n.operands) {
    Status status = statusOf(operand, statuses);
    if (status == absorbing)
      return absorbing;
    if (status == Status::Open)
      result = Status::Open;
  }
  return result;
}

bool GridFormula::holdsAt(Node node, const RowState &state, int64_t x) const {
  const FormulaNode &n = nodes[node];
  switch (n.kind) {
  case MaskPredicate::Kind::True:
    return true;
  case MaskPredicate::Kind::False:
    return false;
  case MaskPredicate::Kind::Inequality:
  case MaskPredicate::Kind::Equality: {
    Status status = state.initial[n.literal];
    return status == Status::Open ? evaluateLiteral(n.literal, state, x)
                                  : status == Status::True;
  }
  case MaskPredicate::Kind::Data:
    break;
  case MaskPredicate::Kind::Not:
    return !holdsAt(n.operands.front(), state, x);
  case MaskPredicate::Kind::And:
    return llvm::all_of(
        n.operands, [&](Node operand) { return holdsAt(operand, state, x); });
  case MaskPredicate::Kind::Or:
    return llvm::any_of(
        n.operands, [&](Node operand) { return holdsAt(operand, state, x); });
  }
  llvm_unreachable("every kind is handled");
}

void GridFormula::collectOpen(Node node, const RowState &state,
                              SmallVectorImpl<unsigned> &open) const {
  const FormulaNode &n = nodes[node];
  if (statusOf(node, state.initial) != Status::Open)
    return;
  if (n.operands.empty()) {
    if (!llvm::is_contained(open, n.literal))
      open.push_back(n.literal);
    return;
  }
  for (Node operand : n.operands)
    collectOpen(operand, state, open);
}

/// The number of x in [first, last) whose residue lies in the literal's range.
int64_t GridFormula::countResidue(RowState &state, unsigned index,
                                  int64_t first, int64_t last) const {
  const Literal &literal = literals[index];
  const Term &term = *llvm::find_if(literal.sum.terms, [&](const Term &t) {
    return divisions[t.division].usesX;
  });
  const Division &division = divisions[term.division];
  int64_t m = division.divisor, base = state.base[term.division];
  auto [low, high] = state.residues[index];
  // The values x + base, or base - x, of the range, as [from, to).
  int64_t from = division.numerator.byX > 0 ? base + first : base - (last - 1);
  int64_t to = from + (last - first);
  auto countAtLeast = [&](int64_t bound) {
    if (bound >= m)
      return int64_t(0);
    // Values in [0, v), counted negatively for v < 0.
    auto prefix = [&](int64_t v) {
      int64_t blocks = floorDivide(v, m), inside = v - blocks * m;
      if (state.neighbours) {
        state.signature.push_back(blocks);
        state.signature.push_back(inside > bound);
      }
      return blocks * (m - bound) + std::max<int64_t>(0, inside - bound);
    };
    return prefix(to) - prefix(from);
  };
  return countAtLeast(low) - countAtLeast(high + 1);
}

bool GridFormula::isUnitResidue(unsigned index) const {
  const Literal &literal = literals[index];
  if (literal.shape != Literal::Residue)
    return false;
  const Term &term = *llvm::find_if(literal.sum.terms, [&](const Term &t) {
    return divisions[t.division].usesX;
  });
  return std::abs(divisions[term.division].numerator.byX) == 1;
}

int64_t GridFormula::countOpen(RowState &state, int64_t first,
                               int64_t last) const {
  SmallVector<unsigned, 4> open;
  collectOpen(root, state, open);
  int64_t length = last - first;
  if (open.size() == 1 && isUnitResidue(open.front())) {
    int64_t inside = countResidue(state, open.front(), first, last);
    Status &status = state.initial[open.front()];
    status = Status::True;
    bool ifTrue = statusOf(root, state.initial) == Status::True;
    status = Status::False;
    bool ifFalse = statusOf(root, state.initial) == Status::True;
    status = Status::Open;
    return (ifTrue ? inside : 0) + (ifFalse ? length - inside : 0);
  }
  if (state.neighbours)
    state.signature.push_back(state.y);
  int64_t period = 1;
  for (unsigned index : open)
    period = literals[index].shape == Literal::Trend
                 ? 0
                 : getCommonPeriod(period, literals[index].periodX);
  auto enumerate = [&](int64_t begin, int64_t end) {
    int64_t count = 0;
    for (int64_t x = begin; x < end; ++x)
      count += holdsAt(root, state, x);
    return count;
  };
  if (period == 0 || length < 2 * period)
    return enumerate(first, last);
  int64_t whole = length / period;
  return whole * enumerate(first, first + period) +
         enumerate(first + whole * period, last);
}

int64_t GridFormula::countSegments(RowState &state) const {
  int64_t count = 0, at = state.x0;
  auto segment = [&](int64_t end) {
    if (end <= at)
      return;
    Status status = statusOf(root, state.initial);
    if (status == Status::True)
      count += end - at;
    else if (status == Status::Open)
      count += countOpen(state, at, end);
    at = end;
  };
  for (const RowState::Break &b : state.breaks) {
    segment(b.at);
    state.initial[b.literal] = b.status;
  }
  segment(state.x1);
  return count;
}

bool GridFormula::holds(int64_t y, int64_t x) const {
  RowState state;
  prepareRow(state, y, x, x + 1);
  return countSegments(state) != 0;
}

int64_t GridFormula::countInRow(int64_t y, int64_t x0, int64_t x1) const {
  RowState state;
  prepareRow(state, y, x0, std::max(x0, x1));
  return countSegments(state);
}
