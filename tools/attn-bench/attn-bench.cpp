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
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstring>
#include <ctime>
#include <iostream>
#include <random>
#include <unistd.h>

namespace cl = llvm::cl;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

static cl::OptionCategory category("attn-bench options");
static cl::opt<std::string> shape("shape", cl::desc("B,Hq,Hkv,Nq,Nk,D"),
                                  cl::init("1,8,8,2048,2048,64"),
                                  cl::cat(category));
static cl::opt<std::string>
    mask("mask",
         cl::desc("Mask expression (default: all); ids of "
                  "documents are %q_ids and %k_ids"),
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
static cl::opt<bool>
    serve("measure",
          cl::desc("Answer lines 'f32 THREADS', 'bf16 THREADS' and 'read "
                   "THREADS' with what this CPU can do at most per second"),
          cl::cat(category));
static cl::opt<std::string>
    deviceName("device", cl::desc("host, the only one that this tool times"),
               cl::init("host"), cl::cat(category));
static cl::opt<std::string>
    versus("vs",
           cl::desc("torch: run scripts/bench_host.py, which times "
                    "PyTorch in turns; all other arguments go to it"),
           cl::cat(category));
static cl::opt<std::string>
    python("python", cl::desc("With --vs: the Python to use (python3)"),
           cl::init("python3"), cl::cat(category));
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

/// Whether the mask compares ids of documents, which are two more inputs.
static bool hasDocuments() {
  return llvm::StringRef(mask).contains("documents(%q_ids, %k_ids)");
}

static std::string makeSource(const std::vector<int64_t> &n) {
  auto type = [&](int64_t heads, int64_t rows) {
    std::string text = "tensor<";
    for (int64_t extent : {n[0], heads, rows, n[5]})
      text += std::to_string(extent) + "x";
    return text + element + ">";
  };
  std::string q = type(n[1], n[3]), kv = type(n[2], n[4]);
  std::string inputs = "%q: " + q + ", %k: " + kv + ", %v: " + kv,
              types = q + ", " + kv + ", " + kv;
  if (hasDocuments())
    for (auto [name, rows] : {std::pair("%q_ids", n[3]), {"%k_ids", n[4]}}) {
      std::string ids = "tensor<" + std::to_string(n[0]) + "x" +
                        std::to_string(rows) + "xi32>";
      inputs += std::string(", ") + name + ": " + ids;
      types += ", " + ids;
    }
  return "func.func @f(" + inputs + ") -> " + q +
         " {\n  %o = attn.attention %q, %k, %v mask(" + mask + ") : (" + types +
         ") -> " + q + "\n  return %o : " + q + "\n}\n";
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

/// Ids of eight documents of random lengths in each batch.
static std::string makeIds(int64_t batches, int64_t length) {
  std::mt19937_64 engine(8);
  std::vector<int32_t> ids;
  for (int64_t batch = 0; batch < batches; ++batch) {
    for (int64_t i = 0; i < length; ++i)
      ids.push_back(int32_t(engine() % 8));
    std::sort(ids.end() - length, ids.end());
  }
  return {reinterpret_cast<const char *>(ids.data()), ids.size() * 4};
}

/// Measures what each line of the standard input asks for.
static int answer() {
  std::string what;
  int64_t count;
  while (std::cin >> what >> count) {
    if (count < 1)
      return fail("--measure: expected a number of threads of at least 1");
    double rate = what == "f32"    ? attn::bench::measureFmaPeak(count)
                  : what == "bf16" ? attn::bench::measureBf16Peak(count)
                  : what == "read" ? attn::bench::measureReadBandwidth(count)
                                   : -1;
    if (rate < 0)
      return fail("--measure: expected f32, bf16 or read, found '" + what +
                  "'");
    // Where there are no products of bf16, they are computed in f32.
    if (rate == 0)
      rate = attn::bench::measureFmaPeak(count);
    std::cout << rate << std::endl;
  }
  return 0;
}

/// Becomes the script that times PyTorch too, with the arguments that are not
/// for this tool; does nothing without --vs.
static int compareIfAsked(int argc, char **argv) {
  std::string python = "python3", other;
  std::vector<std::string> rest;
  for (llvm::StringRef argument : llvm::ArrayRef(argv + 1, argc - 1)) {
    if (argument.consume_front("--vs="))
      other = argument.str();
    else if (argument.consume_front("--python="))
      python = argument.str();
    else if (argument != "--device=host")
      rest.push_back(argument.str());
  }
  if (other.empty())
    return 0;
  if (other != "torch")
    return fail("--vs: expected torch, found '" + other + "'");
  std::string self = llvm::sys::fs::getMainExecutable(
      argv[0], reinterpret_cast<void *>(&compareIfAsked));
  llvm::SmallString<128> build(
      llvm::sys::path::parent_path(llvm::sys::path::parent_path(self)));
  std::vector<std::string> words = {python, ATTN_BENCH_SCRIPT,
                                    "--build=" + build.str().str()};
  words.insert(words.end(), rest.begin(), rest.end());
  std::vector<char *> arguments;
  for (std::string &word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  return fail("cannot run " + python + ": " + std::strerror(errno));
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  if (int status = compareIfAsked(argc, argv))
    return status;
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv,
                              "times compiled attention on this machine's CPU; "
                              "prints one JSON object\n");
  if (deviceName != "host")
    return fail("--device: expected host, found '" + deviceName + "'");
  if (serve)
    return answer();
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
    json["compile_ms"] = compileSeconds * 1e3;
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
  std::vector<attn::Tensor> tensors, results;
  auto add = [&](std::vector<attn::Tensor> &list, attn::ElementType type,
                 std::vector<int64_t> dims, const std::string &bytes) {
    auto address = (*device)->allocate(bytes.size(), nullptr);
    if (!address)
      return attn::Status(address.error());
    list.push_back(attn::Tensor::rowMajor(type, std::move(dims), *address));
    return attn::copyToTensor(**device, list.back(), bytes.data());
  };
  attn::Status status = attn::Status::success();
  auto addValues = [&](std::vector<attn::Tensor> &list, int64_t heads,
                       int64_t rows) {
    int64_t count = extents[0] * heads * rows * extents[5];
    if (status)
      status = add(list, *elementType, {extents[0], heads, rows, extents[5]},
                   makeValues(count, *elementType, tensors.size()));
  };
  addValues(tensors, extents[1], extents[3]);
  addValues(tensors, extents[2], extents[4]);
  addValues(tensors, extents[2], extents[4]);
  addValues(results, extents[1], extents[3]);
  for (int64_t rows : {extents[3], extents[4]})
    if (hasDocuments() && status)
      status = add(tensors, attn::ElementType::I32, {extents[0], rows},
                   makeIds(extents[0], rows));
  if (!status)
    return fail(status.error().message);
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
