//===- MaskDataTest.cpp - masks with tensors, compiled, run and judged ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/dialect/Source.h"
#include "attn/dialect/reference/Reference.h"
#include "attn/runtime/core/Executable.h"
#include "attn/tools/support/Compile.h"
#include "attn/tools/support/Registry.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

using namespace mlir;
namespace reference = mlir::attn::reference;
using ::attn::ElementType;

namespace {

class Random {
public:
  explicit Random(uint64_t seed) : engine(seed) {}
  int64_t below(int64_t n) { return int64_t(engine() % uint64_t(n)); }
  template <typename T>
  T oneOf(std::initializer_list<T> values) {
    return values.begin()[below(int64_t(values.size()))];
  }
  double normal() {
    double u = (double(engine() >> 11) + 0.5) * 0x1p-53,
           v = (double(engine() >> 11) + 0.5) * 0x1p-53;
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v);
  }

private:
  std::mt19937_64 engine;
};

/// One argument of the function.
struct Argument {
  std::string name, type;
  ElementType element;
  reference::Tensor value;
  /// Elements between the rows of the last dimension, beyond its size.
  int64_t padding = 0;
};

/// One random problem.
class Problem {
public:
  /// `isPacked`: with residue classes, and lengths as the only tensor.
  explicit Problem(uint64_t seed, bool isPacked = false) : random(seed) {
    batches = 1 + random.below(3);
    kvHeads = 1 + random.below(2);
    groups = random.oneOf<int64_t>({1, 1, 2});
    auto length = [&] {
      return random.oneOf<int64_t>({1, 15, 16, 17, 47, 63, 64, 65, 97, 127, 128,
                                    129, 131, 191, 193, 257, 320});
    };
    // The rule on mean errors means nothing for a handful of elements.
    queries = std::max<int64_t>(length(), 15);
    keys = random.below(3) == 0 ? queries : length();
    headSize = random.oneOf<int64_t>({16, 32, 64, 80});
    symbol = random.below(150);
    isOpen = random.below(2);
    element = random.oneOf<std::string>({"f16", "bf16"});
    add("q", {batches, kvHeads * groups, queries, headSize});
    add("k", {batches, kvHeads, keys, headSize});
    add("v", {batches, kvHeads, keys, headSize});
    mask = "mask(" +
           (isPacked ? lengthsAtom() + " & " +
                           random.oneOf<std::string>(
                               {"stride<3>", "dilated<9, 9, 4>", "stride<5>",
                                "causal & dilated<%w, 0, 2>",
                                "window<90, 0> & stride<2>"})
                     : expression(2, true)) +
           ")";
    alignment = random.oneOf<std::string>({"", "align(start)", "align(%w)"});
  }

  std::string source() const {
    std::string signature, types,
        result =
            typeOf({batches, kvHeads * groups, queries, headSize}, element),
        lse = typeOf({batches, kvHeads * groups, queries}, "f32");
    for (const Argument &argument : arguments)
      signature += "%" + argument.name + ": " + argument.type + ", ";
    // Those of the mask in order of appearance.
    std::vector<std::pair<size_t, const Argument *>> order;
    for (size_t n = 0; n < arguments.size(); ++n) {
      size_t at = n < 3 ? n : mask.find("%" + arguments[n].name + "#");
      order.push_back({at, &arguments[n]});
    }
    std::sort(order.begin(), order.end());
    for (auto [at, argument] : order)
      types += (types.empty() ? "" : ", ") + argument->type;
    std::string results = result + ", " + lse;
    return "func.func @f(" + signature + "%w: index) -> (" + results +
           ") {\n  %o, %lse = attn.attention %q, %k, %v " + mask + " " +
           alignment + "\n    : (" + types + ") -> (" + results +
           ")\n  return %o, %lse : " + results + "\n}\n";
  }

  std::vector<Argument> arguments;
  int64_t symbol;
  std::string mask;

private:
  std::string typeOf(const std::vector<int64_t> &shape,
                     const std::string &type) const {
    std::string text = "tensor<";
    for (size_t dim = 0; dim < shape.size(); ++dim) {
      // Heads and head sizes are always known.
      bool isHead = (shape.size() == 4 || type == "f32") && dim == 1;
      bool open = isOpen && shape[dim] != 1 && !isHead &&
                  (shape.size() != 4 || dim == 0 || dim == 2);
      text += (open ? "?" : std::to_string(shape[dim])) + "x";
    }
    return text + type + ">";
  }

