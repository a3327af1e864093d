//===- Forward90Test.cpp - a whole kernel with TMA and wgmma ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// kernels/forward90-d*.ptx: dense attention forward in bf16, one producer warp
// and three consumer warpgroups. Right in every mode; and deleting any of its
// synchronisation shows.
#include "Hopper.h"

#include <sstream>

using namespace attn::sim;

namespace {

float widen(uint16_t bits) {
  uint32_t word = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}
uint16_t narrow(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  return uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

/// What a launch needs to know of a kernel.
struct Variant {
  const char *name;
  unsigned dim, warpgroups, tile; ///< consumers, keys of a tile

  unsigned stages() const { return dim > 64 ? 2 : 4; }
  unsigned rows() const { return 64 * warpgroups; }
  unsigned sharedBytes() const {
    return dim * 2 * (rows() + 2 * stages() * tile) +
           8 * (warpgroups + 4 * stages());
  }
  std::string text() const {
    return readText(std::string(ATTN_SIM_TESTS "/kernels/forward90-") + name +
                    ".ptx");
  }
};

const Variant variants[] = {{"d64", 64, 3, 128},
                            {"d128", 128, 3, 128},
                            {"d64-overlap", 64, 2, 176},
                            {"d128-overlap", 128, 2, 176}};

struct Problem {
  unsigned dim, queries, keys, heads;
  std::vector<uint16_t> q, k, v;
  std::vector<double> out, lse;
  double scale;

  Problem(unsigned dim, unsigned queries, unsigned keys, unsigned heads)
      : dim(dim), queries(queries), keys(keys), heads(heads),
        q(size_t(heads) * queries * dim), k(size_t(heads) * keys * dim),
        v(k.size()), out(q.size()), lse(size_t(heads) * queries),
        scale(1 / std::sqrt(double(dim))) {
    std::mt19937 random(dim + queries);
    std::normal_distribution<float> normal;
    for (std::vector<uint16_t> *values : {&q, &k, &v})
      for (uint16_t &value : *values)
        value = narrow(normal(random));
    std::vector<double> p(keys);
    for (unsigned h = 0; h < heads; ++h)
      for (unsigned i = 0; i < queries; ++i) {
        const size_t row = size_t(h) * queries + i;
        double most = -INFINITY, sum = 0;
        for (unsigned j = 0; j < keys; ++j) {
          double dot = 0;
          for (unsigned d = 0; d < dim; ++d)
            dot += double(widen(q[row * dim + d])) *
                   widen(k[(size_t(h) * keys + j) * dim + d]);
          p[j] = dot * scale;
          most = std::max(most, p[j]);
        }
        for (double &x : p)
          sum += x = std::exp(x - most);
        lse[row] = most + std::log(sum);
        for (unsigned d = 0; d < dim; ++d) {
          double value = 0;
          for (unsigned j = 0; j < keys; ++j)
            value += p[j] / sum * widen(v[(size_t(h) * keys + j) * dim + d]);
          out[row * dim + d] = value;
        }
      }
  }
};

struct Outcome {
  LaunchReport report;
  double error = 0; ///< the largest, NaN counts as infinite
};

Outcome run(const Variant &variant, const Module &module, const Problem &p,
            const LaunchOptions &options) {
  std::vector<uint16_t> q = p.q, k = p.k, v = p.v, out(q.size(), 0x7fff);
  std::vector<float> lse(p.lse.size(), NAN);
  Memory memory;
  auto map = [&](std::vector<uint16_t> &data, unsigned rows, unsigned box,
                 const char *name) {
    uint64_t address = memory.registerHost(data.data(), data.size() * 2, name);
    return parameterOf(denseMap(address, TensorMap::Element::BF16,
                                {p.dim, rows, p.heads}, {64, box, 1},
                                TensorMap::Swizzle::Bytes128));
  };
  Arguments arguments;
  arguments.add(map(q, p.queries, 64, "q"))
      .add(map(k, p.keys, variant.tile, "k"))
      .add(map(v, p.keys, variant.tile, "v"))
      .add(map(out, p.queries, 64, "o"))
      .add(memory.registerHost(lse.data(), lse.size() * 4, "lse"))
      .add(p.queries)
      .add(p.keys)
      .add(float(p.scale / std::log(2.0)));
  Outcome result;
  result.report =
      launch(module, "forward",
             {(p.queries + variant.rows() - 1) / variant.rows(), p.heads, 1},
             {128 * (variant.warpgroups + 1), 1, 1}, variant.sharedBytes(),
             arguments, memory, options);
  auto compare = [&](double found, double expected) {
    double error = std::fabs(found - expected);
    result.error = std::max(result.error, error == error ? error : INFINITY);
  };
  for (size_t i = 0; i < out.size(); ++i)
    compare(widen(out[i]), p.out[i]);
  for (size_t i = 0; i < lse.size(); ++i)
    compare(lse[i], p.lse[i]);
  return result;
}

class Forward90 : public testing::TestWithParam<Variant> {};

TEST_P(Forward90, IsRight) {
  const Variant &variant = GetParam();
  const unsigned dim = variant.dim, tile = variant.tile;
  std::string text = variant.text();
  EXPECT_EQ(assemble(text), "");
  Result<Module> module = Module::parse(text);
  ASSERT_TRUE(bool(module)) << module.error().render("forward90");
  // Whole tiles, and ragged ones on both sides, with the stages wrapping; and
  // less than one tile.
  for (const Problem &p : {Problem(dim, variant.rows(), 2 * tile, 1),
                           Problem(dim, variant.rows() + 58, tile * 6 - 59, 2),
                           Problem(dim, 17, 33, 1)})
    for (const LaunchOptions &options : allModes()) {
      Outcome outcome = run(variant, *module, p, options);
      EXPECT_TRUE(outcome.report.findings.empty()) << show(options.mode) << "\n"
                                                   << show(outcome.report);
      EXPECT_LT(outcome.error, 4e-3) << show(options.mode);
      const Counters &counters = outcome.report.counters;
      const unsigned blocks =
          (p.queries + variant.rows() - 1) / variant.rows() * p.heads;
      const unsigned tiles = blocks * ((p.keys + tile - 1) / tile);
      EXPECT_EQ(counters.wgmma,
                uint64_t(tiles) * variant.warpgroups * (dim / 16 + tile / 16));
      EXPECT_EQ(counters.bulkBytes,
                uint64_t(tiles) * 2 * tile * dim * 2 +
                    uint64_t(blocks) * variant.rows() * dim * 2 +
                    // A warpgroup without rows stores nothing.
                    uint64_t((p.queries + 63) / 64) * p.heads * 64 * dim * 2);
      EXPECT_EQ(counters.bankConflicts, 0u);
    }
}

INSTANTIATE_TEST_SUITE_P(All, Forward90, testing::ValuesIn(variants),
                         [](const auto &info) {
                           std::string label = info.param.name;
                           for (char &c : label)
                             c = c == '-' ? '_' : c;
                           return label;
                         });

struct Mutant {
  std::string what, text;
};

/// Each instruction that only orders others, and each rescale, deleted on its
/// own; each parity, count and swizzle changed on its own.
std::vector<Mutant> mutantsOf(const std::string &text) {
  const char *const deleted[] = {
      "mbarrier.arrive", "mbarrier.init",  "bra WAIT",   "fence",
      "bar.sync",        "commit_group",   "wait_group", "setmaxnreg",
      ", %alpha",        "xor.b32 %parity"};
  const std::pair<const char *, const char *> changed[] = {
      {"mov.u32 %parity, 0;", "mov.u32 %parity, 1;"},
      {"mov.u32 %parity, 1;", "mov.u32 %parity, 0;"},
      {"], 8192;", "], 8208;"},   // bytes of Q
      {"], 16384;", "], 16368;"}, // of K and V
      {"], 12;", "], 11;"},       // arrivals
      {"], 12;", "], 13;"},
      {"], 1;", "], 2;"},
      {"aligned 0;", "aligned 1;"}, // groups left in flight
      {"u32 160;", "u32 168;"},
      {"0x40000040", "0x80000040"}, // swizzle
      {"0x40000040", "0x40000020"}, // stride
      {"%t, 128;", "%t, 160;"},
  };
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    lines.push_back(line);
  std::vector<Mutant> result;
  auto add = [&](size_t at, const std::string &line) {
    std::string mutant;
    for (size_t j = 0; j < lines.size(); ++j)
      mutant += (j == at ? line : lines[j]) + "\n";
    result.push_back({"line " + std::to_string(at + 1) + ": " + lines[at] +
                          " -> " + (line.empty() ? "#" : line),
                      mutant});
  };
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find(".reg ") != std::string::npos)
      continue;
    for (const char *word : deleted)
      if (lines[i].find(word) != std::string::npos) {
        add(i, "");
        break;
      }
    for (auto [from, to] : changed)
      if (size_t at = lines[i].find(from); at != std::string::npos) {
        std::string line = lines[i];
        add(i, line.replace(at, std::strlen(from), to));
      }
  }
  return result;
}

