//===- AttnDialect.cpp - registration of the attn dialect ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Attn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

#include "attn/dialect/AttnDialect.cpp.inc"
#include "attn/dialect/AttnEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "attn/dialect/AttnAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "attn/dialect/AttnOps.cpp.inc"

void AttnDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "attn/dialect/AttnAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "attn/dialect/AttnOps.cpp.inc"
      >();
}

ScheduleAttr ScheduleAttr::withHeads(int64_t heads) const {
  return get(getContext(), getQTile(), getKvTile(), getWarps(), getStages(),
             getQInRegisters(), getProducerRegisters(), getConsumerRegisters(),
             getOverlap(), getTurns(), getWeightsInShared(), getPersistent(),
             heads);
}

LogicalResult ScheduleAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t qTile, int64_t kvTile, int64_t warps,
                                   int64_t stages, bool,
                                   int64_t producerRegisters,
                                   int64_t consumerRegisters, bool overlap,
                                   bool turns, bool weightsInShared,
                                   bool persistent, int64_t heads) {
  // S1
  if (qTile < 16 || qTile % 16 != 0)
    return emitError() << "q_tile must be a positive multiple of 16, found "
                       << qTile << " (S1)";
  // S2
  if (kvTile < 16 || kvTile % 16 != 0)
    return emitError() << "kv_tile must be a positive multiple of 16, found "
                       << kvTile << " (S2)";
  // S3
  if (warps < 1 || warps > 32 || qTile % (16 * warps) != 0)
    return emitError() << "warps must be 1 to 32 and divide the " << qTile / 16
                       << " blocks of 16 rows of q_tile, found " << warps
                       << " (S3)";
  // S4
  if (stages < 1 || stages > 8)
    return emitError() << "stages must be 1 to 8, found " << stages << " (S4)";
  // S9
  if (heads < 1 || qTile % heads != 0)
    return emitError() << "heads must be positive and divide the " << qTile
                       << " rows of q_tile, found " << heads << " (S9)";
  if (producerRegisters == 0 && consumerRegisters == 0) {
    // S7
    if (overlap || turns || weightsInShared || persistent)
      return emitError() << "overlap, turns, weights_in_shared and persistent "
                            "need producer_registers and consumer_registers "
                            "(S7)";
    return success();
  }
  // S5
  for (int64_t registers : {producerRegisters, consumerRegisters})
    if (registers < 24 || registers > 240 || registers % 8 != 0)
      return emitError() << "producer_registers and consumer_registers must be "
                            "multiples of 8 from 24 to 240, or both 0, found "
                         << producerRegisters << " and " << consumerRegisters
                         << " (S5)";
  // S6
  if (qTile != 16 * warps || warps % 4 != 0)
    return emitError() << "with roles, q_tile must be 64 rows for every four "
                          "warps, found "
                       << qTile << " rows and " << warps << " warps (S6)";
  // S8
  if (turns && !overlap)
    return emitError() << "turns need overlap (S8)";
  return success();
}
