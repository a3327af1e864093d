//===- KernelRunner.cpp - compiles and simulates one attention problem ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/codegen/KernelRunner.h"

#include "attn/dialect/Source.h"
#include "attn/runtime/core/Executable.h"
#include "attn/runtime/core/SimDevice.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>
#include <cstring>
#include <random>
#include <sys/mman.h>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::test;
namespace ref = ::attn::reference;

namespace {
ref::Format getFormat(StringRef type) {
  return type == "f32"    ? ref::Format::F32
         : type == "bf16" ? ref::Format::BF16
                          : ref::Format::F16;
}

/// A tensor in memory with room around its rows that holds NaN, and its values.
struct Array {
  std::vector<uint8_t> memory;
  /// Address space without memory, of which only the pages that are touched
  /// exist.
  std::shared_ptr<void> pages;
  ::attn::Tensor tensor;
  std::vector<double> values; ///< row-major
  ref::Format format;
  int64_t size; ///< bytes of an element

  Array(std::vector<int64_t> shape, ref::Format format, Storage storage)
      : format(format), size(format == ref::Format::F32 ? 4 : 2) {
    int64_t b = shape[0], h = shape[1], n = shape[2], d = shape[3], first = 0;
    std::vector<int64_t> strides;
    switch (storage) {
    case Storage::HeadMajor:
      strides = {h * n * d, n * d, d, 1};
      break;
    case Storage::SequenceMajor:
      strides = {n * h * d, d, h * d, 1};
      break;
    case Storage::Unaligned:
      strides = {h * n * (d + 3) + 5, n * (d + 3), d + 3, 1};
      first = 1;
      break;
    case Storage::Huge:
      strides = {0, h == 1 ? 0 : n * ((int64_t(1) << 27) + 8),
                 (int64_t(1) << 27) + 8, 1};
      break;
    }
    uint64_t base;
    if (storage == Storage::Huge) {
      size_t bytes = size * (h * strides[1] + n * strides[2] + d) + 4096;
      void *start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      pages = std::shared_ptr<void>(
          start, [bytes](void *address) { munmap(address, bytes); });
      base = reinterpret_cast<uint64_t>(start);
    } else {
      // Aligned to 128 bytes, and a NaN wherever the tensor is not.
      size_t count = b * strides[0] + h * strides[1] + n * strides[2] + 192;
      uint32_t nan = ref::encode(NAN, format);
      memory.resize(count * size);
      for (size_t i = 0; i < count; ++i)
        std::memcpy(&memory[i * size], &nan, size);
      base = reinterpret_cast<uint64_t>(memory.data());
    }
    tensor.type = format == ref::Format::F32    ? ::attn::ElementType::F32
                  : format == ref::Format::BF16 ? ::attn::ElementType::BF16
                                                : ::attn::ElementType::F16;
    tensor.shape = shape;
    tensor.strides = strides;
    tensor.data = (base + 127) / 128 * 128 + size * first;
    values.resize(b * h * n * d);
  }

  template <typename Function>
  void visit(Function function) {
    size_t i = 0;
    for (int64_t b = 0; b < tensor.shape[0]; ++b)
      for (int64_t h = 0; h < tensor.shape[1]; ++h)
        for (int64_t n = 0; n < tensor.shape[2]; ++n)
          for (int64_t d = 0; d < tensor.shape[3]; ++d, ++i) {
            int64_t offset = b * tensor.strides[0] + h * tensor.strides[1] +
                             n * tensor.strides[2] + d;
            function(reinterpret_cast<void *>(tensor.data + offset * size),
                     values[i]);
          }
  }

  void fill(std::mt19937_64 &random, double scale) {
    std::normal_distribution<double> normal(0.0, scale);
    for (double &value : values)
      value = ref::round(normal(random), format);
    store();
  }
  void store() {
    visit([&](void *element, double value) {
      uint32_t bits = ref::encode(value, format);
      std::memcpy(element, &bits, size);
    });
  }
  void load() {
    visit([&](void *element, double &value) {
      uint32_t bits = 0;
      std::memcpy(&bits, element, size);
      value = ref::decode(bits, format);
    });
  }
  ref::View view() const {
    return ref::View::rowMajor(
        values.data(),
        {tensor.shape[0], tensor.shape[1], tensor.shape[2], tensor.shape[3]});
  }
};
} // namespace

