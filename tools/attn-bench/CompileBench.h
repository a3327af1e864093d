//===- CompileBench.h - Times from a description to a kernel ----*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef ATTN_TOOLS_ATTNBENCH_COMPILEBENCH_H
#define ATTN_TOOLS_ATTNBENCH_COMPILEBENCH_H

#include "attn/runtime/jit/Spec.h"

#include <nlohmann/json.hpp>

namespace attn::bench {

/// For each target ("host": ready to launch on this CPU; sm_80, ...: PTX and
/// its manifest) the medians over `runs` of the milliseconds that it takes
/// without any cache, from the disk and from memory, of the clock and of the
/// processors. The disk cache is a new folder, below the user's cache folder.
Result<nlohmann::ordered_json>
measureCompile(const AttentionSpec &spec,
               const std::vector<std::string> &targets, int runs);

} // namespace attn::bench

#endif // ATTN_TOOLS_ATTNBENCH_COMPILEBENCH_H
