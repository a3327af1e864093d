//===- attn-bench.cpp - times compiled attention on the CPU ---------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/host/Compile.h"
#include "attn/dialect/Attn.h"
#include "attn/dialect/Source.h"
#include "attn/runtime/core/Bundle.h"
#include "attn/runtime/core/Executable.h"
#include "attn/runtime/host/Cpu.h"
#include "attn/tools/attn-bench/CompileBench.h"
#include "attn/tools/attn-bench/Peak.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/raw_ostream.h"
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstring>
#include <ctime>
#include <random>

namespace cl = llvm::cl;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

static cl::OptionCategory category("attn-bench options");
static cl::opt<std::string> shape("shape", cl::desc("B,Hq,Hkv,Nq,Nk,D"),
                                  cl::init("1,8,8,2048,2048,64"),
                                  cl::cat(category));
static cl::opt<std::string> mask("mask",
                                 cl::desc("Mask expression (default: all)"),
                                 cl::init("all"), cl::cat(category));
static cl::opt<std::string> element("type",
                                    cl::desc("f32 (default), f16 or bf16"),
                                    cl::init("f32"), cl::cat(category));
static cl::opt<std::string>
    cpu("cpu",
        cl::desc("Instruction set (default: the most that this CPU has)"),
        cl::cat(category));
static cl::opt<int64_t>
    threads("num-threads",
            cl::desc("Threads (default: one for each processor)"), cl::init(0),
            cl::cat(category));
static cl::opt<int64_t>
    qTile("q-tile", cl::desc("Query rows of a tile (default: from the table)"),
          cl::init(0), cl::cat(category));
static cl::opt<int64_t>
    kvTile("kv-tile", cl::desc("Keys of a tile (default: from the table)"),
           cl::init(0), cl::cat(category));
static cl::opt<double> seconds("seconds",
                               cl::desc("Time to spend on runs (default 1)"),
                               cl::init(1.0), cl::cat(category));
static cl::opt<bool> peaks("peaks",
                           cl::desc("Only measure and print this CPU's peaks"),
                           cl::cat(category));
static cl::opt<bool> compileOnly(
    "compile",
    cl::desc("Time compiling in place of running: without a cache, from the "
             "disk and from memory, lengths and batch left to run time"),
    cl::cat(category));
static cl::list<std::string>
    targets("target", cl::CommaSeparated,
            cl::desc("Of --compile (default: host,sm_90)"), cl::cat(category));
static cl::opt<int> runs("runs", cl::desc("Of --compile (default 5)"),
                         cl::init(5), cl::cat(category));
static cl::opt<std::string>
    saveBundle("save-bundle",
               cl::desc("Write the bundle to this folder and do not run it"),
               cl::value_desc("folder"), cl::cat(category));

static int fail(const llvm::Twine &message) {
  llvm::errs() << "error: " << message << "\n";
  return 1;
}

/// Processor time of all threads of this process: what a run takes when other
/// processes have the processors too.
static double processorSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

static double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

static std::string makeSource(const std::vector<int64_t> &n) {
  auto type = [&](int64_t heads, int64_t rows) {
    std::string text = "tensor<";
    for (int64_t extent : {n[0], heads, rows, n[5]})
      text += std::to_string(extent) + "x";
    return text + element + ">";
  };
  std::string q = type(n[1], n[3]), kv = type(n[2], n[4]);
  return "func.func @f(%q: " + q + ", %k: " + kv + ", %v: " + kv + ") -> " + q +
         " {\n  %o = attn.attention %q, %k, %v mask(" + mask + ") : (" + q +
         ", " + kv + ", " + kv + ") -> " + q + "\n  return %o : " + q + "\n}\n";
}

static double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2,
                   values.end());
  return values[values.size() / 2];
}

