//===- HostProblem.cpp - see HostProblem.h --------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/codegen/host/HostProblem.h"

#include "attn/codegen/host/Compile.h"
#include "attn/dialect/Attn.h"
#include "attn/dialect/Source.h"
#include "attn/dialect/reference/Reference.h"
#include "attn/runtime/core/Executable.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <sys/mman.h>
#include <unistd.h>

namespace oracle = mlir::attn::reference;
using namespace mlir;
using namespace ::attn::test;

//===----------------------------------------------------------------------===//
// Drawing problems
//===----------------------------------------------------------------------===//

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

HostProblem HostProblem::random(Random &random) {
  HostProblem p;
  p.element = random.oneOf<std::string>({"f32", "f32", "f16", "bf16"});
  p.batches = 1 + random.below(2);
  p.kvHeads = 1 + random.below(2);
  p.groups = random.oneOf<int64_t>({1, 1, 2, 3});
  auto length = [&] {
    return random.oneOf<int64_t>({1,   2,   7,   15,  16,  17,  31,  47,
                                  48,  49,  63,  64,  65,  95,  96,  97,
                                  127, 128, 129, 131, 191, 192, 193, 257});
  };
  p.queries = length();
  p.keys = random.below(20) == 0 ? 0 : length();
  p.headSize = random.oneOf<int64_t>(
      {16, 24, 32, 40, 64, 64, 72, 80, 96, 128, 136, 256});
  p.valueSize = random.below(3) == 0
                    ? random.oneOf<int64_t>({16, 24, 56, 64, 80, 128, 256})
                    : p.headSize;
  p.symbol = random.below(150);
  p.mask = random.below(8) == 0
               ? ""
               : "mask(" + random.mask(2, p.kvHeads * p.groups) + ")";
  p.alignment = random.oneOf<std::string>(
      {"", "", "align(end)", "align(start)", "align(%w)"});
  p.scale = random.oneOf<std::string>(
      {"", "", "scale(0.3)", "scale(-0.2)", "scale(0.0)"});
  // The bound on the error of the lse is absolute: scores must not be large.
  if (p.element == "f32" && p.scale == "scale(0.3)")
    p.scale = "scale(0.1)";
  p.lse = random.below(3) != 0;
  for (bool &open : p.dynamic)
    open = random.below(2);
  for (Layout &way : p.layout)
    way = Layout(random.below(Count));
  if (random.below(4) == 0) {
    p.qTile = random.oneOf<int64_t>({16, 32, 48, 80, 112});
    p.kvTile = random.oneOf<int64_t>({16, 32, 48, 80});
  }
  p.special = random.below(8) == 0;
  if (random.below(5) == 0) {
    // Decoding: few queries, keys in one or several parts.
    p.queries = random.oneOf<int64_t>({1, 1, 2, 3, 7, 13, 16});
    p.keys = random.oneOf<int64_t>({1023, 1024, 1025, 1531, 2053, 3137});
    p.groups = random.oneOf<int64_t>({1, 2, 3, 4, 8});
    p.headSize = random.oneOf<int64_t>({16, 40, 64});
    p.valueSize = random.below(3) == 0 ? 24 : p.headSize;
    // Enough elements for their mean error to mean something.
    p.batches = std::max<int64_t>(
        1, 256 / (p.kvHeads * p.groups * p.queries * p.valueSize));
    p.dynamic[1] = p.dynamic[2] = random.below(4) == 0;
    p.symbol = random.below(3000);
    p.mask = random.below(4) == 0
                 ? ""
                 : "mask(" + random.mask(1, p.kvHeads * p.groups) + ")";
  }
  return p;
}

std::string HostProblem::source() const {
  auto type = [&](int64_t heads, int64_t rows, int64_t columns, bool isQuery,
                  const std::string &elementType) {
    std::ostringstream os;
    auto extent = [&](int64_t value, bool open) {
      os << (open ? "?" : std::to_string(value)) << "x";
    };
    os << "tensor<";
    extent(batches, dynamic[0]);
    extent(heads, dynamic[1]);
    extent(rows, dynamic[isQuery ? 2 : 3]);
    if (columns)
      os << columns << "x";
    os << elementType << ">";
    return os.str();
  };
  std::string q = type(kvHeads * groups, queries, headSize, true, element);
  std::string k = type(kvHeads, keys, headSize, false, element);
  std::string v = type(kvHeads, keys, valueSize, false, element);
  std::string types = type(kvHeads * groups, queries, valueSize, true, element);
  if (lse)
    types += ", " + type(kvHeads * groups, queries, 0, true, "f32");
  std::string results = lse ? "(" + types + ")" : types,
              names = lse ? "%o, %lse" : "%o";
  return "func.func @f(%q: " + q + ", %k: " + k + ", %v: " + v +
         ", %w: index) -> " + results + " {\n  " + names +
         " = attn.attention %q, %k, %v " + mask + " " + scale + " " +
         alignment + "\n    : (" + q + ", " + k + ", " + v + ") -> " + results +
         "\n  return " + names + " : " + types + "\n}\n";
}

