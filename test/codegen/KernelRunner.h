//===- KernelRunner.h - compiles and simulates one attention problem ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_CODEGEN_KERNELRUNNER_H
#define ATTN_TEST_CODEGEN_KERNELRUNNER_H

#include "attn/codegen/nvptx/Emit.h"
#include "attn/dialect/reference/Judge.h"
#include "attn/dialect/reference/Numerics.h"
#include "attn/runtime/sim/Simulator.h"

#include <functional>

namespace mlir::attn::test {

/// How q, k, v and o lie in memory.
enum class Storage {
  HeadMajor,     ///< B x H x N x D, rows on 32 bytes where D allows it
  SequenceMajor, ///< B x N x H x D seen as B x H x N x D
  Unaligned,     ///< rows D + 3 elements apart, the first one element off
  Huge,          ///< rows 2^27 + 8 elements apart: the 17th lies past 2^31
};

/// What is not finite in v.
enum class Poison { None, Nan, Infinity };

struct Case {
  int64_t headSize = 64, valueHeadSize = 0; ///< 0: the same
  int64_t queries = 128, keys = 128;
  int64_t batches = 1, heads = 2, kvHeads = 1;
  const char *type = "bf16";
  const char *mask = "all";
  int64_t modulus = 1; ///< of the residue classes that the mask is packed into
  std::function<bool(int64_t h, int64_t p, int64_t j)> live = {};
  /// Pairs that run apart, over the keys with j mod columnStep >= columnStart
  /// made adjacent; none if empty.
  std::function<bool(int64_t p, int64_t j)> inColumns = {};
  int64_t columnStart = 0, columnStep = 1;
  const char *align = "end";
  int64_t offset = 0; ///< what %x is
  Storage storage = Storage::HeadMajor;
  Poison poison = Poison::None;
  nvptx::NvptxPipelineOptions options = {};
  bool withLse = true;
  /// Blocks of a persistent kernel.
  int64_t multiprocessors = 2;
};

struct Outcome {
  bool compiled = false;
  std::string problem; ///< of compiling or launching
  ::attn::Bundle bundle;
  ::attn::reference::Judgement o, lse;
  std::vector<double> values; ///< of the output
  ::attn::sim::LaunchReport report;
  /// What the products of the visited tiles take when nothing is wasted.
  uint64_t idealMma = 0, idealWgmma = 0;
};

/// Compiles the case, runs it in the simulator in `mode` and judges the result
/// against the definition.
Outcome runCase(MLIRContext &context, const Case &problem,
                ::attn::sim::Mode mode, uint64_t seed = 1);

/// The source of the case's function.
std::string getSource(const Case &problem);

} // namespace mlir::attn::test

#endif // ATTN_TEST_CODEGEN_KERNELRUNNER_H