std::string test::getSource(const Case &c) {
  int64_t valueHeadSize = c.valueHeadSize ? c.valueHeadSize : c.headSize;
  std::string q = llvm::formatv("tensor<{0}x{1}x?x{2}x{3}>", c.batches, c.heads,
                                c.headSize, c.type);
  std::string k = llvm::formatv("tensor<{0}x{1}x?x{2}x{3}>", c.batches,
                                c.kvHeads, c.headSize, c.type);
  std::string v = llvm::formatv("tensor<{0}x{1}x?x{2}x{3}>", c.batches,
                                c.kvHeads, valueHeadSize, c.type);
  std::string o = llvm::formatv("tensor<{0}x{1}x?x{2}x{3}>", c.batches, c.heads,
                                valueHeadSize, c.type);
  std::string lse = llvm::formatv("tensor<{0}x{1}x?xf32>", c.batches, c.heads);
  if (!c.withLse)
    return llvm::formatv(R"(
func.func @f(%q: {0}, %k: {1}, %v: {2}, %x: index) -> {3} {{
  %o = attn.attention %q, %k, %v mask({4}) align({5}) : ({0}, {1}, {2}) -> {3}
  return %o : {3}
})",
                         q, k, v, o, c.mask, c.align);
  return llvm::formatv(R"(
func.func @f(%q: {0}, %k: {1}, %v: {2}, %x: index) -> ({3}, {4}) {{
  %o, %l = attn.attention %q, %k, %v mask({5}) align({6}) : ({0}, {1}, {2}) -> ({3}, {4})
  return %o, %l : {3}, {4}
})",
                       q, k, v, o, lse, c.mask, c.align);
}

/// Tiles with a live pair, of all heads of one batch. A tile has `qTile` rows
/// of each of `heads` heads, as far as there are so many in a group.
static uint64_t countTiles(const Case &c, int64_t offset, int64_t qTile,
                           int64_t kvTile, int64_t heads) {
  uint64_t tiles = 0;
  int64_t headsPerTile =
      std::min(heads, std::max<int64_t>(c.heads / c.kvHeads, 1));
  // Queries and keys of one residue class of the positions, in tiles.
  for (int64_t h = 0; h < c.heads; h += headsPerTile)
    for (int64_t index = 0; index < c.modulus; ++index) {
      int64_t m = c.modulus, residue = ((index + offset) % m + m) % m;
      for (int64_t i0 = index; i0 < c.queries; i0 += m * qTile)
        for (int64_t j0 = residue; j0 < c.keys; j0 += m * kvTile) {
          bool any = false;
          for (int64_t i = i0; i < std::min(i0 + m * qTile, c.queries) && !any;
               i += m)
            for (int64_t j = j0; j < std::min(j0 + m * kvTile, c.keys) && !any;
                 j += m)
              any = (!c.live || c.live(h, i + offset, j)) &&
                    !(c.inColumns && c.inColumns(i + offset, j));
          tiles += any;
        }
    }
  std::vector<int64_t> columns;
  for (int64_t j = 0; c.inColumns && j < c.keys; ++j)
    if (j % c.columnStep >= c.columnStart)
      columns.push_back(j);
  for (int64_t h = 0; h < c.heads; h += headsPerTile)
    for (int64_t i0 = 0; i0 < c.queries; i0 += qTile)
      for (size_t first = 0; first < columns.size(); first += kvTile) {
        bool any = false;
        for (int64_t i = i0; i < std::min(i0 + qTile, c.queries); ++i)
          for (size_t n = first;
               n < std::min(first + kvTile, columns.size()) && !any; ++n)
            any = c.live(h, i + offset, columns[n]) &&
                  c.inColumns(i + offset, columns[n]);
        tiles += any;
      }
  return tiles;
}

