//===- OpcodeTest.cpp - what each instruction computes ---------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Each case runs one instruction on random and special operands, on every
// instruction set of the host, with all lanes and with every third lane, and
// compares the bits (for approximations: the distance) with a direct
// evaluation.
#include "Harness.h"

#include <cfenv>
#include <cmath>
#include <functional>
#include <limits>

using namespace attn::sim;

namespace {

using Words = std::array<uint64_t, 3>;
struct OpCase {
  friend std::ostream &operator<<(std::ostream &out, const OpCase &c) {
    return out << c.instruction;
  }

  const char *instruction; ///< operands follow as d, a, b, c
  int out; ///< bits of d; 1 for a predicate; negative for a float of so many
           ///< bits
  std::vector<int> in; ///< bits of a, b, c; negative for floats
  std::function<uint64_t(uint64_t, uint64_t, uint64_t)> expected;
  double tolerance = 0; ///< relative, for approximations
};

template <typename T>
T as(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <typename T>
uint64_t bitsOfValue(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
float f(uint64_t bits) { return as<float>(bits); }
double g(uint64_t bits) { return as<double>(bits); }
float h(uint64_t bits) { return halfValue(uint16_t(bits)); }
uint64_t toH(long double value) { return halfOf(value); }
float bf(uint64_t bits) { return as<float>((bits & 0xffff) << 16); }
/// Nearest bf16 of a double by searching the neighbours: independent of any bit
/// trick.
uint64_t toBf(double value) {
  if (value != value)
    return 0x7fff;
  uint32_t raw = uint32_t(bitsOfValue(float(value)));
  uint32_t low = (raw >> 16) - ((raw & 0x7fff0000) ? 1 : 0), best = low;
  double distance = INFINITY;
  if (std::isinf(float(value)))
    return raw >> 16;
  for (uint32_t c = low; c <= low + 3; ++c) {
    double there =
        (c & 0x7fff) == 0x7f80 ? std::copysign(0x1p128, bf(c)) : double(bf(c));
    double d = std::fabs(there - value);
    if (d < distance || (d == distance && !(c & 1)))
      distance = d, best = c;
  }
  return best;
}
uint64_t F(float value) { return bitsOfValue(value); }
uint64_t G(double value) { return bitsOfValue(value); }
float flushed(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
template <typename T>
uint64_t least(T a, T b) {
  return bitsOfValue(a < b ? a : b);
}
uint64_t two(uint64_t a, uint64_t b, uint64_t (*one)(uint64_t, uint64_t)) {
  return one(a & 0xffff, b & 0xffff) | one(a >> 16 & 0xffff, b >> 16 & 0xffff)
                                           << 16;
}
template <typename T>
T inMode(int mode, T (*operation)(T, T, T), T a, T b, T c) {
  std::fesetround(mode);
  volatile T x = a, y = b, z = c;
  volatile T result = operation(x, y, z);
  std::fesetround(FE_TONEAREST);
  return result;
}
float fminPtx(float a, float b) {
  if (a != a)
    return b;
  if (b != b)
    return a;
  if (a == b)
    return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
int64_t clampTo(double value, int64_t low, int64_t high) {
  return value != value          ? 0
         : value <= double(low)  ? low
         : value >= double(high) ? high
                                 : int64_t(value);
}

using U = uint64_t;
#define R(expression)                                                          \
  [](U a, U b, U c) -> U {                                                     \
    (void)a, (void)b, (void)c;                                                 \
    return (expression);                                                       \
  }
#define I32(x) int32_t(uint32_t(x))
#define I64(x) int64_t(x)
#define I16(x) int16_t(uint16_t(x))

const OpCase cases[] = {
    {"add.s32", 32, {32, 32}, R(uint32_t(a + b))},
    {"add.u64", 64, {64, 64}, R(a + b)},
    {"add.s16", 16, {16, 16}, R(uint16_t(a + b))},
    {"add.sat.s32", 32, {32, 32}, R(uint32_t(std::min<int64_t>(INT32_MAX, std::max<int64_t>(INT32_MIN, int64_t(I32(a)) + I32(b)))))},
    {"sub.s32", 32, {32, 32}, R(uint32_t(a - b))},
    {"sub.s64", 64, {64, 64}, R(a - b)},
    {"mul.lo.s32", 32, {32, 32}, R(uint32_t(a * b))},
    {"mul.lo.u64", 64, {64, 64}, R(a * b)},
    {"mul.lo.s16", 16, {16, 16}, R(uint16_t(a * b))},
    {"mul.hi.u32", 32, {32, 32}, R(U(uint32_t(a)) * uint32_t(b) >> 32)},
    {"mul.hi.s32", 32, {32, 32}, R(uint32_t(int64_t(I32(a)) * I32(b) >> 32))},
    {"mul.hi.s64", 64, {64, 64}, R(U((__int128)I64(a) * I64(b) >> 64))},
    {"mul.wide.s32", 64, {32, 32}, R(U(int64_t(I32(a)) * I32(b)))},
    {"mul.wide.u32", 64, {32, 32}, R(U(uint32_t(a)) * uint32_t(b))},
    {"mul.wide.u16", 32, {16, 16}, R(uint32_t(uint16_t(a)) * uint16_t(b))},
    {"mul.wide.s16", 32, {16, 16}, R(uint32_t(int32_t(I16(a)) * I16(b)))},
    {"mul24.lo.s32", 32, {32, 32}, R(uint32_t((int64_t(a << 40) >> 40) * (int64_t(b << 40) >> 40)))},
    {"mad.lo.s32", 32, {32, 32, 32}, R(uint32_t(a * b + c))},
    {"mad.wide.s32", 64, {32, 32, 64}, R(U(int64_t(I32(a)) * I32(b)) + c)},
    {"mad.hi.u32", 32, {32, 32, 32}, R(uint32_t((U(uint32_t(a)) * uint32_t(b) >> 32) + c))},
    {"div.s32", 32, {32, 32}, R(I32(b) == 0 ? 0xffffffff : uint32_t(int64_t(I32(a)) / I32(b)))},
    {"div.u64", 64, {64, 64}, R(b == 0 ? ~U(0) : a / b)},
    {"rem.s32", 32, {32, 32}, R(I32(b) == 0 ? uint32_t(a) : uint32_t(int64_t(I32(a)) % I32(b)))},
    {"rem.u32", 32, {32, 32}, R(uint32_t(b) == 0 ? uint32_t(a) : uint32_t(a) % uint32_t(b))},
    {"abs.s32", 32, {32}, R(uint32_t(I32(a) < 0 ? 0 - a : a))},
    {"neg.s64", 64, {64}, R(0 - a)},
    {"min.s32", 32, {32, 32}, R(uint32_t(least(I32(a), I32(b))))},
    {"max.u32", 32, {32, 32}, R(uint32_t(a) > uint32_t(b) ? uint32_t(a) : uint32_t(b))},
    {"min.u16", 16, {16, 16}, R(least(uint16_t(a), uint16_t(b)))},
    {"max.s64", 64, {64, 64}, R(I64(a) > I64(b) ? a : b)},
    {"sad.u32", 32, {32, 32, 32}, R(uint32_t(c + (uint32_t(a) > uint32_t(b) ? a - b : b - a)))},
    {"and.b32", 32, {32, 32}, R(uint32_t(a & b))},
    {"or.b64", 64, {64, 64}, R(a | b)},
    {"xor.b16", 16, {16, 16}, R(uint16_t(a ^ b))},
    {"not.b32", 32, {32}, R(uint32_t(~a))},
    {"not.b16", 16, {16}, R(uint16_t(~a))},
    {"cnot.b32", 32, {32}, R(uint32_t(a) == 0)},
    {"shl.b32", 32, {32, 32}, R(uint32_t(b) > 31 ? 0 : uint32_t(a << (b & 31)))},
    {"shl.b64", 64, {64, 32}, R(uint32_t(b) > 63 ? 0 : a << (b & 63))},
    {"shr.u32", 32, {32, 32}, R(uint32_t(b) > 31 ? 0 : uint32_t(a) >> (b & 31))},
    {"shr.s32", 32, {32, 32}, R(uint32_t(I32(a) >> std::min<uint32_t>(31, uint32_t(b))))},
    {"shr.s16", 16, {16, 32}, R(uint16_t(I16(a) >> std::min<uint32_t>(15, uint32_t(b))))},
    {"shr.u64", 64, {64, 32}, R(uint32_t(b) > 63 ? 0 : a >> (b & 63))},
    {"shf.l.wrap.b32", 32, {32, 32, 32}, R(uint32_t(((b << 32 | uint32_t(a)) << (c & 31)) >> 32))},
    {"shf.r.clamp.b32", 32, {32, 32, 32}, R(uint32_t((b << 32 | uint32_t(a)) >> std::min<uint32_t>(32, uint32_t(c))))},
    {"popc.b32", 32, {32}, R(U(__builtin_popcount(uint32_t(a))))},
    {"popc.b64", 32, {64}, R(U(__builtin_popcountll(a)))},
    {"clz.b32", 32, {32}, R(uint32_t(a) ? U(__builtin_clz(uint32_t(a))) : 32)},
    {"clz.b64", 32, {64}, R(a ? U(__builtin_clzll(a)) : 64)},
    {"bfind.u32", 32, {32}, R(uint32_t(a) ? 31 - U(__builtin_clz(uint32_t(a))) : 0xffffffff)},
    {"bfind.s32", 32, {32}, R(uint32_t(I32(a) < 0 ? ~a : a) ? 31 - U(__builtin_clz(uint32_t(I32(a) < 0 ? ~a : a))) : 0xffffffff)},
    {"brev.b32", 32, {32}, [](U a, U, U) { U r = 0; for (int i = 0; i < 32; ++i) r |= (a >> i & 1) << (31 - i); return r; }},
    {"bfe.u32", 32, {32, 32, 32},
     [](U a, U b, U c) { U r = 0; for (U i = 0; i < 32 && i < (c & 255); ++i) r |= ((b & 255) + i < 32 ? a >> ((b & 255) + i) & 1 : 0) << i; return r; }},
    {"bfe.s32", 32, {32, 32, 32},
     [](U a, U b, U c) {
       U r = 0, len = c & 255, pos = b & 255, top = std::min<U>(pos + len - 1, 31), sign = len ? a >> top & 1 : 0;
       for (U i = 0; i < 32; ++i)
         r |= (i < len && pos + i < 32 ? a >> (pos + i) & 1 : sign) << i;
       return r;
     }},
    {"fma.rn.f32", -32, {-32, -32, -32}, R(F(std::fma(f(a), f(b), f(c))))},
    {"fma.rn.ftz.f32", -32, {-32, -32, -32}, R(F(flushed(std::fma(flushed(f(a)), flushed(f(b)), flushed(f(c))))))},
    {"fma.rn.f64", -64, {-64, -64, -64}, R(G(std::fma(g(a), g(b), g(c))))},
    {"fma.rz.f32", -32, {-32, -32, -32}, R(F(inMode<float>(FE_TOWARDZERO, [](float x, float y, float z) { return std::fma(x, y, z); }, f(a), f(b), f(c))))},
    {"add.f32", -32, {-32, -32}, R(F(f(a) + f(b)))},
    {"add.rn.ftz.f32", -32, {-32, -32}, R(F(flushed(flushed(f(a)) + flushed(f(b)))))},
    {"add.rp.f32", -32, {-32, -32}, R(F(inMode<float>(FE_UPWARD, [](float x, float y, float) { return x + y; }, f(a), f(b), 0)))},
    {"add.rm.f64", -64, {-64, -64}, R(G(inMode<double>(FE_DOWNWARD, [](double x, double y, double) { return x + y; }, g(a), g(b), 0)))},
    {"add.sat.f32", -32, {-32, -32}, R(F(f(a) + f(b) > 0 ? std::fmin(f(a) + f(b), 1.0f) : 0.0f))},
    {"sub.f32", -32, {-32, -32}, R(F(f(a) - f(b)))},
    {"mul.f32", -32, {-32, -32}, R(F(f(a) * f(b)))},
    {"mul.rz.f32", -32, {-32, -32}, R(F(inMode<float>(FE_TOWARDZERO, [](float x, float y, float) { return x * y; }, f(a), f(b), 0)))},
    {"mul.f64", -64, {-64, -64}, R(G(g(a) * g(b)))},
    {"div.rn.f32", -32, {-32, -32}, R(F(f(a) / f(b)))},
    {"div.rn.f64", -64, {-64, -64}, R(G(g(a) / g(b)))},
    {"div.full.f32", -32, {-32, -32}, R(F(f(a) / f(b))), 3e-7},
    {"rcp.rn.f32", -32, {-32}, R(F(1 / f(a)))},
    {"rcp.approx.ftz.f32", -32, {-32}, R(F(flushed(1 / flushed(f(a))))), 1.2e-7},
    {"sqrt.rn.f32", -32, {-32}, R(F(std::sqrt(f(a))))},
    {"sqrt.rn.f64", -64, {-64}, R(G(std::sqrt(g(a))))},
    {"rsqrt.approx.f32", -32, {-32}, R(F(float(1 / std::sqrt(double(f(a)))))), 2e-7},
    {"ex2.approx.f32", -32, {-32}, R(F(float(std::exp2(double(f(a)))))), 2.4e-7},
    {"ex2.approx.ftz.f32", -32, {-32}, R(F(flushed(float(std::exp2(double(f(a))))))), 2.4e-7},
    {"lg2.approx.f32", -32, {-32}, R(F(float(std::log2(double(f(a)))))), 2.4e-7},
    {"tanh.approx.f32", -32, {-32}, R(F(float(std::tanh(double(f(a)))))), 5e-4},
    {"neg.f32", 32, {-32}, R(uint32_t(a ^ 0x80000000))},
    {"abs.f32", 32, {-32}, R(a & 0x7fffffff)},
    {"abs.f16x2", 32, {32}, R(a & 0x7fff7fff)},
    {"neg.bf16x2", 32, {32}, R(uint32_t(a ^ 0x80008000))},
    {"min.f32", -32, {-32, -32}, R(F(fminPtx(f(a), f(b))))},
    {"max.f32", -32, {-32, -32}, R(F(-fminPtx(-f(a), -f(b))))},
    {"max.NaN.f32", -32, {-32, -32}, R(f(a) != f(a) || f(b) != f(b) ? 0x7fffffff : F(-fminPtx(-f(a), -f(b))))},
    {"min.f64", -64, {-64, -64}, R(g(a) != g(a) ? b : g(b) != g(b) ? a : g(a) == g(b) ? (a >> 63 ? a : b) : g(a) < g(b) ? a : b)},
    {"copysign.f32", 32, {-32, -32}, R((a & 0x80000000) | (b & 0x7fffffff))},
    {"add.f16", -16, {-16, -16}, R(toH(double(h(a)) + h(b)))},
    {"mul.f16", -16, {-16, -16}, R(toH(double(h(a)) * h(b)))},
    {"fma.rn.f16", -16, {-16, -16, -16}, R(toH(((long double)h(a) * h(b) + h(c))))},
    {"fma.rn.bf16", -17, {-18, -18, -18}, R(toBf(double(bf(a)) * bf(b) + bf(c)))},
    {"fma.rn.relu.bf16", -17, {-18, -18, -18}, R(double(bf(a)) * bf(b) + bf(c) < 0 ? 0 : toBf(double(bf(a)) * bf(b) + bf(c)))},
    {"min.f16", -16, {-16, -16}, R(toH((fminPtx(h(a), h(b)))))},
    {"max.bf16", -17, {-17, -17}, R(uint64_t(F(-fminPtx(-bf(a), -bf(b))) >> 16))},
    {"ex2.approx.f16", -16, {-16}, R(toH(std::exp2(double(h(a))))), 1e-3},
    {"setp.lt.s32", 1, {32, 32}, R(I32(a) < I32(b))},
    {"setp.lo.u32", 1, {32, 32}, R(uint32_t(a) < uint32_t(b))},
    {"setp.ge.u64", 1, {64, 64}, R(a >= b)},
    {"setp.eq.s16", 1, {16, 16}, R(uint16_t(a) == uint16_t(b))},
    {"setp.ne.b32", 1, {32, 32}, R(uint32_t(a) != uint32_t(b))},
    {"setp.lt.f32", 1, {-32, -32}, R(f(a) < f(b))},
    {"setp.ne.f32", 1, {-32, -32}, R(f(a) < f(b) || f(a) > f(b))},
    {"setp.neu.f32", 1, {-32, -32}, R(f(a) != f(b))},
    {"setp.geu.f32", 1, {-32, -32}, R(!(f(a) < f(b)))},
    {"setp.num.f32", 1, {-32, -32}, R(f(a) == f(a) && f(b) == f(b))},
    {"setp.nan.f64", 1, {-64, -64}, R(g(a) != g(a) || g(b) != g(b))},
    {"setp.gt.ftz.f32", 1, {-32, -32}, R(flushed(f(a)) > flushed(f(b)))},
    {"setp.le.f16", 1, {-16, -16}, R(h(a) <= h(b))},
    {"set.lt.u32.f32", 32, {-32, -32}, R(f(a) < f(b) ? 0xffffffff : 0)},
    {"set.gt.f32.s32", 32, {32, 32}, R(I32(a) > I32(b) ? 0x3f800000 : 0)},
    {"slct.b32.s32", 32, {32, 32, 32}, R(uint32_t(I32(c) >= 0 ? a : b))},
    {"testp.finite.f32", 1, {-32}, R(std::isfinite(f(a)))},
    {"testp.subnormal.f32", 1, {-32}, R(std::fpclassify(f(a)) == FP_SUBNORMAL)},
    {"prmt.b32", 32, {32, 32, 32},
     [](U a, U b, U c) {
       U both = b << 32 | uint32_t(a), r = 0;
       for (int i = 0; i < 4; ++i) {
         U s = c >> (4 * i) & 15, byte = both >> (8 * (s & 7)) & 255;
         r |= (s & 8 ? (byte & 128 ? 255 : 0) : byte) << (8 * i);
       }
       return r;
     }},
    {"dp4a.u32.s32", 32, {32, 32, 32},
     [](U a, U b, U c) { uint32_t r = uint32_t(c); for (int i = 0; i < 4; ++i) r += uint32_t(int(uint8_t(a >> 8 * i)) * int8_t(b >> 8 * i)); return U(r); }},
    {"cvt.u64.u32", 64, {32}, R(uint32_t(a))},
    {"cvt.s64.s32", 64, {32}, R(U(int64_t(I32(a))))},
    {"cvt.u32.u16", 32, {16}, R(uint16_t(a))},
    {"cvt.s32.s16", 32, {16}, R(uint32_t(int32_t(I16(a))))},
    {"cvt.s32.s8", 32, {32}, R(uint32_t(int32_t(int8_t(a))))},
    {"cvt.u16.u32", 16, {32}, R(uint16_t(a))},
    {"cvt.u8.u32", 16, {32}, R(uint8_t(a))},
    {"cvt.s8.s32", 32, {32}, R(uint32_t(int32_t(int8_t(a))))},
    {"cvt.sat.s8.s32", 32, {32}, R(uint32_t(std::min(127, std::max(-128, I32(a)))))},
    {"cvt.sat.u16.s32", 16, {32}, R(uint32_t(std::min(65535, std::max(0, I32(a)))))},
    {"cvt.rn.f32.s32", -32, {32}, R(F(float(I32(a))))},
    {"cvt.rn.f32.u64", -32, {64}, R(F(float(a)))},
    {"cvt.rz.f32.s64", -32, {64}, R(F([](int64_t v) { std::fesetround(FE_TOWARDZERO); volatile int64_t x = v; volatile float r = float(x); std::fesetround(FE_TONEAREST); return float(r); }(I64(a))))},
    {"cvt.rn.f64.s64", -64, {64}, R(G(double(I64(a))))},
    {"cvt.rn.f16.s32", -16, {32}, R(toH((double(I32(a)))))},
    {"cvt.rzi.s32.f32", 32, {-32}, R(uint32_t(clampTo(std::trunc(double(f(a))), INT32_MIN, INT32_MAX)))},
    {"cvt.rni.s32.f32", 32, {-32}, R(uint32_t(clampTo(std::nearbyint(double(f(a))), INT32_MIN, INT32_MAX)))},
    {"cvt.rmi.u32.f32", 32, {-32}, R(uint32_t(clampTo(std::floor(double(f(a))), 0, UINT32_MAX)))},
    {"cvt.rpi.s64.f64", 64, {-64}, R(g(a) != g(a) ? U(1) << 63 : U(std::ceil(g(a)) >= 0x1p63 ? INT64_MAX : std::ceil(g(a)) <= -0x1p63 ? INT64_MIN : int64_t(std::ceil(g(a)))))},
    {"cvt.rmi.f32.f32", -32, {-32}, R(F(std::floor(f(a))))},
    {"cvt.rni.f32.f32", -32, {-32}, R(F(std::nearbyint(f(a))))},
    {"cvt.sat.f32.f32", -32, {-32}, R(F(f(a) > 0 ? std::fmin(f(a), 1.0f) : 0.0f))},
    {"cvt.f64.f32", -64, {-32}, R(G(double(f(a))))},
    {"cvt.rn.f32.f64", -32, {-64}, R(F(float(g(a))))},
    {"cvt.rz.f32.f64", -32, {-64}, R(F([](double v) { std::fesetround(FE_TOWARDZERO); volatile double x = v; volatile float r = float(x); std::fesetround(FE_TONEAREST); return float(r); }(g(a))))},
    {"cvt.f32.f16", -32, {-16}, R(F(h(a)))},
    {"cvt.rn.f16.f32", -16, {-32}, R(toH((f(a))))},
    {"cvt.rn.relu.f16.f32", -16, {-32}, R(f(a) <= 0 ? 0 : toH((f(a))))},
    {"cvt.rn.bf16.f32", -17, {-32}, R(toBf(double(f(a))))},
    {"cvt.rz.bf16.f32", -17, {-32}, R(f(a) != f(a) ? 0x7fff : a >> 16)},
    {"cvt.rn.f16x2.f32", 32, {-33, -33}, R(toH((f(a))) << 16 | toH((f(b))))},
    {"cvt.rn.bf16x2.f32", 32, {-33, -33}, R(toBf(double(f(a))) << 16 | toBf(double(f(b))))},
    {"cvt.rna.tf32.f32", -32, {-33}, R((a + 0x1000) & 0xffffe000)},
    {"add.f16x2", 32, {33, 33}, R(two(a, b, [](U x, U y) { return toH(double(h(x)) + h(y)); }))},
    {"mul.f16x2", 32, {33, 33}, R(two(a, b, [](U x, U y) { return toH(double(h(x)) * h(y)); }))},
};

/// Operands: special values first, then random ones. -33, 33 and -18 keep to
/// ordinary floats, packed halves and bf16, where double arithmetic is exact.
uint64_t operandOf(int kind, unsigned index, std::mt19937_64 &random) {
  static const uint64_t ints[] = {0,
                                  1,
                                  2,
                                  31,
                                  32,
                                  33,
                                  63,
                                  64,
                                  0xff,
                                  0x7fff,
                                  0x8000,
                                  0xffff,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  0xffffffffffffffff};
  static const double reals[] = {
      0.0,  -0.0,    1.0,     -1.0, 0.5,          1.5,          2.5,
      -2.5, 1e-40,   -1e-41,  3e38, -3e38,        INFINITY,     -INFINITY,
      NAN,  65504.0, 65520.0, 1e-7, 2147483648.0, -2147483648.0};
  unsigned pick = unsigned(random() % 3);
  if (kind == 33) {
    auto half = [&] {
      return toH((double(int64_t(random() % 20001)) - 10000) / 777);
    };
    uint64_t low = half();
    return low | half() << 16;
  }
  if (kind > 0)
    return pick == 0   ? ints[random() % std::size(ints)]
           : pick == 1 ? random() % 40
                       : random();
  double ordinary = (double(int64_t(random() % 2000001)) - 1000000) / 65537 *
                    std::exp2(double(int(random() % 9)) - 4);
  double real = pick == 0 && kind != -33 && kind != -18
                    ? reals[random() % std::size(reals)]
                    : ordinary;
  switch (kind) {
  case -64:
    return pick == 1 ? random() : G(real);
  case -16:
    return pick == 1 ? random() & 0xffff : toH(real);
  case -18:
    return toBf(real);
  case -17:
    return pick == 1 ? random() & 0xffff : toBf(real);
  default:
    return pick == 1 && kind == -32 ? random() & 0xffffffff : F(float(real));
  }
}

int widthOf(int kind) {
  int bits = kind < 0 ? -kind : kind;
  return bits == 17 || bits == 18 ? 16 : bits == 33 ? 32 : bits;
}

std::string kernelFor(const OpCase &c, bool partial) {
  const char *banks[] = {"%h", "%r", "%d"};
  auto bank = [&](int kind) {
    return std::string(banks[widthOf(kind) == 16   ? 0
                             : widthOf(kind) == 32 ? 1
                                                   : 2]);
  };
  std::string text =
      ".version 8.6\n.target sm_90\n.address_size 64\n.visible .entry "
      "op(.param .u64 in, .param .u64 "
      "out) {\n.reg .pred %p<4>; .reg .b16 %h<8>; .reg .b32 %r<8>; .reg .b64 "
      "%d<16>;\n"
      "ld.param.u64 %d8, [in]; ld.param.u64 %d9, [out]; mov.u32 %r7, %tid.x;\n"
      "mad.wide.u32 %d8, %r7, 24, %d8; mad.wide.u32 %d9, %r7, 8, %d9;\n"
      "rem.u32 %r6, %r7, 3; setp.eq.u32 %p2, %r6, 0;\nmov.b64 %d4, 0;\n";
  for (unsigned i = 0; i < c.in.size(); ++i) {
    std::string n = std::to_string(i);
    text += "ld.global.b64 %d" + n + ", [%d8+" + std::to_string(8 * i) + "];\n";
    if (widthOf(c.in[i]) != 64)
      text += "cvt.u" + std::to_string(widthOf(c.in[i])) + ".u64 " +
              bank(c.in[i]) + n + ", %d" + n + ";\n";
  }
  std::string result = c.out == 1 ? "%p1" : bank(c.out) + "4";
  if (c.out == 1)
    text += "setp.ne.u32 %p1, 0, 0;\n";
  else if (widthOf(c.out) != 64)
    text += "mov.b" + std::to_string(widthOf(c.out)) + " " + result + ", 0;\n";
  text += std::string(partial ? "@%p2 " : "") + c.instruction + " " + result;
  for (unsigned i = 0; i < c.in.size(); ++i)
    text += ", " + bank(c.in[i]) + std::to_string(i);
  text += ";\n";
  if (c.out == 1)
    text += "selp.b64 %d4, 1, 0, %p1;\n";
  else if (widthOf(c.out) != 64)
    text += "cvt.u64.u" + std::to_string(widthOf(c.out)) + " %d4, " + result +
            ";\n";
  return text + "st.global.b64 [%d9], %d4;\nret;\n}\n";
}

bool agrees(const OpCase &c, uint64_t found, uint64_t expected) {
  if (found == expected)
    return true;
  if (c.out >= 0)
    return false;
  double x, y;
  if (c.out == -64)
    x = g(found), y = g(expected);
  else if (c.out == -16)
    x = h(found), y = h(expected);
  else if (c.out == -17)
    x = bf(found), y = bf(expected);
  else
    x = f(found), y = f(expected);
  if (x != x && y != y)
    return true;
  return c.tolerance && std::fabs(x - y) <= c.tolerance * std::fabs(y) +
                                                (c.out == -16 ? 1e-7 : 1e-44);
}

class Opcode : public testing::TestWithParam<OpCase> {};

TEST_P(Opcode, Computes) {
  const OpCase &c = GetParam();
  const unsigned count = 1024;
  std::mt19937_64 random(std::hash<std::string>()(c.instruction));
  std::vector<Words> in(count);
  for (unsigned i = 0; i < count; ++i)
    for (unsigned k = 0; k < c.in.size(); ++k)
      in[i][k] = operandOf(c.in[k], i, random);
  for (HostIsa isa : {HostIsa::Baseline, HostIsa::Avx2, HostIsa::Best})
    for (bool partial : {false, true}) {
      Result<Module> module = Module::parse(kernelFor(c, partial), isa);
      ASSERT_TRUE(bool(module)) << module.error().render(c.instruction) << "\n"
                                << kernelFor(c, partial);
      std::vector<uint64_t> out(count, 0xdeadbeef);
      Memory memory;
      Arguments arguments;
      arguments.add(memory.registerHost(in.data(), count * 24))
          .add(memory.registerHost(out.data(), count * 8));
      LaunchReport report =
          launch(*module, "op", {}, {count, 1, 1}, 0, arguments, memory);
      ASSERT_TRUE(report.ok) << show(report);
      unsigned wrong = 0;
      for (unsigned i = 0; i < count && wrong < 5; ++i) {
        uint64_t mask =
            widthOf(c.out) == 64 ? ~0ull : (1ull << widthOf(c.out)) - 1;
        uint64_t words[3];
        for (unsigned k = 0; k < 3; ++k)
          words[k] = in[i][k] & (k < c.in.size() && widthOf(c.in[k]) < 64
                                     ? (1ull << widthOf(c.in[k])) - 1
                                     : ~0ull);
        uint64_t expected =
            partial && i % 3 ? 0
                             : c.expected(words[0], words[1], words[2]) & mask;
        if (agrees(c, out[i], expected))
          continue;
        ++wrong;
        ADD_FAILURE() << c.instruction << std::hex << " a " << words[0] << " b "
                      << words[1] << " c " << words[2] << ": found " << out[i]
                      << ", expected " << expected
                      << (partial ? " (partial)" : "");
      }
    }
}

INSTANTIATE_TEST_SUITE_P(All, Opcode, testing::ValuesIn(cases),
                         [](const auto &info) {
                           std::string label = info.param.instruction;
                           for (char &c : label)
                             c = c == '.' ? '_' : c;
                           return label;
                         });

/// A tie that a term far below decides: one rounding, not two.
TEST(Opcodes, FmaOfBf16RoundsOnce) {
  OpCase c{"fma.rn.bf16", 16, {16, 16, 16}, nullptr};
  // 1.5 * 1.3046875 is half way between two values; the addend tips it either
  // way.
  const Words in[] = {{0x3fc0, 0x7127, 0x3f00},
                      {0x3fc0, 0x7127, 0xbf00},
                      {0x3fc0, 0x4025, 0x8541},
                      {0x3fc0, 0x4025, 0x0541}};
  const uint64_t expected[] = {0x717b, 0x717a, 0x4077, 0x4078};
  for (HostIsa isa : {HostIsa::Baseline, HostIsa::Avx2, HostIsa::Best}) {
    Result<Module> module = Module::parse(kernelFor(c, false), isa);
    ASSERT_TRUE(bool(module));
    uint64_t out[4] = {};
    Memory memory;
    Arguments arguments;
    arguments.add(memory.registerHost(const_cast<Words *>(in), sizeof in))
        .add(memory.registerHost(out, sizeof out));
    ASSERT_TRUE(launch(*module, "op", {}, {4, 1, 1}, 0, arguments, memory).ok);
    for (unsigned i = 0; i < 4; ++i)
      EXPECT_EQ(out[i], expected[i]);
  }
}

} // namespace
