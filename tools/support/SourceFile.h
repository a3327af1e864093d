//===- SourceFile.h - reading MLIR source that a person wrote ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_SUPPORT_SOURCEFILE_H
#define ATTN_TOOLS_SUPPORT_SOURCEFILE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/Support/SourceMgr.h"

#include <memory>

namespace mlir::attn {

/// A parsed file. Diagnostics of its context go to stderr, with the line as it
/// was written, while this lives.
class SourceFile {
public:
  /// Reads and parses `path` (`-` is stdin). Failure after a diagnostic.
  /// Remarks are shown only if `remarks` is set.
  static FailureOr<std::unique_ptr<SourceFile>>
  load(llvm::StringRef path, MLIRContext *context, bool remarks = false);

  ModuleOp getModule() { return *module; }

  /// The public function named `name`; if that is empty, the only one there is.
  /// Failure after a diagnostic that lists them.
  FailureOr<FunctionOpInterface> getEntry(llvm::StringRef name);

private:
  SourceFile() = default;

  llvm::SourceMgr original;
  std::unique_ptr<SourceMgrDiagnosticHandler> handler;
  std::unique_ptr<ScopedDiagnosticHandler> remarkFilter;
  OwningOpRef<ModuleOp> module;
};

} // namespace mlir::attn

#endif // ATTN_TOOLS_SUPPORT_SOURCEFILE_H