  void add(const std::string &name, std::vector<int64_t> shape) {
    Argument &argument = arguments.emplace_back();
    argument.name = name;
    argument.type = typeOf(shape, element);
    argument.element = element == "f16" ? ElementType::F16 : ElementType::BF16;
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    argument.value.shape = std::move(shape);
    for (int64_t n = 0; n < count; ++n)
      argument.value.values.push_back(::attn::reference::round(
          random.normal(),
          element == "f16" ? reference::Format::F16 : reference::Format::BF16));
  }

  /// A tensor of the mask; returns its name.
  std::string addData(const std::string &type, std::vector<int64_t> shape,
                      std::vector<double> values) {
    Argument &argument = arguments.emplace_back();
    argument.name = "t" + std::to_string(arguments.size());
    argument.type = typeOf(shape, type);
    argument.element = type == "i32"   ? ElementType::I32
                       : type == "i64" ? ElementType::I64
                       : type == "i8"  ? ElementType::I8
                                       : ElementType::Bool;
    argument.value.shape = std::move(shape);
    argument.value.values = std::move(values);
    argument.padding = random.below(3);
    return "%" + argument.name + "#0";
  }

  /// Sorted ids, of `count` documents at most.
  std::vector<double> ids(int64_t length, int64_t count) {
    std::vector<double> values;
    for (int64_t b = 0; b < batches; ++b) {
      std::vector<double> row;
      for (int64_t n = 0; n < length; ++n)
        row.push_back(double(random.below(count)) - 2);
      std::sort(row.begin(), row.end());
      values.insert(values.end(), row.begin(), row.end());
    }
    return values;
  }

  std::string lengthsAtom() {
    std::vector<double> lengths;
    for (int64_t b = 0; b < batches; ++b)
      lengths.push_back(double(random.below(keys + 1)));
    return "lengths(" +
           addData(random.oneOf<std::string>({"i32", "i64"}), {batches},
                   lengths) +
           ")";
  }

  std::string dataAtom() {
    std::string type = random.oneOf<std::string>({"i32", "i64"});
    switch (random.below(4)) {
    case 0:
      return lengthsAtom();
    case 1: {
      int64_t count = random.oneOf<int64_t>({1, 2, 3, 5, 40});
      std::vector<double> values = ids(keys, count);
      std::string k = addData(type, {batches, keys}, values);
      std::string q =
          queries == keys && random.below(2)
              ? k
              : addData(type, {batches, queries}, ids(queries, count));
      return "documents(" + q + ", " + k + ")";
    }
    case 2:
      return bitsAtom();
    default:
      return blocksAtom(type);
    }
  }

  std::string bitsAtom() {
    std::vector<int64_t> shape = {batches, kvHeads * groups, queries, keys};
    for (size_t dim = 0; dim < 4; ++dim)
      if (random.below(dim < 2 ? 2 : 5) == 0)
        shape[dim] = 1;
    int64_t count = shape[0] * shape[1] * shape[2] * shape[3];
    std::vector<double> values(count, 0);
    // Runs of equal elements: tiles of all kinds.
    int64_t run = random.oneOf<int64_t>({1, 3, 200, 20000});
    bool isLive = random.below(2);
    for (int64_t n = 0; n < count; ++n) {
      if (random.below(run) == 0)
        isLive = !isLive;
      values[n] = isLive;
    }
    return "bits(" +
           addData(random.oneOf<std::string>({"i1", "i8"}), shape, values) +
           ")";
  }

  std::string blocksAtom(const std::string &type) {
    int64_t height = random.oneOf<int64_t>({16, 32, 48, 64, 128, 256}),
            width = random.oneOf<int64_t>({8, 16, 24, 64, 128, 100});
    int64_t numRows = (queries + height - 1) / height,
            numColumns = (keys + width - 1) / width;
    std::vector<int64_t> shape = {numRows + 1};
    if (random.below(2))
      shape = {random.below(2) ? batches : 1,
               random.below(2) ? kvHeads * groups : 1, numRows + 1};
    int64_t tables = shape.size() == 3 ? shape[0] * shape[1] : 1;
    int64_t density = 1 + random.below(4);
    std::vector<double> offsets, columns;
    for (int64_t table = 0; table < tables; ++table) {
      offsets.push_back(double(columns.size()));
      for (int64_t row = 0; row < numRows; ++row) {
        for (int64_t column = 0; column < numColumns; ++column)
          if (random.below(4) < density)
            columns.push_back(double(column));
        offsets.push_back(double(columns.size()));
      }
    }
    std::string rows = addData(type, shape, offsets);
    int64_t count = int64_t(columns.size());
    return "blocks<" + std::to_string(height) + ", " + std::to_string(width) +
           ">(" + rows + ", " + addData(type, {count}, columns) + ")";
  }