std::string HostProblem::describe() const {
  std::ostringstream os;
  os << cpu << ", " << batches << " batches, " << kvHeads << " x " << groups
     << " heads, " << queries << " x " << keys << ", w = " << symbol
     << ", tiles " << qTile << " x " << kvTile << ", layouts " << layout[0]
     << layout[1] << layout[2] << layout[3]
     << (special ? ", with special values" : "") << "\n"
     << source();
  return os.str();
}

//===----------------------------------------------------------------------===//
// Running them
//===----------------------------------------------------------------------===//

HostRunner::HostRunner() {
  DialectRegistry registry;
  registerAllDialects(registry);
  registry.insert<mlir::attn::AttnDialect>();
  context =
      std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
}

HostRunner::~HostRunner() = default;

/// Strides of a B x H x N x D tensor in the layout; `size` is the number of
/// elements that they reach.
static std::vector<int64_t> stridesOf(HostProblem::Layout layout,
                                      const std::vector<int64_t> &shape,
                                      int64_t &size) {
  int64_t h = shape[1], n = shape[2], d = shape[3];
  std::vector<int64_t> strides;
  switch (layout) {
  case HostProblem::RowMajor:
    strides = {h * n * d, n * d, d, 1};
    break;
  case HostProblem::HeadsInside:
    strides = {n * h * d, d, h * d, 1};
    break;
  case HostProblem::Padded:
    strides = {h * n * (d + 8), n * (d + 8), d + 8, 1};
    break;
  default:
    strides = {h * n * (d + 3), n * (d + 3), d + 3, 1};
    break;
  }
  size = 1;
  for (size_t i = 0; i < 4; ++i)
    size = shape[i] == 0 || size == 0 ? 0 : size + (shape[i] - 1) * strides[i];
  return strides;
}

namespace {
/// Bytes between two pages that nobody may touch. They are 0xff (NaN) at first,
/// to notice a stray read or a missing write.
class GuardedMemory {
public:
  /// At the end of the pages, or at their start.
  GuardedMemory(size_t bytes, bool atEnd) {
    size_t page = size_t(sysconf(_SC_PAGESIZE));
    size_t inside = (bytes + page - 1) / page * page;
    size = inside + 2 * page;
    memory = static_cast<char *>(
        mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED)
      std::abort();
    if (inside && mprotect(memory + page, inside, PROT_READ | PROT_WRITE) != 0)
      std::abort();
    data = memory + page + (atEnd ? inside - bytes : 0);
    std::memset(memory + page, 0xff, inside);
  }
  ~GuardedMemory() { munmap(memory, size); }
  GuardedMemory(const GuardedMemory &) = delete;
  GuardedMemory &operator=(const GuardedMemory &) = delete;
  uint64_t address() const { return reinterpret_cast<uintptr_t>(data); }

private:
  char *memory = nullptr, *data = nullptr;
  size_t size = 0;
};

/// One execution of a compiled problem.
struct Execution {
  bool atEnd = false;
  std::vector<::attn::Tensor> arguments, results;
  std::vector<std::unique_ptr<GuardedMemory>> memory;

  ::attn::Tensor place(::attn::ElementType type,
                       const std::vector<int64_t> &shape,
                       const std::vector<int64_t> &strides, int64_t size) {
    memory.push_back(std::make_unique<GuardedMemory>(
        size_t(size * ::attn::sizeOf(type)), atEnd));
    ::attn::Tensor tensor = ::attn::Tensor::rowMajor(
        type, shape, size ? memory.back()->address() : 0);
    tensor.strides = strides;
    return tensor;
  }
};
} // namespace

static std::string fetch(::attn::Device &device, const ::attn::Tensor &tensor) {
  std::string bytes(
      size_t(*::attn::elementCount(tensor.shape) * ::attn::sizeOf(tensor.type)),
      '\0');
  (void)::attn::copyFromTensor(device, bytes.data(), tensor).ok();
  return bytes;
}

