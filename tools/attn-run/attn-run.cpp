//===- attn-run.cpp - compiles a function, runs it, checks it ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/ElementTypes.h"
#include "attn/dialect/reference/Reference.h"
#include "attn/runtime/host/Cpu.h"
#include "attn/tools/attn-run/RandomData.h"
#include "attn/tools/attn-run/Run.h"
#include "attn/tools/support/Arguments.h"
#include "attn/tools/support/Compile.h"
#include "attn/tools/support/Progress.h"
#include "attn/tools/support/Registry.h"
#include "attn/tools/support/SourceFile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include <nlohmann/json.hpp>

using namespace mlir;
using namespace mlir::attn;
namespace cl = llvm::cl;
namespace run = ::attn::run;
using ::attn::ElementType;
using Json = nlohmann::ordered_json;

static cl::OptionCategory category("attn-run options");
static cl::opt<std::string> file(cl::Positional, cl::Required,
                                 cl::desc("FILE.mlir or BUNDLE"),
                                 cl::cat(category));
static cl::opt<std::string>
    entry("entry", cl::desc("Function to run (default: the only one)"),
          cl::cat(category));
static cl::opt<std::string>
    target("target",
           cl::desc("sm_80, sm_86, sm_89, sm_90, sm_90a, host or a CPU's "
                    "instruction set (default: what the device is, sm_80 for "
                    "cuda and sim)"),
           cl::cat(category));
static cl::opt<std::string> deviceName(
    "device",
    cl::desc(
        "cuda, cuda:N, host, sim or reference (default: cuda if there is a "
        "GPU, else host; with a target, the first of cuda, host and sim "
        "that can run it)"),
    cl::cat(category));
static cl::opt<std::string> deviceOptions(
    "device-options",
    cl::desc("Options of the device, such as mode=random,seed=7 for sim"),
    cl::value_desc("KEY=VALUE,..."), cl::cat(category));
static cl::list<std::string> inputs(
    "input",
    cl::desc("An argument, in order: an .npy file, or an integer for an index"),
    cl::value_desc("FILE.npy|INTEGER"), cl::cat(category));
static cl::list<std::string> outputs(
    "output",
    cl::desc("Where to write a result, in order, as a float32 .npy file"),
    cl::value_desc("FILE.npy"), cl::cat(category));
static cl::opt<std::string>
    random_("random",
            cl::desc("Random arguments instead of files: shapes such as "
                     "1x8x100x64, integers "
                     "for indices; tensors of masks get valid values"),
            cl::value_desc("SHAPE,INTEGER,..."), cl::cat(category));
static cl::opt<uint64_t> seed("seed", cl::desc("Seed of --random (default: 0)"),
                              cl::init(0), cl::cat(category));
static cl::opt<bool> check("check",
                           cl::desc("Compare with the float64 reference by the "
                                    "tolerance rule; fail if it does not hold"),
                           cl::cat(category));
static cl::opt<std::string>
    reportPath("report",
               cl::desc("Write what was counted and measured as JSON"),
               cl::value_desc("FILE.json"), cl::cat(category));

static LogicalResult fail(const ::attn::Error &error) {
  llvm::errs() << "error: " << error.message << "\n";
  return failure();
}

/// The function's arguments as slots.
static FailureOr<std::vector<run::Slot>> slotsOf(FunctionOpInterface function) {
  std::vector<run::Slot> slots;
  for (Type type : function.getArgumentTypes()) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    std::optional<ElementType> element =
        mlir::attn::getElementType(tensor ? tensor.getElementType() : type);
    if (!element || (!tensor && !type.isIntOrIndex()))
      return function.emitError("an argument of type ")
             << type << " cannot be passed";
    run::Slot &slot = slots.emplace_back();
    slot.type = *element;
    slot.isTensor = bool(tensor);
    if (tensor)
      for (int64_t extent : tensor.getShape())
        slot.shape.push_back(ShapedType::isDynamic(extent) ? -1 : extent);
  }
  return slots;
}