Outcome test::runCase(MLIRContext &context, const Case &c,
                      ::attn::sim::Mode mode, uint64_t seed) {
  Outcome outcome;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      outcome.problem += diagnostic.str() + "\n";
    return success();
  });
  std::string source = ::mlir::attn::prepareSource(getSource(c));
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(source, ParserConfig(&context));
  if (!module)
    return outcome;
  FailureOr<::attn::Bundle> bundle =
      nvptx::compileToBundle(*module, "f", c.options);
  if (failed(bundle))
    return outcome;
  outcome.compiled = true;
  outcome.bundle = *bundle;

  ref::Format format = getFormat(c.type);
  int64_t valueHeadSize = c.valueHeadSize ? c.valueHeadSize : c.headSize;
  Array q({c.batches, c.heads, c.queries, c.headSize}, format, c.storage);
  Array k({c.batches, c.kvHeads, c.keys, c.headSize}, format, c.storage);
  Array v({c.batches, c.kvHeads, c.keys, valueHeadSize}, format, c.storage);
  Array o({c.batches, c.heads, c.queries, valueHeadSize}, format, c.storage);
  std::mt19937_64 random(seed * 7919 + c.queries * 31 + c.keys);
  q.fill(random, 1.5);
  k.fill(random, 1.0);
  v.fill(random, 1.0);
  if (c.poison != Poison::None && !v.values.empty()) {
    // A few elements; two signs of infinity in one column make a NaN where both
    // are live.
    for (int64_t i = 0; i < 6; ++i) {
      double value = c.poison == Poison::Nan ? NAN
                     : i % 2                 ? INFINITY
                                             : -INFINITY;
      v.values[random() % v.values.size()] = value;
    }
    v.store();
  }
  std::vector<float> lse(c.batches * c.heads * c.queries, std::nanf("1"));

  ::attn::SimOptions simOptions;
  simOptions.launch.mode = mode;
  simOptions.launch.seed = seed;
  simOptions.findingsAreErrors = false;
  simOptions.target = c.options.target;
  simOptions.multiprocessors = c.multiprocessors;
  auto device = ::attn::SimDevice::create(simOptions);
  if (!device) {
    outcome.problem = device.error().message;
    return outcome;
  }
  auto executable = ::attn::Executable::load(*device, *bundle);
  if (!executable) {
    outcome.problem = executable.error().message;
    return outcome;
  }
  std::vector<::attn::Tensor> results{o.tensor};
  if (c.withLse)
    results.push_back(::attn::Tensor::rowMajor(
        ::attn::ElementType::F32, {c.batches, c.heads, c.queries},
        reinterpret_cast<uint64_t>(lse.data())));
  ::attn::Status status =
      (*executable)->run({q.tensor, k.tensor, v.tensor}, results, {c.offset});
  if (!status) {
    outcome.problem = status.error().message;
    return outcome;
  }
  for (::attn::SimLaunch &launch :
       static_cast<::attn::SimDevice &>(**device).launches(true))
    outcome.report = std::move(launch.report);

  ref::Problem problem;
  problem.q = q.view();
  problem.k = k.view();
  problem.v = v.view();
  problem.scale = 1 / std::sqrt(static_cast<float>(c.headSize));
  int64_t offset = StringRef(c.align) == "end"     ? c.keys - c.queries
                   : StringRef(c.align) == "start" ? 0
                                                   : c.offset;
  problem.offsets.assign(c.batches, offset);
  problem.live = c.live;
  ref::Solution exact = ref::evaluate(problem),
                naive = ref::evaluateNaive(problem, format);
  o.load();
  outcome.values = o.values;
  outcome.o =
      ref::judgeOutput(o.values, exact.o, naive.o, o.tensor.shape, format);
  if (c.withLse)
    outcome.lse =
        ref::judgeLse(std::vector<double>(lse.begin(), lse.end()), exact.lse,
                      {c.batches, c.heads, c.queries}, format);

  const std::string &schedule = bundle->manifest.launches[0].schedule;
  auto field = [&](const char *name) {
    size_t at = schedule.find(std::string(name) + " = ");
    return std::stoll(schedule.substr(at + strlen(name) + 3));
  };
  bool packsHeads = StringRef(schedule).contains(", heads = ");
  uint64_t qTile = field("q_tile"), kvTile = field("kv_tile"),
           heads = packsHeads ? field(", heads") : 1,
           tiles =
               c.batches * countTiles(c, offset, qTile / heads, kvTile, heads);
  // In f32 one product covers 8 of k, and three make one.
  bool isF32 = StringRef(c.type) == "f32";
  uint64_t step = isF32 ? 8 : 16, scoreSteps = (c.headSize + step - 1) / step,
           sumSteps = kvTile / step;
  if (StringRef(schedule).contains("producer_registers"))
    outcome.idealWgmma = tiles * (qTile / 64) * (scoreSteps + sumSteps);
  else
    outcome.idealMma =
        tiles * (qTile / 16) *
        (kvTile / 8 * scoreSteps + valueHeadSize / 8 * sumSteps) *
        (isF32 ? 3 : 1);
  return outcome;
}
