//===- Ptxas.h - what ptxas makes of emitted PTX ---*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_PTXAS_H
#define ATTN_CODEGEN_NVPTX_PTXAS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace mlir::attn::nvptx {

/// What one kernel takes of the machine. Bytes are for each thread.
struct PtxasReport {
  std::string entry;
  int64_t registers = 0, stackBytes = 0, spillStores = 0, spillLoads = 0;
  /// Remarks of ptxas about this kernel or the whole file: wgmma that it serialises, say.
  std::vector<std::string> warnings;
};

/// The path of ptxas: from PATH, else from CUDA_HOME/bin; nullopt if there is none.
std::optional<std::string> findPtxas();

/// Assembles `ptx` for `target` (sm_80, ...) with `ptxas -v` and reports on each kernel. nullopt if there is no ptxas
/// or it fails; then `error`, if given, gets its output.
std::optional<std::vector<PtxasReport>> assemble(llvm::StringRef ptx, llvm::StringRef target,
                                                 std::string *error = nullptr);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_PTXAS_H
