//===- Lanes.cpp - arithmetic over 32 lanes --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Compiled once for each instruction set: ATTN_SIM_ISA is 0 (baseline), 2
// (AVX2) or 512 (AVX-512). Only the code between the pragmas uses the wider
// instructions; it has a namespace of its own, so that no shared inline
// function can end up with them. Contraction is off and every fused operation
// is spelled out: all versions give the same bits.
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Builders.h"
#include "attn/runtime/sim/Half.h"

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#if ATTN_SIM_ISA == 512
#define ATTN_SIM_NAMESPACE avx512
#define ATTN_SIM_TABLE laneBuildersAvx512
#elif ATTN_SIM_ISA == 2
#define ATTN_SIM_NAMESPACE avx2
#define ATTN_SIM_TABLE laneBuildersAvx2
#else
#define ATTN_SIM_NAMESPACE base
#define ATTN_SIM_TABLE laneBuildersBase
#endif

#if defined(__clang__)
#define ATTN_SIM_LOOP                                                          \
  _Pragma("clang loop vectorize(assume_safety) interleave(enable)")
#else
#define ATTN_SIM_LOOP _Pragma("GCC ivdep")
#endif

#if ATTN_SIM_ISA == 512
#if defined(__clang__)
#pragma clang attribute push(                                                  \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"))),    \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#endif
#elif ATTN_SIM_ISA == 2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))),              \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#endif

namespace attn::sim {
namespace ATTN_SIM_NAMESPACE {

/// Register word of a value: 64-bit values take two.
template <typename T>
using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <typename T>
[[gnu::always_inline]] inline T get(Word<T> word) {
  if constexpr (sizeof(T) < 4)
    return T(word);
  else
    return bitCast<T>(word);
}
/// Narrow values are kept zero-extended.
template <typename T>
[[gnu::always_inline]] inline Word<T> put(T value) {
  if constexpr (sizeof(T) < 4)
    return std::make_unsigned_t<T>(value);
  else
    return bitCast<Word<T>>(value);
}

/// d[i] = f(s[i]...) for the active lanes, on raw words.
template <typename D, typename F, typename... S>
[[gnu::always_inline]] inline void mapWords(const Warp &warp, D *d, F f,
                                            const S *...s) {
  if (warp.mask == FullMask) {
    ATTN_SIM_LOOP
    for (unsigned i = 0; i < Lanes; ++i)
      d[i] = f(s[i]...);
  } else {
    const uint32_t mask = warp.mask;
    D result[Lanes];
    ATTN_SIM_LOOP
    for (unsigned i = 0; i < Lanes; ++i)
      result[i] = f(s[i]...);
    ATTN_SIM_LOOP
    for (unsigned i = 0; i < Lanes; ++i)
      d[i] = mask >> i & 1 ? result[i] : d[i];
  }
}

template <typename D, typename A, typename F>
[[gnu::always_inline]] inline void map1(Warp &warp, const Op &op, F f) {
  mapWords(
      warp, warp.slot<Word<D>>(op.dst),
      [=](Word<A> a) { return put<D>(D(f(get<A>(a)))); },
      warp.slot<Word<A>>(op.a));
}
template <typename D, typename A, typename B, typename F>
[[gnu::always_inline]] inline void map2(Warp &warp, const Op &op, F f) {
  mapWords(
      warp, warp.slot<Word<D>>(op.dst),
      [=](Word<A> a, Word<B> b) { return put<D>(D(f(get<A>(a), get<B>(b)))); },
      warp.slot<Word<A>>(op.a), warp.slot<Word<B>>(op.b));
}
template <typename D, typename A, typename B, typename C, typename F>
[[gnu::always_inline]] inline void map3(Warp &warp, const Op &op, F f) {
  mapWords(
      warp, warp.slot<Word<D>>(op.dst),
      [=](Word<A> a, Word<B> b, Word<C> c) {
        return put<D>(D(f(get<A>(a), get<B>(b), get<C>(c))));
      },
      warp.slot<Word<A>>(op.a), warp.slot<Word<B>>(op.b),
      warp.slot<Word<C>>(op.c));
}

// clang-format off: each uses the ones before it.
#include "attn/runtime/sim/LanesInt.inc"
#include "attn/runtime/sim/LanesBits.inc"
#include "attn/runtime/sim/LanesFloat.inc"
#include "attn/runtime/sim/LanesApprox.inc"
#include "attn/runtime/sim/LanesSelect.inc"
#include "attn/runtime/sim/LanesConvert.inc"
#include "attn/runtime/sim/LanesMma.inc"
#include "attn/runtime/sim/LanesWgmma.inc"
// clang-format on

#define ATTN_SIM_ENTRY(name) name,
const Builder table[] = {ATTN_SIM_LANE_BUILDERS(ATTN_SIM_ENTRY)};
#undef ATTN_SIM_ENTRY

} // namespace ATTN_SIM_NAMESPACE
} // namespace attn::sim

#if ATTN_SIM_ISA != 0
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

const attn::sim::Builder *attn::sim::ATTN_SIM_TABLE() {
  return ATTN_SIM_NAMESPACE::table;
}
