//===- Random.h - numbers and masks that are drawn --------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TEST_SUPPORT_RANDOM_H
#define ATTN_TEST_SUPPORT_RANDOM_H

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>

namespace attn::test {

/// Numbers that every platform draws alike.
class Random {
public:
  explicit Random(uint64_t seed) : engine(seed) {}
  int64_t below(int64_t n) { return int64_t(engine() % uint64_t(n)); }
  template <typename T>
  T oneOf(std::initializer_list<T> values) {
    return values.begin()[below(int64_t(values.size()))];
  }
  double normal();
  /// A mask expression over `heads` query heads of at most `depth` nested
  /// operators; positions up to 150, %w for a symbol.
  std::string mask(int depth, int64_t heads);

private:
  std::mt19937_64 engine;
};

/// The number in the environment variable `name`: ATTN_DIFFERENTIAL_COUNT runs
/// more problems, ATTN_DIFFERENTIAL_SEED others.
int64_t environment(const char *name, int64_t otherwise);

} // namespace attn::test

#endif // ATTN_TEST_SUPPORT_RANDOM_H
