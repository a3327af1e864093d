//===- Decode.cpp - from parsed instructions to operations -----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Build.h"
#include "attn/runtime/sim/Flow.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace attn::sim {

namespace {
const std::pair<std::string_view, Type> typeNames[] = {
    {"pred", Type::Pred},   {"b8", Type::B8},         {"u8", Type::U8},
    {"s8", Type::S8},       {"b16", Type::B16},       {"u16", Type::U16},
    {"s16", Type::S16},     {"b32", Type::B32},       {"u32", Type::U32},
    {"s32", Type::S32},     {"b64", Type::B64},       {"u64", Type::U64},
    {"s64", Type::S64},     {"f16", Type::F16},       {"bf16", Type::BF16},
    {"tf32", Type::TF32},   {"f32", Type::F32},       {"f64", Type::F64},
    {"f16x2", Type::F16x2}, {"bf16x2", Type::BF16x2}, {"u16x2", Type::U16x2},
    {"s16x2", Type::S16x2},
};
const char *const specialNames[SpecialCount] = {
    "%tid.x",
    "%tid.y",
    "%tid.z",
    "%ntid.x",
    "%ntid.y",
    "%ntid.z",
    "%ctaid.x",
    "%ctaid.y",
    "%ctaid.z",
    "%nctaid.x",
    "%nctaid.y",
    "%nctaid.z",
    "%laneid",
    "%warpid",
    "%nwarpid",
    "%smid",
    "%nsmid",
    "%gridid",
    "%lanemask_eq",
    "%lanemask_le",
    "%lanemask_lt",
    "%lanemask_ge",
    "%lanemask_gt",
    "%dynamic_smem_size",
    "%total_smem_size",
    "%clusterid.x",
    "%clusterid.y",
    "%clusterid.z",
    "%nclusterid.x",
    "%nclusterid.y",
    "%nclusterid.z",
    "%cluster_ctaid.x",
    "%cluster_ctaid.y",
    "%cluster_ctaid.z",
    "%cluster_nctaid.x",
    "%cluster_nctaid.y",
    "%cluster_nctaid.z",
    "%cluster_ctarank",
    "%cluster_nctarank",
    "%clock",
    "%clock_hi",
    "%clock64",
    "%globaltimer",
    "%globaltimer_lo",
    "%globaltimer_hi",
};
} // namespace

int specialRegister(std::string_view name) {
  for (unsigned i = 0; i < SpecialCount; ++i)
    if (name == specialNames[i])
      return int(i);
  return -1;
}

Type parseType(std::string_view text) {
  for (const auto &entry : typeNames)
    if (entry.first == text)
      return entry.second;
  return Type::None;
}

unsigned bitsOf(Type type) {
  switch (type) {
  case Type::None:
    return 0;
  case Type::Pred:
    return 1;
  case Type::B8:
  case Type::U8:
  case Type::S8:
    return 8;
  case Type::B16:
  case Type::U16:
  case Type::S16:
  case Type::F16:
  case Type::BF16:
    return 16;
  case Type::B64:
  case Type::U64:
  case Type::S64:
  case Type::F64:
    return 64;
  default:
    return 32;
  }
}

bool isFloat(Type type) { return type >= Type::F16 && type <= Type::BF16x2; }
bool isSigned(Type type) {
  return type == Type::S8 || type == Type::S16 || type == Type::S32 ||
         type == Type::S64 || type == Type::S16x2;
}

/// Decodes one function: slots for registers and constants, one Op for each
/// instruction, then the layout of blocks.
class FunctionBuilder {
public:
  FunctionBuilder(const ParsedModule &module, const Function &source,
                  HostIsa isa)
      : module(module), source(source), isa(isa),
        program(std::make_unique<Program>()) {}

  Result<std::unique_ptr<Program>> run();

private:
  friend class Build;

  uint32_t registerSlot(unsigned reg) {
    uint32_t &slot = slots[reg];
    if (slot == Unassigned) {
      unsigned bits = source.registers[reg].bits;
      if (bits == 1) {
        slot = program->predicateCount++;
      } else {
        slot = program->registerWords;
        program->registerWords += bits == 64 ? 2 * Lanes : Lanes;
      }
    }
    return slot;
  }
  const Variable *variable(const std::string &name) const {
    for (const Variable &candidate : source.parameters)
      if (candidate.name == name)
        return &candidate;
    for (const Variable &candidate : source.variables)
      if (candidate.name == name)
        return &candidate;
    for (const Variable &candidate : module.variables)
      if (candidate.name == name && candidate.space != Space::Shared)
        return &candidate;
    return nullptr;
  }
  void describeEntry();

