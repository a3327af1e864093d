//===- Ptx.cpp - from lowered kernels to PTX text ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/codegen/nvptx/Ptx.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/IR/PassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Scalar/ADCE.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"

#include <mutex>

using namespace mlir;
using namespace mlir::attn;
using namespace mlir::attn::nvptx;

void nvptx::registerPtxTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
}

namespace {
/// Makes the backend use 32-bit addresses for shared memory, for as long as
/// this lives: there is no other way than LLVM's global flag, which is put
/// back.
class ShortPointers {
public:
  ShortPointers() : lock(getMutex()) {
    auto option = llvm::cl::getRegisteredOptions().find("nvptx-short-ptr");
    if (option == llvm::cl::getRegisteredOptions().end())
      return;
    flag = static_cast<llvm::cl::opt<bool> *>(option->second);
    before = flag->getValue();
    flag->setValue(true);
  }
  ~ShortPointers() {
    if (flag)
      flag->setValue(before);
  }

private:
  static std::mutex &getMutex() {
    static std::mutex mutex;
    return mutex;
  }

  std::lock_guard<std::mutex> lock;
  llvm::cl::opt<bool> *flag = nullptr;
  bool before = false;
};
} // namespace

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const Target &target, std::string &error) {
  // LLVM's registry is global and not guarded; kernels are compiled on several
  // threads.
  static std::once_flag registered;
  std::call_once(registered, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  llvm::Triple triple("nvptx64-nvidia-cuda");
  const llvm::Target *backend =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!backend)
    return nullptr;
  ShortPointers shortPointers;
  return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(
      triple, target.name, target.ptxFeature, llvm::TargetOptions(),
      std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Default));
}

namespace {
/// Skips two passes over straight-line code in NVPTX's pipeline. They take a
/// third of the time, and what they look for is not there: the addresses of a
/// tile are built from shared parts.
class PassGate : public llvm::OptPassGate {
public:
  bool shouldRunPass(llvm::StringRef name, llvm::StringRef) const override {
    return name != "slsr" && name != "nary-reassociate";
  }
  bool isEnabled() const override { return true; }
};
} // namespace

/// The kernels come as one walk built them: what is left to do is to share
/// addresses and drop what nobody uses.
static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::EarlyCSEPass());
  passes.addPass(llvm::ADCEPass());
  for (llvm::Function &function : module)
    if (!function.isDeclaration())
      passes.run(function, functions);
}

/// Launch attributes speak to the runtime; they have no LLVM form.
static void dropLaunchAttributes(gpu::GPUModuleOp module) {
  auto isLaunch = [](NamedAttribute attribute) {
    return attribute.getName().strref().starts_with("attn.");
  };
  for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      for (NamedAttribute attribute :
           llvm::to_vector(cast<FunctionOpInterface>(function.getOperation())
                               .getArgAttrs(i)))
        if (isLaunch(attribute))
          function.removeArgAttr(i, attribute.getName());
    for (NamedAttribute attribute :
         llvm::to_vector(function->getDiscardableAttrs()))
      if (isLaunch(attribute))
        function->removeDiscardableAttr(attribute.getName());
  }
}

FailureOr<std::string> nvptx::emitPtx(gpu::GPUModuleOp module,
                                      const Target &target) {
  dropLaunchAttributes(module);
  llvm::LLVMContext context;
  PassGate gate;
  context.setOptPassGate(gate);
  std::unique_ptr<llvm::Module> translated =
      translateModuleToLLVMIR(module, context, "attn");
  if (!translated)
    return module.emitError("could not be translated to LLVM IR");
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(target, error);
  if (!machine)
    return module.emitError("this LLVM has no NVPTX backend: ") << error;
  translated->setTargetTriple(machine->getTargetTriple());
  translated->setDataLayout(machine->createDataLayout());
  optimize(*translated, *machine);

  llvm::SmallString<0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, stream, nullptr,
                                   llvm::CodeGenFileType::AssemblyFile,
                                   /*DisableVerify=*/true))
    return module.emitError("the NVPTX backend cannot emit assembly");
  codegen.run(*translated);
  return text.str().str();
}
