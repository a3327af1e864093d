//===- Score.h - score regions: what they take, and building them ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_SCORE_H
#define ATTN_DIALECT_SCORE_H

#include "attn/dialect/Attn.h"

namespace mlir::attn {

/// The arguments of a score region; an element of each score input follows.
enum ScoreArgument : unsigned {
  kScore,
  kBatch,
  kHead,
  kQuery,
  kKey,
  kFirstScoreInput
};

/// What a region sees of a score input: f32, or index for an index.
Type getScoreElementType(Type input);

/// Builds a score region step by step, in the order in which the steps apply:
///
///   ScoreBuilder score(loc);
///   score.addSoftCap(30);
///   score.addAlibi(slopes);
///   parts.scoreInputs = score.getInputs();
///   parts.score = &score.finish();
///
/// The region lives as long as the builder; building an op clones it.
class ScoreBuilder {
public:
  explicit ScoreBuilder(Location loc);

  /// s = cap * tanh(s / cap), with 1 / cap rounded to f32.
  void addSoftCap(float cap);
  /// s = s + b.
  void addBias(Value bias);
  /// s = s - slope * |p - j|.
  void addAlibi(Value slopes);
  /// s = what `region`, a score region over `inputs`, yields; takes its ops.
  void addRegion(Region &region, ValueRange inputs);

  /// The same, for inputs that have a type but no value yet.
  void addBias(Type bias);
  void addAlibi(Type slopes);
  void addRegion(Region &region);

  bool isEmpty() const { return empty; }
  ArrayRef<Value> getInputs() const { return inputs; }
  /// Ends the region. Nothing can be added afterwards.
  Region &finish();

private:
  Value addInput(Type type);

  Region region;
  Block *block;
  Location loc;
  Value score;
  SmallVector<Value, 2> inputs;
  bool empty = true;
};

/// Gives the region of `op` one more input, an index; the region's argument.
Value addScoreIndex(AttentionOp op, Value index);

/// For an op that is about to become a part of another one: lets its region see
/// `factor * x + first` where it sees x, its argument `number`. `first` is an
/// index; null for 0.
void remapScoreArgument(AttentionOp op, ScoreArgument number, int64_t factor,
                        Value first);

/// Whether the region of the op uses its argument `number`.
bool usesScoreArgument(Region &score, ScoreArgument number);

} // namespace mlir::attn

#endif // ATTN_DIALECT_SCORE_H