  static constexpr uint32_t Unassigned = ~0u;
  const ParsedModule &module;
  const Function &source;
  const HostIsa isa;
  std::unique_ptr<Program> program;
  std::vector<uint32_t> slots;
  std::map<std::pair<uint64_t, bool>, uint32_t> constants;
  uint32_t sinkPredicate = 0;
  Error error;
  bool failed = false;
};

Handler Build::fail(const std::string &message) {
  if (!function.failed)
    function.error = {message, inst.place.line, inst.place.column};
  function.failed = true;
  return nullptr;
}

Handler Build::fail(const Operand &where, const std::string &message) {
  if (!function.failed)
    function.error = {message, where.place.line, where.place.column};
  function.failed = true;
  return nullptr;
}

bool Build::has(std::string_view modifier) const {
  return std::find(chosen.begin(), chosen.end(), modifier) != chosen.end();
}

uint32_t Build::sink(unsigned bits) {
  return bits == 1 ? function.sinkPredicate : SpecialCount * Lanes;
}

unsigned Build::registerBits(const Operand &operand) const {
  return operand.kind == Operand::Register
             ? function.source.registers[operand.reg].bits
             : 0;
}

static std::string widthProblem(unsigned expected, const RegisterInfo &info,
                                const Instruction &inst) {
  auto show = [](unsigned bits) {
    return bits == 1 ? std::string("a predicate")
                     : std::to_string(bits) + " bits";
  };
  return "'" + inst.spelled() + "' expects " + show(expected) + ", '" +
         info.name + "' has " + show(info.bits);
}

uint32_t Build::dst(const Operand &operand, unsigned bits, bool widerAllowed) {
  if (operand.kind == Operand::Sink)
    return sink(bits);
  if (operand.kind != Operand::Register) {
    fail(operand, "expected a register");
    return 0;
  }
  const RegisterInfo &info = function.source.registers[operand.reg];
  if (info.bits != bits && !(widerAllowed && info.bits > bits && bits != 1)) {
    fail(operand, widthProblem(bits, info, inst));
    return 0;
  }
  effects.defines.push_back(operand.reg);
  return function.registerSlot(operand.reg);
}

uint32_t Build::predDst(const Operand &operand) { return dst(operand, 1); }

uint32_t Build::constantSlot(uint64_t bits, bool wide) {
  auto [entry, added] = function.constants.emplace(
      std::make_pair(bits, wide), uint32_t(function.constants.size()));
  if (added) {
    function.program->constants.push_back(bits);
    function.program->constantWide.push_back(wide);
  }
  return function.program->constantBase + entry->second * 2 * Lanes;
}

uint64_t Build::symbolAddress(const Operand &operand, Space &space) {
  const Variable *variable = function.variable(operand.name);
  if (!variable) {
    fail(operand, "unknown symbol '" + operand.name + "'");
    return 0;
  }
  space = variable->space;
  uint64_t base = space == Space::Shared   ? SharedStart
                  : space == Space::Global ? ModuleGlobals
                  : space == Space::Const  ? 0
                                           : 0;
  return base + variable->offset + operand.value;
}

uint32_t Build::src(const Operand &operand, Type type, bool widerAllowed) {
  unsigned bits = bitsOf(type);
  switch (operand.kind) {
  case Operand::Register: {
    const RegisterInfo &info = function.source.registers[operand.reg];
    if (info.bits != bits && !(widerAllowed && info.bits > bits)) {
      fail(operand, widthProblem(bits, info, inst));
      return 0;
    }
    if (operand.negated) {
      fail(operand, "'!' is for predicates");
      return 0;
    }
    effects.uses.push_back(operand.reg);
    return function.registerSlot(operand.reg);
  }
  case Operand::Integer: {
    if (isFloat(type) && type != Type::F16 && type != Type::BF16 &&
        type != Type::F16x2 && type != Type::BF16x2 && operand.value != 0) {
      fail(operand, "expected a floating-point immediate such as 0f3F800000");
      return 0;
    }
    uint64_t value = operand.value;
    if (bits < 64)
      value &= (1ull << bits) - 1;
    return constantSlot(value, bits == 64);
  }
  case Operand::Float: {
    double wide;
    float narrow;
    uint32_t low = uint32_t(operand.value);
    if (operand.single) {
      std::memcpy(&narrow, &low, 4);
      wide = narrow;
    } else {
      std::memcpy(&wide, &operand.value, 8);
      narrow = float(wide);
      std::memcpy(&low, &narrow, 4);
    }
    if (bits == 32)
      return constantSlot(low, false);
    uint64_t value;
    std::memcpy(&value, &wide, 8);
    if (bits == 64)
      return constantSlot(value, true);
    fail(operand, "a floating-point immediate needs 32 or 64 bits");
    return 0;
  }
  case Operand::Symbol: {
    int special = specialRegister(operand.name);
    if (special >= 0) {
      if (special >= int(FirstVolatile) || bits != 32) {
        fail(operand,
             "read '" + operand.name + "' with a mov of its own width");
        return 0;
      }
      return uint32_t(special) * Lanes;
    }
    Space space;
    uint64_t address = symbolAddress(operand, space);
    return constantSlot(bits == 64 ? address : uint32_t(address), bits == 64);
  }
  default:
    fail(operand, "expected a register or an immediate");
    return 0;
  }
}