/// Random normal values as the elements of a tensor.
static std::string makeValues(int64_t count, attn::ElementType type,
                              uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  std::string bytes(size_t(count * attn::sizeOf(type)), '\0');
  for (int64_t i = 0; i < count; ++i) {
    float value = normal(engine);
    if (type == attn::ElementType::F32) {
      std::memcpy(&bytes[size_t(i) * 4], &value, 4);
      continue;
    }
    uint16_t bits = type == attn::ElementType::F16 ? attn::toF16(value)
                                                   : attn::toBF16(value);
    std::memcpy(&bytes[size_t(i) * 2], &bits, 2);
  }
  return bytes;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv,
                              "times compiled attention on this machine's CPU; "
                              "prints one JSON object\n");
  Json json;
  if (peaks) {
    json["cpu"] = attn::host::cpuName();
    json["f32_peak_gflops"] = attn::bench::measureFmaPeak() * 1e-9;
    json["bf16_peak_gflops"] = attn::bench::measureBf16Peak() * 1e-9;
    json["read_gbytes"] =
        attn::bench::measureReadBandwidth(threads > 0 ? threads : 1) * 1e-9;
    llvm::outs() << json.dump() << "\n";
    return 0;
  }
  std::vector<int64_t> extents;
  for (llvm::StringRef part : llvm::split(llvm::StringRef(shape), ',')) {
    int64_t value;
    if (part.getAsInteger(10, value) || value < 1)
      return fail("--shape: expected positive integers, found '" + part + "'");
    extents.push_back(value);
  }
  if (extents.size() != 6)
    return fail("--shape: expected six integers B,Hq,Hkv,Nq,Nk,D");
  if (compileOnly) {
    attn::AttentionSpec spec;
    spec.queryHeads = extents[1];
    spec.kvHeads = extents[2];
    spec.headSize = extents[5];
    spec.mask = mask;
    std::optional<attn::ElementType> type = attn::parseElementType(element);
    if (!type || runs < 1)
      return fail("--type: expected f32, f16 or bf16; --runs: at least 1");
    spec.type = *type;
    std::vector<std::string> wanted(targets.begin(), targets.end());
    if (wanted.empty())
      wanted = {"host", "sm_90"};
    auto times = attn::bench::measureCompile(spec, wanted, runs);
    if (!times)
      return fail(times.error().message);
    json["mask"] = mask.getValue();
    json["type"] = element.getValue();
    json.update(*times);
    llvm::outs() << json.dump() << "\n";
    return 0;
  }
  if (cpu.empty()) {
    attn::Result<std::string> best = attn::host::bestCpuTarget();
    if (!best)
      return fail(best.error().message);
    cpu = *best;
  }
  auto elementType = attn::parseElementType(element.getValue());
  if (!elementType || !attn::isFloat(*elementType))
    return fail("--type: expected f32, f16 or bf16, found '" + element + "'");

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::attn::AttnDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  auto compileStart = Clock::now();
  double compileWork = processorSeconds();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(
      mlir::attn::prepareSource(makeSource(extents)),
      mlir::ParserConfig(&context));
  if (!module)
    return 1;
  mlir::attn::host::CompileOptions options;
  options.cpu = cpu;
  options.qTile = qTile;
  options.kvTile = kvTile;
  auto bundle = mlir::attn::host::compileToBundle(*module, "f", options);
  if (failed(bundle))
    return 1;
  double compileSeconds = since(compileStart);
  compileWork = processorSeconds() - compileWork;
  if (!saveBundle.empty()) {
    if (attn::Status status = attn::writeBundle(*bundle, saveBundle); !status)
      return fail(status.error().message);
    json["compile_processor_ms"] = compileWork * 1e3;
    llvm::outs() << json.dump() << "\n";
    return 0;
  }

  auto device = attn::openDevice(
      "host", threads > 0 ? "threads=" + std::to_string(threads) : "");
  if (!device)
    return fail(device.error().message);
  auto executable = attn::Executable::load(*device, std::move(*bundle));
  if (!executable)
    return fail(executable.error().message);
  std::vector<attn::Tensor> tensors;
  for (auto [heads, rows] :
       {std::pair(extents[1], extents[3]), std::pair(extents[2], extents[4]),
        std::pair(extents[2], extents[4]), std::pair(extents[1], extents[3])}) {
    std::vector<int64_t> dims = {extents[0], heads, rows, extents[5]};
    int64_t count = dims[0] * dims[1] * dims[2] * dims[3];
    auto address = (*device)->allocate(
        uint64_t(count * attn::sizeOf(*elementType)), nullptr);
    if (!address)
      return fail(address.error().message);
    tensors.push_back(attn::Tensor::rowMajor(*elementType, dims, *address));
    if (attn::Status status = attn::copyToTensor(
            **device, tensors.back(),
            makeValues(count, *elementType, tensors.size()).data());
        !status)
      return fail(status.error().message);
  }
  std::vector<attn::Tensor> results = {tensors.back()};
  tensors.pop_back();
  std::vector<double> times, work;
  auto start = Clock::now();
  while (times.size() < 3 || since(start) < seconds) {
    auto runStart = Clock::now();
    double workStart = processorSeconds();
    if (attn::Status status = (*executable)->run(tensors, results, {}); !status)
      return fail(status.error().message);
    times.push_back(since(runStart));
    work.push_back(processorSeconds() - workStart);
  }

  json["cpu"] = cpu.getValue();
  json["shape"] = extents;
  json["mask"] = mask.getValue();
  json["type"] = element.getValue();
  json["threads"] = (*device)->properties().multiprocessors;
  json["schedule"] = (*executable)->manifest().launches.front().schedule;
  json["compile_ms"] = compileSeconds * 1e3;
  json["compile_processor_ms"] = compileWork * 1e3;
  json["runs"] = times.size();
  json["median_ms"] = median(times) * 1e3;
  json["median_processor_ms"] = median(work) * 1e3;
  json["best_processor_ms"] = *std::min_element(work.begin(), work.end()) * 1e3;
  json["best_ms"] = *std::min_element(times.begin(), times.end()) * 1e3;
  llvm::outs() << json.dump() << "\n";
  return 0;
}
