//===- Trial.cpp - see Trial.h --------------------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/test/support/Trial.h"

#include "attn/dialect/Source.h"
#include "attn/runtime/core/Executable.h"
#include "attn/test/support/Elements.h"
#include "attn/tools/support/Compile.h"
#include "attn/tools/support/Registry.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include <algorithm>
#include <sys/mman.h>

using namespace attn;
using namespace attn::test;
namespace oracle = mlir::attn::reference;

namespace {
/// Memory of a device, freed at the end.
class Memory {
public:
  explicit Memory(Device &device) : device(device) {}
  ~Memory() {
    for (uint64_t address : allocations)
      (void)device.free(address, nullptr);
    for (auto [space, bytes] : spaces)
      ::munmap(space, bytes);
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  /// A tensor in NaN.
  Result<Tensor> place(ElementType type, const std::vector<int64_t> &shape,
                       std::vector<int64_t> strides) {
    if (strides.empty())
      strides = rowMajorStrides(shape);
    int64_t span = spanOf(shape, strides);
    size_t bytes = size_t(span * sizeOf(type));
    Tensor tensor =
        Tensor::rowMajor(type, shape, 0, device.properties().memory);
    tensor.strides = std::move(strides);
    if (bytes >= size_t(1) << 30) {
      // Address space without memory behind it, but for the pages touched.
      void *space = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (space == MAP_FAILED)
        return Error{ErrorCode::OutOfMemory, "no address space"};
      spaces.emplace_back(space, bytes);
      tensor.data = reinterpret_cast<uintptr_t>(space);
      return tensor;
    }
    Result<uint64_t> address = device.allocate(bytes, nullptr);
    if (!address)
      return address.error();
    allocations.push_back(*address);
    tensor.data = *address;
    std::string poison(bytes, '\xff');
    Tensor flat =
        Tensor::rowMajor(type, {span}, *address, device.properties().memory);
    if (Status status = copyToTensor(device, flat, poison.data());
        span && !status)
      return status.error();
    return tensor;
  }

private:
  Device &device;
  std::vector<uint64_t> allocations;
  std::vector<std::pair<void *, size_t>> spaces;
};
} // namespace

TrialRunner::TrialRunner() {
  mlir::DialectRegistry registry;
  mlir::attn::registerCompilerDialects(registry);
  context = std::make_unique<mlir::MLIRContext>(
      registry, mlir::MLIRContext::Threading::DISABLED);
}

TrialRunner::~TrialRunner() = default;

int64_t TrialRunner::countRemarks(const std::string &text) const {
  return std::count_if(remarks.begin(), remarks.end(),
                       [&](const std::string &remark) {
                         return remark.find(text) != std::string::npos;
                       });
}

std::string TrialRunner::run(const Trial &trial) {
  std::string diagnostics;
  mlir::ScopedDiagnosticHandler handler(
      context.get(), [&](mlir::Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Remark)
          remarks.push_back(diagnostic.str());
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
          diagnostics += diagnostic.str() + "\n";
        return mlir::success();
      });
  auto parse = [&](const std::string &source) {
    return mlir::parseSourceString<mlir::ModuleOp>(
        mlir::attn::prepareSource(source), mlir::ParserConfig(context.get()));
  };
  auto module = parse(trial.source);
  auto judged =
      parse(trial.expectedSource.empty() ? trial.source : trial.expectedSource);
  if (!module || !judged)
    return diagnostics;
  std::vector<oracle::Tensor> inputs;
  for (const Argument &argument : trial.arguments)
    inputs.push_back(argument.value);
  auto expected = oracle::evaluateFunction(
      *judged->getOps<mlir::func::FuncOp>().begin(), inputs);
  if (mlir::failed(expected))
    return diagnostics;
  std::string target = trial.target;
  if (!mlir::attn::resolveTarget(target))
    return "no target " + target;
  auto bundle = mlir::attn::compileForTarget(*module, "f", target);
  if (mlir::failed(bundle))
    return diagnostics;
  Status status = execute(trial, std::move(*bundle), *expected);
  return status ? "" : status.error().message;
}

Status TrialRunner::execute(const Trial &trial, Bundle bundle,
                            const std::vector<oracle::Output> &expected) {
  auto device = openDevice(trial.device, trial.deviceOptions);
  if (!device)
    return device.error();
  auto executable = Executable::load(*device, std::move(bundle));
  if (!executable)
    return executable.error();
  Memory memory(**device);
  std::vector<Argument> arguments = trial.arguments;
  if (trial.spoil)
    trial.spoil(arguments);
  std::vector<Tensor> tensors, results;
  std::vector<int64_t> scalars;
  for (const Argument &argument : arguments) {
    if (argument.isIndex) {
      scalars.push_back(int64_t(argument.value.values.front()));
      continue;
    }
    Result<Tensor> tensor =
        memory.place(argument.element, argument.value.shape, argument.strides);
    if (!tensor)
      return tensor.error();
    std::string bytes = toBytes(argument.value.values, argument.element);
    if (Status status = copyToTensor(**device, *tensor, bytes.data());
        !bytes.empty() && !status)
      return status;
    tensors.push_back(*tensor);
  }
  for (const oracle::Output &output : expected) {
    Result<Tensor> tensor = memory.place(
        elementOf(output.format), output.exact.shape,
        results.empty() ? trial.resultStrides : std::vector<int64_t>());
    if (!tensor)
      return tensor.error();
    results.push_back(*tensor);
  }
  if (Status status = (*executable)->run(tensors, results, scalars); !status)
    return status;
  if (Status status = (*device)->synchronize(nullptr); !status)
    return status;
  for (size_t i = 0; i < results.size(); ++i) {
    const Tensor &result = results[i];
    std::string bytes(
        expected[i].exact.values.size() * size_t(sizeOf(result.type)), '\0');
    if (Status status = copyFromTensor(**device, bytes.data(), result);
        !bytes.empty() && !status)
      return status;
    oracle::Judgement judgement =
        oracle::judge(fromBytes(bytes, result.shape, result.type), expected[i]);
    if (!judgement.passed)
      return Error{ErrorCode::Internal,
                   "result " + std::to_string(i) + ": " + toText(judgement)};
  }
  return {};
}
