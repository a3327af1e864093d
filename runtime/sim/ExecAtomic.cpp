//===- ExecAtomic.cpp - atom and red ---------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Access.h"
#include "attn/runtime/sim/Builders.h"
#include "attn/runtime/sim/Half.h"

#include <algorithm>
#include <cstring>

namespace attn::sim {
namespace {

template <typename T>
using Register = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <typename T>
using Bits =
    std::conditional_t<sizeof(T) == 8, uint64_t,
                       std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;

struct Add {
  template <typename T>
  static T apply(T old, T value, T) {
    return old + value;
  }
};
struct Min {
  template <typename T>
  static T apply(T old, T value, T) {
    return std::min(old, value);
  }
};
struct Max {
  template <typename T>
  static T apply(T old, T value, T) {
    return std::max(old, value);
  }
};
struct And {
  template <typename T>
  static T apply(T old, T value, T) {
    return old & value;
  }
};
struct Or {
  template <typename T>
  static T apply(T old, T value, T) {
    return old | value;
  }
};
struct Xor {
  template <typename T>
  static T apply(T old, T value, T) {
    return old ^ value;
  }
};
struct Exchange {
  template <typename T>
  static T apply(T, T value, T) {
    return value;
  }
};
/// Compare with `value`, store `other`.
struct CompareSwap {
  template <typename T>
  static T apply(T old, T value, T other) {
    return old == value ? other : old;
  }
};
struct Increment {
  template <typename T>
  static T apply(T old, T value, T) {
    return old >= value ? 0 : old + 1;
  }
};
struct Decrement {
  template <typename T>
  static T apply(T old, T value, T) {
    return old == 0 || old > value ? value : old - 1;
  }
};
struct AddHalf {
  static uint16_t apply(uint16_t old, uint16_t value, uint16_t) {
    return uint16_t(floatToHalf(halfToFloat(old) + halfToFloat(value)));
  }
};
struct AddBfloat {
  static uint16_t apply(uint16_t old, uint16_t value, uint16_t) {
    return uint16_t(floatToBfloat(bfloatToFloat(old) + bfloatToFloat(value)));
  }
};
template <typename Scalar>
struct Packed {
  static uint32_t apply(uint32_t old, uint32_t value, uint32_t) {
    return Scalar::apply(uint16_t(old), uint16_t(value), 0) |
           uint32_t(
               Scalar::apply(uint16_t(old >> 16), uint16_t(value >> 16), 0))
               << 16;
  }
};

/// Lanes act one after the other, in lane order.
template <typename T, typename F>
void runAtomic(Warp &warp, const Op &op) {
  uint64_t addresses[Lanes];
  uint8_t *pointers[Lanes];
  laneAddresses(warp, op.a, op.variant & 1, op.imm, addresses);
  uint32_t good = resolve(warp, op, op.space, addresses, warp.mask, sizeof(T),
                          AccessKind::StrongWrite, pointers);
  auto value = [&](uint32_t slot, unsigned lane) {
    return bitCast<T>(Bits<T>(warp.slot<Register<T>>(slot)[lane]));
  };
  for (uint32_t m = good; m; m &= m - 1) {
    unsigned lane = unsigned(__builtin_ctz(m));
    T old;
    std::memcpy(&old, pointers[lane], sizeof old);
    T result = F::apply(old, value(op.b, lane), value(op.c, lane));
    std::memcpy(pointers[lane], &result, sizeof result);
    warp.slot<Register<T>>(op.dst)[lane] = bitCast<Bits<T>>(old);
  }
}

template <typename F>
Handler forInteger(Type type) {
  switch (type) {
  case Type::S32:
    return runAtomic<int32_t, F>;
  case Type::U64:
  case Type::B64:
    return runAtomic<uint64_t, F>;
  case Type::S64:
    return runAtomic<int64_t, F>;
  case Type::B16:
    return runAtomic<uint16_t, F>;
  default:
    return runAtomic<uint32_t, F>;
  }
}

} // namespace

Handler builders::atomic(Build &b) {
  const bool returns =
      b.operandCount() > 0 && b.operand(0).kind != Operand::Address;
  const unsigned at = returns ? 1 : 0;
  Type type = b.type();
  unsigned bits = bitsOf(type);
  Space space = Space::Generic;
  if (b.has("global"))
    space = Space::Global;
  else if (b.has("shared") || b.has("shared::cta") || b.has("shared::cluster"))
    space = Space::Shared;
  else if (b.has("local") || b.has("const") || b.has("param"))
    return b.fail("atomics work on .global and .shared");
  b.address(b.operand(at), space);
  b.noteAccess(b.op.space, bits / 8);
  if (b.op.space != Space::Shared)
    b.noteSequential();
  b.op.dst = returns ? b.dst(0, bits) : b.sink(bits);
  b.op.b = b.src(at + 1, type);
  b.op.c = b.operandCount() > at + 2 ? b.src(at + 2, type) : b.op.b;
  if (b.has("add"))
    switch (type) {
    case Type::F32:
      return runAtomic<float, Add>;
    case Type::F64:
      return runAtomic<double, Add>;
    case Type::F16:
      return runAtomic<uint16_t, AddHalf>;
    case Type::BF16:
      return runAtomic<uint16_t, AddBfloat>;
    case Type::F16x2:
      return runAtomic<uint32_t, Packed<AddHalf>>;
    case Type::BF16x2:
      return runAtomic<uint32_t, Packed<AddBfloat>>;
    default:
      return forInteger<Add>(type);
    }
  if (b.has("min"))
    return forInteger<Min>(type);
  if (b.has("max"))
    return forInteger<Max>(type);
  if (b.has("and"))
    return forInteger<And>(type);
  if (b.has("or"))
    return forInteger<Or>(type);
  if (b.has("xor"))
    return forInteger<Xor>(type);
  if (b.has("exch"))
    return forInteger<Exchange>(type);
  if (b.has("cas"))
    return forInteger<CompareSwap>(type);
  return b.has("inc") ? runAtomic<uint32_t, Increment>
                      : runAtomic<uint32_t, Decrement>;
}

} // namespace attn::sim
