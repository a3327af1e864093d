//===- ExecMemory.cpp - loads, stores, matrix loads, copies ----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Access.h"
#include "attn/runtime/sim/Builders.h"

#include <cstring>

namespace attn::sim {
namespace {

/// Bits of Op::variant for memory operations.
enum : uint8_t {
  WideBase = 1,
  SignExtend = 2,
  Wide = 4,
  Narrow16 = 8,
  Strong = 16,
  Transposed = 32
};

Space parseSpace(const Build &b) {
  static const std::pair<std::string_view, Space> names[] = {
      {"global", Space::Global},
      {"shared", Space::Shared},
      {"shared::cta", Space::Shared},
      {"local", Space::Local},
      {"const", Space::Const},
      {"param", Space::Param},
      {"shared::cluster", Space::Shared},
      {"param::entry", Space::Param}};
  for (const auto &[name, space] : names)
    if (b.has(name))
      return space;
  return Space::Generic;
}

bool isStrong(const Build &b) {
  for (const char *order :
       {"volatile", "relaxed", "acquire", "release", "acq_rel", "sc", "mmio"})
    if (b.has(order))
      return true;
  return false;
}

/// The registers of `{a, b}` or of a single operand.
std::vector<const Operand *> elementsOf(const Operand &operand) {
  if (operand.kind != Operand::Vector)
    return {&operand};
  std::vector<const Operand *> result;
  for (const Operand &element : operand.elements)
    result.push_back(&element);
  return result;
}

template <typename T>
void loadElements(Warp &warp, const Op &op, uint32_t good,
                  uint8_t *const *pointers) {
  for (unsigned e = 0; e < op.count; ++e) {
    uint32_t *slot = warp.regs + op.list[e];
    for (uint32_t m = good; m; m &= m - 1) {
      unsigned lane = unsigned(__builtin_ctz(m));
      T value;
      std::memcpy(&value, pointers[lane] + e * sizeof(T), sizeof(T));
      if (op.variant & Wide)
        reinterpret_cast<uint64_t *>(slot)[lane] = uint64_t(int64_t(value));
      else
        slot[lane] =
            op.variant & Narrow16 ? uint16_t(value) : uint32_t(int64_t(value));
    }
  }
}

template <typename T>
void runLoad(Warp &warp, const Op &op) {
  uint64_t addresses[Lanes];
  uint8_t *pointers[Lanes];
  laneAddresses(warp, op.a, op.variant & WideBase, op.imm, addresses);
  uint32_t good =
      resolve(warp, op, op.space, addresses, warp.mask, op.bytes * op.count,
              op.variant & Strong ? AccessKind::StrongRead : AccessKind::Read,
              pointers);
  loadElements<T>(warp, op, good, pointers);
  for (uint32_t m = warp.mask & ~good; m; m &= m - 1)
    for (unsigned e = 0; e < op.count; ++e) {
      unsigned lane = unsigned(__builtin_ctz(m));
      if (op.variant & Wide)
        warp.slot<uint64_t>(op.list[e])[lane] = 0;
      else
        warp.slot<uint32_t>(op.list[e])[lane] = 0;
    }
}

/// ld.param and ld.const at a fixed address: the same bytes for all lanes.
template <typename T>
void runLoadUniform(Warp &warp, const Op &op) {
  const Launch &launch = warp.block->launch;
  const std::vector<uint8_t> &bank =
      op.space == Space::Param ? launch.parameters : *launch.constants;
  if (op.imm > bank.size() ||
      bank.size() - op.imm < size_t(op.bytes) * op.count ||
      op.imm % (op.bytes * op.count))
    return runLoad<T>(warp, op);
  uint8_t *pointers[Lanes];
  std::fill_n(pointers, Lanes, const_cast<uint8_t *>(bank.data()) + op.imm);
  loadElements<T>(warp, op, warp.mask, pointers);
}

template <typename T>
void runStore(Warp &warp, const Op &op) {
  uint64_t addresses[Lanes];
  uint8_t *pointers[Lanes];
  laneAddresses(warp, op.a, op.variant & WideBase, op.imm, addresses);
  uint32_t good =
      resolve(warp, op, op.space, addresses, warp.mask, op.bytes * op.count,
              op.variant & Strong ? AccessKind::StrongWrite : AccessKind::Write,
              pointers);
  for (unsigned e = 0; e < op.count; ++e) {
    const uint32_t *slot = warp.regs + op.list[e];
    const uint64_t *wide = reinterpret_cast<const uint64_t *>(slot);
    for (uint32_t m = good; m; m &= m - 1) {
      unsigned lane = unsigned(__builtin_ctz(m));
      T value = op.c >> e & 1 ? T(wide[lane]) : T(slot[lane]);
      std::memcpy(pointers[lane] + e * sizeof(T), &value, sizeof(T));
    }
  }
}

bool prepareAccess(Build &b, const Operand &address, const Operand &data) {
  Space space = parseSpace(b);
  Type type = b.type();
  b.address(address, space);
  b.op.bytes = uint8_t(bitsOf(type) / 8);
  unsigned count = b.has("v2") ? 2 : b.has("v4") ? 4 : 1;
  bool vector = data.kind == Operand::Vector;
  size_t found = vector ? data.elements.size() : 1;
  if (found != count) {
    b.fail(data, "expected " + std::to_string(count) + " registers, found " +
                     std::to_string(found));
    return false;
  }
  if (count * b.op.bytes > 16) {
    b.fail("an access of more than 16 bytes is not supported");
    return false;
  }
  b.op.count = uint8_t(count);
  if (isStrong(b)) {
    b.op.variant |= Strong;
    if (b.op.space == Space::Global || b.op.space == Space::Generic)
      b.noteSequential();
  }
  b.noteAccess(b.op.space, b.op.bytes * count);
  return true;
}

} // namespace

namespace builders {

Handler load(Build &b) {
  if (!prepareAccess(b, b.operand(1), b.operand(0)))
    return nullptr;
  std::vector<uint32_t> slots;
  Type type = b.type();
  unsigned bits = bitsOf(type);
  for (const Operand *element : elementsOf(b.operand(0))) {
    slots.push_back(b.dst(*element, bits, true));
    unsigned width =
        element->kind == Operand::Sink ? bits : b.registerBits(*element);
    if (width == 64)
      b.op.variant |= Wide;
    if (width == 16)
      b.op.variant |= Narrow16;
  }
  b.list(std::move(slots));
  bool uniform = (b.op.space == Space::Param || b.op.space == Space::Const) &&
                 !b.operand(1).hasBase;
  switch (type) {
#define LOAD(T) return uniform ? runLoadUniform<T> : runLoad<T>
  case Type::S8:
    LOAD(int8_t);
  case Type::S16:
    LOAD(int16_t);
  case Type::S32:
    LOAD(int32_t);
  default:
    break;
  }
  switch (bits) {
  case 8:
    LOAD(uint8_t);
  case 16:
    LOAD(uint16_t);
  case 32:
    LOAD(uint32_t);
  default:
    LOAD(uint64_t);
#undef LOAD
  }
}

Handler store(Build &b) {
  if (!prepareAccess(b, b.operand(0), b.operand(1)))
    return nullptr;
  std::vector<uint32_t> slots;
  Type type = b.type();
  for (const Operand *element : elementsOf(b.operand(1))) {
    bool wide = element->kind == Operand::Register
                    ? b.registerBits(*element) == 64
                    : bitsOf(type) == 64;
    b.op.c |= uint32_t(wide) << slots.size();
    slots.push_back(b.src(*element, type, true));
  }
  b.list(std::move(slots));
  switch (bitsOf(type)) {
  case 8:
    return runStore<uint8_t>;
  case 16:
    return runStore<uint16_t>;
  case 32:
    return runStore<uint32_t>;
  default:
    return runStore<uint64_t>;
  }
}

} // namespace builders

namespace {

using Row = uint16_t __attribute__((vector_size(16)));

/// Transposes an 8x8 matrix of 16-bit elements held in eight rows.
void transpose(Row *m) {
  for (unsigned stage = 0; stage < 3; ++stage) {
    Row r[8];
    for (unsigned i = 0; i < 4; ++i) {
      r[2 * i] =
          __builtin_shufflevector(m[i], m[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      r[2 * i + 1] =
          __builtin_shufflevector(m[i], m[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    std::memcpy(m, r, sizeof r);
  }
}

bool wholeWarp(Warp &warp, const Op &op) {
  if (warp.mask == FullMask)
    return true;
  reportPartialWarp(warp, op);
  return false;
}

void runLoadMatrix(Warp &warp, const Op &op) {
  if (!wholeWarp(warp, op))
    return;
  uint64_t addresses[Lanes];
  uint8_t *pointers[Lanes];
  laneAddresses(warp, op.a, op.variant & WideBase, op.imm, addresses);
  const uint32_t lanes = op.count == 4 ? FullMask : (1u << (8 * op.count)) - 1;
  uint32_t good = resolve(warp, op, Space::Shared, addresses, lanes, 16,
                          AccessKind::Read, pointers, true);
  for (unsigned j = 0; j < op.count; ++j) {
    Row rows[8] = {};
    for (unsigned r = 0; r < 8; ++r)
      if (good >> (8 * j + r) & 1)
        std::memcpy(&rows[r], pointers[8 * j + r], 16);
    if (op.variant & Transposed)
      transpose(rows);
    std::memcpy(warp.regs + op.list[j], rows, sizeof rows);
  }
}

void runStoreMatrix(Warp &warp, const Op &op) {
  if (!wholeWarp(warp, op))
    return;
  uint64_t addresses[Lanes];
  uint8_t *pointers[Lanes];
  laneAddresses(warp, op.a, op.variant & WideBase, op.imm, addresses);
  const uint32_t lanes = op.count == 4 ? FullMask : (1u << (8 * op.count)) - 1;
  uint32_t good = resolve(warp, op, Space::Shared, addresses, lanes, 16,
                          AccessKind::Write, pointers, true);
  for (unsigned j = 0; j < op.count; ++j) {
    Row rows[8];
    std::memcpy(rows, warp.regs + op.list[j], sizeof rows);
    if (op.variant & Transposed)
      transpose(rows);
    for (unsigned r = 0; r < 8; ++r)
      if (good >> (8 * j + r) & 1)
        std::memcpy(pointers[8 * j + r], &rows[r], 16);
  }
}

void runMoveMatrix(Warp &warp, const Op &op) {
  if (!wholeWarp(warp, op))
    return;
  Row rows[8];
  std::memcpy(rows, warp.regs + op.a, sizeof rows);
  transpose(rows);
  std::memcpy(warp.regs + op.dst, rows, sizeof rows);
}

bool prepareMatrix(Build &b, const Operand &address, const Operand &data,
                   bool load) {
  b.address(address, b.has("shared") || b.has("shared::cta") ? Space::Shared
                                                             : Space::Generic);
  if (b.op.space != Space::Shared) {
    b.fail(address, "matrix accesses need .shared");
    return false;
  }
  b.op.count = b.has("x4") ? 4 : b.has("x2") ? 2 : 1;
  if (b.has("trans"))
    b.op.variant |= Transposed;
  std::vector<uint32_t> slots;
  for (const Operand *element : elementsOf(data))
    slots.push_back(load ? b.dst(*element, 32) : b.src(*element, Type::B32));
  if (slots.size() != b.op.count) {
    b.fail(data, "expected " + std::to_string(b.op.count) +
                     " registers, found " + std::to_string(slots.size()));
    return false;
  }
  b.list(std::move(slots));
  return true;
}

void runCopy(Warp &warp, const Op &op) {
  uint64_t to[Lanes], from[Lanes];
  uint8_t *destination[Lanes], *source[Lanes];
  Block &block = *warp.block;
  laneAddresses(warp, op.a, op.variant & WideBase, op.imm, to);
  laneAddresses(warp, op.b, true, uint64_t(int64_t(int32_t(op.d))), from);
  const uint32_t *sizes = warp.slot<uint32_t>(op.c);
  uint32_t ignored = op.flags & FlipA
                         ? warp.preds[op.c] ^ (op.flags & FlipB ? FullMask : 0)
                         : 0;
  uint32_t size[Lanes], reading = 0, whole = 0;
  for (uint32_t m = warp.mask; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    size[lane] =
        op.flags & FlipA ? (ignored >> lane & 1 ? 0 : op.bytes) : sizes[lane];
    if (size[lane] > op.bytes) {
      block.report(FindingKind::InvalidOperand, warp, op, lane, to[lane],
                   "source size " + std::to_string(size[lane]) +
                       " is more than the " + std::to_string(op.bytes) +
                       " bytes copied");
      size[lane] = op.bytes;
    }
    reading |= uint32_t(size[lane] != 0) << lane;
    whole |= uint32_t(size[lane] == op.bytes) << lane;
  }
  uint32_t good = resolve(warp, op, Space::Shared, to, warp.mask, op.bytes,
                          AccessKind::CopyWrite, destination);
  uint32_t read = resolve(warp, op, Space::Global, from, reading & whole,
                          op.bytes, AccessKind::Read, source);
  for (uint32_t m = reading & ~whole; m; m &= m - 1) {
    // A partial copy touches its first bytes only; the source still has the
    // alignment of the whole.
    unsigned lane = unsigned(__builtin_ctz(m));
    uint64_t single[Lanes];
    uint32_t covered = 0;
    for (uint32_t i = 0; i < size[lane]; ++i) {
      uint8_t *byte[Lanes];
      single[lane] = from[lane] + i;
      if (!resolve(warp, op, Space::Global, single, 1u << lane, 1,
                   AccessKind::Read, byte))
        break;
      if (i == 0)
        source[lane] = byte[lane];
      ++covered;
    }
    if (covered == size[lane])
      read |= 1u << lane;
  }
  const Mode mode = block.launch.options.mode;
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    CopyQueue::Copy copy{destination[lane],
                         warp.copies.nextSequence(),
                         0,
                         uint8_t(lane),
                         op.bytes,
                         false,
                         {}};
    if (read >> lane & 1)
      std::memcpy(copy.data, source[lane], size[lane]);
    if (mode == Mode::Eager) {
      std::memcpy(copy.destination, copy.data, op.bytes);
      copy.done = true;
    } else {
      std::memset(copy.destination, 0xff, op.bytes);
    }
    warp.copies.issue(copy);
  }
}

void runCommit(Warp &warp, const Op &) { warp.copies.commit(warp.mask); }
void runWait(Warp &warp, const Op &op) {
  warp.touched |= warp.mask;
  warp.copies.wait(warp.mask, unsigned(op.imm));
}
void runWaitAll(Warp &warp, const Op &) {
  warp.copies.commit(warp.mask);
  warp.touched |= warp.mask;
  warp.copies.wait(warp.mask, 0);
}

} // namespace

namespace builders {

Handler loadMatrix(Build &b) {
  return prepareMatrix(b, b.operand(1), b.operand(0), true) ? runLoadMatrix
                                                            : nullptr;
}
Handler storeMatrix(Build &b) {
  return prepareMatrix(b, b.operand(0), b.operand(1), false) ? runStoreMatrix
                                                             : nullptr;
}

Handler moveMatrix(Build &b) {
  b.op.dst = b.dst(0, 32);
  b.op.a = b.src(1, Type::B32);
  return runMoveMatrix;
}

Handler cpAsync(Build &b) {
  uint64_t bytes = b.constant(b.operand(2));
  if (bytes != 16 && (b.has("cg") || (bytes != 4 && bytes != 8)))
    return b.fail(b.operand(2), b.has("cg")
                                    ? "cp.async.cg copies 16 bytes"
                                    : "cp.async copies 4, 8 or 16 bytes");
  b.address(b.operand(1), Space::Global);
  uint32_t source = b.op.a;
  int64_t offset = int64_t(b.op.imm);
  bool fixed = !b.operand(1).hasBase;
  if (fixed) {
    source = b.constantSlot(b.op.imm, true);
    offset = 0;
  }
  if (offset != int32_t(offset))
    return b.fail(b.operand(1), "the offset of a copy must fit 32 bits");
  b.address(b.operand(0), Space::Shared);
  b.op.b = source;
  b.op.d = uint32_t(offset);
  b.op.bytes = uint8_t(bytes);
  b.noteAccess(Space::Shared, unsigned(bytes));
  b.noteAccess(Space::Global, unsigned(bytes));
  if (b.operandCount() < 4) {
    b.op.c = b.constantSlot(bytes, false);
  } else if (b.operand(3).kind == Operand::Register &&
             b.registerBits(b.operand(3)) == 1) {
    b.op.c = b.predSrc(b.operand(3), FlipB);
    b.op.flags |= FlipA;
  } else {
    b.op.c = b.src(3, Type::U32);
    if (b.operand(3).kind == Operand::Register)
      b.noteAccess(Space::Global, 4);
  }
  return runCopy;
}

Handler cpCommit(Build &) { return runCommit; }

Handler cpWait(Build &b) {
  if (b.has("wait_all"))
    return runWaitAll;
  b.op.imm = b.constant(b.operand(0));
  return runWait;
}

} // namespace builders

} // namespace attn::sim