uint32_t Build::predSrc(const Operand &operand, uint8_t flag) {
  if (operand.kind == Operand::Integer) {
    // Slot 0 is always true.
    if ((operand.value != 0) == operand.negated)
      op.flags |= flag;
    return 0;
  }
  if (operand.kind != Operand::Register ||
      function.source.registers[operand.reg].bits != 1) {
    fail(operand, "expected a predicate register");
    return 0;
  }
  if (operand.negated)
    op.flags |= flag;
  effects.uses.push_back(operand.reg);
  return function.registerSlot(operand.reg);
}

uint64_t Build::constant(const Operand &operand) {
  if (operand.kind != Operand::Integer)
    fail(operand, "expected an integer constant");
  return operand.value;
}

static const char *spaceName(Space space) {
  static const char *const names[] = {"generic", "global", "shared",
                                      "local",   "const",  "param"};
  return names[unsigned(space)];
}

void Build::address(const Operand &operand, Space space) {
  op.space = space;
  op.imm = operand.value;
  op.variant = 1;
  if (operand.hasBase) {
    const RegisterInfo &info = function.source.registers[operand.reg];
    if (info.bits != 64 && info.bits != 32) {
      fail(operand, widthProblem(64, info, inst));
      return;
    }
    if (info.bits == 32 &&
        (space == Space::Generic || space == Space::Global)) {
      fail(operand, "a 32-bit register cannot hold a " +
                        std::string(spaceName(space)) + " address");
      return;
    }
    op.variant = info.bits == 64;
    effects.uses.push_back(operand.reg);
    op.a = function.registerSlot(operand.reg);
    return;
  }
  op.a = constantSlot(0, true);
  if (operand.name.empty())
    return;
  Space actual = space;
  op.imm = symbolAddress(operand, actual);
  if (space == Space::Generic)
    op.space = actual;
  else if (actual != space)
    fail(operand, "'" + operand.name + "' is in ." + spaceName(actual) +
                      ", the instruction accesses ." + spaceName(space));
}

void Build::list(std::vector<uint32_t> values) {
  function.program->lists.push_back(
      std::make_unique<std::vector<uint32_t>>(std::move(values)));
  op.list = function.program->lists.back()->data();
}

void Build::noteAccess(Space space, unsigned bytes) {
  Program &program = *function.program;
  if (space == Space::Shared || space == Space::Generic)
    program.sharedGranule = std::min(program.sharedGranule, bytes);
  if (space == Space::Global || space == Space::Generic)
    program.globalGranule = std::min(program.globalGranule, bytes);
}

void Build::noteSequential() { function.program->sequential = true; }
void Build::noteMbarriers() { function.program->usesMbarriers = true; }
void Build::noteBulkStores() { function.program->usesBulkStores = true; }
uint32_t Build::addMma(MmaInfo info) {
  function.program->mmas.push_back(std::move(info));
  return uint32_t(function.program->mmas.size() - 1);
}
HostIsa Build::hostIsa() const { return function.isa; }

uint32_t Build::addBulk(BulkInfo info) {
  function.program->bulks.push_back(info);
  return uint32_t(function.program->bulks.size() - 1);
}

AddressOperand Build::addressOperand(const Operand &operand, Space space) {
  address(operand, space);
  return {op.a, op.variant == 1, op.space, op.imm};
}

