//===- Compile.h - a function for any target --------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_SUPPORT_COMPILE_H
#define ATTN_TOOLS_SUPPORT_COMPILE_H

#include "mlir/Support/LLVM.h"

#include <string>

namespace attn {
struct Bundle;
} // namespace attn

namespace mlir {
class ModuleOp;
class OpPassManager;
} // namespace mlir

namespace mlir::attn {

/// Whether code can be generated for `target`; if not, says so on stderr and
/// names those that can. `host`, this machine's CPU, becomes the name of its
/// instruction set.
bool resolveTarget(std::string &target);

/// Whether `target`, resolved, is a CPU.
bool isCpu(StringRef target);

/// Adds the pass that assigns schedules for `target`.
void addAssignSchedule(OpPassManager &manager, StringRef target);

/// Compiles the function `name` of `module`, which does not change. Errors are
/// reported at their locations.
FailureOr<::attn::Bundle> compileForTarget(ModuleOp module, StringRef name,
                                           StringRef target);

} // namespace mlir::attn

#endif // ATTN_TOOLS_SUPPORT_COMPILE_H
