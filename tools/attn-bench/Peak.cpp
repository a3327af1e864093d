//===- Peak.cpp - see Peak.h ----------------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/attn-bench/Peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>

// Enough chains for the latency of a fused multiply-add times the units. The
// barrier keeps each in its register.
#define ATTN_CHAINS 12

__attribute__((target("avx512f"))) static float runAvx512(int64_t steps) {
  __m512 sums[ATTN_CHAINS], x = _mm512_set1_ps(0.999f),
                            y = _mm512_set1_ps(1e-3f);
  for (__m512 &sum : sums)
    sum = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < steps; ++i) {
#pragma clang loop unroll(full)
    for (int c = 0; c < ATTN_CHAINS; ++c) {
      sums[c] = _mm512_fmadd_ps(sums[c], x, y);
      asm volatile("" : "+v"(sums[c]));
    }
  }
  __m512 total = sums[0];
  for (int c = 1; c < ATTN_CHAINS; ++c)
    total = _mm512_add_ps(total, sums[c]);
  return _mm512_reduce_add_ps(total);
}

__attribute__((target("avx512f,avx512bf16"))) static float
runBf16(int64_t steps) {
  __m512 sums[ATTN_CHAINS];
  __m512bh x = __m512bh(_mm512_set1_epi16(0x3c00)),
           y = __m512bh(_mm512_set1_epi16(0x3c00));
  for (__m512 &sum : sums)
    sum = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < steps; ++i) {
#pragma clang loop unroll(full)
    for (int c = 0; c < ATTN_CHAINS; ++c) {
      sums[c] = _mm512_dpbf16_ps(sums[c], x, y);
      asm volatile("" : "+v"(sums[c]));
    }
  }
  __m512 total = sums[0];
  for (int c = 1; c < ATTN_CHAINS; ++c)
    total = _mm512_add_ps(total, sums[c]);
  return _mm512_reduce_add_ps(total);
}

__attribute__((target("avx2,fma"))) static float runAvx2(int64_t steps) {
  __m256 sums[ATTN_CHAINS], x = _mm256_set1_ps(0.999f),
                            y = _mm256_set1_ps(1e-3f);
  for (__m256 &sum : sums)
    sum = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < steps; ++i) {
#pragma clang loop unroll(full)
    for (int c = 0; c < ATTN_CHAINS; ++c) {
      sums[c] = _mm256_fmadd_ps(sums[c], x, y);
      asm volatile("" : "+x"(sums[c]));
    }
  }
  float total = 0;
  for (__m256 sum : sums)
    total += _mm256_cvtss_f32(sum);
  return total;
}

static float runSse(int64_t steps) {
  __m128 sums[ATTN_CHAINS], x = _mm_set1_ps(0.999f), y = _mm_set1_ps(1e-3f);
  for (__m128 &sum : sums)
    sum = _mm_set1_ps(1.0f);
  for (int64_t i = 0; i < steps; ++i) {
#pragma clang loop unroll(full)
    for (int c = 0; c < ATTN_CHAINS; ++c) {
      sums[c] = _mm_add_ps(_mm_mul_ps(sums[c], x), y);
      asm volatile("" : "+x"(sums[c]));
    }
  }
  float total = 0;
  for (__m128 sum : sums)
    total += _mm_cvtss_f32(sum);
  return total;
}

__attribute__((target("avx512f"))) static float readAvx512(const float *data,
                                                           int64_t count) {
  __m512 sums[8];
  for (__m512 &sum : sums)
    sum = _mm512_setzero_ps();
  for (int64_t i = 0; i + 128 <= count; i += 128)
    for (int64_t c = 0; c < 8; ++c)
      sums[c] = _mm512_add_ps(sums[c], _mm512_load_ps(data + i + 16 * c));
  __m512 total = sums[0];
  for (int64_t c = 1; c < 8; ++c)
    total = _mm512_add_ps(total, sums[c]);
  return _mm512_reduce_add_ps(total);
}
#endif

static float readPlain(const float *data, int64_t count) {
  float sums[64] = {};
  for (int64_t i = 0; i + 64 <= count; i += 64)
    for (int64_t c = 0; c < 64; ++c)
      sums[c] += data[i + c];
  float total = 0;
  for (float sum : sums)
    total += sum;
  return total;
}

static volatile float sink;

static double best(float (*run)(int64_t), double operationsPerChain) {
  double result = 0;
#if defined(__x86_64__)
  constexpr int64_t steps = 2000000;
  for (int i = 0; i < 7; ++i) {
    auto start = std::chrono::steady_clock::now();
    sink = run(steps);
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    result = std::max(result, double(steps) * ATTN_CHAINS * operationsPerChain /
                                  seconds);
  }
#endif
  return result;
}

double attn::bench::measureFmaPeak() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f"))
    return best(runAvx512, 32);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return best(runAvx2, 16);
  return best(runSse, 8);
#else
  return 0;
#endif
}

double attn::bench::measureBf16Peak() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512bf16"))
    return best(runBf16, 64);
#endif
  return 0;
}

double attn::bench::measureReadBandwidth(int64_t threads) {
  // Several times the last-level cache of a large server, in all.
  constexpr int64_t total = int64_t(1) << 29;
  static std::vector<float> memory(total / 4 + 16, 1.0f);
  auto *data = reinterpret_cast<float *>(
      (reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
  auto read = readPlain;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f"))
    read = readAvx512;
#endif
  int64_t count = total / 4 / threads;
  auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> others;
  for (int64_t t = 1; t < threads; ++t)
    others.emplace_back(
        [=] { sink = read(data + t * (count / 16 * 16), count); });
  sink = read(data, count);
  for (std::thread &other : others)
    other.join();
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  return double(count) * 4 * double(threads) / seconds;
}
