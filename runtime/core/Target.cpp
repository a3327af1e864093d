//===- Target.cpp - GPU targets and what can run on what ------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/core/Target.h"

using namespace attn;

std::string Target::text() const {
  std::string result = "sm_" + std::to_string(number());
  if (suffix)
    result += suffix;
  return result;
}

std::optional<Target> attn::parseTarget(std::string_view text) {
  if (text.substr(0, 3) != "sm_")
    return std::nullopt;
  text.remove_prefix(3);
  Target target;
  if (!text.empty() && (text.back() == 'a' || text.back() == 'f')) {
    target.suffix = text.back();
    text.remove_suffix(1);
  }
  if (text.size() < 2 || text.size() > 3 || text[0] == '0')
    return std::nullopt;
  int number = 0;
  for (char c : text) {
    if (c < '0' || c > '9')
      return std::nullopt;
    number = 10 * number + (c - '0');
  }
  target.major = number / 10;
  target.minor = number % 10;
  return target;
}

bool attn::runsOn(const Target &target, int major, int minor) {
  if (target.suffix == 'a')
    return target.major == major && target.minor == minor;
  if (target.suffix == 'f')
    return target.major == major && target.minor <= minor;
  return target.number() <= 10 * major + minor;
}

std::string attn::targetsThatRunOn(int major, int minor) {
  std::string list;
  for (const char *name : {"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"})
    if (runsOn(*parseTarget(name), major, minor))
      list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

int64_t attn::sharedMemoryPerBlock(int major, int minor) {
  // CUDA C++ programming guide, "Technical Specifications per Compute
  // Capability".
  switch (10 * major + minor) {
  case 70:
    return 96 * 1024;
  case 75:
    return 64 * 1024;
  case 80:
  case 87:
    return 163 * 1024;
  case 86:
  case 89:
  case 120:
  case 121:
    return 99 * 1024;
  case 90:
  case 100:
  case 101:
  case 103:
  case 110:
    return 227 * 1024;
  default:
    return 48 * 1024;
  }
}

Status attn::checkRunsOn(std::string_view targetText,
                         const std::string &deviceName, int major, int minor) {
  std::optional<Target> target = parseTarget(targetText);
  if (target && runsOn(*target, major, minor))
    return Status::success();
  std::string capability = std::to_string(major) + "." + std::to_string(minor);
  std::string works = targetsThatRunOn(major, minor);
  return Error{ErrorCode::Unsupported,
               "code for " + std::string(targetText) + " cannot run on '" +
                   deviceName + "' (compute capability " + capability + "); " +
                   (works.empty() ? "this device needs to be of compute "
                                    "capability 8.0 or later"
                                  : "targets that can: " + works)};
}
