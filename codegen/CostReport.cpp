//===- CostReport.cpp - see CostReport.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/CostReport.h"

#include "attn/dialect/mask/Columns.h"
#include "attn/dialect/mask/MaskData.h"
#include "attn/dialect/mask/Packing.h"
#include "attn/passes/HeadRows.h"
#include "llvm/ADT/MapVector.h"
#include <nlohmann/json.hpp>

using namespace mlir;
using namespace mlir::attn;
using Json = nlohmann::ordered_json;

Json mlir::attn::getCost(const ConcreteAttention &attention) {
  AttentionOp op = attention.op;
  ScheduleAttr schedule = op.getScheduleAttr();

  // Problems that differ only in the batch or the head are counted once.
  int64_t heads = op.getMask().dependsOnHead()
                      ? attention.queryHeads
                      : std::min<int64_t>(attention.queryHeads, 1);
  int64_t headsPerCount = heads == 0 ? 0 : attention.queryHeads / heads;
  // The heads of a tile run together; it has rows for all of them at full size.
  int64_t queries = schedule.getQueries(),
          headsPerTile = getHeadsPerTile(op, schedule);
  llvm::MapVector<std::pair<int64_t, MaskAttr>, int64_t> batches;
  for (auto [batch, offset] : llvm::enumerate(attention.offsets))
    ++batches[{offset, attention.getClosedMask(batch)}];

  // As attn-pack decides, which sees the types alone.
  SmallVector<Packing, 1> packings =
      getPackings(op, schedule.getQueries(), schedule.getKvTile());
  auto keyType = cast<RankedTensorType>(op.getK().getType());
  std::optional<int64_t> knownKeys;
  if (!keyType.isDynamicDim(2))
    knownKeys = keyType.getDimSize(2);
  MaskProblem::TileCounts tiles;
  int64_t livePairs = 0;
  for (auto [problem, numBatches] : batches) {
    auto [offset, closed] = problem;
    for (int64_t head = 0; head < heads; ++head) {
      MaskProblem mask(closed, attention.symbols, attention.firstHead + head,
                       attention.queries, attention.keys, offset);
      // A mask with tensors runs in one part.
      MaskProblem::TileCounts counts =
          hasData(op.getMask())
              ? countPackedTiles(
                    closed, getPacking(packings, head).parts[0].modulus,
                    attention.symbols, attention.firstHead + head,
                    attention.queries, attention.keys, offset, queries,
                    schedule.getKvTile(), knownKeys, keepsKeysInOrder(op))
              : countPackedTiles(getPacking(packings, head).parts,
                                 attention.symbols, attention.firstHead + head,
                                 attention.queries, attention.keys, offset,
                                 queries, schedule.getKvTile(), knownKeys,
                                 keepsKeysInOrder(op));
      int64_t times = numBatches * (headsPerCount / headsPerTile);
      tiles.total += times * counts.total;
      tiles.empty += times * counts.empty;
      tiles.partial += times * counts.partial;
      tiles.full += times * counts.full;
      tiles.executedPairs += times * schedule.getHeads() * counts.executedPairs;
      livePairs += numBatches * headsPerCount * mask.countLivePairs();
    }
  }

  auto bytesOf = [](Value value) -> int64_t {
    return value ? cast<RankedTensorType>(value.getType())
                           .getElementTypeBitWidth() /
                       8
                 : 0;
  };
  int64_t queryRows =
      attention.batches * attention.queryHeads * attention.queries;
  int64_t keyRows = attention.batches * attention.kvHeads * attention.keys;
  int64_t bytes = queryRows * (attention.headSize * bytesOf(op.getQ()) +
                               attention.valueSize * bytesOf(op.getO()) +
                               bytesOf(op.getLse())) +
                  keyRows * (attention.headSize * bytesOf(op.getK()) +
                             attention.valueSize * bytesOf(op.getV()));
  // What one part hands to the next is written and read in f32.
  for (const Packing &packing : packings) {
    int64_t last = std::min(packing.last.value_or(attention.queryHeads),
                            attention.queryHeads);
    int64_t rows = attention.batches * attention.queries *
                   std::max<int64_t>(last - packing.first, 0);
    bytes += static_cast<int64_t>(packing.parts.size() - 1) * 2 * rows * 4 *
             (attention.valueSize + 1);
  }
  int64_t full[] = {attention.batches, attention.queryHeads, attention.queries,
                    attention.keys};
  for (Value input : op.getScoreInputs()) {
    auto type = dyn_cast<RankedTensorType>(input.getType());
    if (!type)
      continue;
    int64_t elements = type.getRank() == 1 ? attention.queryHeads : 1;
    for (int64_t dim = 0; type.getRank() == 4 && dim < 4; ++dim)
      elements *= type.getDimSize(dim) == 1 ? 1 : full[dim];
    bytes += elements * bytesOf(input);
  }
  if (op.getSinks())
    bytes += attention.queryHeads * bytesOf(op.getSinks());
  int64_t flopsPerPair = 2 * (attention.headSize + attention.valueSize);

  Json cost;
  cost["mask"] = op.getMask().str();
  if (attention.isAssumed())
    cost["assumes"] = "every pair of the mask's tensors is live";
  cost["symbols"] =
      std::vector<int64_t>(attention.symbols.begin(), attention.symbols.end());
  cost["batches"] = attention.batches;
  cost["query_heads"] = attention.queryHeads;
  cost["kv_heads"] = attention.kvHeads;
  cost["queries"] = attention.queries;
  cost["keys"] = attention.keys;
  cost["head_size"] = attention.headSize;
  cost["value_size"] = attention.valueSize;
  cost["tile"] = {schedule.getQTile(), schedule.getKvTile()};
  cost["heads_per_tile"] = headsPerTile;
  Json &parts = cost["parts"] = Json::array();
  for (const Packing &packing : packings)
    for (const PackedPart &part : packing.parts) {
      Json entry;
      if (packing.last)
        entry["heads"] = {packing.first, *packing.last};
      entry["mask"] = part.mask.str();
      entry["residue_classes"] = part.modulus;
      MaskAttr mask = part.mask;
      if (part.modulus > 1)
        mask = getResidueClass(mask, part.modulus,
                               MaskBound::symbol(mask.getNumSymbols()));
      for (const Segment &segment :
           getSegments(mask, queries, schedule.getKvTile(),
                       getKnownClassKeys(part.modulus, knownKeys),
                       keepsKeysInOrder(op)))
        if (const std::optional<ColumnSet> &columns = segment.columns)
          entry["columns"].push_back(
              {columns->first, columns->count, columns->step});
      parts.push_back(std::move(entry));
    }
  cost["tiles"] = {{"total", tiles.total},
                   {"empty", tiles.empty},
                   {"full", tiles.full},
                   {"partial", tiles.partial}};
  cost["live_pairs"] = livePairs;
  cost["executed_pairs"] = tiles.executedPairs;
  cost["useful_fraction"] =
      tiles.executedPairs == 0
          ? Json()
          : Json(double(livePairs) / double(tiles.executedPairs));
  cost["flops"] = livePairs * flopsPerPair;
  cost["executed_flops"] = tiles.executedPairs * flopsPerPair;
  cost["bytes"] = bytes;
  return cost;
}
