//===- Build.h - turns one parsed instruction into an Op -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef ATTN_RUNTIME_SIM_BUILD_H
#define ATTN_RUNTIME_SIM_BUILD_H

#include "attn/runtime/sim/Machine.h"

namespace attn::sim {

/// A scalar or packed instruction type.
enum class Type : uint8_t {
  None,
  Pred,
  B8,
  U8,
  S8,
  B16,
  U16,
  S16,
  B32,
  U32,
  S32,
  B64,
  U64,
  S64,
  F16,
  BF16,
  TF32,
  F32,
  F64,
  F16x2,
  BF16x2,
  U16x2,
  S16x2,
};
Type parseType(std::string_view text);
unsigned bitsOf(Type type);
bool isFloat(Type type);
bool isSigned(Type type);

class FunctionBuilder;

/// What a builder function sees: the matched modifiers, and the way from
/// operands to slots. Every accessor reports its own error and then returns 0;
/// the decoder stops at the first error.
class Build {
public:
  Build(FunctionBuilder &function, const Instruction &instruction)
      : function(function), inst(instruction) {}

  Op op;
  RegisterEffects effects;

  /// Modifier chosen for slot i of the table's pattern, empty if it is optional
  /// and absent.
  std::string_view mod(unsigned i) const { return chosen[i]; }
  bool has(std::string_view modifier) const;
  std::string_view opcode() const { return inst.opcode; }
  /// The last modifier that is a type.
  Type type() const { return types.empty() ? Type::None : types.back(); }
  /// The i-th modifier that is a type.
  Type type(unsigned i) const {
    return i < types.size() ? types[i] : Type::None;
  }

  size_t operandCount() const { return inst.operands.size(); }
  const Operand &operand(unsigned i) const { return inst.operands[i]; }

  /// Slot of a destination or source register of the given width; sources may
  /// be immediates.
  uint32_t dst(const Operand &operand, unsigned bits,
               bool widerAllowed = false);
  uint32_t src(const Operand &operand, Type type, bool widerAllowed = false);
  uint32_t dst(unsigned i, unsigned bits) { return dst(operand(i), bits); }
  uint32_t src(unsigned i, Type type) { return src(operand(i), type); }
  uint32_t predDst(const Operand &operand);
  /// Predicate source; sets `flag` in op.flags if it is negated.
  uint32_t predSrc(const Operand &operand, uint8_t flag);
  /// Declared width of a register operand, 0 for anything else.
  unsigned registerBits(const Operand &operand) const;
  /// Compile-time integer.
  uint64_t constant(const Operand &operand);
  bool isConstant(unsigned i) const {
    return operand(i).kind == Operand::Integer;
  }
  /// Scratch slot that nothing reads.
  uint32_t sink(unsigned bits);
  /// Fills op.a (address register, or a zero constant), op.imm (offset) and
  /// op.space, and checks the space.
  void address(const Operand &operand, Space space);
  /// Address value of a symbol in its own space.
  uint64_t symbolAddress(const Operand &operand, Space &space);
  /// Stores the operand slots of a wide instruction.
  void list(std::vector<uint32_t> slots);
  uint32_t constantSlot(uint64_t bits, bool wide);
  void noteAccess(Space space, unsigned bytes);
  void noteSequential();
  void noteMbarriers();
  void noteBulkStores();
  /// Number of the wgmma, for Op::c.
  uint32_t addMma(MmaInfo info);
  /// The same of a bulk copy.
  uint32_t addBulk(BulkInfo info);
  /// address(), as a value; leaves op.a, op.imm and op.space behind.
  AddressOperand addressOperand(const Operand &operand, Space space);
  uint32_t branchTarget(const Operand &operand);
  HostIsa hostIsa() const;

