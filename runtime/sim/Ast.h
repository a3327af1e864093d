//===- Ast.h - parsed PTX, before decoding ---------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_AST_H
#define ATTN_RUNTIME_SIM_AST_H

#include "attn/runtime/sim/Simulator.h"

#include <optional>

namespace attn::sim {

enum class Space : uint8_t { Generic, Global, Shared, Local, Const, Param };

/// Where something stands in the text.
struct Place {
  unsigned line = 0, column = 0;
};

struct Operand {
  enum Kind : uint8_t {
    Register,
    Integer,
    Float,
    Vector,
    Address,
    Symbol,
    Sink
  } kind = Sink;
  bool negated = false; ///< `!p`
  unsigned reg = 0;     ///< Register, or the base of an Address when hasBase
  bool hasBase = false;
  uint64_t value =
      0; ///< Integer: the bits; Float: f64 bits; Address, Symbol: byte offset
  bool single =
      false;        ///< Float written as 0f: `value` holds the exact f32 bits
  std::string name; ///< Symbol, or the base symbol of an Address
  std::vector<Operand> elements; ///< Vector elements; for `a|b` the second
                                 ///< element; coordinates of a tensor Address
  Place place;
};

struct Instruction {
  std::string opcode;
  std::vector<std::string> modifiers;
  std::vector<Operand> operands;
  std::optional<unsigned> predicate;
  bool predicateNegated = false;
  Place place;

  /// opcode and modifiers, joined by points
  std::string spelled() const;
};

/// A register: bits 1 means predicate.
struct RegisterInfo {
  std::string name;
  unsigned bits;
};

/// A variable in some space; offset is its place within that space's block.
struct Variable {
  std::string name;
  Space space;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  unsigned alignment = 1;
};

struct Function {
  std::string name;
  Place place;
  std::vector<Variable> parameters;
  std::vector<RegisterInfo> registers;
  std::vector<Instruction> instructions;
  std::map<std::string, size_t>
      labels;                      ///< to the index of the next instruction
  std::vector<Variable> variables; ///< .shared and .local of the body
  unsigned parameterBytes = 0;
  uint64_t sharedBytes = 0; ///< static shared, module and function scope
  uint64_t localBytes = 0;
  unsigned requiredThreads[3] = {0, 0, 0};
  unsigned maxThreads = 0;
  unsigned maxRegisters = 0;  ///< .maxnreg
  unsigned blocksPerUnit = 0; ///< .minnctapersm
};

struct ParsedModule {
  unsigned version = 0; ///< 10 * major + minor
  std::string target;   ///< as written
  unsigned sm = 0;
  char variant = 0; ///< 'a' or 'f' of sm_90a, else 0
  std::vector<Variable>
      variables; ///< module scope, and function scope .global/.const
  std::vector<uint8_t> globalImage; ///< initial contents of .global
  std::vector<uint8_t> constImage;  ///< contents of .const
  std::vector<std::string>
      functions; ///< names of .func, whose bodies are not kept
  std::vector<Function> entries;
};

Result<ParsedModule> parsePtx(std::string_view text);

/// Number of a special register such as `%tid.x`, or -1. The order is that of
/// SpecialRegister in Machine.h.
int specialRegister(std::string_view name);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_AST_H