class Forward90Mutants : public testing::TestWithParam<Variant> {};

TEST_P(Forward90Mutants, AreCaught) {
  const Variant &variant = GetParam();
  // Each stage is used three times.
  const Problem p(variant.dim, variant.rows(),
                  variant.tile * variant.stages() * 3, 1);
  std::vector<Mutant> mutants = mutantsOf(variant.text());
  EXPECT_GE(mutants.size(), variant.warpgroups == 3 ? 100u : 90u);
  std::vector<std::string> survivors;
  for (const Mutant &mutant : mutants) {
    Result<Module> module = Module::parse(mutant.text);
    ASSERT_TRUE(bool(module)) << module.error().render(mutant.what);
    bool caught = false;
    for (LaunchOptions options : allModes()) {
      options.instructionBudget = 1000000;
      Outcome outcome = run(variant, *module, p, options);
      caught |= !outcome.report.findings.empty() || !(outcome.error < 4e-3);
      if (caught)
        break;
    }
    if (!caught)
      survivors.push_back(mutant.what);
  }
  // What changes nothing that the ISA promises: the barrier behind
  // mbarrier.init orders it within a cluster of one block, and a hint about
  // registers has no result. With overlap also what the peeled first and last
  // tiles do for nobody: sums of zero, a stage that cannot wrap, an arrival
  // that nobody waits for.
  std::map<std::string, unsigned> harmless = {{"fence.mbarrier_init", 1},
                                              {"setmaxnreg.inc", 1}};
  if (variant.warpgroups == 2)
    harmless.insert({{"mul.f32 %sum", 2},
                     {"xor.b32 %parity,", 1},
                     {"mbarrier.arrive.shared::cta.b64 _, [%addr]", 1}});
  for (const std::string &what : survivors) {
    bool excused = false;
    for (auto &[part, count] : harmless)
      if (!excused && count && what.find("; -> #") != std::string::npos &&
          what.find(part) != std::string::npos) {
        --count;
        excused = true;
      }
    EXPECT_TRUE(excused) << what << " is not caught";
  }
  for (const auto &[part, count] : harmless)
    EXPECT_EQ(count, 0u) << part << " is caught";
}

INSTANTIATE_TEST_SUITE_P(All, Forward90Mutants,
                         testing::Values(variants[0], variants[3]),
                         [](const auto &info) {
                           return info.param.warpgroups == 3 ? "simple"
                                                             : "overlap";
                         });

} // namespace
