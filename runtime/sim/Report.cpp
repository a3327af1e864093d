//===- Report.cpp - names and JSON of a launch report ----------*- C++ -*-===//
// Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "attn/runtime/sim/Simulator.h"

#include <nlohmann/json.hpp>

namespace attn::sim {

std::string Error::render(const std::string &name) const {
  std::string text = name;
  if (line)
    text += ":" + std::to_string(line) + ":" + std::to_string(column);
  return text + ": error: " + message;
}

const char *name(FindingKind kind) {
  static const char *const names[] = {"race",
                                      "uninitialised-shared",
                                      "uninitialised-register",
                                      "out-of-bounds",
                                      "misaligned",
                                      "barrier-divergence",
                                      "warp-divergence",
                                      "deadlock",
                                      "missing-wait",
                                      "instruction-budget",
                                      "bad-launch",
                                      "trap",
                                      "invalid-operand",
                                      "missing-fence",
                                      "registers-in-flight",
                                      "mbarrier",
                                      "wrong-parity",
                                      "byte-count",
                                      "register-pool"};
  return names[unsigned(kind)];
}

std::string LaunchReport::json(int indent) const {
  using nlohmann::ordered_json;
  ordered_json root;
  root["ok"] = ok;
  root["seconds"] = seconds;
  root["findings"] = ordered_json::array();
  for (const Finding &finding : findings) {
    ordered_json entry;
    entry["kind"] = name(finding.kind);
    entry["severity"] =
        finding.severity == Severity::Error ? "error" : "warning";
    entry["line"] = finding.line;
    if (finding.otherLine)
      entry["other_line"] = finding.otherLine;
    entry["block"] = finding.block;
    entry["warp"] = finding.warp;
    entry["lane"] = finding.lane;
    entry["address"] = finding.address;
    entry["message"] = finding.message;
    root["findings"].push_back(std::move(entry));
  }
  ordered_json total;
  total["warp_instructions"] = counters.warpInstructions;
  total["mma"] = counters.mma;
  total["wgmma"] = counters.wgmma;
  total["bulk_bytes"] = counters.bulkBytes;
  total["barriers"] = counters.barriers;
  total["shared_passes"] = counters.sharedPasses;
  total["bank_conflicts"] = counters.bankConflicts;
  total["global_sectors"] = counters.globalSectors;
  total["ideal_sectors"] = counters.idealSectors;
  total["global_bytes"] = counters.globalBytes;
  total["by_opcode"] = counters.byOpcode;
  std::map<std::string, uint64_t> byInstruction; // with all modifiers
  for (const auto &[line, of] : counters.byLine)
    byInstruction[of.opcode] += of.executed;
  total["by_instruction"] = byInstruction;
  ordered_json lines = ordered_json::array();
  for (const auto &[line, of] : counters.byLine) {
    if (!of.read && !of.write)
      continue;
    ordered_json entry;
    entry["line"] = line;
    entry["opcode"] = of.opcode;
    entry["executed"] = of.executed;
    entry["shared_passes"] = of.sharedPasses;
    entry["bank_conflicts"] = of.bankConflicts;
    entry["global_sectors"] = of.globalSectors;
    entry["ideal_sectors"] = of.idealSectors;
    entry["global_lines"] = of.globalLines;
    entry["global_bytes"] = of.globalBytes;
    lines.push_back(std::move(entry));
  }
  total["memory_by_line"] = std::move(lines);
  root["counters"] = std::move(total);
  return root.dump(indent);
}

} // namespace attn::sim