  Handler fail(const Operand &where, const std::string &message);
  Handler fail(const std::string &message);

private:
  friend class FunctionBuilder;
  FunctionBuilder &function;
  const Instruction &inst;
  std::vector<std::string_view> chosen;
  std::vector<Type> types;
};

/// Chooses the handler of an instruction and fills Build::op. Null after
/// fail().
using Builder = Handler (*)(Build &);

/// Builders by the name that the opcode table uses. Lane builders exist once
/// per instruction set of the host.
// clang-format off
#define ATTN_SIM_LANE_BUILDERS(X)                                              \
  X(intBinary)                                                                 \
  X(intMul)                                                                    \
  X(intMad)                                                                    \
  X(intUnary)                                                                  \
  X(intDivRem) X(minMaxInt) X(bitLogic) X(lop3) X(shift) X(funnelShift)        \
      X(bitField) X(prmt) X(packedDot) X(sad) X(compare) X(setValue) X(select) \
          X(slct) X(move) X(predicateLogic) X(floatBinary) X(floatFma)         \
              X(floatUnary) X(floatMinMax) X(floatDivide) X(floatApprox)       \
                  X(halfApprox) X(convert) X(convertPacked) X(mma16)           \
                      X(mmaTf32) X(wgmmaProduct) X(bitCount) X(testp) X(copysign) X(addCarry)
// clang-format on
// clang-format off
#define ATTN_SIM_OTHER_BUILDERS(X)                                             \
  X(load)                                                                      \
  X(store)                                                                     \
  X(loadMatrix)                                                                \
  X(storeMatrix)                                                               \
  X(moveMatrix)                                                                \
  X(cpAsync) X(cpCommit) X(cpWait) X(atomic) X(convertAddress) X(isSpace)      \
      X(branch) X(leave) X(trap) X(barrier) X(barrierReduce) X(warpBarrier)    \
          X(fence) X(shuffle) X(vote) X(matchLanes) X(activeMask)              \
              X(reduceLanes) X(electLane) X(nothing) X(mbarrierInit)           \
                  X(mbarrierInval) X(mbarrierTx) X(mbarrierArrive)             \
                      X(mbarrierWait) X(mbarrierPending) X(proxyFence)         \
                          X(bulkLoad) X(bulkStore) X(tensorLoad)               \
                              X(tensorStore) X(bulkCommit) X(bulkWait)         \
                                  X(wgmma) X(wgmmaFence) X(wgmmaCommit)        \
                                      X(wgmmaWait) X(setRegisters)             \
                                          X(mapAddress)
// clang-format on

#define ATTN_SIM_NAME(name) name,
enum class BuilderId : uint8_t {
  ATTN_SIM_LANE_BUILDERS(ATTN_SIM_NAME) ATTN_SIM_OTHER_BUILDERS(ATTN_SIM_NAME)
};
#undef ATTN_SIM_NAME

/// Row of the opcode table. `pattern` holds the modifiers in order, separated
/// by spaces: `a|b` alternatives, a trailing
/// `?` optional, `$set` a named set. `operands` has one letter for each: d
/// destination, s source, p predicate destination, q predicate source, m
/// memory, t tensor map with coordinates, v vector or register, l label, i
/// integer, after a `?` optional ones. A target of 1000 + x is sm_xa only.
struct Opcode {
  const char *name;
  const char *pattern;
  const char *operands;
  unsigned version; ///< least PTX version, times ten
  unsigned sm;      ///< least target
  BuilderId builder;
};

/// Decodes one entry of a module.
Result<std::unique_ptr<Program>> decodeFunction(const ParsedModule &module,
                                                const Function &function,
                                                HostIsa isa);

/// The opcode table and its matching: fills the modifiers, or says what is
/// wrong.
struct Match {
  const Opcode *row = nullptr;
  std::vector<std::string_view> chosen;
  std::string problem;
};
Match matchOpcode(const Instruction &instruction, unsigned version, unsigned sm,
                  char variant);

/// The builder to use, for the instruction set asked for or the best that the
/// machine has below it.
Builder builderFor(BuilderId id, HostIsa isa);

} // namespace attn::sim

#endif // ATTN_RUNTIME_SIM_BUILD_H