uint32_t Build::branchTarget(const Operand &operand) {
  auto label = function.source.labels.find(operand.name);
  if (label == function.source.labels.end()) {
    fail(operand, "unknown label '" + operand.name + "'");
    return 0;
  }
  return uint32_t(label->second);
}

void FunctionBuilder::describeEntry() {
  Entry &entry = program->entry;
  entry.name = source.name;
  for (const Variable &parameter : source.parameters)
    entry.parameters.push_back({parameter.name, unsigned(parameter.offset),
                                unsigned(parameter.bytes),
                                parameter.alignment});
  entry.parameterBytes = source.parameterBytes;
  entry.staticShared = unsigned(source.sharedBytes);
  std::copy(std::begin(source.requiredThreads),
            std::end(source.requiredThreads), entry.requiredThreads);
  entry.maxThreads = source.maxThreads;
  program->registersAtLaunch = source.maxRegisters;
  program->blocksPerUnit = source.blocksPerUnit;
  program->localBytes = uint32_t((source.localBytes + 15) / 16 * 16);
  program->registers = source.registers;
}

Result<std::unique_ptr<Program>> FunctionBuilder::run() {
  describeEntry();
  slots.assign(source.registers.size(), Unassigned);
  // Special registers, the sink, then registers as they are met, then
  // constants.
  program->registerWords = (SpecialCount + 2) * Lanes;
  sinkPredicate = 2; // 0 is true, 1 is the carry of add.cc
  program->predicateCount = 3;
  for (unsigned reg = 0; reg < source.registers.size(); ++reg)
    if (source.registers[reg].bits == 128)
      return Error{"128-bit registers are not supported", source.place.line,
                   source.place.column};
  std::vector<bool> used(source.registers.size());
  for (const Instruction &inst : source.instructions) {
    auto mark = [&](auto &&self, const Operand &operand) -> void {
      if (operand.kind == Operand::Register || operand.hasBase)
        used[operand.reg] = true;
      for (const Operand &element : operand.elements)
        self(self, element);
    };
    for (const Operand &operand : inst.operands)
      mark(mark, operand);
    if (inst.predicate)
      used[*inst.predicate] = true;
  }
  for (unsigned reg = 0; reg < used.size(); ++reg)
    if (used[reg])
      registerSlot(reg);
  program->constantBase = program->registerWords;

  if (source.instructions.size() > 0xfff0)
    return Error{"'" + source.name + "' has more than 65520 instructions",
                 source.place.line, source.place.column};
  std::vector<Op> ops;
  std::vector<RegisterEffects> effects;
  for (const Instruction &inst : source.instructions) {
    Match match = matchOpcode(inst, module.version, module.sm, module.variant);
    if (!match.row)
      return Error{match.problem, inst.place.line, inst.place.column};
    Build build(*this, inst);
    build.chosen = std::move(match.chosen);
    for (std::string_view modifier : build.chosen)
      if (Type type = parseType(modifier); type != Type::None)
        build.types.push_back(type);
    build.op.line = inst.place.line;
    build.op.id = uint16_t(ops.size());
    build.op.run = builderFor(match.row->builder, isa)(build);
    if (failed)
      return error;
    if (inst.predicate) {
      build.op.predicate = registerSlot(*inst.predicate);
      build.op.predicateFlip = inst.predicateNegated ? FullMask : 0;
      build.effects.predicate = *inst.predicate;
    }
    program->opcodes.push_back(inst.spelled());
    program->lines.push_back(inst.place.line);
    ops.push_back(build.op);
    effects.push_back(std::move(build.effects));
  }
  Op end;
  end.control = Control::Exit;
  end.flags = Inserted;
  end.line = source.instructions.empty()
                 ? source.place.line
                 : source.instructions.back().place.line;
  end.id = uint16_t(ops.size());
  program->opcodes.push_back("exit");
  program->lines.push_back(end.line);
  ops.push_back(end);
  effects.emplace_back();
  program->registerWords =
      program->constantBase + uint32_t(program->constants.size()) * 2 * Lanes;
  program->sharedGranule = std::max(1u, program->sharedGranule);
  layoutBlocks(*program, ops, effects);
  markMmaRegisters(*program);
  trackRegisters(*program);
  return std::move(program);
}

Result<std::unique_ptr<Program>> decodeFunction(const ParsedModule &module,
                                                const Function &function,
                                                HostIsa isa) {
  return FunctionBuilder(module, function, isa).run();
}

} // namespace attn::sim
