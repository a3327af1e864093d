//===- Random.cpp - see Random.h ------------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/support/Random.h"

#include <cmath>
#include <cstdlib>

using namespace attn::test;

double Random::normal() {
  double u = (double(engine() >> 11) + 0.5) * 0x1p-53,
         v = (double(engine() >> 11) + 0.5) * 0x1p-53;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v);
}

std::string Random::mask(int depth, int64_t heads) {
  auto bound = [&] {
    return below(4) == 0 ? std::string("%w") : std::to_string(below(150));
  };
  auto range = [&] {
    int64_t a = below(150);
    return std::to_string(a) + ", " + std::to_string(a + below(100));
  };
  int64_t choice = depth == 0 ? 0 : below(6);
  if (choice == 3)
    return "!(" + mask(depth - 1, heads) + ")";
  if (choice > 3)
    return "(" + mask(depth - 1, heads) + (choice == 4 ? " & " : " | ") +
           mask(depth - 1, heads) + ")";
  switch (below(9)) {
  case 0:
    return "causal";
  case 1:
  case 2:
    return "window<" + bound() + ", " +
           oneOf<std::string>({"0", "inf", "7", "-3", "%w", "60"}) + ">";
  case 3:
    return "keys<" + range() + ">";
  case 4:
    return "queries<" + range() + ">";
  case 5:
    return "heads<" + std::to_string(below(heads)) + ", " +
           std::to_string(heads) + ">";
  case 6:
    return "affine_set<(h, i, j)[n] : (i + 2 * j - n >= 0, 300 - i - j >= "
           "0)>(" +
           bound() + ")";
  case 7:
    return oneOf<std::string>({"stride<5>", "stride<64>", "stride<100>",
                               "dilated<9, 9, 8>", "same_block<48>",
                               "summary<40, 7>", "global<9>"});
  default:
    return oneOf<std::string>({"longformer<20, 3>", "streaming<4, 30>",
                               "prefix<40>", "strided<33>", "fixed<40, 5>",
                               "chunked<50>", "all"});
  }
}

int64_t attn::test::environment(const char *name, int64_t otherwise) {
  const char *text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}
