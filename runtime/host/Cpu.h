//===- Cpu.h - Instruction sets of CPUs -------------------------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_HOST_CPU_H
#define ATTN_RUNTIME_HOST_CPU_H

#include "attn/runtime/core/Result.h"

#include <string_view>
#include <vector>

namespace attn::host {

/// Whether `name` is an instruction set that object code can be for: x86-64,
/// x86-64-v3, x86-64-v4 or x86-64-v4-bf16.
bool isCpuTarget(std::string_view name);

/// The names of all instruction sets, from the least to the most.
std::vector<std::string> cpuTargets();

/// What this machine's CPU calls itself.
std::string cpuName();

/// Success if this machine's CPU, and its operating system, can run code for
/// `target`. With `limit`, an instruction set, the CPU counts as one that has
/// nothing beyond it. The error names both sides and what works instead.
Status checkCpu(std::string_view target, std::string_view limit = {});

/// The most that this machine can run; an error where it can run nothing.
Result<std::string> bestCpuTarget();

} // namespace attn::host

#endif // ATTN_RUNTIME_HOST_CPU_H
