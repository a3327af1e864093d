//===- Compiler.cpp - Source text to a bundle -----------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/jit/Compiler.h"

#include "attn/codegen/host/Compile.h"
#include "attn/codegen/nvptx/Emit.h"
#include "attn/dialect/Source.h"
#include "attn/runtime/core/Target.h"
#include "attn/runtime/host/Cpu.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/SourceMgr.h"

#include <algorithm>
#include <link.h>

using namespace attn;
namespace nvptx = mlir::attn::nvptx;

static constexpr const char *sourceName = "attention.mlir";

static mlir::DialectRegistry makeRegistry() {
  mlir::DialectRegistry registry;
  nvptx::registerNvptxDialects(registry);
  mlir::attn::host::registerHostTranslations(registry);
  return registry;
}

struct ParsedSource::Impl {
  explicit Impl(const std::string &text)
      : context(makeRegistry(), mlir::MLIRContext::Threading::DISABLED),
        stream(messages), handler(sources, &context, stream) {
    context.printOpOnDiagnostic(false);
    sources.AddNewSourceBuffer(
        llvm::MemoryBuffer::getMemBufferCopy(text, sourceName), llvm::SMLoc());
  }

  /// The diagnostics so far as an error.
  Error error() {
    std::string text = std::exchange(messages, "");
    while (!text.empty() && text.back() == '\n')
      text.pop_back();
    return invalidArgument(text.empty() ? "the compiler gave no reason" : text);
  }

  mlir::MLIRContext context;
  std::string messages;
  llvm::raw_string_ostream stream;
  llvm::SourceMgr sources;
  mlir::SourceMgrDiagnosticHandler handler;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp function;
  std::string canonical;
};

ParsedSource::ParsedSource(std::unique_ptr<Impl> impl)
    : impl(std::move(impl)) {}
ParsedSource::~ParsedSource() = default;

static Error noSuchFunction(mlir::ModuleOp module, const std::string &name) {
  std::string found;
  for (auto function : module.getOps<mlir::func::FuncOp>())
    found += (found.empty() ? "'" : ", '") + function.getName().str() + "'";
  return invalidArgument(
      "expected " +
      (name.empty() ? "one public function with a body, or a name"
                    : "a public function '" + name + "' with a body") +
      ", found " + (found.empty() ? "none" : found));
}

Result<std::unique_ptr<ParsedSource>>
ParsedSource::parse(const std::string &text, const std::string &name) {
  auto impl = std::make_unique<Impl>(text);
  impl->module = mlir::parseSourceString<mlir::ModuleOp>(
      mlir::attn::prepareSource(text), mlir::ParserConfig(&impl->context),
      sourceName);
  if (!impl->module)
    return impl->error();
  for (auto function : impl->module->getOps<mlir::func::FuncOp>()) {
    if (!function.isPublic() || function.isExternal() ||
        (!name.empty() && function.getName() != name))
      continue;
    if (impl->function)
      return noSuchFunction(*impl->module, name);
    impl->function = function;
  }
  if (!impl->function)
    return noSuchFunction(*impl->module, name);
  llvm::raw_string_ostream printed(impl->canonical);
  impl->function.print(printed, mlir::OpPrintingFlags().useLocalScope());
  return std::unique_ptr<ParsedSource>(new ParsedSource(std::move(impl)));
}

const std::string &ParsedSource::canonicalText() const {
  return impl->canonical;
}

Result<Bundle> ParsedSource::compile(const std::string &target) {
  mlir::StringRef name = impl->function.getName();
  mlir::FailureOr<Bundle> bundle = mlir::failure();
  if (attn::host::isCpuTarget(target)) {
    mlir::attn::host::CompileOptions options;
    options.cpu = target;
    bundle = mlir::attn::host::compileToBundle(*impl->module, name, options);
  } else {
    nvptx::NvptxPipelineOptions options;
    options.target = target;
    bundle = nvptx::compileToBundle(*impl->module, name, options);
  }
  if (mlir::failed(bundle))
    return impl->error();
  return std::move(*bundle);
}

Result<std::string> attn::targetOf(const Device &device) {
  const DeviceProperties &properties = device.properties();
  if (!properties.target.empty())
    return targetFor(properties.target, properties.name);
  Target own;
  own.major = properties.major;
  own.minor = properties.minor;
  return targetFor(own.text(), properties.name);
}

Result<std::string> attn::targetFor(const std::string &deviceTarget,
                                    const std::string &name) {
  if (attn::host::isCpuTarget(deviceTarget))
    return deviceTarget;
  std::optional<Target> device = parseTarget(deviceTarget);
  std::string best;
  for (const nvptx::Target &known : nvptx::getTargets()) {
    // Kernels with roles have run in the simulator only: on request.
    if (known.hasWarpgroups)
      continue;
    std::optional<Target> target = parseTarget(known.name.str());
    if (device && target && runsOn(*target, device->major, device->minor))
      best = known.name.str();
  }
  if (best.empty())
    return Error{ErrorCode::Unsupported,
                 "no code can be compiled for '" + name + "', which is " +
                     deviceTarget + "; expected sm_80 or later"};
  return best;
}

//===----------------------------------------------------------------------===//
// Which compiler this is
//===----------------------------------------------------------------------===//

namespace {
struct Identity {
  std::vector<std::string> libraries; ///< build ids of LLVM and MLIR
  std::string own;                    ///< of the file that holds this code
};
} // namespace

static std::string buildIdOf(const dl_phdr_info &info) {
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr) &segment = info.dlpi_phdr[i];
    if (segment.p_type != PT_NOTE)
      continue;
    const char *at =
        reinterpret_cast<const char *>(info.dlpi_addr + segment.p_vaddr);
    const char *end = at + segment.p_memsz;
    auto padded = [](size_t size) { return (size + 3) / 4 * 4; };
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      const auto *note = reinterpret_cast<const ElfW(Nhdr) *>(at);
      const char *name = at + sizeof *note;
      const char *bytes = name + padded(note->n_namesz);
      if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
          std::string_view(name, 3) == "GNU") {
        std::string text;
        for (size_t b = 0; b < note->n_descsz; ++b) {
          text += "0123456789abcdef"[bytes[b] >> 4 & 15];
          text += "0123456789abcdef"[bytes[b] & 15];
        }
        return text;
      }
      at = bytes + padded(note->n_descsz);
    }
  }
  return "";
}

static bool holds(const dl_phdr_info &info, const void *address) {
  auto wanted = reinterpret_cast<ElfW(Addr)>(address);
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr) &segment = info.dlpi_phdr[i];
    ElfW(Addr) begin = info.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && wanted >= begin &&
        wanted - begin < segment.p_memsz)
      return true;
  }
  return false;
}

std::string attn::compilerIdentity() {
  Identity identity;
  dl_iterate_phdr(
      [](dl_phdr_info *info, size_t, void *data) {
        auto &identity = *static_cast<Identity *>(data);
        llvm::StringRef file = info->dlpi_name;
        file = file.substr(file.rfind('/') + 1);
        if (holds(*info, sourceName))
          identity.own = buildIdOf(*info);
        else if (file.starts_with("libLLVM") || file.starts_with("libMLIR"))
          identity.libraries.push_back(buildIdOf(*info));
        return 0;
      },
      &identity);
  if (identity.own.empty())
    return "";
  std::string text =
      "attn " ATTN_VERSION " " + identity.own + ", LLVM " LLVM_VERSION_STRING;
  std::sort(identity.libraries.begin(), identity.libraries.end());
  for (const std::string &library : identity.libraries)
    text += " " + library;
  return text;
}
