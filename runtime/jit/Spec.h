//===- Spec.h - One attention, described by values --------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_JIT_SPEC_H
#define ATTN_RUNTIME_JIT_SPEC_H

#include "attn/runtime/core/ElementType.h"
#include "attn/runtime/core/Result.h"

#include <vector>

namespace attn {

/// One attention: q is B x Hq x Nq x D, k is B x Hkv x Nk x D, v is
/// B x Hkv x Nk x Dv, o is B x Hq x Nq x Dv. A size of -1 is left to run time.
struct AttentionSpec {
  static constexpr int64_t dynamic = -1;
  /// Where query 0 stands among the keys (docs/Spec.md, align).
  enum class Alignment : uint8_t {
    End,
    Start,
    Offset,         ///< an index argument, one for all batches
    OffsetPerBatch, ///< an argument of B elements of i64
  };
  /// An argument beside q, k and v: what the mask reads, or a change of scores.
  struct Tensor {
    std::string name;
    ElementType type = ElementType::F32;
    std::vector<int64_t> shape; ///< 1 where it is broadcast
  };

  ElementType type = ElementType::F16; ///< F16, BF16 or F32
  int64_t batch = dynamic;
  int64_t queryHeads = dynamic, kvHeads = dynamic;
  int64_t queries = dynamic, keys = dynamic;
  int64_t headSize = 0;
  int64_t valueHeadSize = 0; ///< 0: as headSize
  /// A mask expression; symbols and tensors are written %name.
  std::string mask = "all";
  /// The names of its symbols: index arguments after v, in this order.
  std::vector<std::string> symbols;
  /// Arguments after the symbols and the offset, in this order.
  std::vector<Tensor> tensors;
  /// Unset: 1 / sqrt(D).
  std::optional<double> scale;
  Alignment alignment = Alignment::End;
  bool lse = false; ///< a second result, B x Hq x Nq of f32

  /// Changes of the score (docs/Spec.md, Scores); the names are those of
  /// tensors, or empty.
  std::optional<double> softcap;
  std::string bias, alibi, sinks;
  /// The body of a score region that follows them: ops on %s (the score), %b
  /// (the batch), %h, %i, %j and, by its name, an element of each of
  /// `scoreInputs`, tensors or symbols; it ends with attn.yield.
  std::string score;
  std::vector<std::string> scoreInputs;
};

/// The function `attention` that computes it, as MLIR text. Its arguments are
/// q, k, v, the symbols, the offset and the tensors, its results o and lse.
/// Fails for what can not be written; the compiler checks the rest.
Result<std::string> toMlir(const AttentionSpec &spec);

} // namespace attn

#endif // ATTN_RUNTIME_JIT_SPEC_H
