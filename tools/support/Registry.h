//===- Registry.h - the dialects that every tool knows ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_SUPPORT_REGISTRY_H
#define ATTN_TOOLS_SUPPORT_REGISTRY_H

namespace mlir {
class DialectRegistry;
}

namespace mlir::attn {

/// The attn dialect and what may be written around it; with the interfaces that
/// the compiler's passes need.
void registerCompilerDialects(DialectRegistry &registry);

/// Every upstream dialect and extension besides, for attn-opt and the language
/// server.
void registerEverything(DialectRegistry &registry);

} // namespace mlir::attn

#endif // ATTN_TOOLS_SUPPORT_REGISTRY_H
