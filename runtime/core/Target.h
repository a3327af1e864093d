//===- Target.h - GPU targets and what can run on what ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef ATTN_RUNTIME_CORE_TARGET_H
#define ATTN_RUNTIME_CORE_TARGET_H

#include "attn/runtime/core/Result.h"

#include <cstdint>
#include <string_view>

namespace attn {

/// `sm_<major><minor>` with an optional suffix: `a` runs on exactly this
/// compute capability, `f` on its family (same major, same or later minor).
struct Target {
  int major = 0;
  int minor = 0;
  char suffix = 0; ///< 'a', 'f' or 0

  int number() const { return 10 * major + minor; }
  std::string text() const;
};

std::optional<Target> parseTarget(std::string_view text);

/// Whether PTX for `target` runs on compute capability `major`.`minor`.
bool runsOn(const Target &target, int major, int minor);

/// The targets of this project that run on that compute capability, as text:
/// `sm_80, sm_86, sm_89`.
std::string targetsThatRunOn(int major, int minor);

/// Most bytes of shared memory that one block can have.
int64_t sharedMemoryPerBlock(int major, int minor);

/// Fails with the device's name and the targets that it can run if PTX for
/// `target` does not run on it.
Status checkRunsOn(std::string_view target, const std::string &deviceName,
                   int major, int minor);

} // namespace attn

#endif // ATTN_RUNTIME_CORE_TARGET_H
