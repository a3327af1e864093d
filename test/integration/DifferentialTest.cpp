//===- DifferentialTest.cpp - random attention, compiled, simulated and judged
//---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Emit.h"
#include "attn/dialect/Source.h"
#include "attn/dialect/reference/Reference.h"
#include "attn/runtime/core/Executable.h"
#include "attn/tools/support/Registry.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <cstring>
#include <random>
#include <sstream>
#include <sys/mman.h>

using namespace mlir;
namespace reference = mlir::attn::reference;

namespace {

/// One random problem.
struct Problem {
  std::string element, mask, alignment, scale, target = "sm_80";
  int64_t batches, kvHeads, groups, queries, keys, headSize, valueSize, symbol;
  bool lse;
  /// Which extents are dynamic: batches, heads, queries, keys.
  bool dynamic[4];
  /// How q, k, v and o lie in memory.
  enum Layout { RowMajor, HeadsInside, Padded, Odd, Count, Far } layout[4];

  std::string type(int64_t heads, int64_t rows, int64_t columns, bool isQuery,
                   const std::string &elementType) const {
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
  }

  std::string source() const {
    std::string q = type(kvHeads * groups, queries, headSize, true, element);
    std::string k = type(kvHeads, keys, headSize, false, element);
    std::string v = type(kvHeads, keys, valueSize, false, element);
    std::string results =
        type(kvHeads * groups, queries, valueSize, true, element);
    if (lse)
      results = "(" + results + ", " +
                type(kvHeads * groups, queries, 0, true, "f32") + ")";
    std::string names = lse ? "%o, %lse" : "%o";
    std::string types = lse ? results.substr(1, results.size() - 2) : results;
    return "func.func @f(%q: " + q + ", %k: " + k + ", %v: " + v +
           ", %w: index) -> " + results + " {\n  " + names +
           " = attn.attention %q, %k, %v " + mask + " " + scale + " " +
           alignment + "\n    : (" + q + ", " + k + ", " + v + ") -> " +
           results + "\n  return " + names + " : " + types + "\n}\n";
  }
};

class Generator {
public:
  explicit Generator(uint64_t seed) : random(seed) {}

  int64_t below(int64_t n) { return int64_t(random() % uint64_t(n)); }
  template <typename T>
  T oneOf(std::initializer_list<T> values) {
    return values.begin()[below(int64_t(values.size()))];
  }
  double normal() {
    double u = (double(random() >> 11) + 0.5) * 0x1p-53,
           v = (double(random() >> 11) + 0.5) * 0x1p-53;
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v);
  }

