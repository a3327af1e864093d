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

static int64_t drawLength(Random &random) {
  return random.oneOf<int64_t>({1,   2,   7,   15,  16,  17,  31,  47,
                                48,  49,  63,  64,  65,  95,  96,  97,
                                127, 128, 129, 131, 191, 192, 193, 257});
}

bool HostProblem::redraw(Random &random) {
  if (!dynamic[2] && !dynamic[3])
    return false;
  if (dynamic[0])
    batches = 1 + random.below(3);
  if (dynamic[2])
    queries = drawLength(random);
  if (dynamic[3])
    keys = drawLength(random);
  symbol = random.below(150);
  return true;
}

HostProblem HostProblem::random(Random &random) {
  HostProblem p;
  p.element = random.oneOf<std::string>({"f32", "f32", "f16", "bf16"});
  p.batches = 1 + random.below(2);
  p.kvHeads = 1 + random.below(2);
  p.groups = random.oneOf<int64_t>({1, 1, 2, 3});
  p.queries = drawLength(random);
  p.keys = random.below(20) == 0 ? 0 : drawLength(random);
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
    std::vector<int64_t> extents = {dynamic[0] ? -1 : batches,
                                    dynamic[1] ? -1 : heads,
                                    dynamic[isQuery ? 2 : 3] ? -1 : rows};
    if (columns)
      extents.push_back(columns);
    return tensorType(extents, elementType);
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
                       const std::vector<int64_t> &strides) {
    int64_t size = spanOf(shape, strides);
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

std::string HostRunner::run(const HostProblem &p, Random &random,
                            const std::vector<HostProblem> &others) {
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
  mlir::attn::host::CompileOptions options;
  options.cpu = p.cpu;
  options.qTile = p.qTile;
  options.kvTile = p.kvTile;
  auto bundle = mlir::attn::host::compileToBundle(*module, "f", options);
  if (failed(bundle))
    return diagnostics;
  std::string message = execute(p, random, *module, *bundle);
  for (const HostProblem &other : others)
    if (message.empty() &&
        !(message = execute(other, random, *module, *bundle)).empty())
      message += ", with " + other.describe();
  return message + diagnostics;
}

std::string HostRunner::execute(const HostProblem &p, Random &random,
                                ModuleOp module, const ::attn::Bundle &bundle) {
  ::attn::ElementType element = elementOf(p.element);
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
      value = ::attn::reference::round(random.normal(), formatOf(element));
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
      oracle::evaluateFunction(*module.getOps<func::FuncOp>().begin(), inputs);
  if (failed(expected))
    return "the reference cannot evaluate the problem\n";

  std::vector<std::string> first;
  for (int64_t threads : p.threads) {
    // What scratch holds and where tensors lie must not matter either.
    bool isFirst = first.empty();
    auto device =
        ::attn::openDevice("host", "threads=" + std::to_string(threads) +
                                       ",poison=" + (isFirst ? "0" : "255"));
    if (!device)
      return device.error().message;
    auto executable = ::attn::Executable::load(*device, bundle);
    if (!executable)
      return executable.error().message;
    Execution execution;
    execution.atEnd = !isFirst;
    for (size_t i = 0; i < 3; ++i) {
      ::attn::Tensor tensor = execution.place(
          element, shapes[i], stridesOf(p.layout[i], shapes[i]));
      if (::attn::Status status = ::attn::copyToTensor(
              **device, tensor, toBytes(inputs[i].values, element).data());
          !status)
        return status.error().message;
      execution.arguments.push_back(tensor);
    }
    std::vector<int64_t> oShape = {p.batches, p.kvHeads * p.groups, p.queries,
                                   p.valueSize};
    execution.results.push_back(
        execution.place(element, oShape, stridesOf(p.layout[3], oShape)));
    if (p.lse) {
      std::vector<int64_t> shape(oShape.begin(), oShape.end() - 1);
      execution.results.push_back(execution.place(
          ::attn::ElementType::F32, shape, ::attn::rowMajorStrides(shape)));
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
    oracle::Tensor result =
        fromBytes(first[i], output.exact.shape, elementOf(output.format));
    if (p.corruptResult && i == 0)
      result.values[result.values.size() / 2] *= 1.01;
    oracle::Judgement judgement = oracle::judge(result, output);
    if (!judgement.passed)
      return "result " + std::to_string(i) + ": " + toText(judgement);
  }
  return "";
}
