//===- CostReport.h - what an attention op costs, counted and not measured ---*-
// C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_COSTREPORT_H
#define ATTN_CODEGEN_COSTREPORT_H

#include "attn/dialect/Concrete.h"
#include <nlohmann/json_fwd.hpp>

namespace mlir::attn {

/// The cost of one attention op under its schedule, summed over batches and
/// heads:
///  - `parts`: what attn-pack makes of the mask: disjoint parts (and `heads`,
///    where ranges of heads differ), each in `residue_classes` classes, 1 if it
///    is not taken apart, and `columns`, the sets of keys (first, count, step)
///    that attn-compact makes adjacent. Tiles are those that then run;
///  - `tiles`: how many tiles of q_tile x kv_tile there are, and how many are
///  empty, full and partial; the rows of one are queries of `heads_per_tile`
///  query heads;
///  - `live_pairs`, `executed_pairs` (live and partial tiles at full size),
///  `useful_fraction` (their quotient; null when
///    nothing is executed);
///  - `flops`: 2 (D + Dv) for each live pair; `executed_flops`: the same for
///  each executed pair;
///  - `bytes`: q, k, v, o, lse, score inputs and sinks once each, the least
///    that must move, and what the parts hand on.
/// The op must carry a schedule.
nlohmann::ordered_json getCost(const ConcreteAttention &attention);

} // namespace mlir::attn

#endif // ATTN_CODEGEN_COSTREPORT_H
