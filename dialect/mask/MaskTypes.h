//===- MaskTypes.h - the parts a mask attribute is made of ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_DIALECT_MASK_MASKTYPES_H
#define ATTN_DIALECT_MASK_MASKTYPES_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/Hashing.h"
#include <cassert>
#include <cstdint>

namespace mlir::attn {

/// The atoms and operators of a mask; what each means stands with `MaskAttr`.
enum class MaskKind : uint8_t {
  All,
  Causal,
  Window,
  Dilated,
  Stride,
  SameBlock,
  Summary,
  Global,
  Keys,
  Queries,
  Heads,
  Set,
  Lengths,
  Documents,
  Blocks,
  Bits,
  And,
  Or,
  Not,
};

/// A parameter of an atom: an integer, a symbol bound at run time, infinity, or
/// a tensor that the op binds.
class MaskBound {
public:
  static MaskBound constant(int64_t value) { return {Kind::Constant, value}; }
  static MaskBound symbol(unsigned number) { return {Kind::Symbol, number}; }
  static MaskBound infinity() { return {Kind::Infinity, 0}; }
  static MaskBound data(unsigned number) { return {Kind::Data, number}; }

  bool isConstant() const { return kind == Kind::Constant; }
  bool isSymbol() const { return kind == Kind::Symbol; }
  bool isInfinity() const { return kind == Kind::Infinity; }
  bool isData() const { return kind == Kind::Data; }

  int64_t getConstant() const {
    assert(isConstant());
    return value;
  }
  unsigned getSymbol() const {
    assert(isSymbol());
    return static_cast<unsigned>(value);
  }
  /// Which of the op's mask tensors.
  unsigned getData() const {
    assert(isData());
    return static_cast<unsigned>(value);
  }

  bool operator==(const MaskBound &other) const {
    return kind == other.kind && value == other.value;
  }
  bool operator!=(const MaskBound &other) const { return !(*this == other); }
  friend llvm::hash_code hash_value(const MaskBound &bound) {
    return llvm::hash_combine(static_cast<int>(bound.kind), bound.value);
  }

private:
  enum class Kind : uint8_t { Constant, Symbol, Infinity, Data };
  MaskBound(Kind kind, int64_t value) : kind(kind), value(value) {}

  Kind kind;
  int64_t value;
};

} // namespace mlir::attn

#endif // ATTN_DIALECT_MASK_MASKTYPES_H
