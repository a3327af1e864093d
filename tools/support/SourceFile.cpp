//===- SourceFile.cpp - see SourceFile.h ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attn/tools/support/SourceFile.h"

#include "attn/dialect/Source.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace mlir::attn;

FailureOr<std::unique_ptr<SourceFile>>
SourceFile::load(StringRef path, MLIRContext *context, bool remarks) {
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(path, &error);
  if (!buffer) {
    llvm::errs() << "error: " << error << "\n";
    return failure();
  }
  // A message shows the source; the op in generic form besides is noise.
  context->printOpOnDiagnostic(false);
  std::unique_ptr<SourceFile> file(new SourceFile);
  std::string prepared = prepareSource(buffer->getBuffer());
  std::string name = buffer->getBufferIdentifier().str();
  file->original.AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  file->handler =
      std::make_unique<SourceMgrDiagnosticHandler>(file->original, context);
  if (!remarks)
    file->remarkFilter = std::make_unique<ScopedDiagnosticHandler>(
        context, [](Diagnostic &diagnostic) {
          return success(diagnostic.getSeverity() ==
                         DiagnosticSeverity::Remark);
        });
  file->module =
      parseSourceString<ModuleOp>(prepared, ParserConfig(context), name);
  if (!file->module)
    return failure();
  return file;
}

FailureOr<FunctionOpInterface> SourceFile::getEntry(StringRef name) {
  SmallVector<FunctionOpInterface> functions;
  for (auto function : getModule().getOps<FunctionOpInterface>())
    if (function.isPublic() && !function.isExternal() &&
        (name.empty() || function.getName() == name))
      functions.push_back(function);
  if (functions.size() == 1)
    return functions.front();
  InFlightDiagnostic diagnostic = getModule().emitError();
  if (name.empty() && functions.empty())
    return diagnostic << "the file holds no public function with a body";
  if (name.empty())
    diagnostic << "the file holds " << functions.size()
               << " functions; name one with --entry";
  else
    diagnostic << "no public function with a body is named '" << name << "'";
  for (auto function : getModule().getOps<FunctionOpInterface>())
    diagnostic.attachNote(function.getLoc())
        << "here is '" << function.getName() << "'";
  return failure();
}
