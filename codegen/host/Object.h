//===- Object.h - from the llvm dialect to an object file -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_HOST_OBJECT_H
#define ATTN_CODEGEN_HOST_OBJECT_H

#include "mlir/Support/LLVM.h"

#include <string>

namespace mlir {
class ModuleOp;
} // namespace mlir

namespace mlir::attn::host {

/// The bytes of a relocatable x86-64 ELF file with the functions of `module`,
/// for the instruction set `cpu`. It is position-independent and needs no
/// symbol from outside. Errors are reported at the module.
FailureOr<std::string> emitObject(ModuleOp module, StringRef cpu);

} // namespace mlir::attn::host

#endif // ATTN_CODEGEN_HOST_OBJECT_H