/// The bundle's arguments as slots, in signature order.
static std::vector<run::Slot> slotsOf(const ::attn::Manifest &manifest) {
  std::map<int64_t, run::Slot> byNumber;
  for (const ::attn::BufferDesc &buffer : manifest.buffers) {
    if (buffer.role != ::attn::BufferRole::Argument)
      continue;
    run::Slot &slot = byNumber[buffer.number];
    slot.type = buffer.type;
    for (const ::attn::Dimension &dim : buffer.shape)
      slot.shape.push_back(dim.isDynamic() ? -1 : dim.size);
  }
  for (const ::attn::ScalarDesc &scalar : manifest.scalars)
    byNumber[scalar.argument] = {ElementType::Index, {}, false};
  std::vector<run::Slot> slots;
  for (auto &[number, slot] : byNumber)
    slots.push_back(slot);
  return slots;
}

/// The inputs from the command line. `function` says what random tensors of a
/// mask must be; null for a bundle.
static FailureOr<std::vector<run::Value>>
readInputs(const std::vector<run::Slot> &slots, FunctionOpInterface function) {
  std::vector<run::Value> values;
  std::vector<ArgumentSpec> specs;
  if (!random_.empty()) {
    if (!inputs.empty())
      return fail({{}, "--input and --random exclude each other"});
    llvm::Expected<std::vector<ArgumentSpec>> parsed =
        parseArgumentSpecs(random_);
    if (!parsed)
      return fail({{}, "--random: " + llvm::toString(parsed.takeError())});
    specs = *parsed;
  }
  size_t given = random_.empty() ? inputs.size() : specs.size();
  if (given != slots.size())
    return fail({{},
                 "the function takes " + std::to_string(slots.size()) +
                     " arguments, but " + std::to_string(given) +
                     " are given with " +
                     (random_.empty() ? "--input" : "--random")});
  // One number is a shape too.
  for (auto [slot, spec] : llvm::zip(slots, specs))
    if (slot.isTensor && spec.isInteger)
      spec = {false, 0, {spec.integer}};
  std::map<size_t, run::Value> data;
  if (!random_.empty() && function) {
    ::attn::Result<std::map<size_t, run::Value>> made =
        randomMaskData(function, slots, specs, seed);
    if (!made)
      return fail(made.error());
    data = std::move(*made);
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (auto known = data.find(i); known != data.end()) {
      values.push_back(std::move(known->second));
      continue;
    }
    ::attn::Result<run::Value> value =
        random_.empty() ? run::readInput(slots[i], inputs[i], i)
        : specs[i].isInteger
            ? run::readInput(slots[i], std::to_string(specs[i].integer), i)
        : !slots[i].isTensor
            ? ::attn::Result<run::Value>(::attn::invalidArgument(
                  "input " + std::to_string(i) +
                  ": expected an integer, found a shape"))
            : run::randomInput(slots[i], specs[i].shape, seed, i);
    if (!value)
      return fail(value.error());
    values.push_back(std::move(*value));
  }
  return values;
}

static ::attn::NpyArray toArray(const run::Value &value) {
  ::attn::NpyType type = ::attn::NpyType::F64;
  ::attn::Result<::attn::NpyArray> array =
      ::attn::makeNpy(type, value.slot.type, value.slot.shape, value.bytes);
  return std::move(*array);
}

/// The value as the reference holds it.
static reference::Tensor toReference(const run::Value &value) {
  reference::Tensor tensor;
  if (!value.slot.isTensor) {
    tensor.values = {double(value.integer())};
    return tensor;
  }
  ::attn::NpyArray array = toArray(value);
  tensor.shape = array.shape;
  tensor.values.resize(array.elements());
  std::memcpy(tensor.values.data(), array.data.data(), array.data.size());
  return tensor;
}

/// The elements of an output with poison kept recognizable.
static reference::Tensor toJudged(const run::Value &value,
                                  reference::Format format) {
  reference::Tensor tensor = toReference(value);
  int64_t size = ::attn::sizeOf(value.slot.type);
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value.bytes[i * size], size);
    tensor.values[i] = ::attn::reference::decode(bits, format);
  }
  return tensor;
}

