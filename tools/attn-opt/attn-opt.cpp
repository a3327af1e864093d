//===- attn-opt.cpp - mlir-opt with the attn dialect, and the compiler's driver
//---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/CostReport.h"
#include "attn/codegen/Passes.h"
#include "attn/codegen/host/Compile.h"
#include "attn/codegen/nvptx/Pipelines.h"
#include "attn/codegen/nvptx/Ptxas.h"
#include "attn/dialect/Source.h"
#include "attn/passes/PassStatistics.h"
#include "attn/passes/Passes.h"
#include "attn/passes/Pipelines.h"
#include "attn/runtime/core/Bundle.h"
#include "attn/runtime/core/File.h"
#include "attn/tools/support/Arguments.h"
#include "attn/tools/support/Compile.h"
#include "attn/tools/support/Registry.h"
#include "attn/tools/support/SourceFile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"
#include <nlohmann/json.hpp>

using namespace mlir;
using namespace mlir::attn;
namespace cl = llvm::cl;
using Json = nlohmann::ordered_json;

namespace {
enum class Emit { Mlir, Ptx, Bundle, Report };
} // namespace

static cl::OptionCategory category("attn-opt options");
static cl::opt<Emit>
    emit("emit", cl::desc("What to write:"), cl::init(Emit::Mlir),
         cl::values(clEnumValN(Emit::Mlir, "mlir",
                               "MLIR, after the passes asked for (default)"),
                    clEnumValN(Emit::Ptx, "ptx", "PTX text of one function"),
                    clEnumValN(Emit::Bundle, "bundle",
                               "a bundle folder of one function (needs -o)"),
                    clEnumValN(Emit::Report, "report",
                               "the cost of every function as JSON")),
         cl::cat(category));
static cl::opt<std::string> target(
    "target",
    cl::desc("Target of --emit: sm_80 (default), sm_86, sm_89, sm_90 "
             "or sm_90a; host for this CPU, or x86-64, x86-64-v3, x86-64-v4, "
             "x86-64-v4-bf16"),
    cl::init("sm_80"), cl::cat(category));
static cl::opt<std::string> entry(
    "entry",
    cl::desc("Function for --emit=ptx and bundle (default: the only one)"),
    cl::cat(category));
static cl::opt<std::string> arguments(
    "args",
    cl::desc("For --emit=report: arguments of the functions, shapes such as "
             "2x8x1000x64 and integers for indices, where the types leave them "
             "open"),
    cl::value_desc("SHAPE,INTEGER,..."), cl::cat(category));

static cl::opt<bool>
    remarks("remarks",
            cl::desc("With --emit: say what the compiler could not do exactly"),
            cl::cat(category));

static cl::opt<bool>
    statistics("attn-statistics",
               cl::desc("Print what each attn pass did and what it missed"),
               cl::cat(category));

static LogicalResult fail(const llvm::Twine &message) {
  llvm::errs() << "error: " << message << "\n";
  return failure();
}

static LogicalResult writeText(StringRef path, const std::string &text) {
  if (path == "-") {
    llvm::outs() << text;
    return success();
  }
  if (::attn::Status status = ::attn::writeFileAtomically(path.str(), text);
      !status)
    return fail(status.error().message);
  return success();
}

static FailureOr<::attn::Bundle> compile(ModuleOp module,
                                         FunctionOpInterface function) {
  return compileForTarget(module, function.getName(), target);
}

/// The cost of `function`: what its ops cost where its extents are known, and
/// what its kernels take.
static FailureOr<Json> reportOn(ModuleOp module, FunctionOpInterface function) {
  Json report;
  report["function"] = function.getName().str();
  report["target"] = target.getValue();

  FailureOr<SmallVector<ArgumentValue>> values = failure();
  if (!arguments.empty()) {
    llvm::Expected<std::vector<ArgumentSpec>> specs =
        parseArgumentSpecs(arguments);
    if (!specs)
      return fail("--args: " + llvm::toString(specs.takeError()));
    values = SmallVector<ArgumentValue>();
    for (const ArgumentSpec &spec : *specs) {
      ArgumentValue &value = values->emplace_back();
      if (spec.isInteger)
        value.elements = {spec.integer};
      else
        value.shape.assign(spec.shape.begin(), spec.shape.end());
    }
  } else {
    values = getStaticArguments(function);
  }
  // The schedules are part of the cost, so they are assigned first.
  OwningOpRef<ModuleOp> scheduled = module.clone();
  PassManager manager(module.getContext());
  addAssignSchedule(manager, target);
  if (failed(manager.run(*scheduled)))
    return failure();
  auto copy = scheduled->lookupSymbol<FunctionOpInterface>(function.getName());
  report["attention"] = nullptr;
  if (succeeded(values)) {
    FailureOr<SmallVector<ConcreteAttention>> attentions =
        bindArguments(copy, *values);
    if (failed(attentions))
      return failure();
    report["attention"] = Json::array();
    for (const ConcreteAttention &attention : *attentions)
      report["attention"].push_back(getCost(attention));
  } else {
    report["note"] =
        "the types leave extents or values open: give them with --args";
  }

  FailureOr<::attn::Bundle> bundle = compile(module, function);
  if (failed(bundle))
    return failure();
  std::optional<std::vector<nvptx::PtxasReport>> assembled;
  if (!isCpu(target))
    assembled = nvptx::assemble(bundle->code, target);
  report["kernels"] = Json::array();
  for (const ::attn::LaunchDesc &launch : bundle->manifest.launches) {
    Json kernel;
    kernel["entry"] = launch.entry;
    kernel["schedule"] = launch.schedule;
    kernel["threads"] = launch.threads;
    kernel["shared_bytes"] = launch.shared;
    kernel["registers"] = nullptr;
    kernel["spilled_bytes"] = nullptr;
    kernel["stack_bytes"] = nullptr;
    kernel["serial_products"] = nullptr;
    for (const nvptx::PtxasReport &entryReport :
         assembled.value_or(std::vector<nvptx::PtxasReport>()))
      if (entryReport.entry == launch.entry) {
        kernel["registers"] = entryReport.registers;
        kernel["spilled_bytes"] =
            entryReport.spillStores + entryReport.spillLoads;
        kernel["stack_bytes"] = entryReport.stackBytes;
        kernel["serial_products"] = entryReport.hasSerialProducts;
      }
    report["kernels"].push_back(kernel);
  }
  return report;
}

