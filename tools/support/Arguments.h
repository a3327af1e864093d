//===- Arguments.h - argument lists as a command line gives them ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_SUPPORT_ARGUMENTS_H
#define ATTN_TOOLS_SUPPORT_ARGUMENTS_H

#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace mlir::attn {

/// One argument of a function: a shape such as `2x8x1000x64`, or an integer
/// such as `128` for an index.
struct ArgumentSpec {
  bool isInteger = false;
  int64_t integer = 0;
  std::vector<int64_t> shape;
};

/// Reads `2x8x1000x64` or `-5`; an error names the text and what was expected.
llvm::Expected<ArgumentSpec> parseArgumentSpec(llvm::StringRef text);
/// A comma-separated list of them.
llvm::Expected<std::vector<ArgumentSpec>>
parseArgumentSpecs(llvm::StringRef text);

} // namespace mlir::attn

#endif // ATTN_TOOLS_SUPPORT_ARGUMENTS_H