static LogicalResult writeOutput(const std::string &path,
                                 const std::vector<int64_t> &shape,
                                 const double *values) {
  ::attn::NpyArray array{::attn::NpyType::F32, shape, {}};
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  for (int64_t i = 0; i < count; ++i) {
    float value = float(values[i]);
    array.data.append(reinterpret_cast<const char *>(&value), sizeof value);
  }
  if (::attn::Status status = ::attn::writeNpy(path, array); !status)
    return fail(status.error());
  return success();
}

static LogicalResult checkOutputCount(size_t results) {
  if (outputs.size() > results)
    return fail({{},
                 "the function has " + std::to_string(results) +
                     " results, but " + std::to_string(outputs.size()) +
                     " are to be written with --output"});
  return success();
}

using DeviceOr = ::attn::Result<std::shared_ptr<::attn::Device>>;

/// Opens the device asked for; without a wish, a GPU if there is one, else the
/// CPU, else the simulator: of those that can run code for `codeTarget`, if it
/// is not empty.
static DeviceOr openDevice(StringRef codeTarget) {
  if (!deviceName.empty())
    return ::attn::openDevice(deviceName, deviceOptions);
  bool isForGpu = !codeTarget.empty() && !isCpu(codeTarget);
  if (!isCpu(codeTarget)) {
    DeviceOr device = ::attn::openDevice("cuda", deviceOptions);
    if (device)
      return device;
  }
  if (!isForGpu && ::attn::host::bestCpuTarget())
    return ::attn::openDevice("host", deviceOptions);
  return ::attn::openDevice("sim", deviceOptions);
}

static LogicalResult writeReport(const Json &report) {
  if (reportPath.empty())
    return success();
  std::string temporary = reportPath + ".tmp";
  std::error_code error;
  {
    llvm::raw_fd_ostream stream(temporary, error);
    if (!error) {
      stream << report.dump(2) << "\n";
      stream.close();
      error = stream.error();
    }
  }
  if (!error)
    error = llvm::sys::fs::rename(temporary, reportPath);
  if (error)
    return fail({{}, "cannot write " + reportPath + ": " + error.message()});
  return success();
}

namespace {

/// One run from the command line.
class Runner {
public:
  LogicalResult execute() {
    return llvm::sys::fs::is_directory(file.getValue()) ? executeBundle()
                                                        : executeSource();
  }

private:
  LogicalResult executeBundle() {
    if (check || deviceName == "reference")
      return fail({{},
                   "a bundle has no attention ops to evaluate: --check and "
                   "--device=reference need the MLIR file"});
    ::attn::Result<::attn::Bundle> bundle = ::attn::loadBundle(file);
    if (!bundle)
      return fail(bundle.error());
    FailureOr<std::vector<run::Value>> values =
        readInputs(slotsOf(bundle->manifest), {});
    if (failed(values))
      return failure();
    return runBundle(std::move(*bundle), *values, {});
  }

  LogicalResult executeSource() {
    if (failed(chooseTarget()))
      return failure();
    DialectRegistry registry;
    registerCompilerDialects(registry);
    MLIRContext context(registry, MLIRContext::Threading::DISABLED);
    FailureOr<std::unique_ptr<SourceFile>> source =
        SourceFile::load(file, &context);
    if (failed(source))
      return failure();
    FailureOr<FunctionOpInterface> function = (*source)->getEntry(entry);
    if (failed(function))
      return failure();
    FailureOr<std::vector<run::Slot>> slots = slotsOf(*function);
    if (failed(slots) || failed(checkOutputCount((*function).getNumResults())))
      return failure();
    FailureOr<std::vector<run::Value>> values = readInputs(*slots, *function);
    if (failed(values))
      return failure();

    std::vector<reference::Output> expected;
    if (check || deviceName == "reference") {
      Progress progress("attn-run: evaluating the reference");
      std::vector<reference::Tensor> tensors;
      for (const run::Value &value : *values)
        tensors.push_back(toReference(value));
      auto result = reference::evaluateFunction(
          cast<func::FuncOp>(function->getOperation()), tensors);
      if (failed(result))
        return failure();
      expected = std::move(*result);
    }
    if (deviceName == "reference") {
      for (size_t i = 0; i < outputs.size(); ++i)
        if (failed(writeOutput(outputs[i], expected[i].exact.shape,
                               expected[i].exact.values.data())))
          return failure();
      report["device"] = "reference";
      return writeReport(report);
    }

    FailureOr<::attn::Bundle> bundle =
        compileForTarget((*source)->getModule(), function->getName(), target);
    if (failed(bundle))
      return failure();
    return runBundle(std::move(*bundle), *values, expected);
  }

