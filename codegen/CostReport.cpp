//===- CostReport.cpp - see CostReport.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/CostReport.h"

#include "attn/dialect/mask/Packing.h"
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
  llvm::DenseMap<int64_t, int64_t> batchesAtOffset;
  for (int64_t offset : attention.offsets)
    ++batchesAtOffset[offset];

  // As attn-pack decides, which sees the types alone.
  SmallVector<Packing, 1> packings =
      getPackings(op, schedule.getQTile(), schedule.getKvTile());
  MaskProblem::TileCounts tiles;
  int64_t livePairs = 0;
  for (auto [offset, batches] : batchesAtOffset) {
    for (int64_t head = 0; head < heads; ++head) {
      MaskProblem mask(op.getMask(), attention.symbols,
                       attention.firstHead + head, attention.queries,
                       attention.keys, offset);
      MaskProblem::TileCounts counts = countPackedTiles(
          op.getMask(), getModulus(packings, head), attention.symbols,
          attention.firstHead + head, attention.queries, attention.keys, offset,
          schedule.getQTile(), schedule.getKvTile());
      int64_t times = batches * headsPerCount;
      tiles.total += times * counts.total;
      tiles.empty += times * counts.empty;
      tiles.partial += times * counts.partial;
      tiles.full += times * counts.full;
      tiles.executedPairs += times * counts.executedPairs;
      livePairs += times * mask.countLivePairs();
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
  cost["residue_classes"] = packings[0].modulus;
  if (packings.size() > 1) {
    cost["residue_classes"] = Json::array();
    for (const Packing &packing : packings)
      cost["residue_classes"].push_back(
          {packing.first, *packing.last, packing.modulus});
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
