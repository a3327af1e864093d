//===- Cpu.cpp - Instruction sets of CPUs ---------------------------------===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "attn/runtime/host/Cpu.h"

#include <cstdlib>
#include <cstring>
#include <set>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

using namespace attn;
using namespace attn::host;

namespace {

/// A feature and whether this machine has it; the compiler's runtime also asks
/// the operating system whether it saves the registers.
struct Feature {
  const char *name;
  bool present;
};

std::vector<Feature> featuresOf(std::string_view target) {
#if defined(__x86_64__)
  __builtin_cpu_init();
#define ATTN_FEATURE(name) Feature{name, __builtin_cpu_supports(name) != 0}
  std::vector<Feature> features;
  if (target == "x86-64")
    return features;
  features = {ATTN_FEATURE("avx2"), ATTN_FEATURE("fma"),  ATTN_FEATURE("bmi"),
              ATTN_FEATURE("bmi2"), ATTN_FEATURE("f16c"), ATTN_FEATURE("lzcnt"),
              ATTN_FEATURE("movbe")};
  if (target == "x86-64-v3")
    return features;
  for (Feature feature : {ATTN_FEATURE("avx512f"), ATTN_FEATURE("avx512bw"),
                          ATTN_FEATURE("avx512cd"), ATTN_FEATURE("avx512dq"),
                          ATTN_FEATURE("avx512vl")})
    features.push_back(feature);
  if (target == "x86-64-v4-bf16")
    features.push_back(ATTN_FEATURE("avx512bf16"));
#undef ATTN_FEATURE
  return features;
#else
  return {{"x86-64", false}};
#endif
}

} // namespace

std::vector<std::string> host::cpuTargets() {
  return {"x86-64", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"};
}

bool host::isCpuTarget(std::string_view name) {
  for (const std::string &target : cpuTargets())
    if (target == name)
      return true;
  return false;
}

std::string host::cpuName() {
#if defined(__x86_64__)
  unsigned words[12] = {};
  unsigned highest = __get_cpuid_max(0x80000000u, nullptr);
  if (highest >= 0x80000004u) {
    for (unsigned leaf = 0; leaf < 3; ++leaf)
      __get_cpuid(0x80000002u + leaf, &words[4 * leaf], &words[4 * leaf + 1],
                  &words[4 * leaf + 2], &words[4 * leaf + 3]);
    char text[sizeof words + 1] = {};
    std::memcpy(text, words, sizeof words);
    std::string name = text;
    size_t first = name.find_first_not_of(' ');
    size_t last = name.find_last_not_of(' ');
    if (first != std::string::npos)
      return name.substr(first, last - first + 1);
  }
#endif
  return "unnamed CPU";
}

/// What `target` needs and this CPU lacks; empty if nothing. Features beyond
/// those of `limit`, if there is one, count as lacking.
static std::string missing(std::string_view target,
                           std::string_view limit = {}) {
  std::set<std::string> allowed;
  if (!limit.empty())
    for (const Feature &feature : featuresOf(limit))
      allowed.insert(feature.name);
  std::string list;
  for (const Feature &feature : featuresOf(target))
    if (!feature.present || (!limit.empty() && !allowed.count(feature.name)))
      list += (list.empty() ? "" : ", ") + std::string(feature.name);
  return list;
}

Status host::checkCpu(std::string_view target, std::string_view limit) {
  if (!isCpuTarget(target)) {
    std::string known;
    for (const std::string &name : cpuTargets())
      known += (known.empty() ? "" : ", ") + name;
    return Error{ErrorCode::Unsupported, "code for " + std::string(target) +
                                             " cannot run on the CPU '" +
                                             cpuName() +
                                             "'; targets for CPUs: " + known};
  }
  std::string lacks = missing(target, limit);
  if (lacks.empty())
    return Status::success();
  std::string works;
  for (const std::string &name : cpuTargets())
    if (missing(name, limit).empty())
      works += (works.empty() ? "" : ", ") + name;
  return Error{ErrorCode::Unsupported,
               "code for " + std::string(target) + " cannot run on the CPU '" +
                   cpuName() + "', which " +
                   (limit.empty()
                        ? ""
                        : "is limited to " + std::string(limit) + " and ") +
                   "lacks " + lacks + "; " +
                   (works.empty() ? "no target works there"
                                  : "targets that can: " + works)};
}

Result<std::string> host::bestCpuTarget() {
  std::vector<std::string> targets = cpuTargets();
  for (size_t i = targets.size(); i-- > 0;)
    if (missing(targets[i]).empty())
      return targets[i];
  return Error{
      ErrorCode::Unsupported,
      "this machine has no x86-64 CPU: the host device has no code for "
      "it"};
}