static LogicalResult emitFrom(StringRef input, StringRef output) {
  if (!resolveTarget(target.getValue()))
    return failure();
  if (emit == Emit::Ptx && isCpu(target))
    return fail("--emit=ptx: " + target + " has no PTX; use --emit=bundle");
  DialectRegistry registry;
  registerCompilerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  FailureOr<std::unique_ptr<SourceFile>> file =
      SourceFile::load(input, &context, remarks);
  if (failed(file))
    return failure();
  ModuleOp module = (*file)->getModule();
  if (emit == Emit::Report) {
    Json reports = Json::array();
    for (auto function : module.getOps<FunctionOpInterface>()) {
      if (!function.isPublic() || function.isExternal() ||
          (!entry.empty() && function.getName() != entry))
        continue;
      FailureOr<Json> report = reportOn(module, function);
      if (failed(report))
        return failure();
      reports.push_back(std::move(*report));
    }
    if (reports.empty())
      return (*file)->getEntry(entry);
    return writeText(output, reports.dump(2) + "\n");
  }
  FailureOr<FunctionOpInterface> function = (*file)->getEntry(entry);
  if (failed(function))
    return failure();
  if (emit == Emit::Bundle && output == "-")
    return fail("--emit=bundle writes a folder: name it with -o");
  FailureOr<::attn::Bundle> bundle = compile(module, *function);
  if (failed(bundle))
    return failure();
  if (emit == Emit::Ptx)
    return writeText(output, bundle->code);
  if (::attn::Status status = ::attn::writeBundle(*bundle, output.str());
      !status)
    return fail(status.error().message);
  return success();
}

namespace {
/// MLIR's driver reads the prepared text and would show it in its messages. A
/// handler that is registered later is asked first: this one, made when the
/// attn dialect is loaded, shows the lines as they were written.
struct SourceAsWritten : DialectExtension<SourceAsWritten, AttnDialect> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SourceAsWritten)

  explicit SourceAsWritten(std::unique_ptr<llvm::MemoryBuffer> source)
      : sources(std::make_shared<llvm::SourceMgr>()) {
    sources->AddNewSourceBuffer(std::move(source), llvm::SMLoc());
  }

  void apply(MLIRContext *context, AttnDialect *) const override {
    // The op in generic form besides is noise.
    context->printOpOnDiagnostic(false);
    // A handler may not outlive its context, which is the driver's: this one is
    // never destroyed.
    new SourceMgrDiagnosticHandler(*sources, context);
  }

  std::shared_ptr<llvm::SourceMgr> sources;
};
} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM y(argc, argv);
  registerAllPasses();
  registerAttnPasses();
  registerAttnPipelines();
  registerAttnCodegenPasses();
  host::registerHostPasses();
  nvptx::registerNvptxPipelines();
  DialectRegistry registry;
  registerEverything(registry);
  auto [input, output] = registerAndParseCLIOptions(
      argc, argv,
      "the attn compiler: mlir-opt with the attn dialect and its passes",
      registry);
  if (emit != Emit::Mlir)
    return failed(emitFrom(input, output)) ? 1 : 0;

  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> file = openInputFile(input, &error);
  std::unique_ptr<llvm::ToolOutputFile> out =
      file ? openOutputFile(output, &error) : nullptr;
  if (!out) {
    llvm::errs() << "error: " << error << "\n";
    return 1;
  }
  std::unique_ptr<llvm::MemoryBuffer> prepared =
      llvm::MemoryBuffer::getMemBufferCopy(prepareSource(file->getBuffer()),
                                           file->getBufferIdentifier());
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (statistics)
    config.setPassPipelineSetupFn([inner = config](PassManager &manager) {
      manager.addInstrumentation(createStatisticsPrinter(llvm::errs()));
      return inner.setupPassPipeline(manager);
    });
  // Parts of a split file and expected diagnostics have places of their own.
  if (config.inputSplitMarker().empty() && !config.shouldVerifyDiagnostics())
    registry.addExtension(TypeID::get<SourceAsWritten>(),
                          std::make_unique<SourceAsWritten>(std::move(file)));
  if (failed(MlirOptMain(out->os(), std::move(prepared), registry, config)))
    return 1;
  out->keep();
  return 0;
}
