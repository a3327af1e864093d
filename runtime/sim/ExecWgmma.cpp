//===- ExecWgmma.cpp - wgmma, its groups, setmaxnreg -----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Access.h"
#include "attn/runtime/sim/Builders.h"
#include "attn/runtime/sim/TensorMap.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {
namespace {

constexpr unsigned GroupWarps = 4, Rows = 64;
constexpr uint32_t Poison = ~0u;

/// A shared-memory matrix descriptor.
struct Matrix {
  uint32_t start, leading, stride; ///< bytes
  unsigned base;
  TensorMap::Swizzle swizzle;

  explicit Matrix(uint64_t bits)
      : start(field(bits)), leading(field(bits >> 16)),
        stride(field(bits >> 32)), base(bits >> 49 & 7),
        swizzle(TensorMap::Swizzle((4 - (bits >> 62)) & 3)) {}

  /// Address of the chunk that holds 8 k (K-major: `i` is the row, `j` the
  /// chunk) or 8 rows (else: `i` is the k, `j` the chunk).
  uint32_t chunk(bool transposed, uint32_t i, uint32_t j) const {
    const uint32_t width = 16u << unsigned(swizzle); // bytes of a pattern's row
    const bool plain = swizzle == TensorMap::Swizzle::None;
    uint32_t address = start + i % 8 * width;
    if (!transposed)
      address += i / 8 * stride + j * (plain ? leading : 16);
    else if (plain)
      address += i / 8 * leading + j * stride;
    else
      address +=
          i / 8 * stride + j % (width / 16) * 16 + j / (width / 16) * leading;
    return swizzled(address, swizzle);
  }

private:
  static uint32_t field(uint64_t bits) { return uint32_t(bits & 0x3fff) << 4; }
};

const char *const sides[] = {"A", "B"};

void refuse(Warp &warp, const Op &op, FindingKind kind, std::string text,
            bool fatal = false) {
  warp.block->report(kind, warp, op, 0, 0, std::move(text), fatal);
}

/// The value that all lanes must agree on.
uint64_t uniform(Warp &warp, const Op &op, uint32_t slot, unsigned side) {
  const uint64_t *values = warp.slot<uint64_t>(slot);
  for (unsigned lane = 1; lane < Lanes; ++lane)
    if (values[lane] != values[0])
      refuse(warp, op, FindingKind::InvalidOperand,
             std::string("the descriptor of ") + sides[side] +
                 " differs between lanes");
  return values[0];
}

/// All four warps issue the same products in the same order.
void agree(Warp &warp, const Op &op, uint64_t a, uint64_t b) {
  Block &block = *warp.block;
  WarpGroup &group = block.groups[warp.id / GroupWarps];
  const size_t index = warp.mma.issued++ - group.retired;
  if (index == group.products.size()) {
    group.products.push_back({&op, a, b});
  } else {
    const WarpGroup::Product &other = group.products[index];
    if (other.op != &op)
      block.report(FindingKind::WarpDivergence, warp, op, 0, 0,
                   "is not what the other warps of the warpgroup issue: line " +
                       std::to_string(other.op->line),
                   true, other.op->line);
    else if (other.a != a || other.b != b)
      refuse(warp, op, FindingKind::InvalidOperand,
             "a descriptor differs between the warps of a warpgroup");
  }
  const Warp *first = &block.warps[warp.id / GroupWarps * GroupWarps];
  uint32_t least = first->mma.issued;
  for (unsigned w = 1; w < GroupWarps; ++w)
    least = std::min(least, first[w].mma.issued);
  group.products.erase(group.products.begin(),
                       group.products.begin() + (least - group.retired));
  group.retired = least;
}

void checkRegisters(Warp &warp, const Op &op, const MmaInfo &info) {
  MmaQueue &mma = warp.mma;
  const std::vector<std::string> &names = warp.block->program.mmaRegisters;
  const uint32_t group = mma.committed + 1;
  if (!mma.fences)
    refuse(warp, op, FindingKind::MissingFence,
           "comes before any wgmma.fence of its warp");
  auto check = [&](uint32_t reg, bool accumulator) {
    MmaQueue::Register &state = mma.registers[reg];
    if (state.touched == mma.fences + 1 && mma.fences)
      refuse(warp, op, FindingKind::MissingFence,
             "uses '" + names[reg] +
                 "', which other instructions touched after the last "
                 "wgmma.fence");
    bool inFlight = state.group > mma.waited;
    bool chained =
        accumulator && state.accumulator && state.user &&
        warp.block->program.mmas[state.user->c].columns == info.columns;
    if (inFlight && !chained && (accumulator || state.accumulator))
      warp.block->report(FindingKind::RegistersInFlight, warp, op, 0, 0,
                         "uses '" + names[reg] + "', which the wgmma at line " +
                             std::to_string(state.user->line) +
                             " may still use in another role",
                         false, state.user->line);
    state.group = group;
    state.user = &op;
    state.accumulator = accumulator;
  };
  for (uint32_t reg : info.d)
    check(reg, true);
  for (uint32_t reg : info.a)
    check(reg, false);
}

/// Host memory of the chunks of one matrix; false after a finding. Reads of
/// what other warps of the group take count as this warp's too.
bool chunks(Warp &warp, const Op &op, const Matrix &matrix, unsigned side,
            bool transposed, unsigned lines, unsigned firstLine,
            unsigned usedLines, const uint8_t **out, bool check) {
  Block &block = *warp.block;
  const uint32_t pattern = (1u << unsigned(matrix.swizzle)) - 1;
  if (check && (matrix.base || (matrix.start >> 7 & pattern)))
    refuse(warp, op, FindingKind::InvalidOperand,
           std::string("the tile of ") + sides[side] +
               " does not start where the pattern of its swizzle does, at a "
               "multiple of " +
               std::to_string(128 << unsigned(matrix.swizzle)) +
               " bytes; base offsets are not modelled");
  const uint32_t size = uint32_t(block.shared.size());
  const bool trace = check && (block.launch.options.checkRaces ||
                               block.launch.options.checkInitialised);
  const SharedShadow &shadow = block.sharedShadow;
  const uint32_t agent = block.agents.firstGroup + warp.id / GroupWarps;
  auto one = [&](uint32_t i, uint32_t j) -> const uint8_t * {
    uint32_t offset = matrix.chunk(transposed, i, j) - SharedStart;
    if (offset > size || size - offset < 16) {
      block.report(FindingKind::OutOfBounds, warp, op, 0, SharedStart + offset,
                   std::string("reads ") + sides[side] + " at " +
                       showShared(offset) + ", out of bounds: the block has " +
                       std::to_string(size) + " bytes from " + showShared(0) +
                       " on");
      return nullptr;
    }
    if (trace) {
      Access access{warp,  op,  ManyLanes, SharedStart + uint64_t(offset),
                    false, true};
      uint32_t first = offset >> shadow.granuleShift;
      shadowAsyncRead(shadow.region, first,
                      std::max(1u, 16u >> shadow.granuleShift), access, agent,
                      warp.mma.committed + 1);
    }
    return block.shared.data() + offset;
  };
  for (unsigned line = 0; line < lines; ++line) {
    const bool used = line >= firstLine && line < firstLine + usedLines;
    if (!used && !trace)
      continue;
    for (unsigned part = 0; part < (transposed ? 1u : 2u); ++part) {
      if (!transposed) {
        const uint8_t *data = one(line, part);
        if (!data)
          return false;
        if (used)
          out[2 * (line - firstLine) + part] = data;
        continue;
      }
      if (line % 8)
        continue;
      for (unsigned k = 0; k < 16; ++k) {
        const uint8_t *data = one(k, line / 8);
        if (!data)
          return false;
        if (used)
          out[2 * (line - firstLine) + k] = data;
      }
    }
  }
  return true;
}

/// Points the job at the data of a product.
bool locate(Warp &warp, const MmaQueue::Product &product, bool check) {
  const Program &program = warp.block->program;
  const MmaInfo &info = program.mmas[product.op->c];
  MmaJob &job = warp.mma.job;
  job.info = &info;
  job.slots = product.op->list;
  job.accumulate = product.accumulate;
  job.registers = warp.mma.hidden.empty() ? warp.regs : warp.mma.hidden.data();
  return (info.aInRegisters ||
          chunks(warp, *product.op, Matrix(product.a), 0, info.transposeA, Rows,
                 warp.id % GroupWarps * 16, 16, job.a, check)) &&
         chunks(warp, *product.op, Matrix(product.b), 1, info.transposeB,
                info.columns, 0, info.columns, job.b, check);
}

void perform(Warp &warp, MmaQueue::Product &product) {
  if (!product.done && locate(warp, product, false))
    warp.mma.job.info->compute(warp, *product.op);
  product.done = true;
}

void runWgmma(Warp &warp, const Op &op) {
  Block &block = *warp.block;
  if (warp.mask != FullMask)
    return reportPartialWarp(warp, op);
  if (warp.id / GroupWarps * GroupWarps + GroupWarps > block.warps.size())
    return refuse(warp, op, FindingKind::WarpDivergence,
                  "needs four warps, the block ends within this warpgroup",
                  true);
  const MmaInfo &info = block.program.mmas[op.c];
  MmaQueue &mma = warp.mma;
  MmaQueue::Product product{&op,  0, 0, info.scaleD == 1, mma.committed + 1,
                            false};
  if (!info.aInRegisters)
    product.a = uniform(warp, op, op.a, 0);
  product.b = uniform(warp, op, op.b, 1);
  if (info.scaleD < 0) {
    uint32_t held = warp.preds[op.d] ^ (op.flags & FlipA ? FullMask : 0);
    if (held && held != FullMask)
      refuse(warp, op, FindingKind::InvalidOperand,
             "scale-d differs between lanes");
    product.accumulate = held;
  }
  checkRegisters(warp, op, info);
  agree(warp, op, product.a, product.b);
  ++block.progress;
  if (!locate(warp, product, true))
    return;
  if (block.launch.options.mode == Mode::Eager) {
    info.compute(warp, op);
    product.done = true;
  } else {
    // The registers hold poison until a wait; the sums go on elsewhere.
    for (unsigned i = 0; i < info.columns / 2u; ++i) {
      uint32_t *reg = warp.regs + op.list[i],
               *hidden = mma.hidden.data() + op.list[i];
      if (!(mma.isHidden[info.d[i]]))
        std::copy_n(reg, Lanes, hidden);
      mma.isHidden[info.d[i]] = true;
      std::fill_n(reg, Lanes, Poison);
    }
  }
  mma.products.push_back(product);
}

void runFence(Warp &warp, const Op &op) {
  if (warp.mask != FullMask)
    return reportPartialWarp(warp, op);
  ++warp.mma.fences;
}

void runCommit(Warp &warp, const Op &op) {
  if (warp.mask != FullMask)
    return reportPartialWarp(warp, op);
  ++warp.mma.committed;
  ++warp.block->progress;
}

void runNothing(Warp &, const Op &) {}

} // namespace