  std::string bound() {
    return below(4) == 0 ? "%w" : std::to_string(below(150));
  }
  std::string atom() {
    switch (below(9)) {
    case 0:
      return "causal";
    case 1:
    case 2:
      return "window<" + bound() + ", " +
             oneOf<std::string>({"0", "inf", "7", "-3", bound()}) + ">";
    case 3: {
      int64_t a = below(150);
      return "keys<" + std::to_string(a) + ", " +
             std::to_string(a + below(100)) + ">";
    }
    case 4: {
      int64_t a = below(150);
      return "queries<" + std::to_string(a) + ", " +
             std::to_string(a + below(100)) + ">";
    }
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
  std::string mask(int depth) {
    int64_t choice = depth == 0 ? 0 : below(6);
    if (choice <= 2)
      return atom();
    if (choice == 3)
      return "!(" + mask(depth - 1) + ")";
    return "(" + mask(depth - 1) + (choice == 4 ? " & " : " | ") +
           mask(depth - 1) + ")";
  }

  Problem problem() {
    Problem p;
    p.element = oneOf<std::string>({"f16", "bf16"});
    p.batches = 1 + below(2);
    p.kvHeads = 1 + below(2);
    p.groups = oneOf<int64_t>({1, 1, 2, 3});
    auto length = [&] {
      return oneOf<int64_t>({1, 2, 15, 16, 17, 31, 47, 63, 64, 65, 97, 127, 128,
                             129, 131, 191, 193, 257});
    };
    p.queries = length();
    p.keys = below(20) == 0 ? 0 : length();
    heads = p.kvHeads * p.groups;
    p.headSize = oneOf<int64_t>(
        {16, 24, 32, 40, 64, 64, 72, 80, 96, 128, 128, 136, 192, 256});
    p.valueSize = below(3) == 0
                      ? oneOf<int64_t>({16, 24, 56, 64, 80, 128, 160, 256})
                      : p.headSize;
    p.symbol = below(150);
    p.mask = below(8) == 0 ? "" : "mask(" + mask(2) + ")";
    p.alignment =
        oneOf<std::string>({"", "", "align(end)", "align(start)", "align(%w)"});
    p.scale =
        oneOf<std::string>({"", "", "scale(0.3)", "scale(-0.2)", "scale(0.0)"});
    p.lse = below(3) != 0;
    for (bool &open : p.dynamic)
      open = below(2);
    for (Problem::Layout &layout : p.layout)
      layout = Problem::Layout(below(Problem::Count));
    p.target = oneOf<std::string>({"sm_80", "sm_90a", "sm_86", "sm_90"});
    return p;
  }

  Problem problemF32() {
    Problem p = problem();
    p.element = "f32";
    return p;
  }

  /// One whose mask has residue classes.
  Problem packedProblem() {
    Problem p = problem();
    std::string classes = oneOf<std::string>(
        {"stride<2>", "stride<3>", "stride<5>", "stride<8>", "stride<33>",
         "stride<64>", "stride<300>", "dilated<9, 9, 8>", "dilated<%w, 2, 3>",
         "dilated<40, 0, 2>", "stride<4> & stride<6>",
         "(stride<9> | dilated<3, inf, 6>)",
         "affine_set<(h, i, j) : ((i - j) mod 4 == 0)>",
         "(heads<0, 1> & stride<4> | !heads<0, 1> & stride<6>)",
         "(heads<0, 1> & dilated<9, 9, 4> | !heads<0, 1> & causal)",
         "(heads<0, 1> & window<20, 5> | heads<1, 2> & stride<7>)"});
    p.mask = "mask(" + classes + (below(3) ? " & " + mask(1) : "") + ")";
    return p;
  }

  /// One whose mask is a union of parts that are packed each in its own way.
  Problem unionProblem() {
    Problem p = problem();
    auto term = [&] {
      return oneOf<std::string>(
          {"stride<2>", "stride<5>", "stride<64>", "dilated<9, 2, 8>",
           "summary<16, 1>", "summary<40, 3>", "summary<7, 2>",
           "affine_set<(h, i, j) : ((j - 3) mod 20 == 0)>",
           "affine_set<(h, i, j) : (i - j >= 0, 5 - j mod 24 >= 0, j mod 24 - "
           "2 >= 0)>"});
    };
    auto dense = [&] {
      return oneOf<std::string>({"window<20, 3>", "window<%w, 0>",
                                 "same_block<16>", "same_block<40>",
                                 "keys<0, 9>", "keys<30, 60>"});
    };
    // Lengths that the types leave open count as long.
    p.dynamic[2] = p.dynamic[3] = below(5) != 0;
    p.mask = dense() + " | " + term();
    if (below(2))
      p.mask += " | " + term();
    p.mask = "(" + p.mask + ")";
    if (below(3))
      p.mask = "causal & " + p.mask;
    if (below(5) == 0)
      p.mask = "heads<1, " + std::to_string(std::max<int64_t>(heads, 1)) +
               "> & " + p.mask + " | heads<0, 1> & " + dense();
    p.mask = "mask(" + p.mask + ")";
    return p;
  }

private:
  std::mt19937_64 random;
  int64_t heads = 1;
};

/// Strides of a B x H x N x D tensor in the layout; `size` is the number of
/// elements that they reach.
std::vector<int64_t> stridesOf(Problem::Layout layout,
                               const std::vector<int64_t> &shape,
                               int64_t &size) {
  int64_t h = shape[1], n = shape[2], d = shape[3];
  std::vector<int64_t> strides;
  switch (layout) {
  case Problem::RowMajor:
    strides = {h * n * d, n * d, d, 1};
    break;
  case Problem::HeadsInside:
    strides = {n * h * d, d, h * d, 1};
    break;
  case Problem::Padded:
    strides = {h * n * (d + 8), n * (d + 8), d + 8, 1};
    break;
  case Problem::Far: {
    // Rows lie more than 2^31 elements apart.
    int64_t row = (int64_t(1) << 31) + 64;
    strides = {h * n * row, n * row, row, 1};
    break;
  }
  default:
    strides = {h * n * (d + 3), n * (d + 3), d + 3, 1};
    break;
  }
  size = 1;
  for (size_t i = 0; i < 4; ++i) {
    if (shape[i] == 0)
      size = 0;
    else if (size)
      size += (shape[i] - 1) * strides[i];
  }
  return strides;
}

class Differential {
public:
  Differential() {
    DialectRegistry registry;
    mlir::attn::registerCompilerDialects(registry);
    context = std::make_unique<MLIRContext>(registry,
                                            MLIRContext::Threading::DISABLED);
  }

  /// Runs one problem; the message of what went wrong, or nothing.
  std::string run(const Problem &p, Generator &generator,
                  const std::string &deviceOptions) {
    std::string diagnostics;
    ScopedDiagnosticHandler handler(context.get(), [&](Diagnostic &diagnostic) {
      if (StringRef(diagnostic.str()).contains("residue classes, each"))
        ++numPacked;
      if (StringRef(diagnostic.str()).contains("are made adjacent"))
        ++numCompacted;
      if (StringRef(diagnostic.str()).contains("part 1 of "))
        ++numUnions;
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        diagnostics += diagnostic.str() + "\n";
      return success();
    });
    auto module = parseSourceString<ModuleOp>(
        mlir::attn::prepareSource(p.source()), ParserConfig(context.get()));
    if (!module)
      return diagnostics;

    // Random inputs as the reference and as the device see them.
    std::vector<reference::Tensor> inputs;
    std::vector<std::vector<int64_t>> shapes = {
        {p.batches, p.kvHeads * p.groups, p.queries, p.headSize},
        {p.batches, p.kvHeads, p.keys, p.headSize},
        {p.batches, p.kvHeads, p.keys, p.valueSize}};
    reference::Format format = p.element == "f16"   ? reference::Format::F16
                               : p.element == "f32" ? reference::Format::F32
                                                    : reference::Format::BF16;
    for (const std::vector<int64_t> &shape : shapes) {
      reference::Tensor &tensor = inputs.emplace_back();
      tensor.shape = shape;
      tensor.values.resize(shape[0] * shape[1] * shape[2] * shape[3]);
      for (double &value : tensor.values)
        value = ::attn::reference::round(generator.normal(), format);
    }
    inputs.push_back({{}, {double(p.symbol)}});
    auto expected = reference::evaluateFunction(
        *module->getOps<func::FuncOp>().begin(), inputs);
    if (failed(expected))
      return diagnostics;

    mlir::attn::nvptx::NvptxPipelineOptions options;
    options.target = p.target;
    auto bundle = mlir::attn::nvptx::compileToBundle(*module, "f", options);
    if (failed(bundle))
      return diagnostics;
    auto device = ::attn::openDevice("sim", deviceOptions);
    if (!device)
      return device.error().message;
    auto executable = ::attn::Executable::load(*device, std::move(*bundle));
    if (!executable)
      return executable.error().message;

    std::vector<::attn::Tensor> arguments, results;
    ::attn::ElementType element = p.element == "f16" ? ::attn::ElementType::F16
                                  : p.element == "f32"
                                      ? ::attn::ElementType::F32
                                      : ::attn::ElementType::BF16;
    // Keeps everything around the tensor poisoned, to notice a read or a write
    // outside of it.
    auto place = [&](::attn::ElementType type,
                     const std::vector<int64_t> &shape,
                     const std::vector<int64_t> &strides, int64_t size) {
      size_t bytes = size_t(size * ::attn::sizeOf(type));
      constexpr size_t far = size_t(1) << 30;
      uint64_t address;
      if (bytes < far) {
        address = *(*device)->allocate(bytes, nullptr);
        std::string poison(bytes, '\xff');
        ::attn::Tensor flat = ::attn::Tensor::rowMajor(
            type, {size}, address, (*device)->properties().memory);
        if (size && !::attn::copyToTensor(**device, flat, poison.data()))
          ADD_FAILURE() << "cannot fill device memory";
      } else {
        // Address space without memory behind it, but for the pages touched.
        void *space =
            ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        EXPECT_NE(space, MAP_FAILED);
        address = reinterpret_cast<uintptr_t>(space);
        spaces.emplace_back(space, bytes);
      }
      ::attn::Tensor tensor = ::attn::Tensor::rowMajor(
          type, shape, address, (*device)->properties().memory);
      tensor.strides = strides;
      return tensor;
    };
    for (size_t i = 0; i < 3; ++i) {
      int64_t size;
      std::vector<int64_t> strides = stridesOf(p.layout[i], shapes[i], size);
      ::attn::Tensor tensor = place(element, shapes[i], strides, size);
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
      arguments.push_back(tensor);
    }
    std::vector<int64_t> oShape = {p.batches, p.kvHeads * p.groups, p.queries,
                                   p.valueSize};
    int64_t size;
    std::vector<int64_t> strides = stridesOf(p.layout[3], oShape, size);
    results.push_back(place(element, oShape, strides, size));
    if (p.lse) {
      std::vector<int64_t> shape(oShape.begin(), oShape.end() - 1);
      results.push_back(place(::attn::ElementType::F32, shape,
                              ::attn::rowMajorStrides(shape),
                              shape[0] * shape[1] * shape[2]));
    }
    if (::attn::Status status =
            (*executable)->run(arguments, results, {p.symbol + deviceError});
        !status)
      return status.error().message;
    if (::attn::Status status = (*device)->synchronize(nullptr); !status)
      return status.error().message;

    for (size_t i = 0; i < results.size(); ++i) {
      const reference::Output &output = (*expected)[i];
      int64_t width = ::attn::sizeOf(results[i].type);
      std::string bytes(output.exact.values.size() * size_t(width), '\0');
      if (::attn::Status status =
              ::attn::copyFromTensor(**device, bytes.data(), results[i]);
          !status)
        return status.error().message;
      reference::Tensor result{output.exact.shape, {}};
      for (size_t j = 0; j < output.exact.values.size(); ++j) {
        uint32_t bits = 0;
        std::memcpy(&bits, &bytes[j * size_t(width)], size_t(width));
        result.values.push_back(::attn::reference::decode(bits, output.format));
      }
      reference::Judgement judgement = reference::judge(result, output);
      if (!judgement.passed)
        return "result " + std::to_string(i) + ": " + toText(judgement);
    }
    return "";
  }

  /// How many kernels ran over residue classes, how many key sets were made
  /// adjacent, how many masks ran in several kernels.
  int64_t numPacked = 0, numCompacted = 0, numUnions = 0;
  /// What is added to %w on the device alone: a fault that must be found.
  int64_t deviceError = 0;

  ~Differential() {
    for (auto [space, bytes] : spaces)
      ::munmap(space, bytes);
  }

private:
  std::unique_ptr<MLIRContext> context;
  std::vector<std::pair<void *, size_t>> spaces;
};

/// How many problems to run; more by ATTN_DIFFERENTIAL_COUNT, others by
/// ATTN_DIFFERENTIAL_SEED.
int64_t environment(const char *name, int64_t otherwise) {
  const char *text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}

/// Runs `count` problems, `make` them from a generator, in all three modes.
void runMany(Differential &differential, int64_t count,
             Problem (Generator::*make)()) {
  int64_t first = environment("ATTN_DIFFERENTIAL_SEED", 1);
  const char *modes[] = {"mode=eager", "mode=lazy", "mode=random"};
  for (int64_t i = 0; i < count; ++i) {
    Generator generator(uint64_t(first + i));
    Problem problem = (generator.*make)();
    std::string device = modes[i % 3];
    if (i % 3 == 2)
      device += ",seed=" + std::to_string(first + i);
    std::string message = differential.run(problem, generator, device);
    EXPECT_EQ(message, "") << "seed " << first + i << ", " << device << ", "
                           << problem.target << ", " << problem.batches
                           << " batches, " << problem.kvHeads << " x "
                           << problem.groups << " heads, " << problem.queries
                           << " x " << problem.keys
                           << ", w = " << problem.symbol << ", layouts "
                           << problem.layout[0] << problem.layout[1]
                           << problem.layout[2] << problem.layout[3] << "\n"
                           << problem.source();
  }
}

TEST(Differential, RandomProblemsAgreeWithTheReference) {
  Differential differential;
  runMany(differential, environment("ATTN_DIFFERENTIAL_COUNT", 60),
          &Generator::problem);
}

TEST(Differential, F32AgreesWithTheReference) {
  Differential differential;
  runMany(differential, environment("ATTN_DIFFERENTIAL_COUNT", 60) / 2,
          &Generator::problemF32);
}

TEST(Differential, PackedMasksAgreeWithTheReference) {
  Differential differential;
  int64_t count = environment("ATTN_DIFFERENTIAL_COUNT", 60);
  runMany(differential, count, &Generator::packedProblem);
  // Very short ones stay as they are.
  EXPECT_GE(differential.numPacked, count / 2);
}

TEST(Differential, UnionsInPartsAgreeWithTheReference) {
  Differential differential;
  int64_t count = environment("ATTN_DIFFERENTIAL_COUNT", 60);
  runMany(differential, count, &Generator::unionProblem);
  EXPECT_GE(differential.numCompacted, count / 6);
  EXPECT_GE(differential.numUnions, count / 6);
}

/// The offset decides which keys a class of queries sees.
TEST(Differential, AWrongOffsetOfThePackingIsFound) {
  for (const char *mask :
       {"stride<4>", "dilated<8, 8, 3>", "causal & stride<7>"}) {
    Generator generator(5);
    Problem problem = generator.problem();
    problem.mask = std::string("mask(") + mask + ")";
    problem.alignment = "align(%w)";
    problem.scale = "";
    problem.queries = 193;
    problem.keys = 257;
    problem.symbol = 30;
    Differential differential;
    EXPECT_EQ(differential.run(problem, generator, "mode=eager"), "");
    EXPECT_EQ(differential.numPacked, 1);
    differential.deviceError = 1;
    EXPECT_NE(differential.run(problem, generator, "mode=eager"), "") << mask;
  }
}

TEST(Differential, StridesPast32BitsAreFollowed) {
  Differential differential;
  for (const char *mask : {"", "mask(causal)"}) {
    Generator generator(3);
    Problem problem = generator.problem();
    problem.mask = mask;
    problem.alignment = problem.scale = "";
    problem.target = "sm_80";
    problem.batches = problem.kvHeads = problem.groups = 1;
    problem.queries = 3;
    problem.keys = 5;
    problem.headSize = problem.valueSize = 32;
    for (Problem::Layout &layout : problem.layout)
      layout = Problem::Far;
    EXPECT_EQ(differential.run(problem, generator, "mode=lazy"), "")
        << problem.source();
  }
}

} // namespace