  /// The target, if none is given, is that of the device.
  LogicalResult chooseTarget() {
    if (target.empty() && deviceName != "reference") {
      DeviceOr opened = openDevice("");
      if (!opened)
        return fail(opened.error());
      device = *opened;
      target = device->kind() == ::attn::DeviceKind::Host ? "host" : "sm_80";
    }
    return success(target.empty() || resolveTarget(target.getValue()));
  }

  LogicalResult runBundle(::attn::Bundle bundle,
                          const std::vector<run::Value> &values,
                          const std::vector<reference::Output> &expected) {
    if (!device) {
      DeviceOr opened = openDevice(bundle.manifest.target);
      if (!opened)
        return fail(opened.error());
      device = *opened;
    }
    ::attn::Result<std::unique_ptr<::attn::Executable>> executable =
        ::attn::Executable::load(device, std::move(bundle));
    if (!executable)
      return fail(executable.error());
    if (failed(checkOutputCount((*executable)->resultBuffers().size())))
      return failure();
    double seconds = 0;
    ::attn::Result<std::vector<run::Value>> results = [&] {
      Progress progress("attn-run: running on " + device->properties().name);
      return run::runOnDevice(**executable, values, seconds);
    }();
    if (!results)
      return fail(results.error());

    llvm::outs() << "ran " << (*executable)->manifest().function << " on "
                 << device->properties().name << " in "
                 << llvm::format("%.3f", 1e3 * seconds) << " ms\n";
    report["function"] = (*executable)->manifest().function;
    report["target"] = (*executable)->manifest().target;
    report["device"] = device->properties().name;
    report["seconds"] = seconds;
    if (::attn::Result<std::string> observed = device->report(/*clear=*/true);
        observed)
      report["observed"] = Json::parse(*observed);

    bool passed = true;
    for (size_t i = 0; check && i < results->size(); ++i) {
      reference::Judgement judgement = reference::judge(
          toJudged((*results)[i], expected[i].format), expected[i]);
      passed &= judgement.passed;
      llvm::outs() << "result " << i << ": " << toText(judgement) << "\n";
      report["checks"].push_back({{"passed", judgement.passed},
                                  {"max_error", judgement.maxError},
                                  {"max_bound", judgement.maxBound},
                                  {"mean_error", judgement.meanError},
                                  {"mean_bound", judgement.meanBound},
                                  {"problem", judgement.problem}});
    }
    if (failed(writeReport(report)))
      return failure();
    if (!passed)
      return fail(
          {{},
           "the results are not within the tolerance; nothing was written"});
    for (size_t i = 0; i < outputs.size(); ++i) {
      ::attn::NpyArray array = toArray((*results)[i]);
      if (failed(
              writeOutput(outputs[i], array.shape,
                          reinterpret_cast<const double *>(array.data.data()))))
        return failure();
    }
    return success();
  }

  std::shared_ptr<::attn::Device> device;
  Json report;
};

} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM y(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "compiles a function of attention ops, runs it on a device and checks "
      "it\n\n"
      "  attn-run FILE.mlir --input=q.npy --input=k.npy --input=v.npy "
      "--output=o.npy --check\n"
      "  attn-run FILE.mlir --random=1x8x100x64,1x2x100x64,1x2x100x64,32 "
      "--device=sim --check\n");
  return failed(Runner().execute()) ? 1 : 0;
}