  std::string closedAtom() {
    auto number = [&](int64_t n) { return std::to_string(random.below(n)); };
    switch (random.below(6)) {
    case 0:
      return "causal";
    case 1:
      return "window<" + number(150) + ", " + number(20) + ">";
    case 2:
      return "keys<0, " + number(200) + ">";
    case 3:
      return "keys<%w, inf>";
    case 4:
      return "heads<0, 1>";
    default:
      return random.oneOf<std::string>(
          {"stride<5>", "same_block<48>", "summary<40, 7>", "global<9>"});
    }
  }

  std::string expression(int depth, bool needsData) {
    if (depth == 0)
      return needsData || random.below(3) == 0 ? dataAtom() : closedAtom();
    switch (random.below(5)) {
    case 0:
      return "!(" + expression(depth - 1, needsData) + ")";
    case 1:
      return expression(0, needsData);
    case 2:
      return "(" + expression(depth - 1, needsData) + " | " +
             expression(depth - 1, false) + ")";
    default:
      return "(" + expression(depth - 1, false) + " & " +
             expression(depth - 1, needsData) + ")";
    }
  }

  Random random;
  int64_t batches, kvHeads, groups, queries, keys, headSize;
  bool isOpen;
  std::string element, alignment;
};

class Runner {
public:
  Runner() {
    DialectRegistry registry;
    mlir::attn::registerCompilerDialects(registry);
    context = std::make_unique<MLIRContext>(registry,
                                            MLIRContext::Threading::DISABLED);
  }

  /// Runs the problem compiled for `target`; the message of what went wrong, or
  /// nothing. `spoil` changes an argument on the device alone.
  std::string
  run(const Problem &problem, const std::string &target,
      const std::string &deviceName, const std::string &deviceOptions,
      llvm::function_ref<void(std::vector<Argument> &)> spoil = nullptr) {
    std::string diagnostics;
    ScopedDiagnosticHandler handler(context.get(), [&](Diagnostic &diagnostic) {
      if (StringRef(diagnostic.str()).contains("residue classes, each"))
        ++numPacked;
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        diagnostics += diagnostic.str() + "\n";
      return success();
    });
    auto module =
        parseSourceString<ModuleOp>(mlir::attn::prepareSource(problem.source()),
                                    ParserConfig(context.get()));
    if (!module)
      return diagnostics;
    std::vector<reference::Tensor> inputs;
    for (const Argument &argument : problem.arguments)
      inputs.push_back(argument.value);
    inputs.push_back({{}, {double(problem.symbol)}});
    auto expected = reference::evaluateFunction(
        *module->getOps<func::FuncOp>().begin(), inputs);
    if (failed(expected))
      return diagnostics;
    auto bundle = mlir::attn::compileForTarget(*module, "f", target);
    if (failed(bundle))
      return diagnostics;
    auto device = ::attn::openDevice(deviceName, deviceOptions);
    if (!device)
      return device.error().message;
    auto executable = ::attn::Executable::load(*device, std::move(*bundle));
    if (!executable)
      return executable.error().message;

    std::vector<Argument> arguments = problem.arguments;
    if (spoil)
      spoil(arguments);
    std::vector<::attn::Tensor> tensors, results;
    std::vector<uint64_t> allocations;
    for (const Argument &argument : arguments)
      tensors.push_back(place(**device, argument, allocations));
    for (const reference::Output &output : *expected) {
      Argument result;
      result.element =
          output.isLse ? ElementType::F32 : problem.arguments[0].element;
      result.value = output.exact;
      for (double &value : result.value.values)
        value = NAN;
      results.push_back(place(**device, result, allocations));
    }
    std::string message;
    ::attn::Status status =
        (*executable)->run(tensors, results, {problem.symbol});
    if (status)
      status = (*device)->synchronize(nullptr);
    if (!status)
      message = status.error().message;
    for (size_t i = 0; i < results.size() && message.empty(); ++i) {
      const reference::Output &output = (*expected)[i];
      reference::Judgement judgement =
          reference::judge(fetch(**device, results[i], output.format), output);
      if (!judgement.passed)
        message = "result " + std::to_string(i) + ": " + toText(judgement);
    }
    for (uint64_t address : allocations)
      (void)(*device)->free(address, nullptr);
    return message;
  }

  /// How many kernels ran over residue classes.
  int64_t numPacked = 0;

private:
  static uint64_t encode(double value, ElementType type) {
    switch (type) {
    case ElementType::F16:
      return ::attn::reference::encode(value, reference::Format::F16);
    case ElementType::BF16:
      return ::attn::reference::encode(value, reference::Format::BF16);
    case ElementType::F32:
      return ::attn::reference::encode(value, reference::Format::F32);
    default:
      return static_cast<uint64_t>(static_cast<int64_t>(value));
    }
  }