std::string HostRunner::run(const HostProblem &p, Random &random) {
  std::string diagnostics;
  ScopedDiagnosticHandler handler(context.get(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      diagnostics += diagnostic.str() + "\n";
    return success();
  });
  auto module = parseSourceString<ModuleOp>(
      mlir::attn::prepareSource(p.source()), ParserConfig(context.get()));
  if (!module)
    return diagnostics;

  auto format = p.element == "f16"    ? oracle::Format::F16
                : p.element == "bf16" ? oracle::Format::BF16
                                      : oracle::Format::F32;
  auto element = p.element == "f16"    ? ::attn::ElementType::F16
                 : p.element == "bf16" ? ::attn::ElementType::BF16
                                       : ::attn::ElementType::F32;
  std::vector<std::vector<int64_t>> shapes = {
      {p.batches, p.kvHeads * p.groups, p.queries, p.headSize},
      {p.batches, p.kvHeads, p.keys, p.headSize},
      {p.batches, p.kvHeads, p.keys, p.valueSize}};
  std::vector<oracle::Tensor> inputs;
  for (const std::vector<int64_t> &shape : shapes) {
    oracle::Tensor &tensor = inputs.emplace_back();
    tensor.shape = shape;
    tensor.values.resize(shape[0] * shape[1] * shape[2] * shape[3]);
    for (double &value : tensor.values)
      value = ::attn::reference::round(random.normal(), format);
    // Infinite keys would give live scores of -inf, which a naive softmax and
    // an online one treat differently.
    bool isValue = inputs.size() == 3;
    if (p.special && !tensor.values.empty())
      tensor.values[random.below(tensor.values.size())] =
          isValue && random.below(2) ? std::numeric_limits<double>::infinity()
                                     : std::numeric_limits<double>::quiet_NaN();
  }
  inputs.push_back({{}, {double(p.symbol)}});
  auto expected =
      oracle::evaluateFunction(*module->getOps<func::FuncOp>().begin(), inputs);
  if (failed(expected))
    return diagnostics;

  mlir::attn::host::CompileOptions options;
  options.cpu = p.cpu;
  options.qTile = p.qTile;
  options.kvTile = p.kvTile;
  auto bundle = mlir::attn::host::compileToBundle(*module, "f", options);
  if (failed(bundle))
    return diagnostics;

  std::vector<std::string> first;
  for (int64_t threads : p.threads) {
    // What scratch holds and where tensors lie must not matter either.
    bool isFirst = first.empty();
    auto device =
        ::attn::openDevice("host", "threads=" + std::to_string(threads) +
                                       ",poison=" + (isFirst ? "0" : "255"));
    if (!device)
      return device.error().message;
    auto executable = ::attn::Executable::load(*device, *bundle);
    if (!executable)
      return executable.error().message;
    Execution execution;
    execution.atEnd = !isFirst;
    int64_t size;
    for (size_t i = 0; i < 3; ++i) {
      std::vector<int64_t> strides = stridesOf(p.layout[i], shapes[i], size);
      ::attn::Tensor tensor =
          execution.place(element, shapes[i], strides, size);
      std::string bytes;
      for (double value : inputs[i].values) {
        uint32_t bits = ::attn::reference::encode(value, format);
        bytes.append(reinterpret_cast<const char *>(&bits),
                     size_t(::attn::sizeOf(element)));
      }
      if (::attn::Status status =
              ::attn::copyToTensor(**device, tensor, bytes.data());
          !status)
        return status.error().message;
      execution.arguments.push_back(tensor);
    }
    std::vector<int64_t> oShape = {p.batches, p.kvHeads * p.groups, p.queries,
                                   p.valueSize};
    std::vector<int64_t> strides = stridesOf(p.layout[3], oShape, size);
    execution.results.push_back(
        execution.place(element, oShape, strides, size));
    if (p.lse) {
      std::vector<int64_t> shape(oShape.begin(), oShape.end() - 1);
      execution.results.push_back(execution.place(
          ::attn::ElementType::F32, shape, ::attn::rowMajorStrides(shape),
          shape[0] * shape[1] * shape[2]));
    }
    if (::attn::Status status =
            (*executable)
                ->run(execution.arguments, execution.results, {p.symbol});
        !status)
      return status.error().message;

    for (size_t i = 0; i < execution.results.size(); ++i) {
      std::string bytes = fetch(**device, execution.results[i]);
      if (first.size() <= i)
        first.push_back(bytes);
      else if (first[i] != bytes)
        return "result " + std::to_string(i) + " differs between " +
               std::to_string(p.threads.front()) + " and " +
               std::to_string(threads) + " threads";
    }
  }
  for (size_t i = 0; i < first.size(); ++i) {
    const oracle::Output &output = (*expected)[i];
    size_t width =
        first[i].size() / std::max<size_t>(output.exact.values.size(), 1);
    oracle::Tensor result{output.exact.shape, {}};
    for (size_t j = 0; j < output.exact.values.size(); ++j) {
      uint32_t bits = 0;
      std::memcpy(&bits, &first[i][j * width], width);
      result.values.push_back(::attn::reference::decode(bits, output.format));
    }
    if (p.corruptResult && i == 0)
      result.values[result.values.size() / 2] *= 1.01;
    oracle::Judgement judgement = oracle::judge(result, output);
    if (!judgement.passed)
      return "result " + std::to_string(i) + ": " + toText(judgement);
  }
  return "";
}
