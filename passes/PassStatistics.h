//===- PassStatistics.h - what passes did and what they missed ---*- C++
//-*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_PASSES_PASSSTATISTICS_H
#define ATTN_PASSES_PASSSTATISTICS_H

#include <memory>

namespace llvm {
class raw_ostream;
}
namespace mlir {
class PassInstrumentation;
}

namespace mlir::attn {

/// Collects the statistics of the attn passes that a pass manager runs, and
/// prints them to `os` when it is destroyed. Upstream's own printer is compiled
/// out of release builds of MLIR.
std::unique_ptr<PassInstrumentation>
createStatisticsPrinter(llvm::raw_ostream &os);

} // namespace mlir::attn

#endif // ATTN_PASSES_PASSSTATISTICS_H