void touchMma(Warp &warp, const Op &op) {
  Block &block = *warp.block;
  MmaQueue &mma = warp.mma;
  for (uint32_t reg :
       block.program.mmaTouches[&op - block.program.ops.data()]) {
    MmaQueue::Register &state = mma.registers[reg];
    if (state.group > mma.waited)
      block.report(FindingKind::RegistersInFlight, warp, op, 0, 0,
                   "touches '" + block.program.mmaRegisters[reg] +
                       "' while the wgmma at line " +
                       std::to_string(state.user->line) +
                       " may use it: no wgmma.wait_group covers it",
                   false, state.user->line);
    state.touched = mma.fences + 1;
  }
}

void completeProducts(Warp &warp, unsigned count) {
  for (MmaQueue::Product &product : warp.mma.products) {
    if (!count)
      return;
    count -= !product.done;
    perform(warp, product);
  }
}

bool waitForProducts(Warp &warp, const Op &op, uint32_t mask) {
  Block &block = *warp.block;
  MmaQueue &mma = warp.mma;
  if (mask != FullMask) {
    warp.mask = mask;
    reportPartialWarp(warp, op);
  }
  const uint32_t keep = uint32_t(op.imm);
  const uint32_t target = mma.committed > keep ? mma.committed - keep : 0;
  // A product starts when all four warps have issued it.
  const unsigned first = warp.id / GroupWarps * GroupWarps;
  for (unsigned w = first; w < first + GroupWarps && w < block.warps.size();
       ++w)
    if (block.warps[w].mma.committed < target) {
      warp.status = WarpStatus::Waiting;
      warp.waitedAt = block.progress;
      return false;
    }
  size_t kept = 0;
  for (MmaQueue::Product &product : mma.products) {
    if (product.group <= target)
      perform(warp, product);
    else
      mma.products[kept++] = product;
  }
  mma.products.resize(kept);
  mma.waited = std::max(mma.waited, target);
  if (!mma.hidden.empty())
    for (uint32_t reg = 0; reg < mma.registers.size(); ++reg)
      if (mma.isHidden[reg] && mma.registers[reg].group <= mma.waited) {
        mma.isHidden[reg] = false;
        uint32_t slot = block.program.mmaSlots[reg];
        std::copy_n(mma.hidden.data() + slot, Lanes, warp.regs + slot);
      }
  if (!block.groups.empty())
    acquire(warp, FullMask, block.agents.firstGroup + warp.id / GroupWarps,
            mma.waited);
  ++warp.pc;
  return true;
}

