//===- MaskGrid.cpp - see MaskGrid.h --------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-mask/MaskGrid.h"

#include "attn/dialect/Concrete.h"
#include "attn/dialect/reference/MaskMembership.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

class SetGrid : public MaskGrid {
public:
  SetGrid(MaskAttr mask, ArrayRef<int64_t> symbols, int64_t head,
          int64_t numQueries, int64_t numKeys, int64_t offset)
      : problem(mask, symbols, head, numQueries, numKeys, offset) {}

  TileClass classify(int64_t i0, int64_t i1, int64_t j0,
                     int64_t j1) const override {
    return problem.classify(i0, i1, j0, j1);
  }
  MaskProblem::TileCounts countTiles(int64_t rowsPerTile,
                                     int64_t keysPerTile) const override {
    return problem.countTiles(rowsPerTile, keysPerTile);
  }
  int64_t countLivePairs() const override { return problem.countLivePairs(); }

private:
  MaskProblem problem;
};

class PairGrid : public MaskGrid {
public:
  PairGrid(const ConcreteAttention &attention, int64_t batch, int64_t head)
      : queries(attention.queries), keys(attention.keys),
        before((queries + 1) * (keys + 1), 0) {
    MaskAttr mask = AttentionOp(attention.op).getMask();
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t j = 0; j < keys; ++j) {
        bool live = reference::contains(
            mask, attention.symbols, attention.firstHead + head,
            i + attention.offsets[batch], j, [&](MaskAttr atom) {
              return containsPair(atom, attention.maskData, batch, head, i, j);
            });
        at(i + 1, j + 1) = at(i, j + 1) + at(i + 1, j) - at(i, j) + live;
      }
  }

  TileClass classify(int64_t i0, int64_t i1, int64_t j0,
                     int64_t j1) const override {
    int64_t live = count(i0, i1, j0, j1);
    return live == 0                       ? TileClass::Empty
           : live == (i1 - i0) * (j1 - j0) ? TileClass::Full
                                           : TileClass::Partial;
  }

  MaskProblem::TileCounts countTiles(int64_t rowsPerTile,
                                     int64_t keysPerTile) const override {
    MaskProblem::TileCounts counts;
    for (int64_t i = 0; i < queries; i += rowsPerTile)
      for (int64_t j = 0; j < keys; j += keysPerTile) {
        TileClass kind = classify(i, std::min(i + rowsPerTile, queries), j,
                                  std::min(j + keysPerTile, keys));
        ++counts.total;
        ++(kind == TileClass::Empty  ? counts.empty
           : kind == TileClass::Full ? counts.full
                                     : counts.partial);
        if (kind != TileClass::Empty)
          counts.executedPairs += rowsPerTile * keysPerTile;
      }
    return counts;
  }

  int64_t countLivePairs() const override { return count(0, queries, 0, keys); }

private:
  uint32_t &at(int64_t i, int64_t j) { return before[i * (keys + 1) + j]; }
  int64_t get(int64_t i, int64_t j) const { return before[i * (keys + 1) + j]; }
  int64_t count(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    return get(i1, j1) - get(i0, j1) - get(i1, j0) + get(i0, j0);
  }

  int64_t queries, keys;
  /// The live pairs of the queries before i and the keys before j.
  std::vector<uint32_t> before;
};

} // namespace

std::shared_ptr<MaskGrid>
mlir::attn::makeSetGrid(MaskAttr mask, ArrayRef<int64_t> symbols, int64_t head,
                        int64_t numQueries, int64_t numKeys, int64_t offset) {
  return std::make_shared<SetGrid>(mask, symbols, head, numQueries, numKeys,
                                   offset);
}

std::shared_ptr<MaskGrid>
mlir::attn::makePairGrid(const ConcreteAttention &attention, int64_t batch,
                         int64_t head) {
  return std::make_shared<PairGrid>(attention, batch, head);
}