  static ::attn::Tensor place(::attn::Device &device, const Argument &argument,
                              std::vector<uint64_t> &allocations) {
    std::vector<int64_t> shape = argument.value.shape;
    std::vector<int64_t> padded = shape;
    padded.back() += argument.padding;
    int64_t count = 1;
    for (int64_t size : padded)
      count *= size;
    int64_t width = ::attn::sizeOf(argument.element);
    uint64_t address = *device.allocate(uint64_t(count * width), nullptr);
    allocations.push_back(address);
    std::string poison(size_t(count * width), '\xff');
    ::attn::Tensor flat = ::attn::Tensor::rowMajor(
        argument.element, {count}, address, device.properties().memory);
    if (count && !::attn::copyToTensor(device, flat, poison.data()))
      ADD_FAILURE() << "cannot fill device memory";
    ::attn::Tensor tensor = ::attn::Tensor::rowMajor(
        argument.element, shape, address, device.properties().memory);
    tensor.strides = ::attn::rowMajorStrides(padded);
    std::string bytes;
    for (double value : argument.value.values) {
      uint64_t bits = encode(value, argument.element);
      bytes.append(reinterpret_cast<const char *>(&bits), size_t(width));
    }
    if (!bytes.empty() && !::attn::copyToTensor(device, tensor, bytes.data()))
      ADD_FAILURE() << "cannot copy to the device";
    return tensor;
  }

  static reference::Tensor fetch(::attn::Device &device,
                                 const ::attn::Tensor &tensor,
                                 reference::Format format) {
    reference::Tensor result{tensor.shape, {}};
    int64_t count = 1, width = ::attn::sizeOf(tensor.type);
    for (int64_t size : tensor.shape)
      count *= size;
    std::string bytes(size_t(count * width), '\0');
    if (!::attn::copyFromTensor(device, bytes.data(), tensor))
      ADD_FAILURE() << "cannot copy from the device";
    for (int64_t n = 0; n < count; ++n) {
      uint32_t bits = 0;
      std::memcpy(&bits, &bytes[size_t(n * width)], size_t(width));
      result.values.push_back(::attn::reference::decode(bits, format));
    }
    return result;
  }

  std::unique_ptr<MLIRContext> context;
};

int64_t environment(const char *name, int64_t otherwise) {
  const char *text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}

} // namespace

TEST(MaskData, RandomMasksAgreeWithTheReferenceInTheSimulator) {
  Runner runner;
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1);
  const char *modes[] = {"mode=eager", "mode=lazy", "mode=random,seed=5"};
  for (int64_t i = 0; i < environment("ATTN_DIFFERENTIAL_COUNT", 30); ++i) {
    Problem problem{uint64_t(first + i)};
    EXPECT_EQ(runner.run(problem, "sm_80", "sim", modes[i % 3]), "")
        << "seed " << first + i << ", w = " << problem.symbol << "\n"
        << problem.source();
  }
}

TEST(MaskData, LengthsOfResidueClassesAgreeWithTheReference) {
  Runner runner;
  for (int64_t i = 0; i < 12; ++i) {
    Problem problem{uint64_t(i), /*isPacked=*/true};
    EXPECT_EQ(runner.run(problem, "sm_80", "sim", "mode=lazy"), "")
        << "seed " << i << "\n"
        << problem.source();
  }
  EXPECT_GE(runner.numPacked, 4);
}

/// A length more on the device alone is found.
TEST(MaskData, AWrongLengthIsFound) {
  Runner runner;
  int64_t found = 0;
  for (int64_t i = 0; i < 6; ++i)
    found += !runner
                  .run(Problem{uint64_t(i), true}, "sm_80", "sim", "",
                       [](std::vector<Argument> &arguments) {
                         for (double &length : arguments[3].value.values)
                           length = length > 8 ? length - 8 : length;
                       })
                  .empty();
  EXPECT_GE(found, 3);
}

TEST(MaskData, RandomMasksAgreeWithTheReferenceOnTheHost) {
  Runner runner;
  std::string host = "host";
  ASSERT_TRUE(mlir::attn::resolveTarget(host));
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1000);
  for (int64_t i = 0; i < environment("ATTN_DIFFERENTIAL_COUNT", 40); ++i) {
    Problem problem{uint64_t(first + i)};
    EXPECT_EQ(runner.run(problem, host, "host", ""), "")
        << "seed " << first + i << ", w = " << problem.symbol << "\n"
        << problem.source();
  }
}