bool setRegisters(Warp &warp, const Op &op, uint32_t mask) {
  Block &block = *warp.block;
  warp.mask = mask;
  if (mask != warp.live)
    reportPartialWarp(warp, op);
  const unsigned count = unsigned(op.imm);
  const bool more = op.variant;
  if (!warp.registers) {
    refuse(warp, op, FindingKind::RegisterPool,
           "has no effect: the kernel needs .reqntid, .maxntid or .maxnreg");
    ++warp.pc;
    return true;
  }
  if (more ? count < warp.registers : count > warp.registers) {
    refuse(warp, op, FindingKind::RegisterPool,
           std::string(more ? "raises" : "lowers") +
               " the registers of a "
               "thread from " +
               std::to_string(warp.registers) + " to " + std::to_string(count));
  } else if (more && count - warp.registers > block.registerPool) {
    warp.status = WarpStatus::Waiting;
    warp.waitedAt = block.progress;
    return false;
  } else {
    block.registerPool += warp.registers - count;
    warp.registers = count;
    ++block.progress;
  }
  ++warp.pc;
  return true;
}

namespace builders {

Handler wgmma(Build &b) {
  MmaInfo info;
  info.aInRegisters = b.operand(1).kind == Operand::Vector;
  const std::string_view shape = b.mod(3); // m64nNk16
  info.columns = 0;
  for (char c : shape.substr(4, shape.find('k') - 4))
    info.columns = uint16_t(10 * info.columns + (c - '0'));
  if (b.type(1) != b.type(2))
    return b.fail("both factors must have one type");
  std::vector<uint32_t> slots;
  auto vector = [&](unsigned at, size_t count, bool result) {
    const Operand &operand = b.operand(at);
    if (operand.kind != Operand::Vector || operand.elements.size() != count) {
      b.fail(operand, "expected " + std::to_string(count) +
                          " registers in braces, found " +
                          std::to_string(operand.elements.size()));
      return false;
    }
    for (const Operand &element : operand.elements) {
      if (element.kind != Operand::Register) {
        b.fail(element, "expected a register");
        return false;
      }
      slots.push_back(result ? b.dst(element, 32) : b.src(element, Type::B32));
      (result ? info.d : info.a).push_back(element.reg);
    }
    return true;
  };
  if (!vector(0, info.columns / 2, true) ||
      (info.aInRegisters && !vector(1, 4, false)))
    return nullptr;
  if (!info.aInRegisters)
    b.op.a = b.src(1, Type::B64);
  b.op.b = b.src(2, Type::B64);
  const Operand &scale = b.operand(3);
  if (scale.kind == Operand::Integer)
    info.scaleD = scale.value != 0;
  else
    b.op.d = b.predSrc(scale, FlipA);
  // Where a predicate decides, what is in the accumulators may not matter.
  if (info.scaleD == 1)
    for (uint32_t reg : info.d)
      b.effects.uses.push_back(reg);
  auto immediate = [&](unsigned at, int64_t no, int64_t yes) {
    int64_t value = int64_t(b.constant(b.operand(at)));
    if (value != no && value != yes)
      b.fail(b.operand(at), "expected " + std::to_string(no) + " or " +
                                std::to_string(yes) + ", found " +
                                std::to_string(value));
    return value == yes;
  };
  info.negateA = immediate(4, 1, -1);
  info.negateB = immediate(5, 1, -1);
  if (!info.aInRegisters)
    info.transposeA = immediate(6, 0, 1);
  info.transposeB = immediate(info.aInRegisters ? 6 : 7, 0, 1);
  info.compute = builderFor(BuilderId::wgmmaProduct, b.hostIsa())(b);
  b.list(std::move(slots));
  b.noteAccess(Space::Shared, 16);
  b.op.flags |= IsMma;
  b.op.c = b.addMma(std::move(info));
  return runWgmma;
}

Handler wgmmaFence(Build &) { return runFence; }
Handler wgmmaCommit(Build &) { return runCommit; }

Handler wgmmaWait(Build &b) {
  b.op.control = Control::MmaWait;
  b.op.imm = b.constant(b.operand(0));
  return runNothing;
}

Handler setRegisters(Build &b) {
  b.op.control = Control::SetRegisters;
  b.op.imm = b.constant(b.operand(0));
  b.op.variant = b.has("inc");
  if (b.op.imm < 24 || b.op.imm > 256 || b.op.imm % 8)
    return b.fail(b.operand(0), "expected a multiple of 8 from 24 to 256, "
                                "found " +
                                    std::to_string(b.op.imm));
  return runNothing;
}

} // namespace builders
} // namespace attn::sim
