//===- MaskTensors.cpp - see MaskTensors.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/passes/MaskTensors.h"

#include "attn/dialect/mask/MaskData.h"
#include "attn/passes/TileBuilder.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// The number of elements below `value`, or up to it.
struct Search {
  Value value;
  bool orEqual;
};

} // namespace

/// Searches in the `length` elements of a non-decreasing 1 x N tensor, all at
/// once: the probes of one step do not wait for each other.
static SmallVector<Value> buildSearch(ImplicitLocOpBuilder &builder,
                                      Value tensor, Value length,
                                      ArrayRef<Search> searches) {
  Type index = builder.getIndexType();
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  SmallVector<Value> inits(searches.size() + 1, zero);
  inits.front() = length;
  Location loc = builder.getLoc();
  // The answer lies in base .. base + left.
  auto loop = scf::WhileOp::create(
      builder, SmallVector<Type>(inits.size(), index), inits,
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        Value none = arith::ConstantIndexOp::create(b, 0);
        Value more = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt,
                                           args.front(), none);
        scf::ConditionOp::create(b, more, args);
      },
      [&](OpBuilder &nested, Location, ValueRange args) {
        ImplicitLocOpBuilder b(loc, nested);
        Value none = arith::ConstantIndexOp::create(b, 0),
              one = arith::ConstantIndexOp::create(b, 1);
        Value half = arith::ShRUIOp::create(
            b, arith::AddIOp::create(b, args.front(), one), one);
        SmallVector<Value> next = {
            arith::SubIOp::create(b, args.front(), half)};
        for (auto [search, base] :
             llvm::zip_equal(searches, args.drop_front())) {
          Value end = arith::AddIOp::create(b, base, half);
          Value element = tensor::ExtractOp::create(
              b, tensor,
              ValueRange{none, arith::SubIOp::create(b, end, one)});
          Value before = arith::CmpIOp::create(
              b,
              search.orEqual ? arith::CmpIPredicate::sle
                             : arith::CmpIPredicate::slt,
              element, search.value);
          next.push_back(arith::SelectOp::create(b, before, end, base));
        }
        scf::YieldOp::create(b, next);
      });
  return SmallVector<Value>(loop.getResults().drop_front());
}

/// Elements `first` on of a 1 x N tensor: `count` x 1 if `alongRows`, else 1 x
/// `count`.
static Value readElements(ImplicitLocOpBuilder &builder, Value tensor,
                          Value first, int64_t count, bool alongRows,
                          bool inBounds) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value padding = arith::ConstantOp::create(
      builder, builder.getZeroAttr(type.getElementType()));
  AffineExpr d0 = builder.getAffineDimExpr(0), d1 = builder.getAffineDimExpr(1);
  AffineMap map = AffineMap::get(
      2, 0, alongRows ? ArrayRef{d1, d0} : ArrayRef{d0, d1},
      builder.getContext());
  SmallVector<int64_t> shape = {1, count};
  SmallVector<bool> bounds = {true, inBounds};
  if (alongRows) {
    std::swap(shape[0], shape[1]);
    std::swap(bounds[0], bounds[1]);
  }
  return vector::TransferReadOp::create(
      builder, VectorType::get(shape, type.getElementType()), tensor,
      ValueRange{zero, first}, padding, map, ArrayRef<bool>(bounds));
}

MaskTensors::MaskTensors(ImplicitLocOpBuilder &builder, OnlineAttentionOp op,
                         int64_t tile)
    : builder(builder), op(op),
      rows(cast<VectorType>(op.getQ().getType()).getDimSize(0)), tile(tile),
      symbols(op.getSymbols()) {
  MaskAttr mask = op.getMaskAttr();
  atoms = getDataAtoms(mask);
  for (MaskAttr atom : atoms)
    bindDocuments(atom);
  auto numberOf = [&](MaskAttr atom) {
    return llvm::find(atoms, atom) - atoms.begin();
  };
  auto getHull = [&](bool isOuter) {
    return replaceData(mask, [&](MaskAttr atom, bool negated) {
      const auto &hull = hulls[numberOf(atom)];
      return isOuter == negated ? hull.second : hull.first;
    });
  };
  outer = getHull(true);
  inner = getHull(false);
  tileMask = replaceData(mask, [&](MaskAttr atom, bool) {
    return MaskAttr::getAtom(mask.getContext(), MaskKind::Bits,
                             MaskBound::data(numberOf(atom)));
  });
}

/// Ids do not decrease: the keys that the rows of a tile see lie between the
/// first key with the id of the first row and the last key with that of the
/// last row; where the ids of both are the same, all of them are seen by all
/// rows.
void MaskTensors::bindDocuments(MaskAttr atom) {
  auto numbers = getData(atom);
  Value queries = op.getMaskData()[numbers[0]],
        keys = op.getMaskData()[numbers[1]];
  Value zero = arith::ConstantIndexOp::create(builder, 0),
        one = arith::ConstantIndexOp::create(builder, 1);
  Value count =
      arith::SubIOp::create(builder, op.getRows()[1], op.getRows()[0]);
  Value last = arith::SubIOp::create(builder, count, one);
  Value firstId =
      tensor::ExtractOp::create(builder, queries, ValueRange{zero, zero});
  Value lastId =
      tensor::ExtractOp::create(builder, queries, ValueRange{zero, last});
  SmallVector<Value> found = buildSearch(builder, keys, op.getKeys()[1],
                                         {{firstId, false},
                                          {lastId, true},
                                          {lastId, false},
                                          {firstId, true}});
  auto getKeys = [&](unsigned first) {
    unsigned number = symbols.size();
    symbols.append({found[first], found[first + 1]});
    return MaskAttr::getAtom(
        op.getContext(), MaskKind::Keys,
        {MaskBound::symbol(number), MaskBound::symbol(number + 1)});
  };
  MaskAttr some = getKeys(0), all = getKeys(2);
  hulls.push_back({some, all});
  bool inBounds =
      cast<RankedTensorType>(queries.getType()).getDimSize(1) == rows;
  rowValues.push_back(readElements(builder, queries, zero, rows,
                                   /*alongRows=*/true, inBounds));
}

SmallVector<Value> MaskTensors::buildTile(Value first, bool inBounds) {
  SmallVector<Value> vectors;
  for (auto [atom, row] : llvm::zip_equal(atoms, rowValues)) {
    Value keys = readElements(builder, op.getMaskData()[getData(atom)[1]],
                              first, tile, /*alongRows=*/false, inBounds);
    auto type = VectorType::get({rows, tile}, getElementTypeOrSelf(row));
    vectors.push_back(arith::CmpIOp::create(
        builder, arith::CmpIPredicate::eq,
        vector::BroadcastOp::create(builder, type, row),
        vector::BroadcastOp::create(builder, type, keys)));
  }
  return vectors;
}
