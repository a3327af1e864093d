//===- Ptxas.h - what NVIDIA's assembler says of a kernel -------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_CODEGEN_NVPTX_PTXAS_H
#define ATTN_CODEGEN_NVPTX_PTXAS_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlir::attn::nvptx {

/// What `ptxas -v` prints of one entry.
struct PtxasReport {
  std::string entry;
  int64_t registers = 0;   ///< per thread
  int64_t stackBytes = 0;  ///< per thread, as the three below
  int64_t spillStores = 0; ///< bytes
  int64_t spillLoads = 0;  ///< bytes
  /// Products of warpgroups that wait for each other because ptxas could not
  /// keep their registers apart (its notes C7506 to C7519).
  bool hasSerialProducts = false;
};

/// Assembles `ptx` for `target` with the ptxas that $ATTN_PTXAS names, or that
/// of $CUDA_HOME/bin, or of the PATH. Nothing if there is none, or if it
/// refuses the text; then `log` says why.
std::optional<std::vector<PtxasReport>> assemble(const std::string &ptx,
                                                 const std::string &target,
                                                 std::string *log = nullptr);

} // namespace mlir::attn::nvptx

#endif // ATTN_CODEGEN_NVPTX_PTXAS_H
