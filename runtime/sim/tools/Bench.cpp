//===- Bench.cpp - speed of the simulator on one core ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// Runs a causal attention forward kernel (D = 64, f16) with every check on, and
// compares its result with a direct evaluation in double. Prints warp
// instructions for each second on one thread, and blocks in parallel on all.
#include "attn/runtime/sim/Half.h"
#include "attn/runtime/sim/Simulator.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>

using namespace attn::sim;

namespace {

constexpr int D = 64, Rows = 64;

struct Parameters {
  uint64_t q, k, v, o;
  int32_t n;
  float scale;
};

double worstError(const std::vector<uint16_t> &q,
                  const std::vector<uint16_t> &k,
                  const std::vector<uint16_t> &v,
                  const std::vector<uint16_t> &o, int n) {
  double worst = 0;
  for (int i = 0; i < n; i += 37) {
    std::vector<double> score(i + 1);
    double top = -INFINITY, sum = 0, out[D] = {};
    for (int j = 0; j <= i; ++j) {
      for (int d = 0; d < D; ++d)
        score[j] +=
            double(halfToFloat(q[i * D + d])) * halfToFloat(k[j * D + d]);
      score[j] /= 8;
      top = std::max(top, score[j]);
    }
    for (int j = 0; j <= i; ++j) {
      double p = std::exp(score[j] - top);
      sum += p;
      for (int d = 0; d < D; ++d)
        out[d] += p * halfToFloat(v[j * D + d]);
    }
    for (int d = 0; d < D; ++d)
      worst =
          std::max(worst, std::fabs(out[d] / sum - halfToFloat(o[i * D + d])));
  }
  return worst;
}

} // namespace

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : ATTN_SIM_KERNELS "/forward.ptx";
  std::ifstream file(path);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path);
    return 1;
  }
  std::string text((std::istreambuf_iterator<char>(file)),
                   std::istreambuf_iterator<char>());
  Result<Module> module = Module::parse(text);
  if (!module) {
    std::fprintf(stderr, "%s\n", module.error().render(path).c_str());
    return 1;
  }
  const int n = 1000, heads = 2;
  std::vector<uint16_t> data[4];
  uint32_t random = 12345;
  for (auto &tensor : data) {
    tensor.resize(size_t(heads) * n * D);
    for (uint16_t &element : tensor) {
      random = random * 1664525 + 1013904223;
      element = uint16_t(floatToHalf(float(int32_t(random) >> 16) / 16384.0f));
    }
  }
  Memory memory;
  Parameters parameters{
      memory.registerHost(data[0].data(), data[0].size() * 2, "q"),
      memory.registerHost(data[1].data(), data[1].size() * 2, "k"),
      memory.registerHost(data[2].data(), data[2].size() * 2, "v"),
      memory.registerHost(data[3].data(), data[3].size() * 2, "o"),
      n,
      0.125f * 1.44269504f};
  bool ok = true;
  auto measure = [&](const char *label, const LaunchOptions &options) {
    double best = 0;
    uint64_t instructions = 0;
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::fill(data[3].begin(), data[3].end(), uint16_t(0x7fff));
      std::clock_t begin = std::clock();
      LaunchReport report = Simulator::launch(
          *module, "forward", {(n + Rows - 1) / Rows, heads, 1}, {128, 1, 1},
          5 * 8192, &parameters, sizeof parameters, memory, options);
      for (const Finding &finding : report.findings)
        std::fprintf(stderr, "%s:%u: %s: %s\n", path, finding.line,
                     name(finding.kind), finding.message.c_str());
      ok &= report.ok;
      instructions = report.counters.warpInstructions;
      // One thread is measured in processor time: others may use the machine.
      double seconds = options.threads == 1
                           ? double(std::clock() - begin) / CLOCKS_PER_SEC
                           : report.seconds;
      best = std::max(best, double(instructions) / seconds);
    }
    double error = worstError(data[0], data[1], data[2], data[3], n);
    ok &= error < 5e-3;
    std::printf("%-34s %8.2f M warp instructions/s  (%llu instructions, "
                "largest error %.1e)\n",
                label, best * 1e-6,
                static_cast<unsigned long long>(instructions), error);
  };
  LaunchOptions options;
  options.threads = 1;
  measure("one core, all checks, eager", options);
  options.mode = Mode::Lazy;
  measure("one core, all checks, lazy", options);
  options.mode = Mode::Random;
  measure("one core, all checks, random", options);
  options.mode = Mode::Eager;
  options.threads = 0;
  measure("all cores, all checks, eager", options);
  options.threads = 1;
  options.checkRaces = options.checkInitialised = options.countMemory = false;
  measure("one core, no checks, eager", options);
  return ok ? 0 : 1;
}
