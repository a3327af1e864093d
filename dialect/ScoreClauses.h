//===- ScoreClauses.h - softcap, bias, alibi and score ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_SCORECLAUSES_H
#define ATTN_DIALECT_SCORECLAUSES_H

#include "attn/dialect/Attn.h"

namespace mlir::attn {

/// Reads the clauses that change scores, each at most once, and makes one score
/// region of them.
class ScoreClauses {
public:
  /// Whether the clause is one of these: softcap, bias, alibi, score.
  static bool contains(StringRef clause);
  bool isGiven(StringRef clause) const;

  /// Reads what follows the keyword.
  ParseResult parse(OpAsmParser &parser, StringRef clause);
  /// Appends the score inputs to the operands.
  ParseResult resolve(OpAsmParser &parser, OperationState &state);
  size_t getNumInputs() const;
  /// Fills the op's region, which is empty. Leaves it so without a clause.
  ParseResult addRegion(OpAsmParser &parser, Region &target);

private:
  struct Input {
    OpAsmParser::UnresolvedOperand operand;
    Type type;
  };
  ParseResult parseInput(OpAsmParser &parser, std::optional<Input> &input);

  std::optional<float> cap;
  std::optional<Input> bias, slopes;
  SmallVector<Input> inputs;
  std::unique_ptr<Region> region;
  SMLoc regionLoc;
};

/// Reads `(%x, %y : types) { region }` after the keyword `score`; the list may
/// be left out.
ParseResult
parseScoreClause(OpAsmParser &parser,
                 SmallVectorImpl<OpAsmParser::UnresolvedOperand> &operands,
                 SmallVectorImpl<Type> &types, Region &region);

/// Writes ` score(...) { region }`, or nothing if there is no region.
void printScoreClause(OpAsmPrinter &printer, ValueRange inputs, Region &region);

} // namespace mlir::attn

#endif // ATTN_DIALECT_SCORECLAUSES_H
